"""What can go wrong with a network; each error has a hint and an exit code."""

from __future__ import annotations


class NetworkFailure(Exception):
    """Root of every error raised in ``netns``; ``hint`` is the next step, or ""."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class AddressesExhausted(NetworkFailure):
    """A subnet, or the pool of subnets, has nothing left to give."""


class AddressTaken(NetworkFailure):
    """Somebody else holds the address or subnet that was asked for."""


class PortBusy(NetworkFailure):
    """A published port is held by another process; the message names it.

    published: the port of the host that was asked for, 0 when it is not one alone.
    more: further ports of the same request that are held.
    """

    more: tuple[PortBusy, ...] = ()

    def __init__(self, message: str, *, hint: str = "", published: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.published = published


class NetworkNotFound(NetworkFailure):
    """No network of that name exists on this machine."""


class NetworkInUse(NetworkFailure):
    """The network still has endpoints."""
