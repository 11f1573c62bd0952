"""Properties of the Dockerfile language: expansion beside a real shell, ignore rules beside a plain reading
of them, and a parser that ends with a Dockerfile or with our error, whatever it is given."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from runtime.image.dockerfile import glob, ignore
from runtime.image.dockerfile.errors import DockerfileInvalid
from runtime.image.dockerfile.lint import lint
from runtime.image.dockerfile.parse import NAMES, parse
from runtime.image.dockerfile.words import expand, expand_text, expand_words, split

VARIABLES = {"a": "one", "b": "x.y.z", "e": "", "p": "/usr/local/bin", "s": "two words", "q": "a*b?c"}

# --- expansion beside sh

_NAMES = st.sampled_from([*VARIABLES, "unset"])
_PLAIN = st.text(alphabet="abxyz./-_ ", max_size=4)
_PIECES = st.one_of(_PLAIN, st.sampled_from(["*", "?", "\\*", "\\?"]))


@st.composite
def words(draw: Any, depth: int = 2) -> str:
    """A word in double quotes: there dash and Dockerfiles mean the same by blanks."""
    parts = draw(st.lists(st.one_of(_PLAIN, references(depth)), max_size=4))
    return "".join(parts)


@st.composite
def references(draw: Any, depth: int) -> str:
    name = draw(_NAMES)
    kind = draw(st.sampled_from(["$", "${}", ":-", "-", ":+", "+", "#", "##", "%", "%%"]))
    if kind == "$":
        return f"${{{name}}}" if depth == 0 else f"${name} "
    if kind == "${}":
        return f"${{{name}}}"
    if kind[0] in "#%":
        return f"${{{name}{kind}{''.join(draw(st.lists(_PIECES, max_size=3)))}}}"
    inner = draw(words(depth - 1)) if depth > 0 else draw(_PLAIN)
    return f"${{{name}{kind}{inner}}}"


def shell(texts: list[str]) -> list[str]:
    """Each text in double quotes, as sh expands it."""
    sets = "".join(f"{name}='{value}'\n" for name, value in VARIABLES.items())
    script = sets + "".join(f"printf '%s\\0' \"{text}\"\n" for text in texts)
    ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    return ran.stdout.split("\0")[:-1]


@settings(max_examples=60, deadline=None)
@given(st.lists(words(), min_size=1, max_size=20))
@example(["${p##*/}", "${p%%/*}", "${p#/}", "${q#a\\*}", "${q%\\?c}", "${unset:-${e:-${a}}}"])
def test_a_word_expands_as_in_a_shell(texts: list[str]) -> None:
    assert [expand(f'"{text}"', VARIABLES) for text in texts] == shell(texts)


@settings(deadline=None)
@given(st.text(alphabet="ab*?", max_size=6), st.text(alphabet="abc", max_size=8))
def test_trimming_is_the_shortest_or_longest_end_that_matches(pattern: str, value: str) -> None:
    wanted = re.compile("".join({"*": ".*", "?": "."}.get(c, c) for c in pattern))
    heads = [n for n in range(len(value) + 1) if wanted.fullmatch(value[:n])]
    tails = [n for n in range(len(value) + 1) if wanted.fullmatch(value[n:])]
    assert glob.trim_prefix(pattern, value, longest=False) == value[min(heads, default=0) :]
    assert glob.trim_prefix(pattern, value, longest=True) == value[max(heads, default=0) :]
    whole = len(value)
    assert glob.trim_suffix(pattern, value, longest=False) == value[: max(tails, default=whole)]
    assert glob.trim_suffix(pattern, value, longest=True) == value[: min(tails, default=whole)]


@settings(deadline=None)
@given(st.text(alphabet="ab*?", max_size=6), st.text(alphabet="abc", max_size=8), st.booleans())
def test_replacing_is_what_a_regular_expression_replaces(pattern: str, value: str, everywhere: bool) -> None:
    wanted = "".join({"*": ".*", "?": "."}.get(c, c) for c in pattern)
    assume("*" not in pattern or not everywhere)  # Python also replaces the empty end behind a match
    made = glob.replace(pattern, value, "-", everywhere=everywhere)
    assert made == re.sub(wanted, "-", value, count=0 if everywhere else 1)


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    value = "a" * 2000
    assert expand("${v%" + "*a" * 40 + "b}", {"v": value}) == value


@given(st.text(alphabet="a1$'\"\\{}:-+?/#% \n`", max_size=40))
def test_expansion_ends_with_a_word_or_our_error(text: str) -> None:
    for function in (expand, expand_words, expand_text):
        try:
            function(text, VARIABLES)
        except DockerfileInvalid as error:
            assert error.bare


@given(st.text(alphabet="ab'\" \\\t", max_size=20))
def test_splitting_loses_nothing_but_blanks(text: str) -> None:
    kept = split(text, keep_quotes=True)
    assert all(kept)
    if not set(text) & set("'\"\\"):
        assert kept == text.split() == split(text)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(DockerfileInvalid, match="nested"):
        expand("${a:-" * 5000 + "x" + "}" * 5000, {})


# --- ignore rules

_PART = st.text(alphabet="ab*?", min_size=1, max_size=3)
_RULE = st.lists(st.one_of(_PART, st.just("**")), min_size=1, max_size=3).map("/".join)
_RULES = st.lists(st.tuples(st.sampled_from(["", "!"]), _RULE).map("".join), max_size=5)
_PATH = st.lists(st.text(alphabet="ab", min_size=1, max_size=3), min_size=1, max_size=4)


def piece_matches(pattern: str, name: str) -> bool:
    """One component: ``*`` any text, ``?`` one character."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(piece_matches(pattern[1:], name[n:]) for n in range(len(name) + 1))
    return bool(name) and pattern[0] in ("?", name[0]) and piece_matches(pattern[1:], name[1:])


