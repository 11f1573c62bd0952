"""Show what is going on: one live line per thing on a terminal, one plain line per change elsewhere.

Comes in:  events of the engine (dicts) and of the image rooms (runtime.image.progress.Progress).
Goes out:  lines on standard error, or JSON lines; the last words of every live line stay on the screen.
Not here:  errors and warnings in full (``report``), logs of containers (``attach``).
"""

import sys
import threading
import time
from collections.abc import Callable, Collection
from typing import Any, Protocol, TextIO

from compose.cli import report
from compose.cli.harmless import escaped, sentence, uncoloured
from compose.cli.settings import truth
from compose.cli.table import as_json

KINDS = {"container": "Container", "network": "Network", "volume": "Volume", "image": "Image"}
DONE = frozenset(
    [
        "Created",
        "Started",
        "Healthy",
        "Stopped",
        "Removed",
        "Recreated",
        "Running",
        "Exited",
        "Killed",
        "Paused",
        "Unpaused",
        "Restarted",
        "Pulled",
        "Pushed",
        "Layer already exists",
        "Mounted",
        "Built",
        "Done",
        "Exists",
        "Skipped",
        "CACHED",
        "Cached",
        "Loaded",
        "Warning",
        "Assembled",
    ]
)
FAILED = frozenset(("Error", "Unhealthy"))
GREEN, RED, BLUE, YELLOW, RESET = "\033[32m", "\033[31m", "\033[34m", "\033[33m", "\033[0m"
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
TICK = 0.1


class Display(Protocol):
    """Where changes are shown."""

    def change(self, name: str, status: str, detail: str = "", *, below: str = "") -> None:
        """``name`` ("Container shop-web-1") is now ``status`` ("Started"); below: what it is a part of."""

    def line(self, text: str, label: str = "") -> None:
        """A sentence, or a line of output, that stays; label: "warning:", which is coloured."""

    def close(self) -> None:
        """Nothing more will come."""


class Plain:
    """One line per change, as docker compose prints them without a terminal."""

    def __init__(self, stream: TextIO, prefix: str = "") -> None:
        self.stream = stream
        self.prefix = prefix
        self._last: dict[str, str] = {}

    def change(self, name: str, status: str, detail: str = "", *, below: str = "") -> None:
        """Print the change unless the last line about ``name`` said the same."""
        if self._last.get(name) == status:
            return
        self._last[name] = status
        text = f"{self.prefix} {name}  {status} {detail}".rstrip()
        report.write(self.stream, escaped(text) + "\n")

    def line(self, text: str, label: str = "") -> None:
        """Print ``text``."""
        report.write(self.stream, f"{self.prefix}{_label(label, self.stream)}{sentence(text)}\n")

    def close(self) -> None:
        """Everything is printed already."""


class Quiet:
    """Says nothing."""

    def change(self, name: str, status: str, detail: str = "", *, below: str = "") -> None:
        """Be silent."""

    def line(self, text: str, label: str = "") -> None:
        """Be silent."""

    def close(self) -> None:
        """Be silent."""


