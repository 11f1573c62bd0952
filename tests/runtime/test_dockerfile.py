"""The language of Dockerfiles: instructions, words, ignore rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import BuildFailed
from runtime.image.dockerfile import ignore
from runtime.image.dockerfile.parse import command, name_values, parse
from runtime.image.dockerfile.words import expand, expand_words, split

VARIABLES = {"a": "one", "empty": "", "path": "/usr/local/bin", "two": "x y", "dots": "a.b.c"}


def one(text: str):  # type: ignore[no-untyped-def]
    (instruction,) = parse(text).instructions
    return instruction


def test_instructions_know_their_line_and_case_does_not_matter() -> None:
    found = parse('# hello\n\nfrom debian\n\n  run a && \\\n   b\nCMD ["x"]\n').instructions
    assert [(i.name, i.line, i.rest) for i in found] == [
        ("FROM", 3, "debian"),
        ("RUN", 5, "a &&    b"),
        ("CMD", 7, '["x"]'),
    ]


def test_comments_and_empty_lines_fall_out_of_a_continuation() -> None:
    assert one("RUN a \\\n# comment\n\n   # another\n  b").rest == "a   b"


def test_an_escaped_escape_does_not_continue() -> None:
    assert len(parse("RUN echo \\\\\nRUN b").instructions) == 2


def test_directives_stand_at_the_top_only() -> None:
    found = parse("# syntax=docker/dockerfile:1\n# escape=`\nRUN a `\n b\n# escape=\\\n")
    assert dict(found.directives) == {"syntax": "docker/dockerfile:1", "escape": "`"}
    assert found.instructions[0].rest == "a  b"
    assert parse("# hi\n# escape=`\nRUN a").escape == "\\"


def test_crlf_bom_and_tabs_are_accepted() -> None:
    found = parse("\ufeffFROM\tx\r\nRUN a \\\r\n b\r\n")
    assert [i.rest for i in found.instructions] == ["x", "a  b"]


def test_the_json_form_needs_a_whole_list_of_texts() -> None:
    assert one('CMD ["a", "b c"]').json == ("a", "b c")
    assert one("CMD ['a']").json is None
    assert one('RUN [ -f x ] && echo "]"').json is None
    assert one('HEALTHCHECK CMD ["a", "b"]').json == ("a", "b")


def test_flags_are_taken_off() -> None:
    found = one('COPY --from=build --chown="a b" --link src dst')
    assert (found.flag("from"), found.flag("chown"), found.flag("link")) == ("build", "a b", "true")
    assert found.rest == "src dst"
    run = one("RUN --mount=type=cache,target=/a --mount=type=tmpfs,target=/b -- --odd")
    assert run.all("mount") == ["type=cache,target=/a", "type=tmpfs,target=/b"]
    assert run.rest == "--odd"


def test_heredocs_belong_to_their_instruction() -> None:
    found = parse("COPY <<one.txt <<-'two.txt' /dst/\nfirst $a\none.txt\n\tsecond\n\ttwo.txt\nRUN b")
    one_, two = found.instructions[0].heredocs
    assert (one_.name, one_.text(), one_.expand) == ("one.txt", "first $a\n", True)
    assert (two.name, two.text(), two.expand) == ("two.txt", "second\n", False)
    assert found.instructions[1].line == 6


def test_a_shift_is_not_a_heredoc() -> None:
    assert one("RUN echo $((1 << 2)) '<<EOF'").heredocs == ()


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "no instructions"),
        ("# only\n", "no instructions"),
        ("FROM a\nFORM b", "Dockerfile:2: unknown instruction 'FORM'"),
        ("FROM a\nUSER", "Dockerfile:2: USER requires exactly one argument"),
        ('FROM a\nCMD ["a", 1]', "arrays must be comprised of strings only"),
        ("COPY --form=x a b", "unknown flag --form"),
        ("RUN <<EOF\nnever closed", "Dockerfile:1: unterminated heredoc: the here-document 'EOF' has no end"),
        ("# escape=x\nRUN a", "invalid escape token 'x'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        parse(text)
    assert message in caught.value.message


def test_a_typo_gets_a_suggestion() -> None:
    with pytest.raises(BuildFailed) as caught:
        parse("FROM a\nENTRYPONT b")
    assert caught.value.hint == "did you mean ENTRYPOINT?"


def test_pairs_of_env_in_both_forms() -> None:
    assert name_values(one('ENV a=1 b="x y" c=d\\ e')) == [("a", "1"), ("b", '"x y"'), ("c", "d\\ e")]
    assert name_values(one("ENV a the rest = of it")) == [("a", "the rest = of it")]
    with pytest.raises(BuildFailed):
        name_values(one("ENV a=1 b"))


def test_commands_in_both_forms() -> None:
    assert command(one("RUN a b"), ("/bin/sh", "-c")) == ("/bin/sh", "-c", "a b")
    assert command(one('RUN ["a"]'), ("/bin/sh", "-c")) == ("a",)


@pytest.mark.parametrize(
    "text,result",
    [
        ("plain", "plain"),
        ("$a", "one"),
        ("${a}b", "oneb"),
        ("$ab", ""),
        ("\\$a", "$a"),
        ("'$a'", "$a"),
        ('"$a"', "one"),
        ('"\\$a"', "$a"),
        ('"\\x"', "\\x"),
        ("'a'\"b\"c", "abc"),
        ("$", "$"),
        ("a$", "a$"),
        ("$.", "$."),
        ("${unset:-x}", "x"),
        ("${unset-x}", "x"),
        ("${empty:-x}", "x"),
        ("${empty-x}", ""),
        ("${a:+x}", "x"),
        ("${empty:+x}", ""),
        ("${empty+x}", "x"),
        ("${unset+x}", ""),
        ("${a:?no}", "one"),
        ("${empty?no}", ""),
        ("${unset:-${a}}", "one"),
        ("${unset:-${other:-$a}}-z", "one-z"),
        ("${unset:-'}'}", "}"),
        ("${path#*/}", "usr/local/bin"),
        ("${path##*/}", "bin"),
        ("${path%/*}", "/usr/local"),
        ("${path%%/*}", ""),
        ("${dots/./-}", "a-b.c"),
        ("${dots//./-}", "a-b-c"),
        ("${dots//[ab]/z}", "a.b.c"),
        ("$two", "x y"),
        ("", ""),
    ],
)
def test_expansion(text: str, result: str) -> None:
    assert expand(text, VARIABLES) == result


@pytest.mark.parametrize("text", ["${", "${}", "${a", "'a", '"a', "${a!b}", "${unset:?no}", "${unset?}"])
def test_broken_words_are_refused(text: str) -> None:
    with pytest.raises(BuildFailed):
        expand(text, VARIABLES)


def test_unquoted_values_are_split_and_quoted_ones_not() -> None:
    assert expand_words("$two z", VARIABLES) == ["x", "y", "z"]
    assert expand_words('"$two" z', VARIABLES) == ["x y", "z"]
    assert split("a 'b c' d\\ e") == ["a", "b c", "d e"]


@given(st.text(alphabet="a$'\"\\{}:-/#% \n", max_size=20))
def test_expansion_ends_with_a_word_or_our_error(text: str) -> None:
    try:
        expand(text, VARIABLES)
        expand_words(text, VARIABLES)
    except BuildFailed:
        pass


@given(st.text(alphabet='FROM RUN<E\\\n#=[]"-`', max_size=60))
def test_parsing_ends_with_instructions_or_our_error(text: str) -> None:
    try:
        parse(text)
    except BuildFailed:
        pass


@pytest.mark.parametrize(
    "rules,ignored,kept",
    [
        ("*.md", ["a.md"], ["docs/a.md", "a.mdx"]),
        ("**/*.md", ["a.md", "docs/a.md", "x/y/z.md"], ["a.txt"]),
        ("docs", ["docs", "docs/a", "docs/b/c"], ["docsx", "x/docs"]),
        ("/docs/", ["docs/a"], ["x/docs/a"]),
        ("*/temp*", ["a/temp", "a/tempx/y"], ["temp", "a/b/temp"]),
        ("a?", ["ab"], ["a", "abc", "a/"]),
        ("[a-c]x", ["ax", "cx"], ["dx"]),
        ("[^a]x", ["bx"], ["ax"]),
        ("*.md\n!README.md", ["a.md"], ["README.md"]),
        ("*\n!keep\n", ["x", "y/z"], ["keep", "keep/inner"]),
        ("!README.md\n*.md", ["README.md"], []),
        ("# comment\n\n  a  ", ["a"], ["# comment", "b"]),
        ("**", ["a", "a/b"], []),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["az", "a/b"]),
        ("**/node_modules", ["node_modules/x", "a/node_modules/y"], ["node_modulesx"]),
        ("foo/../bar", ["bar"], ["foo"]),
        ("\\*x", ["*x"], ["ax"]),
        (".", [], ["a"]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_ignore_rules(rules: str, ignored: list[str], kept: list[str]) -> None:
    found = ignore.read(rules)
    assert [path for path in ignored if not found.matches(path)] == []
    assert [path for path in kept if found.matches(path)] == []


def test_a_directory_is_skipped_unless_an_exception_may_lie_below() -> None:
    assert ignore.read("node_modules").prunes("node_modules")
    assert not ignore.read("docs\n!docs/keep.md").prunes("docs")
    assert ignore.read("docs\n!src/keep.md").prunes("docs")
    assert not ignore.read("docs\n!**/keep.md").prunes("docs")


@pytest.mark.parametrize("rule", ["[a", "a\\", "[z-a]x"])
def test_malformed_ignore_rules_are_refused(rule: str) -> None:
    with pytest.raises(BuildFailed):
        ignore.read(rule)
