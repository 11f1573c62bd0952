"""What can be wrong with a Dockerfile; ``line`` counts from 1 and is 0 when the place is not known yet."""

from __future__ import annotations

from runtime.errors import BuildFailed


class DockerfileInvalid(BuildFailed):
    """The text is no Dockerfile that can be built."""

    def __init__(self, message: str, *, line: int = 0, file: str = "Dockerfile", hint: str = "") -> None:
        super().__init__(f"{file}:{line}: {message}" if line else message, hint=hint)
        self.bare, self.line = message, line
