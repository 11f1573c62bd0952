"""Which services have to be built together, and the equivalent bake file.

Comes in:  services with a ``build`` section.
Goes out:  their order; a document for ``build --print``. Pure.
Not here:  building (``engine.builds``).
Source: docker compose build --print; docs.docker.com/build/bake/reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compose.errors import ComposeError
from compose.model.project import Project
from compose.model.service import Build, Service
from compose.plan.observed import PROJECT, SERVICE

OTHERS = ("service:", "target:")


def needs(service: Service) -> list[str]:
    """The services whose image is a context of this one's build."""
    values = service.build.additional_contexts.values() if service.build else ()
    return [value.partition(":")[2] for value in values if value.startswith(OTHERS)]


def closure(chosen: Sequence[Service], known: Mapping[str, Service]) -> list[Service]:
    """``chosen`` and what their builds need, each after what it needs. Raises ComposeError for a circle or a
    service that is not built."""
    ordered: list[Service] = []

    def visit(service: Service, trail: tuple[str, ...]) -> None:
        if service in ordered:
            return
        if service.name in trail:
            raise ComposeError(f"builds need each other: {' -> '.join((*trail, service.name))}")
        for name in needs(service):
            other = known.get(name)
            if other is None or other.build is None:
                raise ComposeError(
                    f"service '{service.name}' builds with the image of '{name}', which is not built",
                    hint=f"give '{name}' a 'build:' section, or write docker-image://<reference>",
                )
            visit(other, (*trail, service.name))
        ordered.append(service)

    for service in chosen:
        visit(service, ())
    return ordered


def bake(
    project: Project,
    chosen: Sequence[Service],
    *,
    args: Mapping[str, str | None],
    environment: Mapping[str, str],
    ssh: Sequence[str] = (),
    no_cache: bool = False,
    pull: bool = False,
    push: bool = False,
) -> dict[str, Any]:
    """The document that ``docker buildx bake`` takes for the same builds. Raises ComposeError."""
    first = [service.name for service in chosen]
    names = [*first, *(s.name for s in closure(chosen, project.services) if s.name not in first)]
    targets: dict[str, Any] = {}
    for service in project.services.values():
        told = service.build
        if told is None:
            continue
        merged = {**told.args, **args}
        values = {name: environment.get(name) if value is None else value for name, value in merged.items()}
        target = _target(project, service, told, {n: v for n, v in values.items() if v is not None})
        more = {
            "ssh": [*target.get("ssh", ()), *(_ssh(text) for text in ssh)],
            "no-cache": told.no_cache or no_cache,
            "pull": told.pull or pull,
            "output": ["type=registry" if push and service.image else "type=docker"],
        }
        full = {**target, **more}
        targets[service.name] = {key: value for key, value in full.items() if value}
    return {"group": {"default": {"targets": names}}, "target": targets}


def _target(project: Project, service: Service, told: Build, args: Mapping[str, str]) -> dict[str, Any]:
    remote = not told.context.startswith("/")
    dockerfile = (
        told.dockerfile if remote or told.dockerfile.startswith("/") else f"{told.context}/{told.dockerfile}"
    )
    granted = [*told.entitlements, *(["security.insecure"] if told.privileged else [])]
    attest = [
        f"type={kind}" for kind, on in (("provenance", told.provenance), ("sbom", told.sbom)) if _on(on)
    ]
    return {
        "context": told.context,
        "contexts": {n: v.replace("service:", "target:", 1) for n, v in told.additional_contexts.items()},
        "dockerfile": "" if told.dockerfile_inline else dockerfile,
        "dockerfile-inline": told.dockerfile_inline,
        "args": dict(args),
        "labels": {**told.labels, PROJECT: project.name, SERVICE: service.name},
        "tags": [*told.tags, service.image or f"{project.name}-{service.name}"],
        "cache-from": list(told.cache_from),
        "cache-to": list(told.cache_to),
        "target": told.target,
        "secret": [_secret(project, mount.source, mount.target or mount.source) for mount in told.secrets],
        "ssh": [_ssh(text) for text in told.ssh],
        "platforms": list(told.platforms),
        "network": told.network,
        "shm-size": str(told.shm_size or ""),
        "ulimits": [_ulimit(name, limit.soft, limit.hard) for name, limit in told.ulimits.items()],
        "entitlements": granted,
        "extra-hosts": {t.replace("=", ":", 1).partition(":")[0]: t.replace("=", ":", 1).partition(":")[2]
                        for t in told.extra_hosts},
        "no-cache-filter": list(told.no_cache_filter),
        "attest": attest,
    }  # fmt: skip


def _on(text: str) -> bool:
    return bool(text) and text.lower() != "false"


def _ssh(text: str) -> str:
    return text if "=" in text else f"{text}="


def _ulimit(name: str, soft: int, hard: int) -> str:
    return f"{name}={soft}" if soft == hard else f"{name}={soft}:{hard}"


def _secret(project: Project, source: str, name: str) -> str:
    item = project.secrets[source]
    return (
        f"id={name},type=file,src={item.file}" if item.file else f"id={name},type=env,env={item.environment}"
    )
