"""What can go wrong while an image is assembled; each error is a sentence with a next step.

Comes in:  nothing.
Goes out:  subclasses of ImageError.
Not here:  printing (compose.cli).
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.errors import ImageError, ImageNotFound


class NotOffered(ImageNotFound):
    """No recipe makes this reference; the hint names the tags that can be had."""

    def __init__(self, reference: str, close: Sequence[str]) -> None:
        have = "these can: " + ", ".join(close) if close else "only some well-known images can"
        super().__init__(f"{reference} cannot be assembled from Debian's packages", hint=have)


class MirrorUnreachable(ImageError):
    """The package archive does not answer."""

    def __init__(self, host: str, origin: str, reason: str) -> None:
        super().__init__(
            f"the Debian archive at {host} cannot be reached: {reason}",
            hint=f"{host} comes from {origin}; set PYCOMPOSE_DEBIAN_MIRROR to use another mirror",
        )


class SignatureWrong(ImageError):
    """An index is not signed by a key that we ship, or was changed."""


class DigestWrong(ImageError):
    """A file of the archive is not the one that its signed index names."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{url} is not the file that the signed index names (size or SHA-256 differ)",
            hint="the mirror may be in the middle of an update: try again in some minutes, or another mirror",
        )


class ArchiveStale(ImageError):
    """A signed index is older than it may be."""


class PackageMissing(ImageError):
    """The archive lacks a package that the recipe needs."""


class ConfigureFailed(ImageError):
    """A package's own script failed inside the new root."""

    def __init__(self, title: str, code: int, output: str) -> None:
        tail = "\n".join(f"  {line}" for line in output.strip().splitlines()[-12:])
        super().__init__(
            f"configuring the packages of {title} failed with exit code {code}:\n{tail}",
            hint="nothing was kept; try again, and report it if it fails the same way",
        )


class DiskFull(ImageError):
    """No room for an image."""

    def __init__(self, path: str, needed: int) -> None:
        super().__init__(
            f"no space left in {path}: about {needed // 1_000_000} MB are needed",
            hint="free some space, or set PYCOMPOSE_DATA to a directory on a larger disk",
        )
