"""``pycompose explain``: the final value of an attribute and every place that had a say in it."""

import json
from typing import TYPE_CHECKING, Annotated, Any

from compose.cli import report
from compose.cli.options import Argument
from compose.cli.scope import Scope

if TYPE_CHECKING:
    from compose.load.origin import Explanation


def run(scope: Scope, path: Annotated[str, Argument("PATH")]) -> int:
    """Print a value of the model, where it comes from and what it overrode"""
    from compose.load.origin import explain

    for one in explain(scope.request(), path):
        report.put(told(one) + "\n")
    return 0


def told(one: "Explanation") -> str:
    """An explanation as text, the winner first. Pure."""
    lines = [f"{one.path} = {_value(one.value)}"]
    if not one.steps:
        lines.append("  by default")
    for number, step in enumerate(reversed(one.steps)):
        verb = "overrides" if number else "from"
        what = "  " + ("!reset" if step.text is None else _value(step.text)) if step.text != "" else ""
        lines.append(f"  {verb} {step.where}{what}")
        lines += [f"    {name} from {source}" for name, source in step.variables]
    return "\n".join(lines)


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
