"""What a step is made from: its key in the cache, and why that is another one than the last time.

Comes in:  an instruction as understood, the layers below, the files it reads.
Goes out:  the key; what to note of it; a reason for people. Pure.
Not here:  keeping notes (notes), looking keys up (cache).
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.frozen import dataclass, field

VERSION = 2
Files = Sequence[tuple[str, str]]  # (path, mode and owner and digest in one text)
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that decides what a step makes.

    text:   the instruction as written, for people; not part of the key.
    layers: diffIDs below, () where they do not count (COPY --link).
    parts:  what the instruction says, by a name that people know ("USER", "--chown").
    env:    "ARG NAME" and "ENV NAME" to their values.
    files:  what it reads, in a fixed order.
    """

    text: str
    layers: tuple[str, ...]
    parts: Mapping[str, Any]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Files = ()

    def key(self) -> str:
        """The key in the cache: 64 hexadecimal digits."""
        words = [VERSION, self.layers, self.parts, self.env, digest(self.files)]
        text = json.dumps(words, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def noted(self) -> str:
        """What is kept to say why, values of variables only as digests."""
        hidden = {name: hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()[:16]
                  for name, value in self.env.items()}  # fmt: skip
        return json.dumps({"layers": self.layers, "parts": self.parts, "env": hidden})


def digest(files: Files) -> str:
    """One digest over paths and what is known of each."""
    state = hashlib.sha256()
    for path, detail in files:
        state.update(f"{path}\0{detail}\n".encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def pack(files: Files) -> bytes:
    """``files`` to be kept, digests shortened."""
    lines = (f"{path}\0{_brief(detail)}" for path, detail in files)
    return zlib.compress("\n".join(lines).encode("utf-8", "surrogateescape"), 1) if files else b""


def _brief(detail: str) -> str:
    attributes, _, content = detail.rpartition(" ")
    return f"{attributes} {content[:16]}"


def unpack(data: bytes) -> dict[str, str]:
    """What ``pack`` kept, by path."""
    if not data:
        return {}
    text = zlib.decompress(data).decode("utf-8", "surrogateescape")
    return dict(line.partition("\0")[::2] for line in text.split("\n"))


def why(old: str, old_files: bytes, new: Facts, below: str) -> str:
    """Why ``new`` has another key than the step noted as ``old`` had.

    below: the reason for which what it stands on was made again, "" when it was not.
    """
    then = json.loads(old)
    now = json.loads(new.noted())
    reasons = [
        *_parts(then["parts"], now["parts"]),
        *_variables(then["env"], now["env"]),
        *_files(unpack(old_files), {path: _brief(detail) for path, detail in new.files}),
    ]
    if reasons:
        return "; ".join(reasons)
    if then["layers"] != now["layers"]:
        return below or "the base image changed"
    return "its layer is no longer in the cache"


def _parts(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [f"{name} changed" for name in dict.fromkeys((*new, *old)) if old.get(name) != new.get(name)]


def _variables(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    found = []
    for name in dict.fromkeys((*new, *old)):
        if name not in old:
            found.append(f"{name} is new")
        elif name not in new:
            found.append(f"{name} is gone")
        elif old[name] != new[name]:
            found.append(f"{name} changed")
    return found


def _files(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    found = []
    for path in dict.fromkeys((*new, *old)):
        then, now = old.get(path), new.get(path)
        if then == now:
            continue
        shown = path or "."
        if then is None:
            found.append(f"{shown} is new")
        elif now is None:
            found.append(f"{shown} is gone")
        else:
            same = then.rpartition(" ")[2] == now.rpartition(" ")[2]
            found.append(f"{_attribute(then, now)} of {shown} changed" if same else f"{shown} changed")
    more = len(found) - _SHOWN
    return found if more <= 1 else [*found[:_SHOWN], f"and {more} more files"]


def _attribute(old: str, new: str) -> str:
    return "the mode" if old.split(" ")[0] != new.split(" ")[0] else "the owner"
