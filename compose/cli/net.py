"""``pycompose net map|cut|heal|fault|tap``: look at the networks of a project, and break them on purpose."""

import re
from typing import Annotated

from compose.cli import report
from compose.cli.options import Argument, Option, Texts
from compose.cli.scope import Scope
from compose.errors import UsageError

ACTIONS = ("map", "cut", "heal", "fault", "tap")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def run(
    scope: Scope,
    action: Annotated[str, Argument("|".join(ACTIONS))],
    words: Annotated[Texts, Argument("[SERVICE...]")] = (),
    *,
    delay: Annotated[str, Option("--delay", metavar="TIME", help="fault: delay packets, as 200ms")] = "",
    for_: Annotated[str, Option("--for", metavar="TIME", help="fault, tap: end after a time, as 1m")] = "",
    format: Annotated[
        str,
        Option("--format", metavar="FORMAT", help="map: format the output", choices=("text", "json", "svg")),
    ] = "text",
    loss: Annotated[str, Option("--loss", metavar="SHARE", help="fault: how many are lost, as 5%")] = "",
    output: Annotated[
        str, Option("-o", "--output", metavar="FILE", help="tap: write to a file instead of stdout")
    ] = "-",
) -> int:
    """Show who is on which network, cut services off each other, lose, delay or record packets"""
    if action == "map":
        from compose.cli import net_map

        return net_map.show(scope, format)
    if action == "tap":
        from compose.cli import net_tap

        (service,) = _services(scope, words, 1, "tap SERVICE")
        return net_tap.record(scope, service, output, seconds(for_) if for_ else 0.0)
    if action == "fault":
        source, target = _arrow(scope, words)
        arguments = {
            "source": source,
            "target": target,
            "loss": share(loss) if loss else 0,
            "delay": round(seconds(delay) * 1e6) if delay else 0,
            "seconds": seconds(for_) if for_ else 0,
        }
        return _ask(scope, "fault", arguments)
    if action in ("cut", "heal"):
        several = words or action == "cut"
        pair = _services(scope, words, 2, f"{action} SERVICE SERVICE") if several else ()
        return _ask(scope, action, {"pairs": [list(pair)] if pair else []})
    raise UsageError(f"unknown command: net {action}", hint="one of " + ", ".join(ACTIONS))


def seconds(text: str) -> float:
    """A time such as 200ms, 1.5s or 1m. Pure. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)", text)
    if not found:
        raise UsageError(f"'{text}' is not a time", hint="write it as 200ms, 10s or 1m")
    return float(found[1]) * _UNITS[found[2]]


def share(text: str) -> int:
    """A share such as 5% or 0.5% as thousandths. Pure. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)%", text)
    if not found or not 0 < float(found[1]) <= 100:
        raise UsageError(f"'{text}' is not a share", hint="write it as 5%, from 0.1% to 100%")
    return max(1, round(float(found[1]) * 10))


def _services(scope: Scope, words: Texts, count: int, usage: str) -> Texts:
    from compose.cli.lifecycle import chosen

    if len(words) != count:
        raise UsageError(f"requires {count} service(s)", hint=f"pycompose net {usage}")
    chosen(scope, words)  # an unknown name is an error
    return words


def _arrow(scope: Scope, words: Texts) -> Texts:
    """``'web->db'``, or both names."""
    if len(words) == 1 and "->" in words[0]:
        source, _, target = words[0].partition("->")
        words = (source.strip(), target.strip())
    return _services(scope, words, 2, "fault 'SERVICE->SERVICE' --loss 5%")


def _ask(scope: Scope, verb: str, arguments: dict[str, object]) -> int:
    from compose.cli import lifecycle

    if not any(one.running for one in lifecycle.chosen(scope, ())):
        raise UsageError("nothing of this project runs", hint="pycompose up")
    if scope.dry_run:
        report.say(f"would {verb}")
        return 0
    try:
        result = lifecycle.ask(scope, verb, arguments)
    except KeyboardInterrupt:  # that is how a fault ends
        return 0
    for one, other in result.get("cuts", ()):
        report.tell(f"{one} x {other}")
    return 0
