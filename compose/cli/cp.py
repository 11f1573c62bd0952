"""``pycompose cp``: copy files between containers of a service and the host, or a tar stream."""

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from compose.cli.options import Argument, Index, Option
from compose.cli.scope import Scope
from compose.errors import UsageError

if TYPE_CHECKING:
    from compose.cli.containers import Container

CHUNK = 1 << 18
STREAM = "-"


def run(
    scope: Scope,
    source: Annotated[str, Argument("[SERVICE:]SRC_PATH|-")],
    target: Annotated[str, Argument("[SERVICE:]DEST_PATH|-")],
    *,
    all: Annotated[bool, Option("--all", help="Include containers created by the run command")] = False,
    archive: Annotated[
        bool, Option("-a", "--archive", help="Archive mode (copy all uid/gid information)")
    ] = False,
    follow_link: Annotated[
        bool, Option("-L", "--follow-link", help="Always follow symbol link in SRC_PATH")
    ] = False,
    index: Index = None,
) -> int:
    """Copy files/folders between a service container and the local filesystem"""
    (from_service, from_path), (to_service, to_path) = split(source), split(target)
    if from_service and to_service:
        raise UsageError("copying between services is not supported")
    if not from_service and not to_service:
        raise UsageError("unknown copy direction", hint="write SERVICE:PATH for the side in the container")
    chosen = containers_of(scope, from_service or to_service, index, oneoff=all)
    if from_service:
        work = [(chosen[0], f"{chosen[0].name}:{from_path}", to_path)]
    else:
        work = [(one, from_path, f"{one.name}:{to_path}") for one in chosen]
    from compose.cli.progress import display

    if not scope.dry_run:
        scope.require_rights()
    shown = display(scope.progress, dry_run=scope.dry_run)
    try:
        for container, what, where in work:
            words = f"{container.name} copy {what} to {where}"
            shown.change(words, "Copying")
            if not scope.dry_run and from_service:
                _out(container, from_path, to_path, follow=follow_link, archive=archive)
            elif not scope.dry_run:
                _apart(container, from_path, to_path, follow=follow_link, archive=archive)
            shown.change(words, "Copied")
    finally:
        shown.close()
    return 0


def split(text: str) -> tuple[str, str]:
    """Service and path; ``./a:b``, ``/a:b`` and ``-`` are of the host. Pure."""
    service, colon, path = text.partition(":")
    if not colon or service.startswith((".", "/")) or not service:
        return "", text
    return service, path or "/"


def containers_of(scope: Scope, service: str, index: int | None, *, oneoff: bool) -> "list[Container]":
    """The containers that are meant, by number. Raises UsageError when there is none."""
    from compose.cli.lifecycle import chosen

    found = [c for c in chosen(scope, (service,), oneoff=oneoff) if index in (None, 0, c.number)]
    if not found:
        replica = f" index={index}" if index else ""
        raise UsageError(
            f'no container found for service "{service}"{replica}', hint=f"make it: pycompose up -d {service}"
        )
    return sorted(found, key=lambda c: (c.oneoff, c.number))


@contextmanager
def _root(container: "Container") -> Iterator[int]:
    from runtime.process.outside import root

    fd = root(container.spec, container.state, container.record)
    try:
        yield fd
    finally:
        os.close(fd)


def _apart(container: "Container", source: str, target: str, *, follow: bool, archive: bool) -> None:
    """``_in`` in a process of its own: the root of a stopped container is mounted for one process alone."""
    if container.running:
        return _in(container, source, target, follow=follow, archive=archive)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _in(container, source, target, follow=follow, archive=archive)
            code = 0
        except Exception as failure:
            from compose.cli import report

            report.error(failure)
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise UsageError(f"nothing was copied to {container.name}")


def _in(container: "Container", source: str, target: str, *, follow: bool, archive: bool) -> None:
    from runtime.image import copying

    owner = copying.Owner(*((None, None) if archive else (0, 0)))
    with _root(container) as root:
        target = "/" + target.lstrip("/")
        if source == STREAM:
            if not copying.is_directory(root, target):
                raise UsageError(f"'{target}' is no directory in {container.name}", hint="make it first")
            return copying.unpack(root, target, _chunks(), owner)
        with _host() as host:
            path = os.path.join(os.getcwd(), source)  # noqa: PTH118  keeps "/." at the end
            info = _stat(source, follow=follow)
            directory, name = copying.destination(
                root, target, base(source), of_directory=stat.S_ISDIR(info.st_mode), content=bare(source)
            )
            copying.unpack(root, directory, copying.pack(host, path, name, follow=follow), owner)


def _out(container: "Container", source: str, target: str, *, follow: bool, archive: bool) -> None:
    from runtime.image import copying

    owner = copying.Owner(*((None, None) if archive else (os.geteuid(), os.getegid())))
    with _root(container) as root:
        source = "/" + source.lstrip("/")
        if target == STREAM:
            for chunk in copying.pack(root, source, base(source) or ".", follow=follow):
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return
        with _host() as host:
            path = os.path.join(os.getcwd(), target)  # noqa: PTH118  keeps "/" at the end
            is_directory = copying.is_directory(root, source) and (
                follow or not copying.is_link(root, source)
            )
            parent, name = copying.destination(
                host, path, base(source), of_directory=is_directory, content=bare(source)
            )
            chunks = copying.pack(root, source, name, follow=follow)
            top = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # names inside lead no further
            try:
                copying.unpack(top, "/", chunks, owner)
            finally:
                os.close(top)


@contextmanager
def _host() -> Iterator[int]:
    fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _chunks() -> Iterable[bytes]:
    return iter(lambda: sys.stdin.buffer.read(CHUNK), b"")


def _stat(path: str, *, follow: bool) -> os.stat_result:
    try:
        return Path(path).stat() if follow or path.endswith("/") or bare(path) else Path(path).lstat()
    except FileNotFoundError:
        raise UsageError(f"no such file or directory: '{path}'") from None


def base(path: str) -> str:
    """What a copy of ``path`` is called. Pure."""
    return os.path.basename(os.path.normpath(path)).strip("/")  # noqa: PTH119  a text of either side


def bare(path: str) -> bool:
    """Whether the content of a directory is meant and not itself: ``dir/.``. Pure."""
    return path.endswith("/.") or path == "."