def rule_matches(rule: list[str], path: list[str]) -> bool:
    """Component by component; ``**`` stands for any number of them, at the end for at least one."""
    if not rule:
        return not path
    if rule[0] == "**":
        if len(rule) == 1:
            return bool(path)
        return any(rule_matches(rule[1:], path[n:]) for n in range(len(path) + 1))
    return bool(path) and piece_matches(rule[0], path[0]) and rule_matches(rule[1:], path[1:])


def ignored(rules: list[str], path: list[str]) -> bool:
    """The last rule that matches decides. A rule that cannot change the state of a directory is not looked
    at, and then does not hold for what lies below either."""
    above: list[bool] = [False] * len(rules)
    state = False
    for length in range(1, len(path) + 1):
        state, hits = False, []
        for rule, inherited in zip(rules, above, strict=True):
            keep = rule.startswith("!")
            hit = inherited or (keep == state and rule_matches(rule.lstrip("!").split("/"), path[:length]))
            state = (not keep) if hit else state
            hits.append(hit)
        above = hits
    return state


def glued(rules: list[str]) -> bool:
    """Whether stars stand side by side inside a component: those have rules of their own."""
    return any(
        (len(part) > 2 and "**" in part) or part == "***" for rule in rules for part in rule.split("/")
    )


@given(_RULES, st.lists(_PATH, min_size=1, max_size=6))
def test_ignoring_is_what_the_rules_say(rules: list[str], paths: list[list[str]]) -> None:
    assume(not glued(rules))
    read = ignore.read("\n".join(rules))
    for path in paths:
        assert read.matches("/".join(path)) == ignored(rules, path), path


@given(_RULES, _PATH, _PATH)
def test_nothing_below_a_pruned_directory_is_taken_in(
    rules: list[str], above: list[str], below: list[str]
) -> None:
    read = ignore.read("\n".join(rules))
    if read.prunes("/".join(above)):
        assert read.matches("/".join([*above, *below]))


@given(st.text(alphabet="ab*?[]^-!\\/.# \n", max_size=30), st.text(alphabet="ab/", max_size=12))
def test_reading_rules_ends_with_rules_or_our_error(text: str, path: str) -> None:
    try:
        ignore.read(text).matches(path)
    except DockerfileInvalid as error:
        assert error.line >= 1


def test_a_rule_of_many_stars_takes_no_time() -> None:
    assert not ignore.read("*" * 60 + "b").matches("a" * 60)
    assert not ignore.read("**/" * 30 + "b").matches("/".join(["a"] * 30))


# --- the parser

_WORDS = st.sampled_from(
    [*NAMES, "from", "AS", "--from=a", "--mount=type=cache,target=/c", "<<EOF", "<<-'E'", "EOF", "E",
     "\\", "`", "$a", "${a:-b}", '["a",', '"b"]', "[", "]", "'", '"', "a=b", "#", "# escape=`",
     "# check=error=true", "x", "\t", "\r", "\ufeff", "CMD", "NONE", "80/TCP", "=", "--", "\0", "é"]
)  # fmt: skip
_FILES = st.lists(st.tuples(_WORDS, st.sampled_from([" ", "\n", "", "\\\n"])).map("".join), max_size=30).map(
    "".join
)


@settings(deadline=None)
@given(st.one_of(_FILES, st.text(max_size=80), _FILES.map(lambda text: f"FROM a\n{text}")))
def test_parsing_ends_with_instructions_or_our_error(text: str) -> None:
    try:
        found = parse(text)
    except DockerfileInvalid as error:
        assert error.message
        return
    for one in found.instructions:
        assert one.name in NAMES and one.name == one.word.upper()
        assert 1 <= one.line <= one.end <= text.count("\n") + 1
    lines = [one.line for one in found.instructions]
    assert lines == sorted(lines)


@settings(deadline=None)
@given(st.one_of(_FILES, _FILES.map(lambda text: f"FROM a\n{text}")))
def test_checking_ends_with_a_report(text: str) -> None:
    report = lint(text)
    assert all(1 <= finding.line <= finding.end for finding in report.findings)


def test_long_files_take_no_time() -> None:
    continued = parse("FROM a\nRUN " + "x \\\n" * 20_000)
    assert len(continued.instructions) == 2
    assert len(parse("FROM a\n" + "ENV a=b\n" * 5000).instructions) == 5001
    assert parse("FROM a\nCMD " + "[" * 50_000).instructions[1].json is None
    assert len(parse("FROM a\n" + "RUN x << y\n" * 500).instructions) == 501
