"""YAML text to trees: YAML 1.2 scalars, places of every entry, bounded in depth and size.

Comes in:  the bytes of a file and the name to show for it.
Goes out:  one ``Map`` (or None for an empty document) per YAML document.
Not here:  variables (``interpolate``), meaning of attributes (``validate``).
Source: YAML 1.2.2 chapter 10 (core schema), YAML 1.1 merge keys, Compose Specification "Fragments".
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from typing import Any

import yaml

from compose.errors import FileInvalid, Where
from compose.load.cast import shortened
from compose.load.tree import Date, Map, Override, Reset, Seq

MAX_DEPTH = 200
MAX_NODES = 1_000_000  # counted after aliases are expanded: an alias bomb ends here
MAX_DIGITS = 400  # a longer one is text: Python refuses to print such a number
MAX_BYTES = 32 * 1024 * 1024

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|0[bB][01_]+|[1-9][0-9_]*|0)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}(?:(?:[Tt]|[ \t]+)\d{1,2}:\d{2}:\d{2}(?:\.\d*)?.*)?\Z")
_WORDS: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_TAG = "tag:yaml.org,2002:"


def parse(data: bytes, file: str) -> list[Map | None]:
    """Read every document of ``data``.

    file: the name shown in errors.
    Raises FileInvalid with line and column for anything that is not a sequence of YAML mappings.
    """
    text = _decode(data, file)
    loader = _LOADER(text)
    try:
        documents = []
        while loader.check_node():
            documents.append(_Builder(file).document(loader.get_node()))
        return documents
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, file, text) from None
    except yaml.YAMLError as error:
        raise FileInvalid(f"not YAML: {error}", where=Where(file)) from None
    except RecursionError:
        raise _too_deep(Where(file)) from None
    finally:
        loader.dispose()


def _decode(data: bytes, file: str) -> str:
    """UTF-8, or UTF-16 with a byte order mark, without characters YAML forbids."""
    if len(data) > MAX_BYTES:
        raise FileInvalid(f"the file is larger than {MAX_BYTES >> 20} MiB", where=Where(file))
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileInvalid("the file is not UTF-8 text", where=Where(file, line)) from None
    for match in re.finditer("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]", text):
        line = text.count("\n", 0, match.start()) + 1
        column = match.start() - text.rfind("\n", 0, match.start())
        name = "NUL byte" if match[0] == "\0" else f"control character U+{ord(match[0]):04X}"
        raise FileInvalid(f"the file contains a {name}", where=Where(file, line, column))
    _bound_nesting(text, file)
    return text


_SUSPICIOUS = re.compile(rf"(?m)^[ \-?]{{{MAX_DEPTH}}}")


def _bound_nesting(text: str, file: str) -> None:
    """Refuse absurd nesting before the composer, which recurses in C, sees it.

    Depth needs as many brackets or columns; only a text that has them is scanned event by event.
    """
    if text.count("[") + text.count("{") < MAX_DEPTH and not _SUSPICIOUS.search(text):
        return
    loader, depth = _LOADER(text), 0
    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                raise _too_deep(Where(file, event.start_mark.line + 1, event.start_mark.column + 1))
    except yaml.YAMLError:
        return  # the syntax error is told when the text is read
    finally:
        loader.dispose()


def _too_deep(where: Where) -> FileInvalid:
    return FileInvalid(f"the file is nested deeper than {MAX_DEPTH} levels", where=where)


def _syntax_error(error: yaml.MarkedYAMLError, file: str, text: str) -> FileInvalid:
    mark = error.problem_mark or error.context_mark
    where = Where(file, mark.line + 1, mark.column + 1) if mark else Where(file)
    problem = str(error.problem or error.context or "syntax error")
    hint = ""
    if "cannot start any token" in problem and mark and _character(text, mark) == "\t":
        hint = "indent with blanks, not with tabs"
    elif "mapping values are not allowed" in problem:
        hint = "quote a value that contains ': ', and check the indentation of this line"
    elif "undefined alias" in problem:
        hint = "anchors ('&name') have to stand before their aliases, in the same document"
    return FileInvalid(f"not YAML: {problem}", hint=hint, where=where)


def _character(text: str, mark: yaml.Mark) -> str:
    line = "".join(text.split("\n")[mark.line : mark.line + 1])  # YAML knows more line ends than this
    return line[mark.column : mark.column + 1]


class _Builder:
    """Turns one document's nodes into a tree."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0
        self._open: set[int] = set()

    def document(self, node: Any) -> Map | None:
        """The mapping at the root; None when the document is empty."""
        value = self._value(node, 0)
        if value is None or isinstance(value, Map):
            return value
        kind = "a list" if isinstance(value, Seq) else "a single value"
        raise FileInvalid(
            f"the top level has to be a mapping, not {kind}",
            hint="a Compose file begins with 'services:'",
            where=self._where(node),
        )

    def _where(self, node: Any) -> Where:
        mark = node.start_mark
        return Where(self._file, mark.line + 1, mark.column + 1)

    def _value(self, node: Any, depth: int) -> Any:
        self._count += 1
        if self._count > MAX_NODES:
            raise FileInvalid(
                "the file has too many entries once its aliases are expanded", where=self._where(node)
            )
        if depth > MAX_DEPTH:
            raise _too_deep(self._where(node))
        if node.tag == "!reset":
            return Reset()
        build = self._builder(node)
        value = build(node, depth)
        return Override(value) if node.tag == "!override" else value

    def _builder(self, node: Any) -> Callable[[Any, int], Any]:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar
        if id(node) in self._open:
            raise FileInvalid("an anchor contains an alias to itself", where=self._where(node))
        return self._map if isinstance(node, yaml.MappingNode) else self._seq

    def _scalar(self, node: Any, _depth: int) -> Any:
        tag = node.tag
        if node.style in ("'", '"', "|", ">") and tag.startswith((_TAG + "str", "!")):
            return node.value
        if tag == _TAG + "str" and not node.style and self._explicit_text(node):
            return node.value
        if tag.startswith("!") and tag != "!" and node.value:
            return node.value  # a tag of its own takes the place of the type that YAML would see
        if tag == _TAG + "binary":
            return self._decoded(node)
        return scalar(node.value)

    def _decoded(self, node: Any) -> str:
        """The text that ``!!binary`` encodes."""
        try:
            return base64.b64decode(node.value, validate=False).decode()
        except ValueError:
            raise FileInvalid("'!!binary' holds no base64 of UTF-8 text", where=self._where(node)) from None

    def _explicit_text(self, node: Any) -> bool:
        """A plain scalar tagged ``!!str`` by hand: its text starts later than the node."""
        width = node.end_mark.index - node.start_mark.index
        return bool(width > len(node.value) and node.end_mark.line == node.start_mark.line)

    def _seq(self, node: Any, depth: int) -> Seq:
        self._open.add(id(node))
        seq = Seq((self._value(item, depth + 1), self._where(item)) for item in node.value)
        self._open.discard(id(node))
        return seq

    def _map(self, node: Any, depth: int) -> Map:
        self._open.add(id(node))
        own, merged, before = Map(), list[Map](), False
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge" or (key_node.value == "<<" and not key_node.style):
                if before:
                    raise FileInvalid(
                        "'<<' stands here twice", hint="write one list", where=self._where(key_node)
                    )
                before = True
                merged += self._merge_sources(value_node, depth)
                continue
            key = self._key(key_node, own)
            own.put(key, self._value(value_node, depth + 1), self._where(key_node))
        self._open.discard(id(node))
        self._count += sum(map(len, merged))
        return _with_merged(own, merged) if merged else own

    def _key(self, node: Any, seen: Map) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise FileInvalid("a key has to be text, not a list or mapping", where=self._where(node))
        key: str = node.value
        if not node.style and type(scalar(key)) is not str and not self._explicit_text(node):
            raise FileInvalid(
                f"the key {shortened(key)} is no text", hint="quote it", where=self._where(node)
            )
        if key in seen:
            first = seen.at[key]
            raise FileInvalid(
                f"key '{key}' stands here twice",
                hint=f"it was first given at line {first.line}: remove one of them",
                where=self._where(node),
            )
        return key

    def _merge_sources(self, node: Any, depth: int) -> list[Map]:
        """``<<:`` takes a mapping or a list of them; the first one that has a key wins."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        values = [self._value(one, depth + 1) for one in nodes]
        values = [one.value if isinstance(one, Override) else one for one in values]
        if not all(isinstance(one, Map) for one in values):
            raise FileInvalid(
                "'<<' takes a mapping or a list of mappings",
                hint="name an anchor of a mapping: '<<: *defaults'",
                where=self._where(node),
            )
        return values


def _with_merged(own: Map, sources: list[Map]) -> Map:
    """The merged keys first, as they would stand had they been written out; own keys win."""
    whole = Map()
    for source in reversed(sources):
        for key, value in source.items():
            whole.move(source, key, value)
    for key, value in own.items():
        whole.move(own, key, value)
    return whole


def scalar(text: str) -> Any:
    """The value of an untagged plain scalar by the YAML 1.2 core schema.

    As docker compose does, a leading 0 is octal too and ``_`` may group digits.
    """
    first = text[:1]
    if not text or first in "~nNtTfF":
        return _WORDS.get(text, text)
    if first not in "0123456789+-.":
        return text
    if len(text) > MAX_DIGITS:
        return text
    if _INT.match(text):
        return _integer(text.replace("_", ""))
    if _FLOAT.match(text):
        value = float(text.replace("_", ""))
        return value if math.isfinite(value) else text
    return Date(text) if _DATE.match(text) else text


def _integer(text: str) -> int | float:
    """A whole number; beyond 64 bits a floating one, as docker compose reads it."""
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        digits = "0o" + digits[1:]
    value = -int(digits, 0) if text[0] == "-" else int(digits, 0)
    return value if -(2**63) <= value < 2**64 else float(value)
