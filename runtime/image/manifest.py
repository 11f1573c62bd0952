"""The documents that make up an image, as values: configuration, manifest, index; media types of OCI and
Docker.

Comes in:  JSON of a registry, an archive or the store; or an ImageConfig that a build made.
Goes out:  Image, ImageConfig, Manifest, Index and the JSON of them.
Not here:  where the bytes come from (registry, archive, store).
Source: OCI image-spec v1.1 (config.md, manifest.md, image-index.md); Docker Image Manifest V2 schema 2.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.image.errors import InvalidImage
from schemas.frozen import dataclass, field

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
INDEXES = (OCI_INDEX, DOCKER_LIST)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "riscv64": "riscv64"}
_LAYERS = 500  # OVL_MAX_STACK of fs/overlayfs
_NANO = 1_000_000_000


def host_platform() -> str:
    """What this machine runs, as ``os/architecture``: ``linux/amd64``."""
    name = os.uname().machine
    return f"linux/{_MACHINES.get(name, name)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """HEALTHCHECK; durations in seconds, 0 means the default. test: ("CMD", ...), ("CMD-SHELL", text) or
    ("NONE",)."""

    test: tuple[str, ...]
    interval: float = 0.0
    timeout: float = 0.0
    start_period: float = 0.0
    start_interval: float = 0.0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One line of an image's history; ``empty`` when it made no layer."""

    created_by: str
    created: str = ""
    comment: str = ""
    author: str = ""
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """How a container of the image runs, unless told otherwise.

    env: "NAME=value" texts in order. exposed_ports: "80/tcp". created: RFC 3339, "" for unknown.
    entrypoint, cmd, shell: argv lists; empty means none. stop_signal: "" means SIGTERM.
    """

    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    healthcheck: HealthCheck | None = None
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()
    architecture: str = ""
    os: str = "linux"
    variant: str = ""
    author: str = ""
    created: str = ""
    history: tuple[History, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image of the store.

    id:         "sha256:..." of its configuration. references: full spellings that name it, sorted.
    layers:     directories in overlayfs form to be mounted, lowest first, none twice.
    layer_ids:  diffIDs as the configuration lists them; one may come twice.
    size:       bytes of the unpacked layers together. created: seconds since the epoch, 0 for unknown.
    digests:    "sha256:..." of the manifests it was pulled by.
    """

    id: str
    references: tuple[str, ...]
    layers: tuple[Path, ...]
    layer_ids: tuple[str, ...]
    config: ImageConfig
    size: int = 0
    created: float = 0.0
    digests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Where content is and what it must be."""

    media_type: str
    digest: str
    size: int
    platform: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image for one platform: configuration and compressed layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


def read_json(data: bytes, what: str) -> dict[str, Any]:
    """Decode a JSON object. Raises InvalidImage naming ``what``."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidImage(f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidImage(f"{what} is not a JSON object")
    return value


def read_descriptor(data: Any, what: str) -> Descriptor:
    """Check one descriptor. Raises InvalidImage."""
    if not isinstance(data, dict):
        raise InvalidImage(f"{what} has no descriptor")
    digest, size = data.get("digest"), data.get("size")
    if not isinstance(digest, str) or not digest.startswith("sha256:") or len(digest) != 71:
        raise InvalidImage(f"{what} has the digest {digest!r}; only sha256 is supported")
    if any(c not in "0123456789abcdef" for c in digest[7:]):
        raise InvalidImage(f"{what} has the malformed digest {digest!r}")
    if not isinstance(size, int) or size < 0:
        raise InvalidImage(f"{what} has no size")
    place = data.get("platform")
    name = _platform_name(place) if isinstance(place, dict) else ""
    notes = data.get("annotations") or {}
    return Descriptor(
        media_type=str(data.get("mediaType", "")), digest=digest, size=size, platform=name, annotations=notes
    )


def _platform_name(place: Mapping[str, Any]) -> str:
    words = [str(place.get("os", "")), str(place.get("architecture", "")), str(place.get("variant") or "")]
    return "/".join(word for word in words if word)


def read_manifest(data: bytes, media_type: str = "") -> Manifest:
    """Read an OCI or Docker schema 2 manifest. Raises InvalidImage."""
    value = read_json(data, "the manifest")
    if value.get("schemaVersion") == 1:
        raise InvalidImage("the image has a Docker schema 1 manifest, which registries gave up in 2019")
    layers = value.get("layers")
    if not isinstance(layers, list):
        raise InvalidImage("the manifest lists no layers")
    return Manifest(
        media_type=str(value.get("mediaType") or media_type or OCI_MANIFEST),
        config=read_descriptor(value.get("config"), "the manifest's config"),
        layers=tuple(read_descriptor(layer, f"layer {n}") for n, layer in enumerate(layers)),
    )


def choose(data: bytes, platform: str, what: str) -> Descriptor:
    """The first of ``candidates``. Raises InvalidImage naming the platforms there are."""
    return candidates(data, platform, what)[0]


def candidates(data: bytes, platform: str, what: str) -> list[Descriptor]:
    """The entries of an index that may hold the image for ``platform`` ("linux/amd64[/variant]"), best first.

    The exact platform first, then the same architecture with a lower variant, or with none, then what says
    nothing of its platform: an index in an index, or a lone manifest. Attestations are no images.
    Raises InvalidImage naming the platforms there are. Source: OCI image-spec, image-index.md; containerd,
    platforms.Ordered.
    """
    entries = read_json(data, "the image index").get("manifests")
    if not isinstance(entries, list):
        raise InvalidImage("the image index lists no manifests")
    every = [read_descriptor(entry, "an entry of the image index") for entry in entries]
    found = [entry for entry in every if not _is_attestation(entry)]
    ranked = [(rank, entry) for entry in found if (rank := _rank(entry.platform, platform)) is not None]
    exact = [entry for _, entry in sorted(ranked, key=lambda pair: pair[0])]
    nested = [entry for entry in found if not entry.platform and entry.media_type in INDEXES]
    alone = [entry for entry in found if len(found) == 1 and not entry.platform and not nested]
    if exact or nested or alone:
        return [*exact, *nested, *alone]
    names = ", ".join(sorted({entry.platform for entry in found if entry.platform}))
    raise InvalidImage(f"{what} is not made for {platform}", hint=f"it is there for {names or 'no platform'}")


def _is_attestation(entry: Descriptor) -> bool:
    notes = entry.annotations
    return entry.platform.startswith("unknown/") or "vnd.docker.reference.type" in notes


def matches(made: str, wanted: str) -> bool:
    """Whether an image made for one platform is one for the other."""
    return _rank(made, wanted) is not None


def _rank(made: str, wanted: str) -> int | None:
    """How far ``made`` is from ``wanted``: 0 for the same, None when it would not run. Pure."""
    if not made:
        return None
    system, architecture, version = _parts(made)
    wanted_system, wanted_architecture, wanted_version = _parts(wanted)
    if (system, architecture) != (wanted_system, wanted_architecture) or version > wanted_version:
        return None
    return wanted_version - version


def _parts(platform: str) -> tuple[str, str, int]:
    """Operating system, architecture, and the number of the variant; arm means v7, arm64 v8, amd64 v1."""
    system, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    architecture = _MACHINES.get(architecture, architecture)
    digits = variant.lstrip("v").partition(".")[0]
    default = {"arm": 7, "arm64": 8, "amd64": 1}.get(architecture, 0)
    return system, architecture, int(digits) if digits.isdigit() else default


def read_config(data: bytes) -> tuple[ImageConfig, tuple[str, ...]]:
    """Read an image configuration; gives it and the diffIDs, lowest first. Raises InvalidImage."""
    value = read_json(data, "the image configuration")
    rootfs = value.get("rootfs")
    diffs = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diffs, list) or not all(isinstance(d, str) and d.startswith("sha256:") for d in diffs):
        raise InvalidImage("the image configuration lists no layers (rootfs.diff_ids)")
    if len(diffs) > _LAYERS:
        raise InvalidImage(f"the image has {len(diffs)} layers; overlayfs mounts at most {_LAYERS}")
    inner = value.get("config") or {}
    if not isinstance(inner, dict):
        raise InvalidImage("the image configuration is malformed")
    try:
        return _config(value, inner), tuple(diffs)
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidImage(f"the image configuration is malformed: {error}") from error


def _config(value: Mapping[str, Any], inner: Mapping[str, Any]) -> ImageConfig:
    return ImageConfig(
        env=_texts(inner.get("Env")),
        entrypoint=_texts(inner.get("Entrypoint")),
        cmd=_texts(inner.get("Cmd")),
        user=str(inner.get("User") or ""),
        working_dir=str(inner.get("WorkingDir") or ""),
        volumes=tuple(inner.get("Volumes") or ()),
        exposed_ports=tuple(inner.get("ExposedPorts") or ()),
        labels={str(k): str(v) for k, v in (inner.get("Labels") or {}).items()},
        stop_signal=str(inner.get("StopSignal") or ""),
        healthcheck=_read_health(inner.get("Healthcheck")),
        shell=_texts(inner.get("Shell")),
        on_build=_texts(inner.get("OnBuild")),
        architecture=str(value.get("architecture") or ""),
        os=str(value.get("os") or "linux"),
        variant=str(value.get("variant") or ""),
        author=str(value.get("author") or ""),
        created=str(value.get("created") or ""),
        history=tuple(_read_history(line) for line in value.get("history") or ()),
    )


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(item) for item in value or ())


def _read_health(value: Any) -> HealthCheck | None:
    if not value or not value.get("Test"):
        return None
    return HealthCheck(
        test=_texts(value["Test"]),
        interval=(value.get("Interval") or 0) / _NANO,
        timeout=(value.get("Timeout") or 0) / _NANO,
        start_period=(value.get("StartPeriod") or 0) / _NANO,
        start_interval=(value.get("StartInterval") or 0) / _NANO,
        retries=int(value.get("Retries") or 0),
    )


def _read_history(line: Mapping[str, Any]) -> History:
    return History(
        created_by=str(line.get("created_by") or ""),
        created=str(line.get("created") or ""),
        comment=str(line.get("comment") or ""),
        author=str(line.get("author") or ""),
        empty=bool(line.get("empty_layer")),
    )


_OWN = "io.pycompose."
_TITLE = "org.opencontainers.image.title"


def heritage(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that an image hands on to those made from it: not those that say how it was assembled."""
    own = any(key.startswith(_OWN) for key in labels)
    return {k: v for k, v in labels.items() if not k.startswith(_OWN) and not (own and k == _TITLE)}


def write_config(config: ImageConfig, layer_ids: Sequence[str]) -> bytes:
    """The JSON of a configuration, always the same bytes for the same values."""
    inner: dict[str, Any] = {
        "Env": list(config.env),
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "User": config.user,
        "WorkingDir": config.working_dir,
        "Volumes": {path: {} for path in config.volumes},
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Labels": dict(config.labels),
        "StopSignal": config.stop_signal,
        "Healthcheck": _write_health(config.healthcheck),
        "Shell": list(config.shell),
        "OnBuild": list(config.on_build),
    }
    value = {
        "architecture": config.architecture or host_platform().partition("/")[2],
        "os": config.os,
        "variant": config.variant,
        "author": config.author,
        "created": config.created,
        "config": {key: item for key, item in inner.items() if item},
        "rootfs": {"type": "layers", "diff_ids": list(layer_ids)},
        "history": [_write_history(line) for line in config.history],
    }
    kept = {key: item for key, item in value.items() if item or key in ("config", "rootfs")}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").encode()


def _write_health(check: HealthCheck | None) -> dict[str, Any]:
    if check is None:
        return {}
    value = {
        "Test": list(check.test),
        "Interval": round(check.interval * _NANO),
        "Timeout": round(check.timeout * _NANO),
        "StartPeriod": round(check.start_period * _NANO),
        "StartInterval": round(check.start_interval * _NANO),
        "Retries": check.retries,
    }
    return {key: item for key, item in value.items() if item}


def _write_history(line: History) -> dict[str, Any]:
    value = {
        "created_by": line.created_by,
        "created": line.created,
        "comment": line.comment,
        "author": line.author,
        "empty_layer": line.empty,
    }
    return {key: item for key, item in value.items() if item}
