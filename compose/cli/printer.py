"""Print lines of containers: prefix, colour, time; one colour per service, prefixes aligned.

Comes in:  Lines of ``engine.logs``, the names to show for the containers.
Goes out:  bytes on standard output and, with ``split``, on standard error what was written to it.
"""

import sys
from collections.abc import Iterable, Mapping

from compose.cli import report
from compose.cli.harmless import escaped
from compose.engine.logs import Line

COLOURS = ("36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1")


class Printer:
    """Prints for a set of containers that may grow.

    shown: what stands in the prefix, by container name; services: by container name, for the colours.
    split: keep the two streams apart, as an attached ``up`` does and ``logs`` does not.
    """

    def __init__(
        self,
        shown: Mapping[str, str],
        services: Mapping[str, str],
        *,
        prefix: bool = True,
        colour: bool = True,
        times: bool = False,
        split: bool = False,
    ) -> None:
        self.shown = dict(shown)
        self.services = dict(services)
        self.prefix = prefix
        self.times = times
        self.split = split
        self.colour = colour and report.colourful(sys.stdout)
        self._prefixes: dict[str, bytes] = {}
        self._order: list[str] = sorted(set(services.values()))

    def add(self, name: str, shown: str, service: str) -> None:
        """Know one more container; the prefixes of all are aligned anew."""
        if name in self.shown:
            return
        self.shown[name] = shown
        self.services[name] = service
        if service not in self._order:
            self._order.append(service)
        self._prefixes.clear()

    def lines(self, lines: Iterable[Line]) -> None:
        """Print ``lines``, those of standard output and standard error in their order."""
        for line in lines:
            out = sys.stderr if self.split and line.stream == "stderr" else sys.stdout
            time = line.time.encode() + b" " if self.times else b""
            out.buffer.write(self._prefix(line.name) + time + line.text + b"\n")
            if out is sys.stderr:
                sys.stdout.buffer.flush()
                out.buffer.flush()
        sys.stdout.buffer.flush()

    def ended(self, name: str, text: str) -> None:
        """Say how a container ended: ``web-1 exited with code 0``."""
        sys.stdout.buffer.flush()
        report.write(sys.stdout, f"{self.painted(name, self.shown.get(name, name))} {escaped(text)}\n")

    def painted(self, name: str, text: str) -> str:
        """``text`` in the colour of the container ``name``."""
        text = escaped(text)
        if not self.colour:
            return text
        service = self.services.get(name, name)
        number = self._order.index(service) if service in self._order else 0
        return f"\033[{COLOURS[number % len(COLOURS)]}m{text}\033[0m"

    def _prefix(self, name: str) -> bytes:
        if not self.prefix:
            return b""
        made = self._prefixes.get(name)
        if made is None:
            width = max((len(text) for text in self.shown.values()), default=0)
            text = self.shown.get(name, name).ljust(width) + "  | "
            made = self._prefixes[name] = self.painted(name, text).encode()
        return made
