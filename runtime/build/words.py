"""Words of instructions that are no configuration: argv of RUN, here-documents, one line for people.

Comes in:  instructions and the state of a stage.
Goes out:  texts. Not here:  the language itself (image.dockerfile).
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from runtime.build.environment import PREDEFINED
from runtime.build.state import State
from runtime.errors import BuildFailed
from runtime.image.dockerfile.instruction import Instruction, name_values
from runtime.image.dockerfile.words import split
from runtime.image.view import View
from runtime.spec import Mount

SCRIPT = "/dev/pipes/EOF"
_LARGEST = 16 << 20  # bytes of a file such as /etc/passwd


def run_argv(instruction: Instruction, shell: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """argv of a RUN, and the script that must lie at SCRIPT for it, or "".

    A lone here-document is the script itself; others are handed to the shell together with the command.
    """
    heres = instruction.heredocs
    if instruction.json is not None:
        return instruction.json, ""
    if not heres:
        return (*shell, instruction.rest), ""
    first = heres[0]
    alone = len(heres) == 1 and instruction.rest.replace('"', "").replace("'", "").lstrip("<-") == first.name
    if alone and first.text().startswith("#!"):
        return (SCRIPT,), first.text()
    if alone:
        return (*shell, first.text()), ""
    return (*shell, instruction.rest + "".join(f"\n{here.content}{here.name}" for here in heres)), ""


def script_mount(home: Path, text: str) -> Mount:
    """Put a script where ``run_argv`` said it lies."""
    path = home / "script"
    path.write_text(text, "utf-8", "surrogateescape")
    path.chmod(0o755)
    return Mount(type="bind", source=str(path), target=SCRIPT, read_only=True)


def short(text: str, size: int = 72) -> str:
    """One line of at most ``size`` characters, for people."""
    line = " ".join(printable(text).split())
    return line if len(line) <= size else line[: size - 1] + "…"


def printable(text: str) -> str:
    """``text`` without bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def history(state: State, instruction: Instruction) -> str:
    """The line of the image's history, as BuildKit writes it; ``state``: after the instruction."""
    config, name = state.config, instruction.name
    if name == "RUN":
        argv, _ = run_argv(instruction, state.shell())
        args = [f"{key}={value}" for key, value in state.args.items() if key not in PREDEFINED]
        return " ".join(["RUN", *([f"|{len(args)}", *args] if args else []), *argv])
    if name in ("ARG", "ENV", "LABEL"):
        values = {"ARG": state.args, "ENV": state.env(), "LABEL": config.labels}[name]
        names = [state.expand(word) for word in _names(instruction, state)]
        return " ".join([name, *(f"{key}={values[key]}" if key in values else key for key in names)])
    if name in ("CMD", "ENTRYPOINT"):
        words = config.cmd if name == "CMD" else config.entrypoint
        return f"{name} [" + " ".join(f'"{word}"' for word in words) + "]"
    plain = {
        "WORKDIR": config.working_dir, "USER": config.user, "STOPSIGNAL": config.stop_signal,
        "SHELL": f"[{' '.join(config.shell)}]",
    }  # fmt: skip
    return f"{name} {plain[name]}" if name in plain else instruction.text()


def _names(instruction: Instruction, state: State) -> list[str]:
    if instruction.name == "ARG":
        return [word.partition("=")[0] for word in split(instruction.rest, state.escape, keep_quotes=True)]
    return [key for key, _ in name_values(instruction, state.escape)]


def file_text(view: View, path: str) -> str:
    """The text of a file of the image, "" when it has none. Raises BuildFailed for a pipe, a device, or one
    that is larger than such files are."""
    found = view.find(path)
    if found is None:
        return ""
    if not stat.S_ISREG(found.info.st_mode) or found.info.st_size > _LARGEST:
        raise BuildFailed(f"'{path}' of the image is not a regular file of at most {_LARGEST >> 20} MiB")
    return found.host.read_text("utf-8", "replace")
