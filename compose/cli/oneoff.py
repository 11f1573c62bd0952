"""The work behind ``run``: its flags in the engine's words, and staying with the container.

Comes in:  texts of flags; the arguments of the request.
Goes out:  JSON-able values; the exit code of the command.
"""

import contextlib
import os
import re
import signal
import socket
from collections.abc import Mapping
from typing import Any

from compose.cli import report
from compose.cli.options import Texts
from compose.cli.progress import display, show
from compose.cli.remote import Courier
from compose.cli.scope import Scope
from compose.errors import ComposeError, UsageError
from compose.load import dotenv, short, units
from compose.model.service import VolumeMount
from runtime.process import relay
from runtime.process.relay import window as window
from runtime.spec import to_json

_VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
DETACH = b"\x10\x11"  # Ctrl-P Ctrl-Q
PATIENCE = 3  # so many Ctrl-C until the command itself gives up


def words(text: str) -> list[str]:
    """A command line as words. Raises UsageError."""
    try:
        return units.words(text)
    except ValueError as failure:
        raise UsageError(f"--entrypoint: {failure}") from None


def pairs(flag: str, given: Texts) -> dict[str, str]:
    """``NAME=VALUE`` texts as a table. Raises UsageError."""
    for text in given:
        if text.startswith("=") or "=" not in text:
            raise UsageError(f"invalid value '{text}' for {flag}", hint="write NAME=VALUE")
    return {name: value for name, _, value in (text.partition("=") for text in given)}


def environment(scope: Scope, given: Texts, files: Texts) -> dict[str, str | None]:
    """Variables of ``--env-from-file`` and, over them, ``-e``.

    A name alone takes the value that the caller or an env file of the project gives, if any.
    """
    found: dict[str, str | None] = {}
    known: Mapping[str, str] = os.environ
    for path in files:
        try:
            with open(path, encoding="utf-8") as file:
                found |= dotenv.parse(file.read(), path, dict(os.environ))
        except FileNotFoundError:
            raise UsageError(f"there is no file '{path}'") from None
    for text in given:
        name, equals, value = text.partition("=")
        if not equals and name not in known:
            known = scope.variables()
        if equals or name in known:
            found[name] = value if equals else known[name]
    return found


def ports(given: Texts) -> list[dict[str, Any]]:
    """Short port syntax in long form. Raises UsageError."""
    try:
        return [port for text in given for port in short.ports(text)]
    except ValueError as failure:
        raise UsageError(f"--publish: {failure}") from None


def mounts(given: Texts) -> list[dict[str, Any]]:
    """Short volume syntax in long form; paths from the working directory, names as of ``docker run -v``."""
    found = []
    for text in given:
        try:
            mount = short.volume(text)
        except ValueError as failure:
            raise UsageError(f"--volume: {failure}") from None
        source = mount.get("source", "")
        if mount["type"] == "bind":
            mount["source"] = os.path.abspath(os.path.expanduser(source))  # noqa: PTH100, PTH111  a text is wanted
        elif source and not _VOLUME.fullmatch(source):
            raise UsageError(
                f"--volume: invalid volume name '{source}'", hint="a path begins with '.' or '/'"
            )
        bind, volume = mount.get("bind", {}), mount.get("volume", {})
        found.append(
            to_json(
                VolumeMount(
                    type=mount["type"],
                    target=mount["target"],
                    source=mount.get("source", ""),
                    read_only=mount.get("read_only", False),
                    propagation=bind.get("propagation", ""),
                    create_host_path=bind.get("create_host_path", False),
                    nocopy=volume.get("nocopy", False),
                )
            )
        )
    return found


def perform(scope: Scope, project: str, arguments: Mapping[str, Any], *, quiet: bool) -> int:
    """Ask for the container and stay with it until it ends. Gives the exit code of its command."""
    if arguments["tty"]:
        return _with_terminal(scope, project, arguments, quiet=quiet)
    streams = None if arguments["detach"] else relay.Streams(interactive=arguments["interactive"])
    with contextlib.ExitStack() as undo:
        handed, ours = (streams.theirs, streams.ours) if streams else ((), ())
        if streams:
            undo.callback(streams.close)
        courier = Courier(scope, project, "run", arguments, fds=handed, without=ours)
        stay = _Stay(scope, project, courier, quiet=quiet)
        undo.enter_context(_SignalsTo(stay))
        if streams:
            streams.hand_over()
        while not courier.done:
            if streams and stay.id:  # from now on the terminal is the command's: no progress paints over it
                streams.run(courier.fileno(), lambda: stay.look() or courier.done)
            else:
                courier.wait()
                stay.look()
        if streams:
            streams.drain()
        return stay.code()


def _with_terminal(scope: Scope, project: str, arguments: Mapping[str, Any], *, quiet: bool) -> int:
    """The master of the container's terminal comes back through a socket; then the two are joined."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        courier = Courier(scope, project, "run", arguments, fds=(theirs.fileno(),))
        stay = _Stay(scope, project, courier, quiet=quiet)
        while not courier.done and not stay.id:
            courier.wait()
            stay.look()
        if courier.done:
            return stay.code()
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    if not fds:
        raise ComposeError("the supervisor handed over no terminal")
    stay.mute()
    try:
        if relay.terminal(fds[0], courier.fileno(), lambda: stay.look() or courier.done, DETACH):
            stay.leave(fds[0])
    finally:
        os.close(fds[0])
    return stay.code()


class _Stay:
    """What is known of the container while it runs."""

    def __init__(self, scope: Scope, project: str, courier: Courier, *, quiet: bool) -> None:
        self.scope = scope
        self.project = project
        self.courier = courier
        self.shown = display(scope.progress, quiet=quiet)
        self.id = ""
        self.name = ""
        self.asked = 0

    def look(self) -> bool:
        """Take in what the supervisor has told; False, so that it can stand in a condition."""
        try:
            for event in self.courier.events():
                if event.get("event") == "oneoff":
                    self.id, self.name = event["id"], event["name"]
                    self.mute()
                elif not self.id:
                    show(event, self.shown)
        except BaseException:
            self.shown.close()
            raise
        return False

    def mute(self) -> None:
        """From now on the terminal belongs to the command."""
        self.shown.close()
        self.shown = display("quiet")

    def code(self) -> int:
        """The exit code; prints the container's id when it was left running in the background."""
        self.shown.close()
        result = self.courier.result or {}
        if "name" in result:
            report.tell(self.id or result["name"])
        return int(result.get("code", 1))

    def leave(self, master: int) -> None:
        """The person has left the terminal: the container runs on and its output goes to the log."""
        from compose.supervisor import client

        for _ in client.request(
            self.project, "leave", {"id": self.id}, start=False, fds=(master,), places=self.scope.places
        ):
            pass
        while not self.courier.done:
            self.courier.wait()
            self.look()

    def pass_on(self, number: int) -> None:
        """Send our signal on to the container; the third time the command gives up instead."""
        from compose.supervisor import client

        self.asked += 1
        if not self.id or self.asked >= PATIENCE:
            self.courier.cancel()
            raise KeyboardInterrupt
        told = {"ids": [self.id], "signal": str(number)}
        for _ in client.request(self.project, "kill", told, start=False, places=self.scope.places):
            pass


class _SignalsTo:
    """While it is entered, SIGINT, SIGTERM and the like go to the container."""

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

    def __init__(self, stay: _Stay) -> None:
        self.stay = stay
        self.before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in self._NUMBERS:
            self.before[number] = signal.signal(number, lambda n, _frame: self.stay.pass_on(n))

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
