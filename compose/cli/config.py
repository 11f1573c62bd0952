"""``pycompose config``: the resolved model, or a part of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from compose.cli import report
from compose.cli.options import Option, Services
from compose.cli.scope import Scope, unknown_service

Environment = Annotated[bool, Option("--environment", help="Print environment used for interpolation")]
Format = Annotated[
    str, Option("--format", metavar="FORMAT", help="Format the output", choices=("yaml", "json"))
]
Hash = Annotated[str, Option("--hash", metavar="SERVICES", help="Print the service config hash, '*' for all")]
Images = Annotated[bool, Option("--images", help="Print the image names, one per line")]
Models = Annotated[bool, Option("--models", help="Print the model names, one per line")]
Networks = Annotated[bool, Option("--networks", help="Print the network names, one per line")]
Output = Annotated[str, Option("-o", "--output", metavar="FILE", help="Save to file")]
Profiles = Annotated[bool, Option("--profiles", help="Print the profile names, one per line")]
Quiet = Annotated[bool, Option("-q", "--quiet", help="Only validate the configuration")]
Names = Annotated[bool, Option("--services", help="Print the service names, one per line")]
NoConsistency = Annotated[bool, Option("--no-consistency", help="Don't check model consistency")]
NoEnv = Annotated[bool, Option("--no-env-resolution", help="Don't resolve service env files")]
NoInterpolate = Annotated[bool, Option("--no-interpolate", help="Don't interpolate environment variables")]
NoNormalize = Annotated[bool, Option("--no-normalize", help="Don't normalize compose model")]
NoPaths = Annotated[bool, Option("--no-path-resolution", help="Don't resolve file paths")]
Pin = Annotated[bool, Option("--resolve-image-digests", help="Pin image tags to digests")]
Lock = Annotated[bool, Option("--lock-image-digests", help="Print an override file with image digests")]
Variables = Annotated[bool, Option("--variables", help="Print model variables and default values")]
Volumes = Annotated[bool, Option("--volumes", help="Print the volume names, one per line")]


def run(
    scope: Scope,
    services: Services = (),
    *,
    environment: Environment = False,
    format: Format = "yaml",
    hash: Hash = "",
    images: Images = False,
    models: Models = False,
    networks: Networks = False,
    output: Output = "",
    profiles: Profiles = False,
    quiet: Quiet = False,
    names: Names = False,
    variables: Variables = False,
    volumes: Volumes = False,
    no_consistency: NoConsistency = False,
    no_env_resolution: NoEnv = False,
    no_interpolate: NoInterpolate = False,
    no_normalize: NoNormalize = False,
    no_path_resolution: NoPaths = False,
    resolve_image_digests: Pin = False,
    lock_image_digests: Lock = False,
) -> int:
    """Parse, resolve and render compose file in canonical format"""
    from compose.cli import listing

    if environment:
        return _write(listing.environment(scope), output)
    if variables:
        shown = listing.variables_json if format == "json" else listing.variables_table
        return _write(shown(listing.variables(scope)), output)
    stages = {
        "consistency": no_consistency,
        "env-resolution": no_env_resolution,
        "interpolate": no_interpolate,
        "normalize": no_normalize,
        "path-resolution": no_path_resolution,
    }
    omit = tuple(name for name, left_out in stages.items() if left_out)
    model = scope.partial_model(omit, services) if omit else scope.model(services)
    for name in services:
        if name not in model["services"]:
            raise unknown_service(name, model["services"])
    if quiet:
        return 0
    if hash:
        return _write(_hashes(scope.partial_model((*omit, "env-files")), hash), output)
    lists = {
        "services": names,
        "images": images,
        "volumes": volumes,
        "networks": networks,
        "models": models,
        "profiles": profiles,
    }
    for part, asked in lists.items():
        if asked:
            found = listing.of(model, part, services)
            return _write("".join(f"{name}\n" for name in found), output)
    from compose.load.canonical import printed

    chosen = listing.only(model, services)
    if resolve_image_digests or lock_image_digests:
        from compose.cli import pin

        chosen = pin.pinned(chosen)
        chosen = pin.lock(chosen) if lock_image_digests else chosen
    # where variables are left alone, dollars are as well
    return _write(_rendered(chosen if no_interpolate else printed(chosen), format), output)


def _rendered(shown: Mapping[str, Any], format: str) -> str:
    if format == "json":
        import json

        return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"
    from compose.cli import yaml_text

    return yaml_text.dump(without_nulls(shown))


def without_nulls(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The YAML form leaves ``command`` and ``entrypoint`` out where they are null, and an empty ``ipam``.

    The sections stand in docker compose's order, services before what they refer to.
    """
    services = {name: _service_of_yaml(service) for name, service in shown.get("services", {}).items()}
    networks = {
        name: {key: item for key, item in network.items() if item or key != "ipam"}
        for name, network in shown.get("networks", {}).items()
    }
    parts = {**shown, "services": services, "networks": networks}
    order = ("name", "services", "networks", "volumes", "secrets", "configs")
    return {key: parts[key] for key in (*order, *shown) if key in shown and parts[key] != ""}


def _service_of_yaml(service: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        key: item for key, item in service.items() if item is not None or key not in ("command", "entrypoint")
    }
    if isinstance(deploy := kept.get("deploy"), Mapping):
        empty = [key for key in ("placement", "resources") if deploy.get(key) == {}]
        kept["deploy"] = {key: item for key, item in deploy.items() if key not in empty}
    if isinstance(develop := kept.get("develop"), Mapping):
        nothing = {"command": None}
        watch = [
            {key: item for key, item in rule.items() if key != "exec" or item != nothing}
            for rule in develop.get("watch") or ()
        ]
        kept["develop"] = {**develop, "watch": watch} if "watch" in develop else develop
    return kept


def _hashes(model: Mapping[str, Any], wanted: str) -> str:
    from compose.cli.hashes import service_hash

    services = model["services"]
    lines = []
    for name in sorted(services if wanted == "*" else wanted.split(",")):
        if name not in services:
            raise unknown_service(name, services)
        lines.append(f"{name} {service_hash(services[name])}\n")
    return "".join(lines)


def _write(text: str, output: str) -> int:
    if output:
        Path(output).write_text(text, encoding="utf-8")

    else:
        report.raw(text)
    return 0
