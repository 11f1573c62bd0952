"""A disposable machine for network tests: the body runs in a child with namespaces of its own.

It has a link ``up0`` (192.0.2.5, 2001:db8::5) that leads to another machine (192.0.2.1, 2001:db8::1), which
has no route to containers. When the body is done nothing of ours may be left in it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from netns.netlink import inside
from netns.network import Connection, Networks
from netns.nftables.apply import Firewall
from netns.nftables.messages import BRIDGE
from netns.spec import EndpointSpec, PortSpec
from tests.support.children import in_child
from tests.support.programs import need

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
OUTSIDE, HOST4, HOST6 = "192.0.2.1", "192.0.2.5", "2001:db8::5"


class Box:
    """A process in a network namespace of its own: what a container is to ``netns``."""

    def __init__(self, number: int) -> None:
        self._process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        self.id = f"{number:02x}" * 32
        self.netns = Path(f"/proc/{self._process.pid}/ns/net")
        home = Path("/proc/self/ns/net").readlink()
        while self.netns.readlink() == home:
            time.sleep(0.002)

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, *argv: str) -> str:
        """Output of a command inside."""
        command = ["nsenter", f"--net={self.netns}", *argv]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def socket(self, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET) -> socket.socket:
        with inside(self.netns):
            made = socket.socket(family, kind)
        made.settimeout(2)
        return made

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Machine:
    """The host of a test, with its networks and boxes."""

    def __init__(self, run: Path, outside: Box, undo: ExitStack) -> None:
        self.run = run
        self.outside = outside
        self.undo = undo
        self.networks = Networks(run, "shop")
        undo.callback(self.networks.close)
        self._count = 0

    def box(self) -> Box:
        self._count += 1
        box = Box(self._count)
        self.undo.callback(self.networks.forget, box.id)
        self.undo.callback(box.end)
        return box

    def plug(
        self, box: Box, name: str, *networks: str, ports: tuple[PortSpec, ...] = (), **more: object
    ) -> Connection:
        endpoints = [
            EndpointSpec(
                network=network,
                container=box.id,
                container_name=f"shop-{name}-1",
                names=(name,),
                **more,  # type: ignore[arg-type]
            )
            for network in networks
        ]
        return self.networks.connect(box.netns, endpoints, ports)


@contextmanager
def serving(
    box: Box, port: int, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET
) -> Iterator[None]:
    """Answer every connection or datagram in ``box`` with the address of who asked."""
    listener = box.socket(kind, family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    if kind == socket.SOCK_STREAM:
        listener.listen()
    listener.settimeout(0.05)
    done = threading.Event()

    def answer() -> None:
        while not done.is_set():
            try:
                if kind == socket.SOCK_DGRAM:
                    _, who = listener.recvfrom(100)
                    listener.sendto(who[0].encode(), who)
                else:
                    connection, who = listener.accept()
                    with connection:
                        connection.sendall(who[0].encode())
            except TimeoutError:
                continue

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        listener.close()


def ask(made: socket.socket, address: str, port: int) -> str:
    """What a server of ``serving`` says, or the name of the error; closes ``made``."""
    with made:
        try:
            made.connect((address, port))
            if made.type == socket.SOCK_DGRAM:
                made.send(b"?")
            return made.recv(100).decode()
        except OSError as error:
            return type(error).__name__


def here(kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET) -> socket.socket:
    made = socket.socket(family, kind)
    made.settimeout(2)
    return made


def in_a_machine(body: Callable[[Machine], None]) -> Callable[[Path], None]:
    """Make a root test of ``body``; it runs in a child so that even "the host" is disposable."""

    def test(tmp_path: Path) -> None:
        in_child(lambda: _run(body, tmp_path))

    test.__name__, test.__doc__, test.__module__ = body.__name__, body.__doc__, body.__module__
    return pytest.mark.root(test)


def _run(body: Callable[[Machine], None], scratch: Path) -> None:
    signal.alarm(60)
    _unshare()
    with ExitStack() as undo:
        outside = Box(0)
        undo.callback(outside.end)
        _furnish(outside)
        before = _state()
        with ExitStack() as inner:
            body(Machine(scratch / "run", outside, inner))
        _nothing_left(before, scratch / "run")


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare(2): {os.strerror(number)}")


def _furnish(outside: Box) -> None:
    script = f"""set -e
    mount --make-rprivate /
    mount -t sysfs sysfs /sys
    echo 0 >/proc/sys/net/ipv4/ip_forward
    ip link set lo up
    ip link add up0 mtu 1400 type veth peer name eth0 mtu 1400 netns {outside.pid}
    ip address add {HOST4}/24 dev up0
    ip -6 address add {HOST6}/64 dev up0 nodad
    ip link set up0 up
    nsenter --net={outside.netns} sh -ec '
      ip link set lo up; ip address add {OUTSIDE}/24 dev eth0
      ip -6 address add 2001:db8::1/64 dev eth0 nodad; ip link set eth0 up'
    ip route add default via {OUTSIDE}
    """
    need("ip")
    subprocess.run(["sh", "-c", script], check=True, stderr=sys.stderr)


def _state() -> tuple[set[str], int]:
    links = {path.name for path in Path("/sys/class/net").iterdir()}
    return links, len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def _nothing_left(before: tuple[set[str], int], run: Path) -> None:
    """Remove the networks; then no link, table, record, note or descriptor of ours may remain."""
    networks = Networks(run)
    for network in networks.all():
        networks.remove(network.spec.name)
    networks.close()
    deadline = time.monotonic() + 5
    while _state()[0] != before[0] and time.monotonic() < deadline:
        time.sleep(0.01)  # the kernel takes veths of dead namespaces away by and by
    after = _state()
    assert after == before, f"left behind: {before} became {after}"
    firewall = Firewall()
    assert firewall.tables() + firewall.tables(BRIDGE) == []
    firewall.close()
    assert [path for path in run.glob("*/*") if path.is_file()] == []
