"""Speak netlink: pack messages and attributes, send several at once, read acknowledgements and dumps.

Comes in:  message bodies made of ``attr``; the path of a network namespace.
Goes out:  replies as bytes and attribute dicts; OSError with the kernel's own words.
Not here:  what the messages mean (links, nftables).
Source: netlink(7), include/uapi/linux/netlink.h. Why our own: docs/adr/0050.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntFlag
from pathlib import Path

from schemas.frozen import dataclass

ROUTE, NETFILTER = 0, 12
_ADD_MEMBERSHIP = 1
CLONE_NEWNET = 0x40000000
_HEADER = struct.Struct("=IHHII")
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_MESSAGE_TEXT = 1  # NLMSGERR_ATTR_MSG
NESTED = 0x8000
_TYPE_MASK = 0x3FFF

_libc = ctypes.CDLL(None, use_errno=True)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.setns.restype = ctypes.c_int


class Flag(IntFlag):
    """Flags of a message: include/uapi/linux/netlink.h."""

    NONE = 0
    REQUEST = 0x1
    ACK = 0x4
    REPLACE = 0x100
    EXCL = 0x200
    CREATE = 0x400
    APPEND = 0x800
    DUMP = 0x300


@dataclass(frozen=True, slots=True)
class Message:
    """One request: ``kind`` is nlmsg_type, ``body`` all that follows the header, ``about`` for errors."""

    kind: int
    body: bytes
    flags: Flag = Flag.NONE
    about: str = ""


def attr(kind: int, payload: bytes) -> bytes:
    """Pack one attribute (struct nlattr), padded to four bytes."""
    size = len(payload) + 4
    return struct.pack("=HH", size, kind) + payload + b"\0" * (-size % 4)


def nest(kind: int, *parts: bytes) -> bytes:
    """Pack attributes inside an attribute."""
    return attr(kind | NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    """Pack a NUL-terminated string."""
    return attr(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """Pack a 32-bit number in the order of this machine, as rtnetlink wants it."""
    return attr(kind, struct.pack("=I", value))


def attributes(data: bytes) -> dict[int, bytes]:
    """Read a run of attributes; of a repeated kind the last wins."""
    return dict(each(data))


def each(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk a run of attributes as (kind, payload); stops at the first that does not fit."""
    at = 0
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        if size < 4 or at + size > len(data):
            return
        yield kind & _TYPE_MASK, data[at + 4 : at + size]
        at += (size + 3) & ~3


