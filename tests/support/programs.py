"""The programs that tests use: the one declaration of them, and the questions that tests ask about them.

Comes in:  PATH.
Goes out:  answers for tests (``has``, ``need``, ``program``), package names for tests/run and .ci/fresh.
Not here:  the PATH of a test session (path); the count of skipped tests (skips).

A program more is one line in PROGRAMS, and ``@pytest.mark.smoke("its name")`` at a test that fails without
it: tests/run --smoke runs those. Standard library only, any Python 3.11, no virtual environment:

    python3 tests/support/programs.py packages      # what apt-get has to install for tests/run
    python3 tests/support/programs.py peers         # the line about peers that are missing
    python3 tests/support/programs.py tools         # what apt-get has to install for .ci/fresh
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

SYSTEM = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True)
class Program:
    """A program that a test must have. tests/run installs ``package``, Debian's name of what brings it."""

    name: str
    package: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A heavy program that our work is compared with where it is installed. Nothing installs it.

    variable: the environment variable that gives its command line; it is not looked for in PATH then.
    """

    name: str
    package: str = ""
    variable: str = ""


PROGRAMS = (
    Program("aarch64-linux-gnu-as", "binutils-aarch64-linux-gnu"),
    Program("as", "binutils"),
    Program("busybox", "busybox-static"),
    Program("dig", "bind9-dnsutils"),
    Program("docker-registry", "docker-registry"),
    Program("git", "git"),
    Program("htpasswd", "apache2-utils"),
    Program("ip", "iproute2"),
    Program("nft", "nftables"),
    Program("openssl", "openssl"),
    Program("python3", "python3-venv"),
    Program("qemu-aarch64-static", "qemu-user-static"),
    Program("skopeo", "skopeo"),
    Program("ssh-add", "openssh-client"),
    Program("ssh-agent", "openssh-client"),
    Program("ssh-keygen", "openssh-client"),
)

PEERS = (
    Peer("buildah", package="buildah"),
    Peer("podman", package="podman"),
    Peer("docker", variable="PYCOMPOSE_BUILDKIT"),
    Peer("docker-compose", variable="PYCOMPOSE_ORACLE"),
)

# What .ci/fresh calls and no test does.
TOOLS = {"mmdebstrap": "mmdebstrap", "slirp4netns": "slirp4netns", "git": "git"}


class Undeclared(LookupError):
    """A test asks for a program that no line here declares, whether this machine has it or not."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no line of tests/support/programs.py declares the program '{name}': add one to PROGRAMS, "
            "or to PEERS if tests only compare with it"
        )


def has(*names: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether all programs are here. Raises Undeclared."""
    return None not in [locate(declared(name), environment) for name in names]


def need(*names: str) -> None:
    """End the test unless all programs are here. Raises Undeclared.

    A missing peer is a skip that CI does not count; a missing program is a failure where
    PYCOMPOSE_REQUIRE_ROOT is 1, else a skip.
    """
    __tracebackhide__ = True
    import pytest

    from tests.support.skips import PeerMissing

    for one in [declared(name) for name in names]:
        if locate(one) is not None:
            continue
        if isinstance(one, Peer):
            raise PeerMissing(f"not compared with {one.name}: {hint([one])}")
        outcome = pytest.fail if os.environ.get("PYCOMPOSE_REQUIRE_ROOT") == "1" else pytest.skip
        outcome(f"no {one.name} here: apt-get install {one.package}")


def program(name: str) -> str:
    """The path of a program, or a peer's command line; ends the test as ``need`` does. Raises Undeclared."""
    __tracebackhide__ = True
    need(name)
    return locate(declared(name)) or ""


def reference(name: str) -> str:
    """The command line of a peer that a variable names, or an empty string. Raises Undeclared."""
    return locate(declared(name)) or ""


def declared(name: str) -> Program | Peer:
    """The line of a program. Raises Undeclared."""
    for one in (*PROGRAMS, *PEERS):
        if one.name == name:
            return one
    raise Undeclared(name)


def locate(one: Program | Peer, environment: Mapping[str, str] = os.environ) -> str | None:
    """Where a program is: in PATH, or where its variable says; None where it is not."""
    if isinstance(one, Peer) and one.variable:
        return environment.get(one.variable) or None
    return shutil.which(one.name, path=environment.get("PATH", os.defpath))


def everywhere(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """``environment`` with the system's directories in PATH: a user's PATH often lacks the sbin ones."""
    return {**environment, "PATH": ":".join((environment.get("PATH", os.defpath), *SYSTEM))}


def packages(wanted: Mapping[str, str]) -> list[str]:
    """The packages that bring what is missing. wanted: program to package."""
    path = everywhere()["PATH"]
    return sorted({package for name, package in wanted.items() if shutil.which(name, path=path) is None})


def hint(peers: Iterable[Peer]) -> str:
    """How the missing come here."""
    found = sorted(one.package for one in peers if one.package)
    parts = [f"apt-get install {' '.join(found)}"] if found else []
    parts += [f"set {one.variable} for {one.name}" for one in peers if one.variable]
    return "; ".join(parts)


def peers_line() -> str:
    """The line at the end of tests/run, or an empty string."""
    missing = [one for one in PEERS if locate(one, everywhere()) is None]
    names = ", ".join(one.name for one in missing)
    return f"not compared with: {names} ({hint(missing)})" if missing else ""


def main() -> int:
    """Print what the one argument asks for; for the arguments see above."""
    answers = {
        "packages": lambda: " ".join(packages({one.name: one.package for one in PROGRAMS})),
        "peers": peers_line,
        "tools": lambda: " ".join(packages(TOOLS)),
    }
    if len(sys.argv) != 2 or sys.argv[1] not in answers:
        sys.exit(f"usage: {Path(sys.argv[0]).name} {'|'.join(answers)}")
    print(answers[sys.argv[1]]())
    return 0


if __name__ == "__main__":
    sys.exit(main())
