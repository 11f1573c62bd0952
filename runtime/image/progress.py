"""What the making or fetching of an image tells whoever watches.

Comes in:  nothing.
Goes out:  Progress events and the type of their listener; Runner, how an image room runs a program.
Not here:  printing (compose.cli), running (runtime.process, wired by runtime.build).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from schemas.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One change worth showing.

    kind:    "image" (an image that is pulled or pushed as a whole; id is its name), "layer" (bytes moving;
             id is the short digest), "step" (an instruction of a build, id is its
             number and text, "[web 2/7] RUN make"), "output" (a line a step printed, in text), "note"
             (a sentence for the user).
    text:    what became of it: "Downloading", "Unpacking", "Exists", "Running", "CACHED", "Done", "Error".
    current, total: bytes, 0 when unknown.
    detail:  why, in a few words: what made a step run again, what went wrong.
    part_of: the image that a layer belongs to, "" when nothing is said of it as a whole.
    """

    kind: str
    id: str = ""
    text: str = ""
    current: int = 0
    total: int = 0
    detail: str = ""
    part_of: str = ""


Events = Callable[[Progress], None]


def silent(event: Progress) -> None:
    """The listener that hears nothing."""


class Runner(Protocol):
    """Runs one program in a root made of ``layers`` (lowest first) and the writable ``upper``; gives its
    exit code.

    scratch: an empty directory on the filesystem of ``upper``; it is ours to fill and left to the caller to
             remove.
    env:     the whole environment. output: gets merged stdout and stderr in chunks as they come.
    network: "none" or "host".
    """

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
    ) -> int: ...
