"""What a service mounts: volumes, binds, tmpfs, configs, secrets, the image's own volumes.

Comes in:  a Service, its Project, the image's VOLUME list, where volumes lie on the host.
Goes out:  Mounts for the runtime, and what the engine has to make before the start.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from compose.errors import ComposeError
from compose.model.project import FileObject, Project
from compose.model.service import NOTHING, FileMount, Service, VolumeMount
from compose.plan.launch import File, Volume
from runtime.policy.paths import mountable
from runtime.spec import Mount
from schemas.frozen import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Host directories a container is built on.

    volumes: DATA/volumes. files: where configs and secrets of this container are written.
    name:    gives a fresh name for an anonymous volume.
    """

    volumes: str
    files: str
    name: Callable[[], str]


@dataclass(slots=True)
class Mounted:
    """All mounts of one container in the order of their targets, and what must exist for them."""

    mounts: dict[str, Mount] = field(default_factory=dict)
    volumes: list[Volume] = field(default_factory=list)
    binds: dict[str, bool] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)

    def ordered(self) -> tuple[Mount, ...]:
        """By target; the runtime mounts parents before children."""
        return tuple(self.mounts[target] for target in sorted(self.mounts))


def mounted(
    service: Service,
    project: Project,
    image_volumes: tuple[str, ...],
    ground: Ground,
    carry: Mapping[str, str],
    inherited: tuple[tuple[tuple[Mount, ...], bool], ...] = (),
    images: Mapping[str, Sequence[str]] = NOTHING,
) -> Mounted:
    """Bring together every mount of ``service``; a later kind wins over an earlier one at one target.

    carry:     anonymous volumes of the container this one replaces, by target.
    inherited: mounts of ``volumes_from``, each with whether they become read-only.
    images:    id and layers of the images that are mounted, by name.
    """
    out = Mounted()
    for mounts, read_only in inherited:
        for mount in mounts:
            if mount.type != "tmpfs":
                out.mounts[mount.target] = _read_only(mount) if read_only else mount
    for wanted in service.volumes:
        if wanted.type == "image":
            _image(out, service, wanted, images.get(wanted.source, ()))
            continue
        _volume(out, service, project, wanted, ground, carry)
    for text in service.tmpfs:
        target, _, options = text.partition(":")
        out.mounts[_clean(target)] = Mount(type="tmpfs", target=_clean(target), options=options)
    for target in image_volumes:
        if _clean(target) not in out.mounts:
            _anonymous(out, _clean(target), ground, carry, VolumeMount(type="volume", target=target))
    for kind, table, files in (
        ("configs", project.configs, service.configs),
        ("secrets", project.secrets, service.secrets),
    ):
        for index, file in enumerate(files):
            _file(out, kind, table[file.source], file, f"{ground.files}/{kind}-{index}")
    for target in out.mounts:
        _refuse(service, target, by_image=target in map(_clean, image_volumes))
    return out


def _clean(target: str) -> str:
    """``target`` as an absolute path without "." and ".."."""
    return "/" + posixpath.normpath(f"/{target}").lstrip("/")


def _refuse(service: Service, target: str, *, by_image: bool) -> None:
    """Raise ComposeError for a target that nothing may be mounted on; links are looked at by the runtime."""
    if target != "/" and mountable(target):
        return
    own = any(_clean(mount.target) == target for mount in service.volumes)
    raise ComposeError(
        f"service '{service.name}': nothing can be mounted at '{target}'"
        + ("" if target == "/" else ", which is inside /proc")
        + (" (a VOLUME of its image)" if by_image and not own else ""),
        hint="choose another target" if own or not by_image else "the image cannot run in a container",
        path=f"services.{service.name}{_where(service, target, by_image=by_image)}",
    )


def _where(service: Service, target: str, *, by_image: bool) -> str:
    """The attribute that asks for a mount at ``target``."""
    if any(_clean(mount.target) == target for mount in service.volumes):
        return ".volumes"
    if any(_clean(text.partition(":")[0]) == target for text in service.tmpfs):
        return ".tmpfs"
    return ".image" if by_image else ""


def _read_only(mount: Mount) -> Mount:
    return replace(mount, read_only=True, seed=False)


