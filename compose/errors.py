"""What can go wrong above the runtime: every error carries its place, a hint and an exit code.

Comes in:  nothing.
Goes out:  exceptions that ``compose.cli`` alone prints; library code only raises them.
"""

from __future__ import annotations

from collections.abc import Sequence


class Where(tuple[str, int, int]):
    """A place in a file: ``compose.yaml:14:9``; line and column count from 1, 0 means unknown.

    As a NamedTuple, but without compiling anything: every command imports this.
    """

    __slots__ = ()

    def __new__(cls, file: str, line: int = 0, column: int = 0) -> Where:
        return super().__new__(cls, (file, line, column))

    @property
    def file(self) -> str:
        """Its name as it is shown."""
        return self[0]

    @property
    def line(self) -> int:
        """Counted from 1; 0: unknown."""
        return self[1]

    @property
    def column(self) -> int:
        """Counted from 1; 0: unknown."""
        return self[2]

    def __str__(self) -> str:
        numbers = [str(n) for n in self[1:] if n]
        return ":".join([self[0], *numbers])


class ComposeError(Exception):
    """Root of every error raised in ``compose``.

    message: one sentence, no full stop, names in single quotes.
    hint:    the next step for the reader, or "".
    where:   the place in a file, or None.
    path:    the attribute, as ``services.web.ports[0]``, or "".
    warnings: what was noticed before it, for the user as well.
    """

    exit_code = 1
    warnings: tuple[str, ...] = ()

    def __init__(self, message: str, *, hint: str = "", where: Where | None = None, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where
        self.path = path


class FileInvalid(ComposeError):
    """The Compose file, an env file or a file they name is wrong."""


class Several(ComposeError):
    """Independent errors found in one run, in the order of the file."""

    def __init__(self, errors: Sequence[ComposeError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = tuple(errors)


class UsageError(ComposeError):
    """The command line asks for something that cannot be, such as an unknown service."""


class NotPermitted(ComposeError):
    """The machine or its user lacks what pycompose needs."""


class StepFailed(ComposeError):
    """A step of the plan failed while it was executed."""


class SupervisorLost(ComposeError):
    """The supervisor of the project cannot be started or went away in the middle of a request."""


def sentence(error: BaseException) -> str:
    """What went wrong in one sentence, for any error: ours have one, the kernel's is put together."""
    message = getattr(error, "message", "")
    if not message and isinstance(error, OSError) and error.strerror:
        message = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(message or error or type(error).__name__)
