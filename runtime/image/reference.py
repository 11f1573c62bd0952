"""Names of images: ``[registry/]repository[:tag][@digest]``, with Docker Hub as the default.

Comes in:  the text a user wrote.
Goes out:  a Reference, its full and its familiar spelling.
Not here:  what is behind the name (store, registry).
Source: github.com/distribution/reference, section Grammar.
"""

from __future__ import annotations

import re

from runtime.image.errors import InvalidReference
from schemas.frozen import dataclass, replace

HUB = "docker.io"
_HUB_ALIASES = ("index.docker.io", "registry-1.docker.io")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")


@dataclass(frozen=True, slots=True)
class Reference:
    """One name. ``tag`` is "" only when a digest is given; ``digest`` is "sha256:..." or ""."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    def familiar(self) -> str:
        """The short spelling people use: ``postgres:15`` for ``docker.io/library/postgres:15``."""
        text = str(self)
        if self.registry == HUB:
            text = text.removeprefix(HUB + "/")
            if self.repository.count("/") == 1:
                text = text.removeprefix("library/")
        return text

    def name(self) -> str:
        """Registry and repository without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def name_with(self, tag: str) -> str:
        """The familiar spelling of the same repository with another tag."""
        return replace(self, tag=tag, digest="").familiar()

    def pinned(self, digest: str) -> Reference:
        """The same repository by ``digest``."""
        return replace(self, tag="", digest=digest)


def parse(text: str) -> Reference:
    """Read a reference; the tag ``latest`` and ``docker.io/library/`` are filled in.

    Raises InvalidReference saying which part is wrong.
    """
    rest, _, digest = text.partition("@")
    if digest and not _DIGEST.fullmatch(digest):
        raise _invalid(text, f"'{digest}' is not a digest such as sha256:<64 hex digits>")
    if digest.startswith("sha256:") and len(digest) != 71:
        raise _invalid(text, "a sha256 digest has 64 hex digits")
    registry, path = _split_registry(rest)
    path, tag = _split_tag(path)
    if tag is not None and not _TAG.fullmatch(tag):
        raise _invalid(text, f"'{tag}' is not a tag")
    if registry == HUB and "/" not in path:
        path = f"library/{path}"
    if not _REGISTRY.fullmatch(registry):
        raise _invalid(text, f"'{registry}' is not a registry")
    _check_repository(text, path)
    return Reference(registry, path, tag or ("" if digest else "latest"), digest)


def _check_repository(text: str, path: str) -> None:
    if re.fullmatch(r"(library/)?[0-9a-f]{64}", path):
        raise _invalid(text, "64 hex digits are an image id, not a name")
    if _REPOSITORY.fullmatch(path) and len(path) <= 255:
        return
    if _REPOSITORY.fullmatch(path.lower()):
        raise _invalid(text, "the repository must be lower case", hint=f"did you mean '{text.lower()}'?")
    raise _invalid(text, f"'{path.removeprefix('library/')}' is not a repository name")


def _split_registry(text: str) -> tuple[str, str]:
    head, slash, tail = text.partition("/")
    looks = "." in head or ":" in head or head == "localhost" or head != head.lower()
    if not slash or not looks:
        return HUB, text
    return (HUB if head in _HUB_ALIASES else head), tail


def _split_tag(path: str) -> tuple[str, str | None]:
    head, colon, tag = path.rpartition(":")
    if colon and "/" not in tag:
        return head, tag
    return path, None


def _invalid(text: str, why: str, *, hint: str = "") -> InvalidReference:
    return InvalidReference(f"'{text}' is not an image reference: {why}", hint=hint)
