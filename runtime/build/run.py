"""RUN: one command in a container of our own runtime, as confined as a service.

Comes in:  a Command: argv, environment, layers, mounts.
Goes out:  an upper layer with what it wrote; BuildFailed with the end of its output.
Not here:  the cache (builder), the words of --mount (mounts).
"""

from __future__ import annotations

import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from runtime.build import stubs
from runtime.build.environment import BUNDLE, TOLD_BY
from runtime.image.view import View
from runtime.policy import capabilities, paths
from runtime.process import oneshot
from runtime.spec import DEFAULT_PATH, ContainerSpec, ExitRecord, Limits, Mount, Namespaces, Ulimit
from schemas.frozen import dataclass, field

Connect = Callable[[Path], None]
_TAIL = 20
GATEWAY = "host-gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One thing to run. network: "private" (plugged in by ``connect``), "host" or "none".

    ready: called when all is mounted and nothing runs yet. stop: a descriptor that ends it, see oneshot.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    layers: Sequence[Path]
    user: str = ""
    working_dir: str = "/"
    mounts: tuple[Mount, ...] = ()
    network: str = "host"
    connect: Connect | None = None
    hosts: tuple[str, ...] = ()
    bundle: str = ""
    shm_size: int | None = None
    memory: int | None = None
    ulimits: tuple[Ulimit, ...] = ()
    privileged: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], None] | None = None
    stop: int | None = None


def run(command: Command, upper: Path, work: Path, output: Callable[[bytes], None]) -> ExitRecord:
    """Run ``command`` on ``upper`` (made here, in overlayfs form afterwards), with ``work`` for what is
    passing."""
    upper.mkdir(mode=0o755)
    upper.chmod(0o755)
    scratch, etc = work / "scratch", work / "etc"
    scratch.mkdir()
    etc.mkdir(mode=0o755)
    _write_etc(etc, command)
    spec = container(command, upper, etc)
    view = View(command.layers)
    made = stubs.missing((mount.target for mount in spec.mounts), view)
    record = oneshot.run(
        spec,
        scratch=scratch,
        connect=lambda netns: _at_the_gate(command, netns, etc),
        output=output,
        stop=command.stop,
    )
    stubs.prune(upper, made, view)
    return record


def _at_the_gate(command: Command, netns: Path, etc: Path) -> None:
    """All is mounted, nothing runs: plug the network in, and name the way to the host in /etc/hosts."""
    if command.ready is not None:
        command.ready()
    address = "127.0.0.1" if command.network == "host" else ""
    if command.network == "private" and command.connect is not None:
        command.connect(netns)
        address = gateway((netns.parents[1] / "net" / "route").read_text())
    names = [name for name, told in _hosts(command.hosts) if told == GATEWAY]
    if names and address:
        with (etc / "hosts").open("a") as hosts:  # the same file that is mounted
            hosts.writelines(f"{address}\t{name}\n" for name in names)


def gateway(table: str) -> str:
    """The address of the default route in /proc/net/route, "" when there is none. Pure. Source: proc(5)."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[1] == "00000000" and fields[2] != "00000000":
            return ".".join(str(byte) for byte in reversed(bytes.fromhex(fields[2])))
    return ""


def _hosts(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        name, _, address = text.replace("=", ":", 1).partition(":")
        yield name, address.strip("[]")


def container(command: Command, upper: Path, etc: Path) -> ContainerSpec:
    """The container of a RUN. Pure."""
    id_ = secrets.token_hex(32)
    privileged = command.privileged
    mounts = list(command.mounts)
    env = dict(command.env)
    if command.bundle:
        mounts.append(Mount(type="bind", source=command.bundle, target=BUNDLE, read_only=True))
        env = {**dict.fromkeys(TOLD_BY, BUNDLE), **env}
    env = {"PATH": DEFAULT_PATH, **command.extra, **env}
    return ContainerSpec(
        id=id_,
        name=f"build-{id_[:12]}",
        argv=command.argv,
        layers=tuple(str(layer) for layer in command.layers),
        upper=str(upper),
        env=tuple(f"{name}={value}" for name, value in env.items()),
        user=command.user,
        working_dir=command.working_dir or "/",
        hostname="buildkitsandbox",
        mounts=tuple(mounts),
        privileged=privileged,
        capabilities=capabilities.final(privileged=privileged),
        seccomp="unconfined" if privileged else "default",
        masked=() if privileged else paths.masked(os.cpu_count() or 1),
        readonly_paths=() if privileged else paths.READONLY,
        namespaces=Namespaces(network=command.network),
        ulimits=command.ulimits,
        limits=Limits(memory=command.memory),
        shm_size=command.shm_size or 64 * 1024 * 1024,
        etc=str(etc),
    )


def _write_etc(etc: Path, command: Command) -> None:
    lines = ["127.0.0.1\tlocalhost buildkitsandbox", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{address}\t{name}" for name, address in _hosts(command.hosts) if address != GATEWAY]
    (etc / "hosts").write_text("\n".join(lines) + "\n")
    (etc / "hostname").write_text("buildkitsandbox\n")
    (etc / "resolv.conf").write_text(_resolvers(command))
    for file in etc.iterdir():
        file.chmod(0o644)


def _resolvers(command: Command) -> str:
    if command.network == "private":
        return "nameserver 127.0.0.11\noptions ndots:0\n"
    try:
        return Path("/etc/resolv.conf").read_text() if command.network == "host" else ""
    except OSError:
        return ""


class Tail:
    """Splits output into lines, hands each on, and remembers the last ones for the error."""

    def __init__(self, line: Callable[[str], None]) -> None:
        self._line, self._rest = line, b""
        self.last: deque[str] = deque(maxlen=_TAIL)

    def __call__(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for text in whole:
            self._put(text)
        if len(self._rest) > 1 << 16:
            self.flush()

    def flush(self) -> None:
        """Hand on a last line without its end."""
        if self._rest:
            self._put(self._rest)
        self._rest = b""

    def _put(self, raw: bytes) -> None:
        text = raw.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
        self.last.append(text)
        self._line(text)


@dataclass(frozen=True, slots=True)
class Runner:
    """How the image rooms, which may not know processes, run programs of assembled images: like a RUN.

    The protocol is runtime.image.progress.Runner. stop: a descriptor that ends it, see oneshot.
    """

    stop: int | None = None

    def __call__(
        self,
        argv: Sequence[str],
        *,
        layers: Sequence[Path],
        upper: Path,
        scratch: Path,
        env: Mapping[str, str],
        output: Callable[[bytes], None] | None = None,
        network: str = "none",
        user: str = "",
        working_dir: str = "/",
    ) -> int:
        etc = scratch / "etc"
        etc.mkdir(exist_ok=True)
        command = Command(
            argv=tuple(argv), env=env, layers=layers, user=user, working_dir=working_dir, network=network
        )
        _write_etc(etc, command)
        spec = container(command, upper, etc)
        view = View([*layers] if layers else [])
        made = stubs.missing((), view)
        inner = scratch / "run"
        inner.mkdir(exist_ok=True)
        record = oneshot.run(spec, scratch=inner, output=output, stop=self.stop)
        if layers:
            stubs.prune(upper, made, view)
        return 125 if record.code is None else record.code