def _volume(
    out: Mounted,
    service: Service,
    project: Project,
    mount: VolumeMount,
    ground: Ground,
    carry: Mapping[str, str],
) -> None:
    target = _clean(mount.target)
    if mount.type == "tmpfs":
        words = []
        if mount.size:
            words.append(f"size={mount.size}")
        if mount.mode is not None:
            words.append(f"mode={mount.mode:o}")
        out.mounts[target] = Mount(
            type="tmpfs", target=target, options=",".join(words), read_only=mount.read_only
        )
    elif mount.type == "bind":
        out.binds[mount.source] = mount.create_host_path
        out.mounts[target] = Mount(
            type="bind",
            source=mount.source,
            target=target,
            read_only=mount.read_only,
            propagation=mount.propagation,
            recursive=mount.recursive != "disabled",
        )
    elif mount.type == "volume" and not mount.source:
        _anonymous(out, target, ground, carry, mount)
    elif mount.type == "volume":
        _local(service, mount)
        volume = project.volumes.get(mount.source)
        _mount_volume(out, volume.name if volume else mount.source, target, ground, mount, anonymous=False)
    else:
        raise ComposeError(
            f"service '{service.name}': a mount of type '{mount.type}' is not supported",
            hint="use a volume, bind, tmpfs or image",
            path=f"services.{service.name}.volumes",
        )


def _image(out: Mounted, service: Service, mount: VolumeMount, image: Sequence[str]) -> None:
    """An image's file system, read-only."""
    _local(service, mount)
    if not image:
        raise ComposeError(
            f"service '{service.name}': no image '{mount.source}' here to be mounted",
            hint="'pycompose up' gets it",
            path=f"services.{service.name}.volumes",
        )
    target, (id, *layers) = _clean(mount.target), image
    out.mounts[target] = Mount(
        type="image",
        source=mount.source,
        target=target,
        read_only=True,
        options=id,
        subpath=mount.subpath,
        layers=tuple(layers),
    )


def _local(service: Service, mount: VolumeMount) -> None:
    """Raise ComposeError for a subpath that leads out of its volume by its own words."""
    if mount.subpath.startswith("/") or ".." in mount.subpath.split("/"):
        raise ComposeError(
            f"service '{service.name}': subpath '{mount.subpath}' of '{mount.source}' leads out of it",
            hint="subpath must be a relative path inside the volume",
            path=f"services.{service.name}.volumes",
        )


def _anonymous(
    out: Mounted, target: str, ground: Ground, carry: Mapping[str, str], mount: VolumeMount
) -> None:
    name = carry.get(target) or ground.name()
    _mount_volume(out, name, target, ground, mount, anonymous=True)


def _mount_volume(
    out: Mounted, name: str, target: str, ground: Ground, mount: VolumeMount, *, anonymous: bool
) -> None:
    out.volumes.append(Volume(name=name, target=target, anonymous=anonymous))
    out.mounts[target] = Mount(
        type="bind",
        source=f"{ground.volumes}/{name}/_data",
        subpath=mount.subpath,
        target=target,
        read_only=mount.read_only,
        seed=not mount.nocopy and not mount.subpath,
    )


def _number(text: str, key: str, item: FileObject) -> int:
    """The number of a user or group. Raises ComposeError for a name: the image's are not known here."""
    if text and not text.isdecimal():
        raise ComposeError(
            f"{key} '{text}' of '{item.key}' is not a number", hint="give the number, not the name"
        )
    return int(text or 0)


def _file(out: Mounted, kind: str, item: FileObject, wanted: FileMount, path: str) -> None:
    default = f"/run/secrets/{wanted.source}" if kind == "secrets" else f"/{wanted.source}"
    target = wanted.target or default
    if not target.startswith("/"):
        target = f"/run/secrets/{target}" if kind == "secrets" else f"/{target}"
    if item.external:
        raise ComposeError(
            f"unsupported external {kind[:-1]} {item.name}",
            hint="give it by file, environment or content",
            path=f"{kind}.{item.key}",
        )
    if item.file:
        out.binds[item.file] = False
        source = item.file
    else:
        source = path
        out.files.append(
            File(
                path=path,
                kind=kind,
                source=wanted.source,
                uid=_number(wanted.uid, "uid", item),
                gid=_number(wanted.gid, "gid", item),
                mode=0o444 if wanted.mode is None else wanted.mode,
            )
        )
    out.mounts[_clean(target)] = Mount(type="bind", source=source, target=_clean(target), read_only=True)
