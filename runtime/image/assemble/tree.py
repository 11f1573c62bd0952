"""A root file system being made in a directory, perhaps on top of layers below.

Comes in:  entries of packages, small files of recipes.
Goes out:  files under ``upper``, in the form in which overlayfs lays it over ``lower``.
Not here:  what the entries are for (unpack, recipes).

No path ever goes through a symbolic link of the host's kernel: every parent is looked up here, in upper
and then lower, and links are followed inside the root. A directory that a lower layer has is made again with
the same owner and mode, because overlayfs shows those of the upper one.
"""

# ruff: noqa: PTH101, PTH102, PTH108, PTH115, PTH211 - tens of thousands of files: no Path object for each
from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from runtime.image.assemble.deb import Entry
from runtime.kernel.capabilities import capget
from runtime.policy.capabilities import NUMBERS

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Tree:
    """``upper`` may hold files already; ``lower`` are directories, lowest first."""

    def __init__(self, upper: Path, lower: Sequence[Path] = ()) -> None:
        self.upper = upper
        self._root = str(upper)
        self._lower = [str(path) for path in reversed(lower)]
        self._parents: dict[str, str] = {"": ""}
        self._may_chown = bool(
            capget().effective & 1 << NUMBERS["CHOWN"]
        )  # without it we own all that is made here

    def parent(self, name: str, depth: int = 0) -> str:
        """Make directory ``name`` in upper (0755 if no layer has it); gives its real path in the root."""
        known = self._parents.get(name)
        if known is not None:
            return known
        if depth > 40:
            raise OSError(40, "too many levels of symbolic links", name)
        above, _, last = name.rpartition("/")
        real = f"{self.parent(above, depth)}/{last}".lstrip("/")
        link = self._link(real)
        if link is not None:
            real = self.parent(_join(real.rpartition("/")[0], link), depth + 1)
        else:
            self._make(real)
        self._parents[name] = real
        return real

    def _link(self, real: str) -> str | None:
        """Where ``real`` points when the topmost layer that has it has a symbolic link there."""
        for root in (self._root, *self._lower):
            try:
                if stat.S_ISLNK(os.lstat(f"{root}/{real}").st_mode):
                    return os.readlink(f"{root}/{real}")
                return None
            except FileNotFoundError:
                continue
        return None

    def _make(self, real: str) -> None:
        path = f"{self._root}/{real}"
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            return
        for root in self._lower:
            try:
                seen = os.lstat(f"{root}/{real}")
            except FileNotFoundError:
                continue
            if self._may_chown:
                os.chown(path, seen.st_uid, seen.st_gid)
            os.chmod(path, stat.S_IMODE(seen.st_mode))
            return
        os.chmod(path, 0o755)

    def place(self, name: str) -> str:
        """The host path for the file ``name``, its parent made, its own last part not followed."""
        above, _, last = name.strip("/").rpartition("/")
        return f"{self._root}/{self.parent(above)}/{last}"

    def has(self, name: str) -> bool:
        """Whether any layer has something called ``name`` (its parents looked up as links say)."""
        above, _, last = name.strip("/").rpartition("/")
        real = f"{self.parent(above)}/{last}"
        return any(os.path.lexists(f"{root}/{real}") for root in (self._root, *self._lower))

    def read(self, name: str) -> str:
        """The text of a file of the topmost layer that has it, "" when none has."""
        above, _, last = name.strip("/").rpartition("/")
        real = f"{self.parent(above)}/{last}"
        for root in (self._root, *self._lower):
            try:
                return Path(f"{root}/{real}").read_text()
            except FileNotFoundError:
                continue
        return ""

    # --- writing

    def directory(self, name: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        """Make a directory, or give the one that is there this mode and owner."""
        path = f"{self._root}/{self.parent(name.strip('/'))}"
        if self._may_chown:
            os.chown(path, uid, gid)
        os.chmod(path, mode)

    def file(self, name: str, content: bytes | str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        """Write a file anew; what was there is replaced, never written through."""
        data = content.encode() if isinstance(content, str) else content
        self._write(self.place(name), data, mode, uid, gid)

    def link(self, name: str, target: str) -> None:
        """Make the symbolic link ``name`` to ``target``, replacing what was there."""
        path = self.place(name)
        _away(path)
        os.symlink(target, path)

    def remove(self, name: str) -> None:
        """Delete a file of upper; nothing is hidden that a lower layer has."""
        _away(self.place(name))

    def entry(self, item: Entry) -> None:
        """Write one entry of a package. Directories that are there already keep their mode, as dpkg does."""
        if item.kind == "5":
            known = self.has(item.name) if item.name else True
            if not known:
                self.directory(item.name, item.mode, item.uid, item.gid)
            return
        path = self.place(item.name)
        if item.kind == "2":
            _away(path)
            os.symlink(item.link, path)
            if self._may_chown:
                os.lchown(path, item.uid, item.gid)
        elif item.kind == "1":
            _away(path)
            os.link(self.place(item.link.removeprefix("./")), path)
        elif item.kind in "0\0":
            self._write(path, item.data, item.mode, item.uid, item.gid, item.mtime)
        # a .deb of Debian has no devices and no named pipes

    def _write(
        self, path: str, data: bytes | memoryview, mode: int, uid: int, gid: int, mtime: int = 0
    ) -> None:
        try:
            fd = os.open(path, _NEW, 0o600)
        except FileExistsError:
            os.unlink(path)
            fd = os.open(path, _NEW, 0o600)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left) :]
            if self._may_chown and (uid or gid):
                os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)  # after the owner: a change of owner drops setuid
            if mtime:
                os.utime(fd, (mtime, mtime))
        finally:
            os.close(fd)


def _away(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _join(base: str, link: str) -> str:
    """Resolve the text of a link that lies in directory ``base``; never above the root."""
    parts: list[str] = [] if link.startswith("/") else [part for part in base.split("/") if part]
    for part in link.split("/"):
        if part == "..":
            parts[-1:] = []
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
