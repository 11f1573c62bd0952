"""``pycompose login``: log in to a registry and keep the login where docker keeps it."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

from compose.cli import report
from compose.cli.options import Argument, Option
from compose.cli.scope import Scope
from compose.errors import UsageError

if TYPE_CHECKING:
    from runtime.image.credentials import Login

Server = Annotated[str, Argument("[SERVER]")]


def run(
    scope: Scope,
    server: Server = "",
    *,
    password: Annotated[
        str, Option("-p", "--password", metavar="SECRET", help="Password or access token; others can see it")
    ] = "",
    password_stdin: Annotated[bool, Option("--password-stdin", help="Take the password from stdin")] = False,
    username: Annotated[str, Option("-u", "--username", metavar="NAME", help="Username")] = "",
) -> int:
    """Authenticate to a registry, Docker Hub by default"""
    if password and password_stdin:
        raise UsageError("--password and --password-stdin are mutually exclusive")
    if password_stdin and not username:
        raise UsageError("Must provide --username with --password-stdin")
    from runtime.image import credentials
    from runtime.image.login import host_of, verify

    registry = host_of(server)
    if scope.dry_run:
        report.say(f"DRY-RUN MODE -  Registry {registry}  Logged in")
        return 0
    if password:
        report.warn("using --password on the command line is insecure", hint="use --password-stdin")
    given = None if username or password else _known(registry)
    if given is None:
        given = credentials.Login(*_asked(registry, username, password, from_stdin=password_stdin))
    kept = verify(registry, given, os.environ)
    place = credentials.keep(registry, kept, os.environ)
    if place:
        report.warn(
            f"the login is stored unencrypted in '{place}'", hint="'credsStore' in that file names a helper"
        )
    report.tell("Login Succeeded")
    return 0


def _known(registry: str) -> "Login | None":
    """A login that is kept already and still good."""
    from runtime.image import credentials
    from runtime.image.errors import RegistryDenied
    from runtime.image.login import verify

    found = credentials.find(registry, os.environ)
    if found is None:
        return None
    report.say("Authenticating with existing credentials...")
    try:
        verify(registry, found, os.environ)
    except RegistryDenied as failure:
        report.warn(failure.message)
        return None
    return found


def _asked(registry: str, username: str, password: str, *, from_stdin: bool) -> tuple[str, str]:
    """User and password, asked for on the terminal where they were not given."""
    if from_stdin:
        password = sys.stdin.read().rstrip("\r\n")
        if not password:
            raise UsageError("the password on stdin is empty")
        return username, password
    if not (username and password) and not sys.stdin.isatty():
        raise UsageError(
            "cannot ask for a login without a terminal", hint="use --username and --password-stdin"
        )
    if not username:
        report.prompt(f"Username for {registry}: ")
        username = sys.stdin.readline().strip()
    if not password:
        from getpass import getpass

        password = getpass("Password: ")
    if not username or not password:
        raise UsageError("user name and password are required")
    return username, password
