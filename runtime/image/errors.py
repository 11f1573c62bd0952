"""What can go wrong with an image, told apart by what the user can do about it."""

from __future__ import annotations

from runtime.errors import ImageError, RegistryError


class InvalidReference(ImageError):
    """A text that names no image."""


class InvalidImage(ImageError):
    """A manifest, configuration or layer that is damaged, hostile or beyond our limits."""


class DigestMismatch(InvalidImage):
    """Content is not what its digest says."""

    def __init__(self, what: str, *, expected: str, actual: str) -> None:
        super().__init__(
            f"{what} has digest {actual}, but {expected} was promised",
            hint="the download was damaged or the source lies; try again",
        )


class StoreFull(ImageError):
    """No space left for an image; nothing of it was kept."""


class ImageInUse(ImageError):
    """A container needs the image that was to be removed."""


class RegistryUnreachable(RegistryError):
    """No answer at all: no such host, connection refused, timed out. The only one that lets ``pull``
    assemble."""


class RegistryBroken(RegistryError):
    """An answer that broke off, stalled or was a failure of the registry's own: worth another attempt."""


class RegistryDenied(RegistryError):
    """401 or 403: log in, or no rights."""


class RegistryRateLimited(RegistryError):
    """429 to the end of our patience, or with a time to wait beyond it."""


class RegistryTLS(RegistryError):
    """The certificate of the registry is not trusted here."""
