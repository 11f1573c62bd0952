"""Copy between the host and containers, as ``cp`` does: through a tar stream.

Comes in:  roots as descriptors, paths as each side sees them.
Goes out:  a tar stream of a path; what a stream holds, below a directory of a root.
Not here:  which container (``compose.cli.cp``), work on paths (``runtime.inside``).
Source: docker container cp, "SRC_PATH and DEST_PATH".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from runtime.errors import RuntimeFailure
from runtime.image import tar
from runtime.image.layer import member
from runtime.inside import receive
from runtime.inside.paths import INSIDE, enter, exists, name_of
from runtime.inside.receive import Owner as Owner
from runtime.inside.remove import remove_tree
from runtime.inside.walk import walk
from runtime.kernel.mounts import Resolve
from schemas.frozen import replace

_LIST = os.O_RDONLY | os.O_DIRECTORY


def pack(root: int, path: str, name: str, *, follow: bool) -> Iterator[bytes]:
    """A tar stream of ``path`` in ``root``, in which it is called ``name``; "" for the content alone.

    follow: a link at the end of ``path`` is followed. Raises RuntimeFailure when there is nothing.
    """
    parent, _, last = path.rstrip("/").rpartition("/")
    if follow or path.endswith(("/", "/.")) or last in ("", ".", ".."):
        path = resolved(root, path)
        parent, _, last = path.rpartition("/")
    above = _open(root, parent or "/", os.O_PATH | os.O_DIRECTORY, path)
    try:
        info = os.stat(last or ".", dir_fd=above, follow_symlinks=False)
        yield from _rendered(_members(above, last or ".", os.fsencode(name or last), info, bare=not name))
    except FileNotFoundError:
        raise _missing(path) from None
    finally:
        os.close(above)
    yield bytes(2 * tar.BLOCK)


def resolved(root: int, path: str) -> str:
    """Where ``path`` leads inside ``root``, links followed. Raises RuntimeFailure when that is nothing."""
    fd = _open(root, path, os.O_PATH, path)
    try:
        return name_of(root, fd)
    finally:
        os.close(fd)


def is_directory(root: int, path: str) -> bool:
    """Whether ``path`` leads to a directory inside ``root``."""
    try:
        fd = enter(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return stat.S_ISDIR(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def is_link(root: int, path: str) -> bool:
    """Whether ``path`` itself is a symbolic link."""
    fd = enter(root, path, os.O_PATH | os.O_NOFOLLOW)
    try:
        return stat.S_ISLNK(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def destination(root: int, path: str, name: str, *, of_directory: bool, content: bool) -> tuple[str, str]:
    """The directory to unpack in, and what the copy is called there ("" for its content alone).

    name: of the source; of_directory: it is one; content: its path ends with "/.". Raises RuntimeFailure.
    """
    if is_directory(root, path):
        return path, "" if content else name
    if exists(root, path):
        if of_directory:
            raise RuntimeFailure(f"cannot copy a directory to the file '{path}'", exit_code=1)
    elif path.endswith("/") and not of_directory:
        raise RuntimeFailure(f"no such directory: '{path}'", hint="make it first", exit_code=1)
    parent, _, last = path.rstrip("/").rpartition("/")
    if not is_directory(root, parent or "/"):
        raise RuntimeFailure(f"no such directory: '{parent}'", hint="make it first", exit_code=1)
    return parent or "/", last


def remove(root: int, path: str) -> None:
    """Take ``path`` away, whatever it is; nothing when it is not there. Its last part is not followed."""
    parent, _, name = path.rstrip("/").rpartition("/")
    try:
        above = enter(root, parent or "/", os.O_PATH | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        remove_tree(above, name)
    finally:
        os.close(above)


def unpack(root: int, directory: str, chunks: Iterable[bytes], owner: Owner) -> None:
    """Make what the tar stream ``chunks`` holds below ``directory`` of ``root``. Devices are left out.

    Raises RuntimeFailure for a name that leads out of ``directory``, OSError.
    """
    reader = tar.Reader(iter(chunks))
    for entry in reader:
        inner = _inner(entry.name)
        if not inner:
            continue
        path = f"{directory.rstrip('/')}/{inner}"
        who = owner.of(entry.uid, entry.gid)
        if entry.type == tar.DIRECTORY:
            receive.make_directory(root, path, entry.mode & 0o7777, who, entry.mtime)
        elif entry.type == tar.SYMLINK:
            receive.make_symlink(root, path, entry.link, who)
        elif entry.type == tar.HARDLINK:
            receive.make_hardlink(root, path, f"{directory.rstrip('/')}/{_inner(entry.link)}")
        elif entry.type == tar.FILE:
            receive.make_file(
                root, path, entry.mode & 0o7777, who, entry.mtime, _whole(entry, reader.content())
            )


def _whole(entry: tar.Entry, content: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    """The content of a file, zeros in the holes of a sparse one."""
    if not entry.pieces:
        yield from content
        return
    at, stored = 0, b"".join(content)
    taken = 0
    for offset, length in entry.pieces:
        yield from _zeros(offset - at)
        yield stored[taken : taken + length]
        at, taken = offset + length, taken + length
    yield from _zeros(entry.real_size - at)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, 1 << 20))
        count -= 1 << 20


def _inner(name: bytes) -> str:
    """``name`` relative to the directory, "" for that itself."""
    parts = [part for part in os.fsdecode(name).split("/") if part not in ("", ".")]
    if ".." in parts:
        raise RuntimeFailure(f"the archive names '{os.fsdecode(name)}', which leads out", exit_code=1)
    return "/".join(parts)


def _open(root: int, path: str, flags: int, asked: str, *, resolve: Resolve = INSIDE) -> int:
    try:
        return enter(root, path, flags, resolve=resolve)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(asked) from None


def _missing(path: str) -> RuntimeFailure:
    return RuntimeFailure(f"no such file or directory: '{path}'", exit_code=1)


def _members(
    above: int, last: str, name: bytes, info: os.stat_result, *, bare: bool
) -> Iterator[tar.Entry | bytes]:
    links: dict[tuple[int, int], bytes] = {}
    source = os.fsencode(last)
    if not (bare and stat.S_ISDIR(info.st_mode)):
        yield from member(name, above, source, info, links, content=True, living=True)
    if not stat.S_ISDIR(info.st_mode):
        return
    links.clear()
    top = os.open(source, _LIST | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    prefix = b"" if bare else name + b"/"
    try:
        for path, here, inner, found in walk(top, living=True):
            for part in member(path, here, inner, found, links, content=True, living=True):
                if isinstance(part, tar.Entry):
                    link = prefix + part.link if part.type == tar.HARDLINK else part.link
                    part = replace(part, name=prefix + part.name, link=link)
                yield part
    finally:
        os.close(top)


def _rendered(parts: Iterable[tar.Entry | bytes]) -> Iterator[bytes]:
    for part in parts:
        yield tar.header(part) if isinstance(part, tar.Entry) else part
