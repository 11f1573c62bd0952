"""What every test may use: privileges found out by trying, disposable namespaces, a tiny root file system.

A test marked ``root`` runs its body in a child with mount, pid, network, IPC and UTS namespaces of its own:
whatever it leaves there vanishes with the child. With ``net`` beside it the network namespace is kept.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

REQUIRED = os.environ.get("PYCOMPOSE_REQUIRE_ROOT") == "1"
USERS = """\
root:x:0:0:root:/root:/bin/sh
web:x:1000:1000:web:/home/web:/bin/sh
nobody:x:65534:65534::/:/bin/false
"""
GROUPS = "root:x:0:\nweb:x:1000:\nstaff:x:50:web\nnogroup:x:65534:\n"


@cache
def missing() -> str:
    """Empty when namespaces can be made here, else the kernel's own words."""
    from runtime.kernel.mounts import Mount, mount
    from runtime.kernel.namespaces import Clone, unshare

    def body() -> str:
        unshare(Clone.NEWNS | Clone.NEWPID | Clone.NEWNET)
        mount("", "/", "", Mount.PRIVATE | Mount.REC)
        mount("tmpfs", "/mnt", "tmpfs")
        return ""

    try:
        return str(in_child(body))
    except OSError as error:
        return str(error)


def in_child(body: Callable[[], Any]) -> Any:
    """Run ``body`` in a forked child; its result or its exception, the traceback a note on it, comes back."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        code = 1
        try:
            answer = _outcome(body)
            with open(writer, "wb") as pipe:
                pipe.write(answer)
            code = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(writer)
    with open(reader, "rb") as pipe:
        raw = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not raw:
        raise AssertionError(f"the child of the test died: wait status {status}")
    good, value = pickle.loads(raw)
    if good:
        return value
    raise value


def _outcome(body: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps((True, body()))
    except BaseException as error:
        error.add_note(traceback.format_exc())
        try:
            raw = pickle.dumps((False, error))
            pickle.loads(raw)
            return raw
        except Exception:  # an exception that does not travel is told as text
            return pickle.dumps((False, AssertionError(traceback.format_exc())))


def own_namespaces(body: Callable[[], Any], *, network: bool) -> Any:
    """Run ``body`` as pid 1's only child in new namespaces, with a /proc that fits."""
    from runtime.kernel.mounts import Mount, mount
    from runtime.kernel.namespaces import Clone, unshare

    def inner() -> Any:
        mount("proc", "/proc", "proc", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC)
        return body()

    def outer() -> Any:
        new = Clone.NEWNS | Clone.NEWPID | Clone.NEWIPC | Clone.NEWUTS
        unshare(new | Clone.NEWNET if network else new)
        mount("", "/", "", Mount.PRIVATE | Mount.REC)
        if network:
            loopback_up()
        return in_child(inner)

    return in_child(outer)


def loopback_up() -> None:
    """Set IFF_UP on lo (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 1))


def pytest_configure(config: pytest.Config) -> None:
    """A background job of a shell begins with SIGINT ignored, and so would all that is started here."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") is None:
        return
    why = missing()
    if why and REQUIRED:
        pytest.fail(f"privileges are required here: {why}", pytrace=False)
    if why:
        pytest.skip(why)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Bodies of root tests go into namespaces of their own; end-to-end tests look after themselves."""
    if pyfuncitem.get_closest_marker("root") is None or "e2e" in pyfuncitem.path.parts:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    def body() -> None:
        pyfuncitem.obj(**arguments)

    own_namespaces(body, network=pyfuncitem.get_closest_marker("net") is None)
    return True


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """An empty directory on a file system that can carry an overlay's upper layer."""
    return tmp_path


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny root file system, one layer: a static busybox, its links, passwd, group; not written to."""
    program = shutil.which("busybox", path="/bin:/usr/bin:/usr/local/bin")
    if program is None:
        (pytest.fail if REQUIRED else pytest.skip)("no busybox here: apt-get install busybox-static")
        raise AssertionError
    root = tmp_path_factory.mktemp("busybox", numbered=True)
    busybox_tree(root, program)
    return root


def busybox_tree(root: Path, program: str) -> None:
    """Fill ``root`` with a tiny root file system around the static busybox ``program``."""
    for name in ("bin", "etc", "tmp", "root", "home/web", "usr/bin", "var"):
        (root / name).mkdir(parents=True)
    root.chmod(0o755)
    (root / "tmp").chmod(0o1777)
    shutil.copy(program, root / "bin/busybox")
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text(USERS)
    (root / "etc/group").write_text(GROUPS)
