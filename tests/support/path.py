"""The PATH of a test session: declared programs, those of Debian's essential packages, the venv's, no other.

Comes in:  the machine's PATH and package database.
Goes out:  a directory of symbolic links, and PATH set to it.
Not here:  which programs are declared (programs).

What a test can find by name a fresh machine therefore has as well, once tests/run has set it up.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import PEERS, PROGRAMS, SYSTEM, everywhere, locate

# Where no dpkg tells: what tests and scripts use of base-files, coreutils, util-linux and their like.
USUAL = """
awk basename bash cat chgrp chmod chown chroot cksum cp cut date dd df dirname du echo egrep env expr false
find flock getent grep gunzip gzip head hostname id install kill ldd ln ls mkdir mkfifo mknod mktemp mount
mountpoint mv nice nohup nproc nsenter od paste printf prlimit pwd readlink realpath rm rmdir script sed seq
setpriv setsid sh sha256sum sleep sort split stat stdbuf stty su sync tail tar tee test timeout touch tr
true truncate tty umount uname uniq unlink unshare wc which xargs yes zcat
"""


def essential() -> frozenset[str]:
    """Names of the programs that every Debian machine has: of essential or required packages."""
    try:
        rows = _output("dpkg-query", "-W", "-f=${Package}\\t${Essential}\\t${Priority}\\n").splitlines()
    except (OSError, subprocess.CalledProcessError):
        return frozenset(USUAL.split())
    fields = [row.split("\t") for row in rows]
    names = [name for name, vital, priority in fields if vital == "yes" or priority == "required"]
    files = {Path(line) for line in _output("dpkg-query", "-L", *names).splitlines() if line.startswith("/")}
    owned = {file.name for file in files if str(file.parent) in SYSTEM}
    return frozenset(owned | set(_alternatives(owned)))


def _output(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=everywhere()).stdout


def _alternatives(owned: set[str]) -> Iterator[str]:
    """Names such as awk, which update-alternatives(1) leads to an essential program."""
    for link in Path("/etc/alternatives").glob("*"):
        if link.resolve().name in owned and shutil.which(link.name, path=":".join(SYSTEM)):
            yield link.name


def sources(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Every program that a session may find: its name and where it is on this machine."""
    found = {name: shutil.which(name, path=":".join(SYSTEM)) for name in essential()}
    for one in (*PROGRAMS, *PEERS):
        words = shlex.split(locate(one, everywhere(environment)) or "")
        if words:  # of a peer's command line the first word
            found[one.name] = shutil.which(words[0], path=everywhere(environment)["PATH"])
    # The interpreter behind the virtual environment: python3 in PATH may be a script of a version manager.
    found["python3"] = getattr(sys, "_base_executable", sys.executable)
    return {name: place for name, place in found.items() if place}


@contextmanager
def only_declared() -> Iterator[Path]:
    """Set PATH to declared and essential programs; gives the directory that holds the links to them."""
    # Not below /tmp, /run or /mnt: tests mount file systems there, in namespaces of their own.
    directory = Path(tempfile.mkdtemp(prefix="pycompose-path-", dir="/var/tmp"))
    before = os.environ.get("PATH")
    try:
        directory.chmod(0o755)
        for name, place in sources().items():
            (directory / name).symlink_to(place)
        own = [str(Path(sys.executable).parent)] if sys.prefix != sys.base_prefix else []
        os.environ["PATH"] = ":".join([*own, str(directory)])
        yield directory
    finally:
        shutil.rmtree(directory)
        if before is not None:
            os.environ["PATH"] = before
