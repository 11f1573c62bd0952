"""Tables, templates, durations, ports and YAML come out as docker compose prints them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from compose.cli import humane, yaml_text
from compose.cli.config import without_nulls
from compose.cli.containers import ports_text
from compose.cli.table import table, templated
from compose.errors import UsageError


def test_columns_are_three_apart_and_at_least_ten_wide() -> None:
    rows = [["NAME", "IMAGE", "STATUS", "PORTS"], ["shop-web-1", "nginx:1.22", "Up 1 second", ""]]
    assert table(rows).splitlines() == [
        "NAME         IMAGE        STATUS        PORTS",
        "shop-web-1   nginx:1.22   Up 1 second   ",
    ]
    assert table([["NAME", "IMAGE"]]) == "NAME      IMAGE\n"


ROWS: list[dict[str, Any]] = [
    {"Name": "a-1", "State": "running", "Publishers": [], "Labels": "x=1,y.z=two"},
    {"Name": "longer-name-1", "State": "exited", "Publishers": [1], "Labels": ""},
]
HEADINGS = {"Name": "NAME", "State": "STATE", "Publishers": "PORTS", "Labels": "LABELS"}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{{.Name}} is {{.State}}", "a-1 is running\nlonger-name-1 is exited\n"),
        ("{{ .Name }}\\t{{.State}}", "a-1\trunning\nlonger-name-1\texited\n"),
        ("{{json .Publishers}}", "[]\n[1]\n"),
        ('{{.Label "y.z"}}', "two\n\n"),
        (
            "table {{.Name}}\\t{{.State}}",
            "NAME            STATE\na-1             running\nlonger-name-1   exited\n",
        ),
        ("plain", "plain\nplain\n"),
    ],
)
def test_templates(form: str, expected: str) -> None:
    assert templated(form, ROWS, HEADINGS) == expected


def test_a_whole_row_as_json() -> None:
    lines = templated("{{json .}}", ROWS, HEADINGS).splitlines()
    assert [json.loads(line) for line in lines] == ROWS


@pytest.mark.parametrize("form", ["{{.Nope}}", "{{range .}}", "{{.Name", "{{nothing .Name}}"])
def test_what_a_template_cannot_do_is_said(form: str) -> None:
    with pytest.raises(UsageError):
        templated(form, ROWS, HEADINGS)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1.9, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (150, "2 minutes"),
        (3600, "About an hour"),
        (5 * 3600, "5 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (15 * 86400, "2 weeks"),
        (100 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_durations_are_rough_words(seconds: float, text: str) -> None:
    assert humane.duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (999, "999B"), (1984172, "1.98MB"), (123456789, "123MB"), (5_000_000_000, "5GB")],
)
def test_sizes_are_decimal(size: int, text: str) -> None:
    assert humane.size(size) == text


def test_a_command_is_quoted_and_cut_to_twenty_characters() -> None:
    assert humane.command(("sh", "-c", "echo hello db; exit 3")) == '"sh -c \'echo hello d…"'
    assert humane.command(("sleep", "100")) == '"sleep 100"'
    assert humane.command(("echo", 'say "hi"\n'), whole=True) == '"echo \'say \\"hi\\"\\n\'"'


def port(address: str, target: int, published: int, protocol: str = "tcp") -> dict[str, Any]:
    return {"URL": address, "TargetPort": target, "PublishedPort": published, "Protocol": protocol}


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ([], ""),
        ([port("0.0.0.0", 80, 8080), port("::", 80, 8080)], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([port("127.0.0.1", 81, 18081), port("127.0.0.1", 82, 18082)], "127.0.0.1:18081-18082->81-82/tcp"),
        ([port("127.0.0.1", 81, 18081), port("127.0.0.1", 82, 18083)],
         "127.0.0.1:18081->81/tcp, 127.0.0.1:18083->82/tcp"),
        ([port("", 5432, 0), port("0.0.0.0", 53, 53, "udp")], "0.0.0.0:53->53/udp, 5432/tcp"),
    ],
)  # fmt: skip
def test_ports_are_joined_to_ranges_where_both_sides_follow(ports: list[dict[str, Any]], text: str) -> None:
    assert ports_text(ports) == text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
AMBIGUOUS = [
    "yes", "No", "on", "~", "null", "1:30", "0x10", "1e3", ".5", "a:b", "a#b", "-", "-x", "[x]", "{y}", "'q'",
    '"d"', "*a", "&b", "!c", "|x", ">y", "%z", "@v", "`w", "$$", "a,b", "2020-01-01", "=", "a:",
]  # fmt: skip
WORDS = st.sampled_from([*AMBIGUOUS, "a: b", "a #b", " a", "a ", ""])


@given(VALUES | WORDS | st.lists(WORDS) | st.dictionaries(WORDS, WORDS | st.lists(WORDS)))
def test_yaml_reads_back_as_what_was_written(value: Any) -> None:
    text = yaml_text.dump(value)
    back = yaml.safe_load(text)
    assert back == value or str(back) == str(value)
    assert type(back) is type(value)


def test_yaml_is_in_block_style_with_indented_lists() -> None:
    model = {
        "services": {"web": {"command": ["sh", "-c", "echo $$HOME"], "ports": [{"target": 80}], "x": {}}}
    }
    assert yaml_text.dump(model) == (
        "services:\n  web:\n    command:\n      - sh\n      - -c\n      - echo $$HOME\n"
        "    ports:\n      - target: 80\n    x: {}\n"
    ).replace("- -c", '- "-c"')


def test_the_yaml_of_config_has_the_sections_in_their_order_and_no_empty_ipam() -> None:
    model = {
        "name": "shop",
        "networks": {"default": {"ipam": {}, "name": "shop_default"}, "n": {"ipam": {"driver": "x"}}},
        "services": {"web": {"command": None, "image": "a"}},
        "volumes": {},
    }
    shown = without_nulls(model)
    assert list(shown) == ["name", "services", "networks", "volumes"]
    assert shown["networks"] == {"default": {"name": "shop_default"}, "n": {"ipam": {"driver": "x"}}}
    assert shown["services"] == {"web": {"image": "a"}}
