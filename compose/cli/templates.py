"""Go's text/template, as far as docker's ``--format`` takes it: actions, pipelines, docker's functions.

Comes in:  a template, data (mappings, lists, texts, numbers, booleans).
Goes out:  text. Pure.
Not here:  the functions (``template_functions``), tables (``table``).
Source: pkg.go.dev/text/template; docker/cli templates.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compose.cli.harmless import marked
from compose.cli.template_functions import FUNCTIONS, METHODS, shown, truth
from compose.errors import UsageError

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>[-+]?\d+(?:\.\d+)?)|(?P<mark>:=|=|[|(),])"""
    r"""|(?P<field>\$?\w*(?:\.\w+)+|\$\w*|\.)|(?P<word>\w+))"""
)
_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
Token = tuple[str, str]
Node = tuple[Any, ...]


def wrong(text: str) -> UsageError:
    """The error for a template that cannot be used."""
    return UsageError(f"template parsing error: {text}", hint="write Go templates such as '{{.Name}}'")


class Template:
    """A parsed template. Raises UsageError when it is none."""

    def __init__(self, form: str) -> None:
        parts = list(_parts(form))
        self._nodes, _, end = _block(parts, 0, ())
        if end:
            raise wrong(f"unexpected {{{{{end}}}}}")

    def render(self, data: Any) -> str:
        """The text for ``data``, whose texts are made fit for a terminal; those of the template stay."""
        data = _harmless(data)
        out: list[str] = []
        _run(self._nodes, data, {"$": data}, out)
        return "".join(out)


def _parts(form: str) -> Iterator[tuple[str, str]]:
    """("text", ...) and ("action", ...) in turn; ``{{-`` and ``-}}`` take the blanks beside them away."""
    at, trim = 0, False
    for found in _ACTION.finditer(form):
        text = form[at : found.start()]
        if "{{" in text:
            raise wrong("unclosed action")
        text = text.lstrip() if trim else text
        yield "text", text.rstrip() if found[1] else text
        if not found[2].startswith("/*"):
            yield "action", found[2]
        at, trim = found.end(), bool(found[3])
    rest = form[at:]
    if "{{" in rest:
        raise wrong("unclosed action")
    yield "text", rest.lstrip() if trim else rest


def _block(parts: Sequence[Token], at: int, ends: Sequence[str]) -> tuple[list[Node], int, str]:
    """Nodes up to an action that begins with one of ``ends``; then where it stands and its text."""
    nodes: list[Node] = []
    while at < len(parts):
        kind, text = parts[at]
        word, _, rest = text.partition(" ")
        at += 1
        if kind == "text":
            nodes.append(("text", text))
        elif word in ("end", "else"):
            if word not in ends:
                raise wrong(f"unexpected {{{{{word}}}}}")
            return nodes, at, text
        elif word in ("if", "with", "range"):
            node, at = _branch(parts, at, word, rest)
            nodes.append(node)
        else:
            nodes.append(("print", *_statement(text)))
    if ends:
        raise wrong("unexpected end of the template: {{end}} is missing")
    return nodes, at, ""


def _branch(parts: Sequence[Token], at: int, word: str, rest: str) -> tuple[Node, int]:
    names, pipeline = _statement(rest)
    body, at, end = _block(parts, at, ("end", "else"))
    other: list[Node] = []
    if end.startswith("else "):  # else if, else with
        following, _, condition = end.removeprefix("else ").partition(" ")
        node, at = _branch(parts, at, following, condition)
        other = [node]
    elif end == "else":
        other, at, _ = _block(parts, at, ("end",))
    return (word, names, pipeline, body, other), at


def _statement(text: str) -> tuple[tuple[str, ...], list[Any]]:
    """Variables that are declared (``$x :=``), and the pipeline."""
    tokens: list[Token] = []
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise wrong(f"unexpected {text[at:].strip()[:10]!r} in action")
        kind = str(found.lastgroup)
        joined = tokens[-1:] == [("mark", ")")] and found.start(kind) == at
        tokens.append(("chain" if joined and kind == "field" else kind, str(found[kind])))
        at = found.end()
    marks = [text for kind, text in tokens if kind == "mark"]
    names: tuple[str, ...] = ()
    if ":=" in marks or "=" in marks:
        split = next(n for n, token in enumerate(tokens) if token[1] in (":=", "="))
        names = tuple(name for kind, name in tokens[:split] if kind == "field")
        tokens = tokens[split + 1 :]
    pipeline, rest = _pipeline(tokens)
    if rest:
        raise wrong(f"unexpected '{rest[0][1]}' in action")
    return names, pipeline


