"""Who a container's process is: "name", "uid", "name:group" looked up in the image's own files.

Comes in:  the texts of /etc/passwd and /etc/group, the user a person asked for.
Goes out:  a User of numbers.
Not here:  reading the files, setuid(2) (``runtime.process.identity``).
Source: passwd(5), group(5); docker run, "USER".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

LAST_ID = 2**31 - 1


class UnknownUser(ValueError):
    """No such name in the image, or a number out of range."""


class User(NamedTuple):
    """``groups`` are the supplementary ones; ``home`` is "" when the user has no entry."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = ""


def look_up(asked: str, extra: Iterable[str], passwd: str, group: str) -> User:
    """Resolve ``asked`` ("" is root) and the ``extra`` groups.

    Digits are a number, never a name, so that a name of the image that looks like a number changes nothing.
    A number without an entry stands for itself, with group 0. Supplementary groups come from the
    group file unless a group was given explicitly; the primary one is always among them, so that a
    file closed to that group stays closed to a set-group-id program. Raises UnknownUser.
    """
    name, _, primary = asked.partition(":")
    entry = _entry(name or "0", passwd)
    if entry is None and not _is_number(name or "0"):
        raise UnknownUser(f"the image has no user '{name}' in /etc/passwd")
    uid = _number(name or "0") if _is_number(name or "0") else _number(entry[2] if entry else "")
    gid = _group(primary, group) if primary else _number(entry[3]) if entry else 0
    groups = [gid, *([] if primary or entry is None else _member_of(entry[0], group))]
    groups += [_group(name, group) for name in extra]
    return User(uid, gid, tuple(dict.fromkeys(groups)), entry[5] if entry else "")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _lines(text: str, fields: int) -> list[list[str]]:
    rows = [line.split(":") for line in text.split("\n") if line and not line.startswith("#")]
    return [row for row in rows if len(row) >= fields]


def _entry(user: str, passwd: str) -> list[str] | None:
    """The first line of ``user``: by its number when ``user`` is one, else by its name."""
    rows = _lines(passwd, 6)
    if not _is_number(user):
        return next((row for row in rows if row[0] == user), None)
    return next((row for row in rows if _is_number(row[2]) and int(row[2]) == int(user)), None)


def _group(name: str, group: str) -> int:
    if _is_number(name):
        return _number(name)
    row = next((row for row in _lines(group, 3) if row[0] == name), None)
    if row is None:
        raise UnknownUser(f"the image has no group '{name}' in /etc/group")
    return _number(row[2])


def _member_of(name: str, group: str) -> list[int]:
    return [_number(row[2]) for row in _lines(group, 4) if name in row[3].split(",")]


def _number(text: str) -> int:
    if not _is_number(text) or len(text) > 12 or int(text) > LAST_ID:
        raise UnknownUser(f"'{text[:40]}' is no user or group number between 0 and {LAST_ID}")
    return int(text)
