"""What a load is asked for, and the one door through which the loader reads files.

Comes in:  flags, environment and working directory, from the command line.
Goes out:  a LoadRequest; a Reader that remembers every file it was asked for.
Not here:  finding files (``files``). This module is light: a cached load needs nothing else.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from compose.errors import FileInvalid, Where
from schemas.frozen import dataclass, field

try:  # hashlib would load OpenSSL as well: 3 ms of every command
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

STAGES = ("interpolate", "normalize", "path-resolution", "env-resolution", "consistency")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """What the command line knows about the project.

    files, project_name, project_directory, env_files, profiles: the flags; empty when not given.
    environment: the caller's environment variables.
    cwd:         the absolute working directory.
    services:    services named by the user: they are active whatever their profiles say.
    omit:        stages that are left out, for ``config --no-...``: some of ``STAGES``; for its ``--hash``
                 "env-files", the reading of ``env_file``.
    separator:   between the parts of a container's name; all_resources: also those that no service uses.
    """

    files: tuple[str, ...] = ()
    project_name: str = ""
    project_directory: str = ""
    env_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    services: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()
    separator: str = "-"
    all_resources: bool = False


_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)|^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*$", re.MULTILINE)


class Reader:
    """Reads files for the loader and remembers which, so that a cached result can be checked.

    seen:  absolute path -> SHA-256 of the content, or None where there was no file.
    names: variables that env files refer to or inherit.
    """

    def __init__(self, stdin: bytes | None = None) -> None:
        self.seen: dict[str, str | None] = {}
        self.names: set[str] = set()
        self._stdin = stdin

    def exists(self, path: str) -> bool:
        """Whether ``path`` is there; its absence becomes part of what the result depends on."""
        there = _there(path)
        if not there:
            self.seen[path] = None
        return there

    def read(self, path: str, shown: str) -> bytes:
        """The content of ``path``. Raises FileInvalid naming it as ``shown``."""
        if path == "-":
            self._stdin = sys.stdin.buffer.read() if self._stdin is None else self._stdin
            self.seen["-"] = digest(self._stdin)
            return self._stdin
        try:
            data = _read_regular(path)
        except FileNotFoundError:
            self.seen[path] = None
            raise FileInvalid(f"there is no file '{shown}'", where=Where(shown)) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise FileInvalid(f"cannot read '{shown}': {reason.lower()}", where=Where(shown)) from None
        self.seen[path] = digest(data)
        return data

    def text(self, path: str, shown: str) -> str:
        """The content of an env file or label file as UTF-8 text."""
        try:
            text = self.read(path, shown).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise FileInvalid(f"'{shown}' is not UTF-8 text", where=Where(shown)) from None
        self.names |= {name for pair in _VARIABLE.findall(text) for name in pair if name}
        return text


def _there(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False  # no file has such a name


def _read_regular(path: str) -> bytes:
    """A regular file's bytes; never waits on a FIFO or device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if Path(path).is_dir():
            raise IsADirectoryError(21, "it is a directory")
        if not Path(path).is_file() and not path.startswith("/dev/fd/") and path != "/dev/null":
            raise OSError(22, "it is not a regular file")
        return file.read()


def digest(data: bytes) -> str:
    """A digest of 256 bits as hexadecimal text, for our own comparisons."""
    return blake2b(data, digest_size=32).hexdigest()