class Socket:
    """One netlink socket of one family in the network namespace of the calling thread at birth."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.bind((0, 0))
        self._numbers = itertools.count(1)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, messages: Sequence[Message]) -> None:
        """Send ``messages`` as one datagram and wait for all acknowledgements: one round trip.

        The kernel runs them in order and goes on after a failure. Raises OSError for the first that
        failed, with its ``about`` and the kernel's explanation.
        """
        waiting: dict[int, Message] = {}
        out = bytearray()
        for message in messages:
            number = next(self._numbers)
            waiting[number] = message
            out += _pack(message, number, Flag.REQUEST | Flag.ACK)
        self._socket.send(out)
        self._collect(waiting)

    def transaction(self, begin: Message, messages: Sequence[Message], end: Message) -> None:
        """Send an nfnetlink batch: all or nothing. Raises OSError for the first message that failed."""
        first, waiting, out = next(self._numbers), {}, bytearray()
        waiting[first] = begin
        out += _pack(begin, first, Flag.REQUEST)
        for message in messages:
            number = next(self._numbers)
            waiting[number] = message
            acknowledge = Flag.ACK if message is messages[-1] else Flag.NONE
            out += _pack(message, number, Flag.REQUEST | acknowledge)
        out += _pack(end, next(self._numbers), Flag.REQUEST)
        self._grow(len(out))
        self._socket.send(out)
        self._collect(waiting, last=number)

    def dump(self, message: Message) -> list[bytes]:
        """Ask for everything of a kind; returns the bodies (without header)."""
        number = next(self._numbers)
        self._socket.send(_pack(message, number, Flag.REQUEST | Flag.DUMP))
        found: list[bytes] = []
        while True:
            for kind, sequence, body in self._receive():
                if sequence != number:
                    continue
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    _check(body, message)
                found.append(body)

    def get(self, message: Message) -> bytes | None:
        """Ask for one object; None when there is no such."""
        number = next(self._numbers)
        self._socket.send(_pack(message, number, Flag.REQUEST))
        for kind, sequence, body in self._receive():
            if sequence == number and kind == _ERROR:
                try:
                    _check(body, message)
                except (FileNotFoundError, OSError) as error:
                    if error.errno in (2, 19):  # ENOENT, ENODEV
                        return None
                    raise
            elif sequence == number:
                return body
        return None

    def _grow(self, size: int) -> None:
        if size > 100_000:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size * 2)

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(1 << 18)
        at = 0
        while at + 16 <= len(data):
            size, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
            yield kind, sequence, data[at + 16 : at + size]
            at += (size + 3) & ~3

    def _collect(self, waiting: dict[int, Message], last: int = 0) -> None:
        failed: OSError | None = None
        while waiting:
            for kind, sequence, body in self._receive():
                message = waiting.pop(sequence, None)
                if message is None or kind != _ERROR:
                    continue
                try:
                    _check(body, message)
                except OSError as error:
                    failed = failed or error
                    if message.flags is Flag.NONE and message.about == "batch":
                        raise
                if sequence == last:
                    waiting.clear()
        if failed:
            raise failed


class Events:
    """A socket that hears of changes made by anybody; ``fileno`` is readable then."""

    def __init__(self, family: int, groups: Sequence[int]) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, family)
        self._socket.bind((0, 0))
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def kinds(self) -> set[int]:
        """The kinds of messages that wait; -1 is among them when some were lost."""
        found: set[int] = set()
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return found
            except OSError:  # ENOBUFS: more came than the socket holds
                found.add(-1)
                continue
            at = 0
            while at + 16 <= len(data):
                size, kind = _HEADER.unpack_from(data, at)[:2]
                found.add(kind)
                at += max(16, (size + 3) & ~3)


def _pack(message: Message, number: int, flags: Flag) -> bytes:
    body = message.body + b"\0" * (-len(message.body) % 4)
    return _HEADER.pack(len(body) + 16, message.kind, message.flags | flags, number, 0) + body


def _check(body: bytes, message: Message) -> None:
    """Raise what an error message says; code 0 is an acknowledgement."""
    code = struct.unpack_from("=i", body)[0]
    if code == 0:
        return
    # with CAP_ACK the header of the request follows, its payload does not
    said = attributes(body[20:]).get(_MESSAGE_TEXT, b"").rstrip(b"\0").decode(errors="replace")
    words = os.strerror(-code) + (f" ({said})" if said else "")
    if -code == errno.EOPNOTSUPP:  # what rtnetlink says to a kind of link that it does not know
        words += "; the kernel lacks a module for it (veth, bridge, nf_tables, ...: see modprobe(8))"
    raise OSError(-code, f"netlink: {message.about or f'message {message.kind}'}: {words}")


@contextmanager
def inside(netns: Path) -> Iterator[None]:
    """Run the body with the calling thread in the network namespace ``netns``, then come back.

    Sockets made inside stay in that namespace for good. Source: setns(2), /proc/thread-self/ns/net.
    Raises FileNotFoundError when the namespace is gone.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            setns(home)
    finally:
        os.close(home)


def setns(descriptor: int) -> None:
    """setns(2): move the calling thread into the network namespace behind ``descriptor``."""
    if _libc.setns(descriptor, CLONE_NEWNET) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"setns(2): {os.strerror(number)}")
