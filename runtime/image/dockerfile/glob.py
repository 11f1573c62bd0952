"""Shell patterns in ``${name#pattern}``: ``*`` is any text, ``?`` any character, nothing else is special.

Comes in:  a pattern, a value.
Goes out:  the value trimmed or with matches replaced; the time is bounded by the product of all lengths.
Not here:  where patterns stand (words), patterns of paths (ignore).
Source: POSIX.1-2017 shell, section 2.6.2, without bracket expressions, which Dockerfiles do not have.
"""

from __future__ import annotations

from collections.abc import Sequence

_ONE, _MANY = "?", "*"
Token = tuple[str, bool]  # the character and whether it stands for itself


def tokens(pattern: str) -> tuple[Token, ...]:
    """Cut a pattern into pieces. Raises ValueError for a backslash before anything but ``* ? \\ } /``."""
    found: list[Token] = []
    at = 0
    while at < len(pattern):
        char, following = pattern[at], pattern[at + 1 : at + 2]
        at += 1
        if char != "\\":
            found.append((char, char not in (_ONE, _MANY)))
        elif following in ("}", "/") and following:
            continue
        elif following in (_ONE, _MANY, "\\") and following:
            found.append((following, True))
            at += 1
        else:
            raise ValueError(f"invalid escape '\\{following}'")
    return tuple(found)


def ends(pattern: Sequence[Token], value: str) -> list[int]:
    """Every n, ascending, for which ``pattern`` matches the whole of ``value[:n]``."""
    last, found = len(pattern), []
    active = _skip({0}, pattern)
    for at in range(len(value) + 1):
        if last in active:
            found.append(at)
        if at == len(value) or not active:
            break
        active = _skip(_step(active, pattern, value[at]), pattern)
    return found


def _step(active: set[int], pattern: Sequence[Token], char: str) -> set[int]:
    after = set()
    for state in active:
        if state == len(pattern):
            continue
        wanted, literal = pattern[state]
        if not literal and wanted == _MANY:
            after.add(state)
        elif not literal or wanted == char:
            after.add(state + 1)
    return after


def _skip(states: set[int], pattern: Sequence[Token]) -> set[int]:
    """A ``*`` may also match nothing."""
    found = set(states)
    for state in states:
        while state < len(pattern) and pattern[state] == (_MANY, False):
            state += 1
            found.add(state)
    return found


def trim_prefix(pattern: str, value: str, *, longest: bool) -> str:
    """``value`` without the shortest or longest beginning that matches. Raises ValueError."""
    found = ends(tokens(pattern), value)
    return value[found[-1 if longest else 0] :] if found else value


def trim_suffix(pattern: str, value: str, *, longest: bool) -> str:
    """``value`` without the shortest or longest end that matches. Raises ValueError."""
    found = ends(tokens(pattern)[::-1], value[::-1])
    return value[: len(value) - found[-1 if longest else 0]] if found else value


def replace(pattern: str, value: str, new: str, *, everywhere: bool) -> str:
    """The first match, or all of them from left to right, as long as possible each. Raises ValueError."""
    wanted = tokens(pattern)
    out, start, previous = "", 0, -1
    while start <= len(value):
        found = ends(wanted, value[start:])
        end = start + found[-1] if found else -1
        if end > start or (end == start and end != previous):
            out += new
            previous = end
            if not everywhere:
                return out + value[end:]
        if end > start:
            start = end
        else:
            out += value[start : start + 1]
            start += 1
    return out
