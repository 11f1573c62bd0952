"""What has to lie on disk before a container starts: bind sources, volumes, secrets, the profile.

Comes in:  a Launch, the Project if there is one (contents of configs and secrets).
Goes out:  the ContainerSpec to create; files and directories on the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from compose.engine.through import through
from compose.errors import ComposeError
from compose.model.places import Places
from compose.model.project import Project, Volume
from compose.plan.launch import File, Launch
from runtime import state, volume
from runtime.spec import ContainerSpec


def prepare(launch: Launch, project: Project | None, volumes: Path, record: Path) -> ContainerSpec:
    """Make everything ``launch`` is built on; give the spec with its seccomp profile read in.

    Raises ComposeError when a bind source is missing and must not be made.
    """
    for device in launch.spec.devices:
        _device(device.source, launch.service)
    for source, make in launch.binds.items():
        _bind(source, make=make, service=launch.service)
    for wanted in launch.volumes:
        if not volume.exists(volumes, wanted.name):
            volume.create(
                volumes, wanted.name, {"com.docker.volume.anonymous": ""} if wanted.anonymous else {}
            )
    for file in launch.files:
        if project is not None or not Path(file.path).exists():
            _write(file, project, launch.service)
    if launch.spec.etc and not launch.spec.namespaces.network.startswith("container:"):
        _etc(Path(launch.spec.etc))
    spec = _with_options(launch, volumes)
    if launch.seccomp_file:
        return dataclasses.replace(spec, seccomp=_profile(launch))
    return spec


def _with_options(launch: Launch, volumes: Path) -> ContainerSpec:
    """The spec, volumes that are read-only by their own options mounted so, whichever project made them."""
    named = {item.name for item in launch.volumes if not item.anonymous}
    closed = {f"{volumes}/{name}/_data" for name in named if volume.is_read_only(volumes, name)}
    if not closed:
        return launch.spec
    mounts = (
        dataclasses.replace(mount, read_only=True) if mount.source in closed else mount
        for mount in launch.spec.mounts
    )
    return dataclasses.replace(launch.spec, mounts=tuple(mounts))


def driver_options(wanted: Volume) -> Mapping[str, str]:
    """What a volume mounts, empty for a directory of our own.

    Raises ComposeError for other drivers than local and for options that it does not have.
    """
    path = f"volumes.{wanted.key}"
    if wanted.driver not in ("", "local"):
        raise ComposeError(
            f"volume '{wanted.key}': driver '{wanted.driver}' is not supported",
            hint="use 'driver: local'",
            path=path,
        )
    options = wanted.driver_opts
    why = ""
    if unknown := sorted(set(options) - {"type", "device", "o"}):
        why = f"invalid option '{unknown[0]}'"
    elif options and volume.is_bind(options):
        words = set(options["o"].split(",")) - {"bind", "rbind", "ro", "rw"}
        if not options.get("device", "").startswith("/"):
            why = "a bind needs an absolute 'device'"
        elif words:
            why = f"a bind has no option '{min(words)}' here"
    elif options and not (options.get("type") and options.get("device")):
        why = "missing required option 'type' or 'device'"
    if why:
        raise ComposeError(
            f"volume '{wanted.key}': {why}",
            hint="driver_opts of the local driver are type, device and o, as mount(8) takes them",
            path=path,
        )
    return options


async def mount_volumes(launch: Launch, volumes: Path) -> None:
    """Mount the file systems of volumes with options; a thread waits for a server that does not answer.

    Raises RuntimeFailure with the kernel's reason.
    """
    for wanted in launch.volumes:
        if volume.needs_mount(volumes, wanted.name):
            await through(asyncio.to_thread(volume.attach, volumes, wanted.name))


def release(names: Collection[str], places: Places, project: str) -> None:
    """Unmount the file systems of volumes that this project needs no more, unless another does."""
    for name in names:
        if volume.is_attached(places.volumes, name) and not _used_elsewhere(name, places, project):
            volume.detach(places.volumes, name)


def _used_elsewhere(name: str, places: Places, project: str) -> bool:
    source = f"{places.volumes}/{name}/_data"
    return any(
        any(mount.source == source for mount in spec.mounts)
        for other in places.project_data("").glob("*")
        if other.name != project
        for spec, now in state.containers(places.project_run(other.name), other)
        if now.status in ("running", "paused")
    )


def remove_anonymous(launch: Launch, volumes: Path) -> None:
    """Remove the anonymous volumes of a container that is gone for good."""
    for item in launch.volumes:
        if item.anonymous:
            volume.remove(volumes, item.name)


def remove_files(launch: Launch) -> None:
    """Remove the written configs and secrets of a container."""
    for file in launch.files:
        Path(file.path).unlink(missing_ok=True)
    for directory in {Path(file.path).parent for file in launch.files}:
        with contextlib.suppress(OSError):
            directory.rmdir()


def _bind(source: str, *, make: bool, service: str) -> None:
    path = Path(source)
    if path.exists():
        return
    if not make:
        raise ComposeError(
            f"service '{service}': bind source path does not exist: {source}",
            hint="create it, or correct the path",
        )
    for directory in (*reversed(path.parents), path):
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            directory.chmod(0o755)  # whatever the umask is


def _device(source: str, service: str) -> None:
    """Raise ComposeError unless ``source`` is a device node, or a directory of them."""
    try:
        mode = Path(source).stat().st_mode
    except OSError as error:
        why = (error.strerror or "").lower()
    else:
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode):
            return
        why = "not a device node"
    raise ComposeError(
        f"service '{service}': cannot give device '{source}' to its container: {why}",
        hint="correct the path, or bind a file under 'volumes:'",
        path=f"services.{service}.devices",
    )


def _etc(directory: Path) -> None:
    """Files that are bound now and filled when addresses are known; every user inside reads them."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ("hosts", "hostname", "resolv.conf"):
        path = directory / name
        path.touch()
        path.chmod(0o644)


def _write(file: File, project: Project | None, service: str) -> None:
    table = getattr(project, file.kind) if project is not None else {}
    item = table.get(file.source)
    if item is not None and item.environment and item.content is None:
        what = f'{file.kind[:-1]} "{file.source}"'
        raise ComposeError(
            f'environment variable "{item.environment}" required by {what} is not set',
            hint=f"set it: {item.environment}=... pycompose up",
        )
    if item is None or item.content is None:
        raise ComposeError(
            f"service '{service}': the content of {file.kind[:-1]} '{file.source}' is not known any more",
            hint="run 'pycompose up' again",
        )
    path = Path(file.path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as stream:
        stream.write(item.content.encode())
        os.fchown(stream.fileno(), file.uid, file.gid)
        os.fchmod(stream.fileno(), file.mode)


def _profile(launch: Launch) -> str:
    try:
        return Path(launch.seccomp_file).read_text(encoding="utf-8")
    except OSError as error:
        raise ComposeError(
            f"service '{launch.service}': no seccomp profile at {launch.seccomp_file}: {error.strerror}"
        ) from error
