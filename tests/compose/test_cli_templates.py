"""Go templates, as docker's --format takes them."""

from __future__ import annotations

import pytest

from compose.cli.table import templated
from compose.cli.templates import Template
from compose.errors import UsageError

ROW = {
    "Name": "shop-web-1", "Service": "web", "State": "running", "ExitCode": 0, "Labels": "a.b=c,x=y=z",
    "Publishers": [{"URL": "0.0.0.0", "PublishedPort": 80}, {"URL": "::", "PublishedPort": 81}], "Empty": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("{{.Name}} {{ .Service }}", "shop-web-1 web"),
        ('{{if eq .State "running"}}{{.Service}}{{else}}down{{end}}', "web"),
        ('{{if eq .State "a" "b"}}1{{else if ne .Service "web"}}2{{else}}3{{end}}', "3"),
        ("{{if .ExitCode}}bad{{else}}good{{end}}", "good"),
        ("{{.Name | upper}} {{len .Service}}", "SHOP-WEB-1 3"),
        ('{{.Service | printf "%-5s|"}}', "web  |"),
        ('{{printf "%q %d%% %v" .Service 7 true}}', '"web" 7% true'),
        ('{{.Label "a.b"}}{{.Label "x"}}{{.Label "none"}}', "cy=z"),
        ('{{join (split .Name "-") "+"}} {{title "ab cd"}} {{truncate .Name 4}}', "shop+web+1 Ab Cd shop"),
        ("{{range .Publishers}}{{.URL}}:{{.PublishedPort}} {{end}}", "0.0.0.0:80 :::81 "),
        (
            "{{range $n, $p := .Publishers}}{{$n}}={{$p.PublishedPort}},{{$.Service}};{{end}}",
            "0=80,web;1=81,web;",
        ),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{with .Service}}<{{.}}>{{end}}", "<web>"),
        ("{{$x := .Service}}{{$x}}{{$x}}", "webweb"),
        ('{{and .Service .ExitCode}} {{or .ExitCode "x"}} {{not .Empty}}', "0 x true"),
        ("{{(index .Publishers 1).URL | json}}", '"::"'),
        ('{{index (split .Name "-") 1}} {{slice .Name 0 4}}', "web shop"),
        ("a {{- .Service -}} b{{/* a comment */}}", "awebb"),
        ('{{pad "x" 1 2}}|{{lower "AB"}}|{{print 1 "a"}}|`{{"a\\tb"}}', " x  |ab|1a|`a\tb"),
        ("{{json .Publishers}}", '[{"URL":"0.0.0.0","PublishedPort":80},{"URL":"::","PublishedPort":81}]'),
        ("{{lt 1 2}} {{ge 1 2}} {{eq 1 1}}", "true false true"),
        ("no action", "no action"),
    ],
)
def test_a_template_gives_what_go_gives(form: str, text: str) -> None:
    assert Template(form).render(ROW) == text


@pytest.mark.parametrize(
    "form",
    [
        "{{.Nmae}}", "{{nofunction .Name}}", "{{.Name", "{{if .Name}}", "{{end}}", "{{else}}", "{{}}",
        "{{|}}", "{{.Name | }}", "{{(len .Name}}", "{{len}}", "{{range .ExitCode}}{{end}}", "{{$no}}",
        '{{"open}}',
        "{{eq 1}}", "{{index .Publishers 9}}", "{{.Name .Service}}", "{{if .Name}}{{else}}{{else}}{{end}}",
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_is_refused(form: str) -> None:
    with pytest.raises(UsageError):
        Template(form).render(ROW)


def test_a_table_has_headings_over_aligned_columns() -> None:
    rows = [{"A": "1", "B": "x"}, {"A": "longer than ten", "B": "y"}]
    assert templated("table {{.A}}\\t{{.B}}", rows, {"A": "FIRST", "B": "SECOND"}).splitlines() == [
        "FIRST             SECOND",
        "1                 x",
        "longer than ten   y",
    ]
