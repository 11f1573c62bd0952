"""``pycompose graph``: which service waits for which, and for what."""

from typing import TYPE_CHECKING, Annotated

from compose.cli import report
from compose.cli.options import Option, Services
from compose.cli.scope import Scope

if TYPE_CHECKING:
    from compose.graph import Order

WORDS = {
    "service_started": "started",
    "service_healthy": "healthy",
    "service_completed_successfully": "completed",
}


def run(
    scope: Scope,
    services: Services = (),
    *,
    format: Annotated[
        str,
        Option(
            "--format", metavar="FORMAT", help="Format the output", choices=("text", "dot", "mermaid", "svg")
        ),
    ] = "text",
) -> int:
    """Print the start order of services and what each waits for"""
    loaded = scope.loaded(services)
    scope.project(services)
    order = loaded.order
    if services:
        order = order.only(order.dependencies(services))
    report.raw({"text": text, "dot": dot, "mermaid": mermaid, "svg": svg}[format](order))
    return 0


def text(order: "Order") -> str:
    """One line per service in waves: all of a wave can start at the same time. Pure."""
    lines = []
    for number, wave in enumerate(order.levels(), 1):
        for name in wave:
            waits = ", ".join(f"{e.dependency} ({WORDS[e.condition]})" for e in order.needs(name))
            lines.append(f"{number}. {name}" + (f"  <- {waits}" if waits else ""))
    return "".join(line + "\n" for line in lines)


def dot(order: "Order") -> str:
    """Graphviz; an arrow points from what is waited for to who waits. Pure."""
    nodes = "".join(f'  "{name}";\n' for name in order.nodes)
    for wave in order.levels():
        nodes += "  { rank=same; " + " ".join(f'"{name}";' for name in wave) + " }\n"
    edges = ""
    for edge in order.edges:
        dashed = "" if edge.required else ", style=dashed"
        label = WORDS[edge.condition]
        edges += f'  "{edge.dependency}" -> "{edge.service}" [label="{label}"{dashed}];\n'
    return f"digraph services {{\n  rankdir=LR;\n{nodes}{edges}}}\n"


def svg(order: "Order") -> str:
    """A picture. Pure."""
    from compose.cli import drawing

    return drawing.svg(order, {str(condition): word for condition, word in WORDS.items()})


def mermaid(order: "Order") -> str:
    """A Mermaid flowchart. Pure."""
    ids = {name: f"n{number}" for number, name in enumerate(order.nodes)}
    nodes = "".join(f'  {ids[name]}["{name}"]\n' for name in order.nodes)
    edges = "".join(
        f"  {ids[e.dependency]} {'--' if e.required else '-.'} {WORDS[e.condition]} "
        f"{'-->' if e.required else '.->'} {ids[e.service]}\n"
        for e in order.edges
    )
    return f"flowchart LR\n{nodes}{edges}"