class Json:
    """One JSON object per change."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def change(self, name: str, status: str, detail: str = "", *, below: str = "") -> None:
        """Print id, status, and what else there is."""
        fields = {"id": name, "status": status, "text": detail, "parent_id": below}
        self._print({key: value for key, value in fields.items() if value})

    def line(self, text: str, label: str = "") -> None:
        """Print a message."""
        self._print({"message": f"{label} {text}" if label else text})

    def close(self) -> None:
        """Everything is printed already."""

    def _print(self, value: dict[str, str]) -> None:
        self.stream.write(as_json(value))
        self.stream.flush()


class _Item:
    __slots__ = ("begun", "below", "detail", "ended", "name", "status")

    def __init__(self, name: str, below: str) -> None:
        self.name = name
        self.below = below
        self.status = self.detail = ""
        self.begun = time.monotonic()
        self.ended = 0.0


class Live:
    """One line per thing, redrawn in place. A small thread keeps the spinners and the seconds going."""

    def __init__(self, stream: TextIO, prefix: str = "") -> None:
        self.stream = stream
        self.prefix = prefix
        self._items: dict[str, _Item] = {}
        self._drawn = 0
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def change(self, name: str, status: str, detail: str = "", *, below: str = "") -> None:
        """Update the line of ``name`` or begin one."""
        with self._lock:
            item = self._items.get(name)
            if item is None:
                item = self._items[name] = _Item(escaped(name), below)
            item.status, item.detail = status, escaped(detail)
            item.ended = time.monotonic() if status in DONE or status in FAILED else 0.0
            self._draw()
        if not self._thread.ident:
            self._thread.start()

    def line(self, text: str, label: str = "") -> None:
        """Put ``text`` above the live lines, where it stays."""
        with self._lock:
            self._erase()
            report.write(self.stream, f"{_label(label, self.stream)}{sentence(text)}\n", flush=False)
            self._draw()

    def close(self) -> None:
        """Draw the last state of everything and leave it on the screen."""
        self._end.set()
        if self._thread.ident:
            self._thread.join()
        with self._lock:
            self._erase()
            self._draw(everything=True)
            self._items.clear()
            self._drawn = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def _tick(self) -> None:
        while not self._end.wait(TICK):
            with self._lock:
                self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self.stream.write(f"\033[{self._drawn}A\033[J")
            self._drawn = 0

    def _draw(self, *, everything: bool = False) -> None:
        if not self._items:
            return
        import shutil  # drags in the compressors, which only a terminal has to pay for

        columns, rows = shutil.get_terminal_size()
        now = time.monotonic()
        items = self._ordered()
        if not everything and len(items) > rows - 2:
            # no room for all: what is still going on matters more than what is done
            items = [*[i for i in items if not i.ended], *[i for i in items if i.ended]][: max(1, rows - 2)]
        done = sum(1 for item in self._items.values() if item.ended)
        width = max(len(item.name) + 2 * bool(item.below) for item in items)
        lines = [f"[+] {self.prefix}Running {done}/{len(self._items)}"]
        lines += [_render(item, width, now, columns) for item in items]
        up = f"\033[{self._drawn}A" if self._drawn else ""
        self.stream.write(up + "".join(f"{line}\033[K\n" for line in lines) + "\033[J")
        self.stream.flush()
        self._drawn = len(lines)

    def _ordered(self) -> list[_Item]:
        """Parents in the order they came, each followed by its parts while it is not done."""
        out = []
        for item in self._items.values():
            if item.below and item.below in self._items:
                continue
            out.append(item)
            if not item.ended:
                out += [part for part in self._items.values() if part.below == item.name]
        return out


def _render(item: _Item, width: int, now: float, columns: int) -> str:
    if item.status in FAILED:
        mark, colour = "✘", RED
    elif item.ended:
        mark, colour = "✔", GREEN
    else:
        mark, colour = SPINNER[int(now / TICK) % len(SPINNER)], BLUE
    indent = "  " if item.below else ""
    words = f"{item.status} {item.detail}".rstrip()
    seconds = f"{(item.ended or now) - item.begun:.1f}s"
    left = f" {indent}{mark} {indent + item.name:<{width}}  "[len(indent) :]
    room = max(8, columns - len(left) - len(seconds) - 2)
    words = words if len(words) <= room else words[: room - 1] + "…"
    return (
        f"{left.replace(mark, colour + mark + RESET, 1)}{colour}{words:<{room}}{RESET} {BLUE}{seconds}{RESET}"
    )


def display(mode: str, *, dry_run: bool = False, quiet: bool = False) -> Display:
    """The display for ``--progress mode`` on this terminal."""
    prefix = "DRY-RUN MODE - " if dry_run else ""
    if quiet or mode == "quiet":
        return Quiet()
    stream = sys.stdout if truth("COMPOSE_STATUS_STDOUT") else sys.stderr
    if mode == "json":
        return Json(stream)
    drawn = report.always_ansi() or (stream.isatty() and report.colourful(stream))
    return Live(stream, prefix) if mode == "tty" or (mode == "auto" and drawn) else Plain(stream, prefix)


def _label(label: str, stream: TextIO) -> str:
    return f"{report.paint(label, YELLOW, stream)} " if label else ""


def show(event: dict[str, Any], shown: Display) -> None:
    """Show one event of the engine."""
    match event.get("event"):
        case "step":
            kind = KINDS.get(event["kind"], event["kind"])
            shown.change(f"{kind} {event['name']}", event["status"], _detail(event))
        case "warning":
            shown.line(event["text"], "warning:")
        case "notice":
            shown.line(event["text"])


def _detail(event: dict[str, Any]) -> str:
    """Reasons are shown where something was lost or replaced; the rest is plain from the word itself."""
    return (
        str(event.get("detail", "")) if event["status"] in ("Error", "Recreate", "Waiting", "Exited") else ""
    )


def images(shown: Display, mute: Collection[str] = ()) -> Callable[[Any], None]:
    """A listener for runtime.image.progress that shows images, layers, steps and notes; ``mute``: kinds left
    out."""
    from compose.cli.speed import Speed

    speed = Speed()

    def listen(event: Any) -> None:
        if event.kind in mute:
            return
        if event.kind in ("note", "output"):
            head, found, _ = event.id.partition("] ")
            text = uncoloured(event.text) if event.kind == "output" else event.text
            shown.line(f"{head}] {text}" if found else text)
            return
        detail = f"({event.detail})" if event.kind == "step" and event.detail else event.detail
        if event.kind == "step" and event.text == "Done" and isinstance(shown, Plain):
            detail = ""  # told when it began, and still on the screen
        if event.total:
            now = time.monotonic()
            detail = speed.words(event.id, event.current, event.total, now)
            if isinstance(shown, Plain) and event.current < event.total:
                # without a terminal a line per change of status, and one now and then for what takes long
                if speed.is_due(event.id, now):
                    shown.line(f" {event.id}  {event.text} {detail}")
                detail = ""
        name = f"Image {event.id}" if event.kind == "image" else event.id or "Image"
        shown.change(name, event.text, detail, below=f"Image {event.part_of}" if event.part_of else "")

    return listen


class Unless:
    """Passes changes on to another display, but not those of one status while nothing else is told."""

    def __init__(self, status: str, shown: Display) -> None:
        self.status = status
        self.shown = shown
        self._held: list[str] = []
        self._open = False

    def change(self, name: str, status: str, detail: str = "", *, below: str = "") -> None:
        """Hold the change back, or show it and everything held back before."""
        if status == self.status and not self._open:
            self._held.append(name)
            return
        self._release()
        self.shown.change(name, status, detail, below=below)

    def line(self, text: str, label: str = "") -> None:
        """Show ``text``."""
        self.shown.line(text, label)

    def close(self) -> None:
        """What is still held back stays untold."""
        self.shown.close()

    def _release(self) -> None:
        self._open = True
        for name in self._held:
            self.shown.change(name, self.status)
        self._held.clear()
