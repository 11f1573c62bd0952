"""Text of containers, images and files made fit for a terminal.

Comes in:  any text: names, outputs, sentences with parts of files in them.
Goes out:  the same without control characters (C0, DEL, C1), marks that turn the direction of writing,
           invisible format characters, line and paragraph separators, lone surrogates (bytes not of UTF-8).
Not here:  the output of programs, which ``logs``, ``run``, ``exec`` and ``attach`` pass as it is.

``report``, ``table`` and ``progress`` call this where they print, and nothing else in ``compose.cli`` prints,
so that what is added later is safe as well. The usual text costs one ``str.isprintable``.
Source: ECMA-48; Unicode, general categories Cc, Cf, Cs, Co, Cn, Zl, Zp.
"""

_SEPARATORS = "\u2028\u2029"


def _shown(char: str) -> bool:
    """Whether ``char`` is a visible one or a space of some width."""
    return char.isprintable() or (char.isspace() and char >= "\xa0" and char not in _SEPARATORS)


def _escape(char: str) -> str:
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    number = ord(char)
    return (
        f"\\x{number:02x}"
        if number < 0x100
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )


def escaped(text: str, keep: str = "") -> str:
    """``text`` with every such character that ``keep`` does not name written as an escape, ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join([char if char in keep or _shown(char) else _escape(char) for char in text])


def marked(text: str) -> str:
    """``text`` with a ``?`` for every such character, as wide as it was, as Docker's ``top`` has it."""
    if text.isprintable():
        return text
    return "".join([char if _shown(char) else "?" for char in text])


def sentence(text: str) -> str:
    """``text`` for talk: its further lines stand indented, so that none looks like a line of ours."""
    if text.isprintable():
        return text
    first, *others = text.split("\n")
    lines = [first, *(line if line.startswith("  ") else f"  {line}" for line in others)]
    return "\n".join([escaped(line, "\t") for line in lines])


def laid_out(text: str) -> str:
    """``text`` of several lines that are ours."""
    return escaped(text, "\n\t")


def in_json(text: str) -> str:
    """JSON text with such characters as ``\\uXXXX``: it means the same."""
    if text.isprintable():
        return text
    return "".join([char if char == "\n" or _shown(char) else _json(ord(char)) for char in text])


def _json(number: int) -> str:
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"


def uncoloured(line: str) -> str:
    """A line of a build's output: without colours, and what was left of it after the last carriage return."""
    if line.isprintable():
        return line
    import re

    line = re.sub(r"\x1b\[[0-9;:]*[mK]", "", line).rstrip("\r")
    return escaped(line.rpartition("\r")[2], "\t")
