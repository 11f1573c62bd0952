"""What can go wrong in the runtime; each error has a hint and an exit code as docker run's.

Source: docker run, section exit status (125 the engine, 126 not executable, 127 not found).
"""

from __future__ import annotations


class RuntimeFailure(Exception):
    """Root of every error raised in ``runtime``; ``hint`` is the next step, or ""."""

    exit_code = 125

    def __init__(self, message: str, *, hint: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code


class NotExecutable(RuntimeFailure):
    """execve(2) refused the file: no permission, or not a program."""

    exit_code = 126


class CommandNotFound(RuntimeFailure):
    """No such file in the container's PATH."""

    exit_code = 127


class ImageError(RuntimeFailure):
    """An image cannot be found, read, made or stored."""

    exit_code = 1


class ImageNotFound(ImageError):
    """Neither the store nor a registry that answers has this reference."""


class RegistryError(ImageError):
    """A registry refused, stalled or lied; the subclass says which."""


class BuildFailed(ImageError):
    """A Dockerfile is wrong or one of its instructions failed."""

    exit_code = 1