def _pipeline(tokens: list[Token]) -> tuple[list[list[Any]], list[Token]]:
    """Commands between ``|``, each a list of operands, up to ``)``."""
    commands: list[list[Any]] = [[]]
    while tokens and tokens[0] != ("mark", ")"):
        kind, text = tokens[0]
        tokens = tokens[1:]
        if (kind, text) == ("mark", "|"):
            commands.append([])
        elif (kind, text) == ("mark", "("):
            inner, tokens = _pipeline(tokens)
            if not tokens:
                raise wrong("unclosed left paren")
            tokens = tokens[1:]
            chain = tokens[0][1] if tokens and tokens[0][0] == "chain" else ""
            tokens = tokens[1:] if chain else tokens
            commands[-1].append(("pipe", (inner, chain)))
        else:
            commands[-1].append(_operand(kind, text))
    if not all(commands):
        raise wrong("missing value for command")
    return commands, tokens


def _operand(kind: str, text: str) -> Node:
    if kind == "text":
        quoted = text[0] == '"'
        return ("value", text[1:-1].encode().decode("unicode_escape") if quoted else text[1:-1])
    if kind == "number":
        return ("value", float(text) if "." in text else int(text))
    if kind == "field":
        return ("field", text)
    if text in ("true", "false", "nil"):
        return ("value", {"true": True, "false": False, "nil": None}[text])
    if kind == "word" and text in FUNCTIONS:
        return ("function", text)
    raise wrong(f'function "{text}" not defined')


def _run(nodes: Sequence[Node], dot: Any, variables: dict[str, Any], out: list[str]) -> None:
    for node in nodes:
        if node[0] == "text":
            out.append(node[1])
            continue
        kind, names, pipeline, *blocks = node
        value = _evaluate(pipeline, dot, variables)
        if kind == "range":
            _repeat(value, names, blocks, dot, variables, out)
            continue
        variables |= dict.fromkeys(names[:1], value)
        if kind == "print":
            out.append("" if names else shown(value))
        elif truth(value):
            _run(blocks[0], value if kind == "with" else dot, dict(variables), out)
        else:
            _run(blocks[1], dot, dict(variables), out)


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return marked(value)
    if isinstance(value, Mapping):
        return {key: _harmless(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(inner) for inner in value]
    return value


def _repeat(
    value: Any,
    names: Sequence[str],
    blocks: Sequence[Sequence[Node]],
    dot: Any,
    variables: dict[str, Any],
    out: list[str],
) -> None:
    pairs: list[tuple[Any, Any]]
    if isinstance(value, Mapping):
        pairs = sorted(value.items())
    elif isinstance(value, list | tuple):
        pairs = list(enumerate(value))
    else:
        raise UsageError(f"template: range can't iterate over {shown(value)}")
    for pair in pairs:
        given = dict(zip(names, pair[-len(names) :], strict=False)) if names else {}
        _run(blocks[0], pair[1], {**variables, **given}, out)
    if not pairs:
        _run(blocks[1], dot, variables, out)


def _evaluate(commands: Sequence[Sequence[Node]], dot: Any, variables: Mapping[str, Any]) -> Any:
    piped: tuple[Any, ...] = ()
    for command in commands:
        piped = (_call(command, piped, dot, variables),)
    return piped[0]


def _call(command: Sequence[Node], piped: tuple[Any, ...], dot: Any, variables: Mapping[str, Any]) -> Any:
    first, *rest = command
    if first[0] == "function" and first[1] in ("and", "or") and not piped:
        return _lazy(first[1], rest, dot, variables)
    arguments = [*(_value(one, dot, variables) for one in rest), *piped]
    if first[0] == "function":
        return _apply(first[1], FUNCTIONS[first[1]], arguments)
    method = first[1].lstrip("$").lstrip(".") if first[0] == "field" else ""
    if method in METHODS and arguments:
        return _apply(method, METHODS[method], [dot, *arguments])
    if arguments:
        raise UsageError("template: can't give argument to non-function")
    return _value(first, dot, variables)


def _lazy(name: str, operands: Sequence[Node], dot: Any, variables: Mapping[str, Any]) -> Any:
    value: Any = None
    for one in operands:
        value = _value(one, dot, variables)
        if truth(value) == (name == "or"):
            break
    return value


def _apply(name: str, function: Any, arguments: Sequence[Any]) -> Any:
    try:
        return function(*arguments)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise UsageError(f"template: error calling {name}: {error}") from None


def _value(node: Node, dot: Any, variables: Mapping[str, Any]) -> Any:
    kind, text = node
    if kind == "value":
        return text
    if kind == "pipe":
        return _fields(_evaluate(text[0], dot, variables), text[1].split("."))
    if kind == "function":
        return _apply(text, FUNCTIONS[text], [])
    head, *names = text.split(".")
    if head and head not in variables:
        raise wrong(f"undefined variable: {head}")
    return _fields(variables[head] if head else dot, names)


def _fields(value: Any, names: Sequence[str]) -> Any:
    for name in filter(None, names):
        value = field(value, name)
    return value


def field(value: Any, name: str) -> Any:
    """``.name`` of a mapping. Raises UsageError for one that is not there."""
    if isinstance(value, Mapping) and name in value:
        return value[name]
    known = f"fields are {', '.join(sorted(value))}" if isinstance(value, Mapping) else ""
    raise UsageError(f"template: no field '{name}'", hint=known)
