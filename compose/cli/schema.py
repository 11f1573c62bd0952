"""``pycompose schema``: the JSON Schema of the Compose file, for editors."""

import json
from typing import Annotated

from compose.cli import report
from compose.cli.options import Argument, Texts
from compose.cli.scope import Scope
from compose.errors import UsageError


def run(scope: Scope, names: Annotated[Texts, Argument("[NAME]")] = ()) -> int:
    """Print the JSON Schema of the Compose file, or a part of it such as 'service'"""
    import schemas

    if len(names) > 1:
        raise UsageError("one schema at a time")
    if names and names[0] not in schemas.names():
        raise UsageError(f"no schema '{names[0]}'", hint="one of " + ", ".join(schemas.names()))
    report.raw(json.dumps(schemas.load(names[0]) if names else schemas.bundle(), indent=2) + "\n")
    return 0
