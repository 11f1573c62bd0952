"""Git repositories as build contexts and sources of ADD, by the host's own git.

Comes in:  a URL such as ``https://host/project.git#branch:directory``.
Goes out:  the commit it names now; its files in a directory.
Not here:  reading the files (context).
Source: Docker documentation, "Git repositories" of build contexts; Dockerfile reference, ADD; git(1).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from runtime.build.halt import Halt
from runtime.errors import BuildFailed
from runtime.image.view import View
from schemas.frozen import dataclass

_SCHEMES = ("git://", "ssh://", "file://")
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:[^/].*")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SAFE = (
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "advice.detachedHead=false",
)
_KEPT = ("GIT_SSL_CAINFO",)
_QUERY = {"ref": "ref", "branch": "ref", "tag": "ref", "commit": "ref", "subdir": "directory"}


@dataclass(frozen=True, slots=True)
class Repository:
    """url: what git understands; ref: branch, tag or commit, "" for the default; directory: within it."""

    url: str
    ref: str = ""
    directory: str = ""


def read(text: str) -> Repository | None:
    """The repository that ``text`` names; None when it names something else. Pure.

    Raises BuildFailed for words behind ``?`` that mean nothing.
    """
    base, _, fragment = text.partition("#")
    base, mark, query = base.partition("?") if "://" in base else (base, "", "")
    if base.startswith("github.com/"):
        base = f"https://{base}"
    web = base.startswith(("http://", "https://")) and (
        base.endswith(".git") or urlsplit(base).netloc == "github.com"
    )
    if not (web or base.startswith(_SCHEMES) or _SCP.fullmatch(base)):
        return None
    ref, _, directory = fragment.partition(":")
    found = {"ref": ref, "directory": directory}
    for key, value in parse_qsl(query, keep_blank_values=True) if mark else ():
        if key not in _QUERY:
            raise BuildFailed(f"'{key}' in '{text}' means nothing", hint=f"one of {', '.join(_QUERY)}")
        found[_QUERY[key]] = value
    if found["ref"].startswith("-") or base.startswith("-"):
        raise BuildFailed(f"'{text}' names no branch, tag or commit")
    return Repository(base, found["ref"], found["directory"].strip("/"))


class Git:
    """Runs git. environment: the caller's; agent: gives the socket of an ssh agent, "" for none."""

    def __init__(self, environment: Mapping[str, str], halt: Halt, agent: Callable[[], str] = str) -> None:
        self._halt, self._agent = halt, agent
        self._environment = {
            **{name: value for name, value in environment.items() if not name.startswith("GIT_")},
            **{name: environment[name] for name in _KEPT if name in environment},
            "GIT_SSH_COMMAND": environment.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
            "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "SSH_ASKPASS": "true", "LC_ALL": "C",
        }  # fmt: skip

    def commit(self, repository: Repository) -> str:
        """The commit that its ref names now. Raises BuildFailed."""
        if _COMMIT.fullmatch(repository.ref):
            return repository.ref
        wanted = repository.ref or "HEAD"
        out = self._run(["ls-remote", repository.url, wanted, f"{wanted}^{{}}"])
        table = {name: commit for commit, name in (line.split("\t") for line in out.splitlines())}
        for name in (f"refs/tags/{wanted}^{{}}", wanted, f"refs/heads/{wanted}", f"refs/tags/{wanted}"):
            if name in table:
                return table[name]
        raise BuildFailed(f"'{wanted}' is neither branch nor tag of {repository.url}")

    def check_out(self, repository: Repository, commit: str, target: Path, *, keep: bool = False) -> Path:
        """Fill ``target`` (made here) with the files of ``commit``; gives the directory that was asked for.

        keep: leave ``.git`` there. Files get the time of the commit. Raises BuildFailed.
        """
        target.mkdir(mode=0o755)
        at = ["-C", str(target)]
        self._run([*at, "init", "-q"])
        self._run([*at, "remote", "add", "origin", repository.url])
        try:
            self._run([*at, "fetch", "-q", "--no-tags", "--depth=1", "origin", commit])
        except BuildFailed:  # a server that gives no single commits, or a plain directory behind http
            self._run([*at, "fetch", "-q", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"])
        self._run([*at, "checkout", "-q", commit])
        if (target / ".gitmodules").exists():
            self._run([*at, "submodule", "update", "-q", "--init", "--recursive", "--depth=1"])
        when = int(self._run([*at, "log", "-1", "--format=%ct", commit]).strip())
        if not keep:
            self._forget(target)
        _date(target, when)
        found = View([target]).find("/" + repository.directory)
        if found is None or not found.is_dir():
            raise BuildFailed(f"{repository.url} has no directory '{repository.directory}'")
        return found.host

    def _forget(self, target: Path) -> None:
        import shutil

        shutil.rmtree(target / ".git")
        for path in target.rglob(".git"):  # a submodule has a file of that name
            path.unlink()

    def _run(self, words: Sequence[str]) -> str:
        self._halt.check()
        agent = self._agent()
        words_of = {**self._environment, **({"SSH_AUTH_SOCK": agent} if agent else {})}
        try:
            child = subprocess.Popen(
                ["git", *_SAFE, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, env=words_of, text=True, errors="replace", umask=0o022,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise BuildFailed("git is needed for this and not installed") from error
        with child:
            while True:
                try:
                    out, said = child.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    if self._halt.on:
                        child.kill()
        self._halt.check()
        if child.returncode:
            lines = [line for line in said.splitlines() if line.strip()]
            raise BuildFailed(f"git {words[2] if words[0] == '-C' else words[0]}: {' '.join(lines[-2:])}")
        return out


def _date(target: Path, when: int) -> None:
    for here, directories, files in os.walk(target, topdown=False):
        for name in (*files, *directories):
            os.utime(f"{here}/{name}", (when, when), follow_symlinks=False)
    os.utime(target, (when, when))
