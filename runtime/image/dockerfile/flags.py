"""The flags of instructions: ``--name=value`` before the arguments.

Comes in:  what stands behind the name of an instruction.
Goes out:  pairs of name and value, and the rest.
Not here:  what a flag means (runtime.build).
Source: Dockerfile reference, each instruction's section.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from runtime.image.dockerfile.errors import DockerfileInvalid

SWITCHES = ("keep-git-dir", "link", "parents", "unpack")
REPEATED = ("device", "exclude", "mount")
FLAGS = {
    "ADD": ("chown", "chmod", "link", "checksum", "keep-git-dir", "unpack", "exclude"),
    "COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
    "FROM": ("platform",),
    "HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
    "RUN": ("mount", "network", "security", "device"),
}
Flags = tuple[tuple[str, str], ...]


def read(name: str, text: str, escape: str) -> tuple[Flags, str]:
    """The flags at the beginning of ``text`` and what follows them; switches become "true" or "false".

    Raises DockerfileInvalid for an unknown, repeated or empty flag.
    """
    found: dict[int, tuple[str, str]] = {}
    words, rest = _cut(text, escape)
    for number, word in enumerate(words):
        key, equals, value = word[2:].partition("=")
        if key not in FLAGS.get(name, ()):
            raise _unknown(name, key)
        if key not in REPEATED and any(key == other for other, _ in found.values()):
            raise DockerfileInvalid(f"duplicate flag specified: --{key}")
        if (equals or key not in SWITCHES) and not (equals and (value or key not in SWITCHES)):
            raise DockerfileInvalid(f"missing a value on flag: --{key}")
        found[number] = (key, _switch(key, value or "true") if key in SWITCHES else value)
    return tuple(found.values()), rest


def _unknown(name: str, key: str) -> DockerfileInvalid:
    known = FLAGS.get(name, ())
    close = get_close_matches(key, known, n=1)
    takes = f"{name} takes --{', --'.join(known)}" if known else f"{name} takes no flags"
    return DockerfileInvalid(
        f"unknown flag --{key} of {name}", hint=f"did you mean --{close[0]}?" if close else takes
    )


def _switch(key: str, value: str) -> str:
    if value.lower() not in ("true", "false"):
        raise DockerfileInvalid(f"expecting boolean value for flag --{key}, not: {value}")
    return value.lower()


def _cut(text: str, escape: str) -> tuple[list[str], str]:
    """Words that begin with ``--``, unquoted, up to a lone ``--``; and the rest."""
    words: list[str] = []
    rest = text.lstrip()
    while rest.startswith("--"):
        parts = list(_characters(rest, escape))
        word, rest = "".join(char for _, char in parts[:-1]), rest[parts[-1][0] :].lstrip()
        if word == "--":
            break
        words.append(word)
    return words, rest


def _characters(text: str, escape: str) -> Iterator[tuple[int, str]]:
    """(place, character) of the first word without quotes and escapes, and last (where it ends, "")."""
    quote, at = "", 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == escape:
            if at < len(text):
                yield at, text[at]
            at += 1
        elif char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        elif not quote and char.isspace():
            at -= 1
            break
        else:
            yield at, char
    yield min(at, len(text)), ""
