"""An attacker inside a container with every capability, who waits for processes of ours to come by.

Comes in:  the pid of a container's first process.
Goes out:  what it saw of processes that enter, and what it could do to them.
Not here:  making processes enter (``edges``).

It is a child of the test in the container's namespaces, and so quicker than anything written in shell. It has
more rights than the container has: what it cannot do, nobody inside can.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.security import SECRET

_SPACES = ("mnt", "net", "ipc", "uts", "cgroup", "pid")
_PROGRAMS = {"busybox", "sh", "sleep", "true", "id", "cat"}


class Watcher:
    """Watches until told to stop; ``seen`` is what it found out then."""

    def __init__(self, pid: int) -> None:
        self._ours, theirs = os.pipe()
        told, self._tell = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            os.close(self._tell)
            os.close(self._ours)
            with contextlib.suppress(BaseException):
                _enter(pid, theirs, told)
            os._exit(1)
        os.close(theirs)
        os.close(told)
        assert os.read(self._ours, 1) == b"r", "the watcher did not come in"

    def seen(self) -> dict[str, Any]:
        """Stop it. Returns what it found.

        processes: how many; programs: their files; passed: what was possible; errors: what was not.
        """
        os.close(self._tell)
        with open(self._ours, "rb") as answer:
            text = answer.read()
        os.waitpid(self.child, 0)
        return dict(json.loads(text))


def _enter(pid: int, answer: int, told: int) -> None:
    spaces = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in _SPACES]
    from runtime.kernel.namespaces import Clone, setns

    for fd in spaces:
        setns(fd, Clone(0))
        os.close(fd)
    inner = os.fork()
    if inner == 0:
        os.write(answer, b"r")
        try:
            found = _watch(told)
        except BaseException as error:
            found = {"processes": 0, "programs": [], "passed": [repr(error)], "errors": []}
        os.write(answer, json.dumps(found).encode())
        os._exit(0)
    os.waitpid(inner, 0)
    os._exit(0)


def _watch(told: int) -> dict[str, Any]:
    root = os.stat("/")
    own, known, passed = str(os.getpid()), set[str](), set[str]()
    programs, errors = set[str](), set[str]()
    while not select.select([told], [], [], 0)[0]:
        for name in os.listdir("/proc"):
            if not name.isdigit() or name in known or name == own:
                continue
            with contextlib.suppress(OSError):
                if not _is_ours(os.readlink(f"/proc/{name}/exe")):
                    known.add(name)
                    continue
                _hold(int(name))
                program = os.readlink(f"/proc/{name}/exe")
                if _is_ours(program):  # it may have become another one before it was held
                    programs.add(program)
                    for what, code in _try(name, root):
                        (errors if code else passed).add(f"{what}: {code}" if code else what)
                known.add(name)
                os.kill(int(name), signal.SIGCONT)
    return {
        "processes": len(known),
        "programs": sorted(programs),
        "passed": sorted(passed),
        "errors": sorted(errors),
    }


def _is_ours(program: str) -> bool:
    return Path(program).name not in _PROGRAMS and not program.startswith("/memfd")


def _hold(pid: int) -> None:
    """Stop a process, so that there is time to look at it."""
    os.kill(pid, signal.SIGSTOP)
    for _ in range(1000):
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TtZ":
            return


def _try(name: str, root: os.stat_result) -> Iterator[tuple[str, str]]:
    base = f"/proc/{name}"
    yield from _change(f"{base}/exe", "the program")
    with contextlib.suppress(OSError):
        for mapped in os.listdir(f"{base}/map_files"):
            info = os.stat(f"{base}/map_files/{mapped}")
            if stat.S_ISREG(info.st_mode) and info.st_dev != root.st_dev:  # none of the container's own
                yield from _change(f"{base}/map_files/{mapped}", "a mapped file")
    with contextlib.suppress(OSError):
        if SECRET in Path(f"{base}/environ").read_text(errors="replace"):
            yield "the caller's secret in the environment", ""
        yield from _memory(base)
    for name_of in ("root", "cwd"):
        with contextlib.suppress(OSError):
            there = os.stat(f"{base}/{name_of}/")
            if name_of == "root" and (there.st_dev, there.st_ino) != (root.st_dev, root.st_ino):
                yield f"another root than the container's: {os.listdir(f'{base}/root/')[:5]}", ""
    yield from _descriptors(base)


def _change(path: str, what: str) -> Iterator[tuple[str, str]]:
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return
    actions = {
        "opened for writing": lambda: os.close(os.open(path, os.O_WRONLY)),
        "chmod": lambda: os.chmod(path, mode),
        "chown": lambda: os.chown(path, 0, 0),
        "utime": lambda: os.utime(path),
        "setxattr": lambda: os.setxattr(path, "trusted.escape", b"x"),
        "truncate": lambda: os.truncate(path, os.stat(path).st_size),
    }
    for action, do in actions.items():
        try:
            do()
        except OSError as error:
            code = errno.errorcode.get(error.errno or 0, "?")
            if code == "ETXTBSY":  # it runs just now; the other changes tell what holds afterwards
                continue
            if code in ("ESRCH", "ENOENT"):
                continue
            yield f"{action} of {what}", code
        else:
            yield f"{action} of {what} ({os.readlink(path)})", ""


def _memory(base: str) -> Iterator[tuple[str, str]]:
    with open(f"{base}/mem", "rb") as memory:
        for line in Path(f"{base}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            if "rw" not in rights:
                continue
            start, end = (int(one, 16) for one in span.split("-"))
            with contextlib.suppress(OSError, ValueError):
                memory.seek(start)
                if SECRET.encode() in memory.read(min(end - start, 8 << 20)):
                    yield "the caller's secret in memory", ""


def _descriptors(base: str) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"{base}/fd"):
            path = f"{base}/fd/{fd}"
            with contextlib.suppress(OSError):
                target = os.readlink(path)
                if stat.S_ISDIR(os.stat(path).st_mode):
                    yield f"an open directory: {target}", ""
                elif target.startswith("/") and not target.startswith(("/dev/", "/proc/", "/etc/", "/memfd")):
                    yield f"an open file of the host: {target}", ""
