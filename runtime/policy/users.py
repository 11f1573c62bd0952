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

    A number without an entry stands for itself, with group 0. Supplementary groups come from the
    group file unless a group was given explicitly; the primary one is always among them, so that a
    file closed to that group stays closed to a set-group-id program. Raises UnknownUser.
    """
    name, _, primary = asked.partition(":")
    entry = _entry(name or "0", passwd)
    if entry is None and not name.isdigit() and name:
        raise UnknownUser(f"the image has no user '{name}' in /etc/passwd")
    uid = _number(entry[2] if entry else name or "0")
    gid = _group(primary, group) if primary else _number(entry[3]) if entry else 0
    groups = [gid, *([] if primary or entry is None else _member_of(entry[0], group))]
    groups += [_group(name, group) for name in extra]
    return User(uid, gid, tuple(dict.fromkeys(groups)), entry[5] if entry else "")


def _lines(text: str, fields: int) -> list[list[str]]:
    rows = [line.split(":") for line in text.splitlines() if line and not line.startswith("#")]
    return [row for row in rows if len(row) >= fields]


def _entry(name: str, passwd: str) -> list[str] | None:
    rows = _lines(passwd, 6)
    by_name = next((row for row in rows if row[0] == name), None)
    return by_name or next((row for row in rows if row[2] == name), None)


def _group(name: str, group: str) -> int:
    rows = _lines(group, 3)
    row = next((row for row in rows if row[0] == name), None)
    if row is None and not name.isdigit():
        raise UnknownUser(f"the image has no group '{name}' in /etc/group")
    return _number(row[2] if row else name)


def _member_of(name: str, group: str) -> list[int]:
    return [_number(row[2]) for row in _lines(group, 4) if name in row[3].split(",")]


def _number(text: str) -> int:
    if not text.isdigit() or int(text) > LAST_ID:
        raise UnknownUser(f"'{text}' is no user or group number between 0 and {LAST_ID}")
    return int(text)
