"""What every test may use: privileges found out by trying, disposable namespaces, a tiny root file system.

PATH holds nothing but declared programs (tests/support). A test marked ``root`` runs its body in a child with
mount, pid, network, IPC and UTS namespaces of its own: whatever it leaves there vanishes with the child. With
``net`` beside it the network namespace is kept.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support import children, skips
from tests.support.busybox import busybox_tree
from tests.support.children import in_child
from tests.support.path import only_declared
from tests.support.programs import program

pytest_plugins = ["pytester"]

REQUIRED = os.environ.get("PYCOMPOSE_REQUIRE_ROOT") == "1"


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
    config.pluginmanager.register(children)
    config.pluginmanager.register(skips)
    path = ExitStack()
    path.enter_context(only_declared())
    config.add_cleanup(path.close)


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
    if pyfuncitem.get_closest_marker("root") is None or {"e2e", "security"} & {*pyfuncitem.path.parts}:
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
    root = tmp_path_factory.mktemp("busybox", numbered=True)
    busybox_tree(root, program("busybox"))
    return root
