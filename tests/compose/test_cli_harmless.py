"""Whatever a container, an image or a file is called, the terminal shows it and does not obey it."""

from __future__ import annotations

import ast
import io
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.cli import harmless, progress, report
from compose.cli.table import as_json, table, templated
from compose.errors import ComposeError, FileInvalid, Where

CLI = Path(report.__file__).parent
# what a stranger can put into a name: plenty of what terminals act on
HOSTILE = st.text(
    st.one_of(
        st.characters(categories=["Cc", "Cf", "Cs", "Co", "Zl", "Zp"]),
        st.sampled_from("\x1b[]0;\x07\x9b\x9d\r\n\t\u202e\u2066\u200b\udcff"),
        st.characters(),
    )
)
OURS = re.compile(r"\x1b\[\d*[mAJK]")


def harmful(text: str, allowed: str = "\n") -> list[str]:
    """Characters of ``text`` that a terminal acts on or hides."""
    return [
        char for char in text
        if char not in allowed and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    ]  # fmt: skip


class Terminal(io.StringIO):
    """A stream that looks like a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@given(HOSTILE)
def test_a_cell_stays_as_wide_as_it_was(text: str) -> None:
    assert harmful(harmless.marked(text), "") == []
    assert len(harmless.marked(text)) == len(text)


@given(HOSTILE)
def test_a_sentence_of_several_lines_has_one_that_begins_at_the_left(text: str) -> None:
    first, *others = harmless.sentence("error: " + text).split("\n")
    assert first.startswith("error: ")
    assert all(line.startswith("  ") for line in others)
    assert harmful("".join((first, *others)), "\t") == []


@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1))
def test_a_table_has_a_line_a_row(rows: list[tuple[str, str]]) -> None:
    text = table(rows)
    assert harmful(text) == []
    assert text.count("\n") == len(rows)
    text = templated("{{.A}} {{.B}}", [{"A": a, "B": b} for a, b in rows], {"A": "A", "B": "B"})
    assert harmful(text) == [] and text.count("\n") == len(rows)


@given(HOSTILE)
def test_json_means_the_same(text: str) -> None:
    written = as_json({"a": text})
    assert harmful(written) == []
    # a pair of surrogates, which no Python text of a file has, becomes the character that it stands for
    assert json.loads(written)["a"].encode("utf-16", "surrogatepass") == text.encode(
        "utf-16", "surrogatepass"
    )


@pytest.mark.parametrize("kind", [progress.Plain, progress.Live, progress.Json])
@given(name=HOSTILE, text=HOSTILE)
def test_progress_moves_the_cursor_as_it_means_to_only(kind: Any, name: str, text: str) -> None:
    stream = Terminal()
    shown = kind(stream)
    shown.change(f"Container {name}", "Error", text)
    shown.line(text, "warning:")
    shown.line(harmless.uncoloured(text))
    shown.close()
    assert harmful(OURS.sub("", stream.getvalue()), "\n\t") == []


@given(message=HOSTILE, hint=HOSTILE, file=HOSTILE)
def test_errors_and_warnings_are_lines_of_ours(message: str, hint: str, file: str) -> None:
    stream = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        report.error(FileInvalid(message, hint=hint, where=Where(file, 1, 2)))
        report.error(OSError(2, message, file))
        report.warn(message, hint=hint, where=Where(file, 3))
        report.say(message)
        patch.setattr("sys.stdin", io.StringIO())
        report.ask(message)
    assert harmful(OURS.sub("", stream.getvalue()), "\n\t") == []


def test_the_output_of_a_build_loses_its_colours_and_what_was_written_over() -> None:
    assert harmless.uncoloured("\x1b[32mok\x1b[0m\tdone\r") == "ok\tdone"
    assert harmless.uncoloured(" 10 %\r 99 %\r100 %") == "100 %"
    assert harmless.uncoloured("\x1b]0;title\x07") == "\\x1b]0;title\\x07"


def test_words_of_any_script_are_left_alone() -> None:
    for text in ("naïve", "日本語", "שלום", "a\u00a0b", "e\u0301", "✔ ⠋", "🐳"):
        assert harmless.escaped(text) == harmless.marked(text) == harmless.in_json(text) == text


def test_a_terminal_without_the_letters_gets_their_numbers() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    report.write(stream, "caf\u00e9 \u2714\n")
    assert stream.buffer.getvalue() == b"caf\\xe9 \\u2714\n"  # type: ignore[attr-defined]


def test_a_failure_of_a_build_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    report.error(ComposeError("exit code: 1\n  | one\n  | two\nerror: forged"))
    assert capsys.readouterr().err == "error: exit code: 1\n  | one\n  | two\n  error: forged\n"


PASSED = {"report.py", "progress.py", "printer.py", "terminal.py"}


def test_nothing_else_prints() -> None:
    """Program output goes through ``buffer`` or descriptors; every text goes through ``report``."""
    found = []
    for path in sorted(CLI.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Call) else ""
            if path.name not in PASSED and re.match(r"(print|sys\.(stdout|stderr)\.write(lines)?)\(", text):
                found.append(f"{path.name}: {text}")
    assert found == []
