"""Progress: one plain line per change, or one live line per thing; what matters stays on the screen."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from compose.cli.attached import Wish, ending_text, expected
from compose.cli.containers import Container
from compose.cli.progress import Json, Live, Plain, Quiet, Unless, display, images, show
from compose.model.project import Project
from compose.model.service import Service
from runtime.image.progress import Progress
from runtime.spec import ContainerSpec, ContainerState, ExitRecord


def step(name: str, status: str, detail: str = "", kind: str = "container") -> dict[str, Any]:
    return {"event": "step", "kind": kind, "name": name, "status": status, "detail": detail}


def plain(*events: dict[str, Any], prefix: str = "") -> list[str]:
    stream = io.StringIO()
    shown = Plain(stream, prefix)
    for event in events:
        show(event, shown)
    shown.close()
    return stream.getvalue().splitlines()


def test_a_plain_line_is_docker_composes() -> None:
    assert plain(
        step("shop_default", "Created", kind="network"), step("shop-web-1", "Started", "missing")
    ) == [
        " Network shop_default  Created",
        " Container shop-web-1  Started",
    ]


def test_an_error_says_why_and_the_same_is_said_once() -> None:
    assert plain(step("a", "Error", "no such file"), step("a", "Error", "no such file")) == [
        " Container a  Error no such file"
    ]


def test_warnings_and_notices_are_whole_sentences() -> None:
    lines = plain({"event": "warning", "text": "no limit"}, {"event": "notice", "text": "ip_forward is on"})
    assert lines == ["warning: no limit", "ip_forward is on"]


def test_events_of_other_kinds_are_not_shown() -> None:
    assert plain({"event": "exited", "name": "a"}, {"event": "health", "name": "a"}) == []


def test_a_dry_run_says_so_in_every_line() -> None:
    assert plain(step("a", "Created"), prefix="DRY-RUN MODE - ") == ["DRY-RUN MODE -  Container a  Created"]


def test_json_lines_have_id_and_status() -> None:
    stream = io.StringIO()
    show(step("a", "Started"), Json(stream))
    assert json.loads(stream.getvalue()) == {"id": "Container a", "status": "Started"}


def test_layers_without_a_terminal_are_told_by_status_not_by_block() -> None:
    stream = io.StringIO()
    listen = images(Plain(stream))
    for current in (0, 1000, 2000, 3000):
        listen(Progress(kind="layer", id="0a1b2c", text="Downloading", current=current, total=4000))
    listen(Progress(kind="layer", id="0a1b2c", text="Done", current=4000, total=4000))
    listen(Progress(kind="note", text="assembled from Debian's packages"))
    assert stream.getvalue().splitlines() == [
        " 0a1b2c  Downloading",
        " 0a1b2c  Done 4kB/4kB",
        "assembled from Debian's packages",
    ]


def test_muted_kinds_are_left_out() -> None:
    stream = io.StringIO()
    listen = images(Plain(stream), ("layer",))
    listen(Progress(kind="layer", id="a", text="Done"))
    listen(Progress(kind="step", id="web 1/2", text="CACHED"))
    assert stream.getvalue() == " web 1/2  CACHED\n"


def test_live_lines_are_redrawn_in_place_and_stay() -> None:
    stream = io.StringIO()
    shown = Live(stream)
    show(step("shop-web-1", "Starting"), shown)
    show({"event": "warning", "text": "look out"}, shown)
    show(step("shop-web-1", "Started"), shown)
    shown.close()
    last = re.sub(r"\x1b\[[0-9;]*[mK]", "", stream.getvalue().split("\x1b[J")[-2])
    assert last.splitlines()[0] == "[+] Running 1/1"
    assert re.fullmatch(r" ✔ Container shop-web-1  Started +0\.\ds", last.splitlines()[1])
    assert "look out\n" in stream.getvalue()


def test_more_things_than_lines_show_what_is_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "6")
    monkeypatch.setenv("COLUMNS", "60")
    stream = io.StringIO()
    shown = Live(stream)
    for number in range(20):
        shown.change(f"Container {number}", "Created")
    shown.change("Container late", "Creating")
    drawn = stream.getvalue().split("\x1b[J")[-2]
    assert drawn.count("\n") == 5 and "Container late" in drawn
    shown.close()
    assert stream.getvalue().split("\x1b[J")[-2].count("\n") == 22


def test_what_is_running_already_is_told_only_beside_a_change() -> None:
    stream = io.StringIO()
    shown = Unless("Running", Plain(stream))
    show(step("a", "Running"), shown)
    shown.close()
    assert stream.getvalue() == ""
    show(step("b", "Created"), shown)
    assert stream.getvalue() == " Container a  Running\n Container b  Created\n"


@pytest.mark.parametrize(
    ("mode", "kind"), [("auto", Plain), ("plain", Plain), ("tty", Live), ("json", Json), ("quiet", Quiet)]
)
def test_the_mode_decides_the_display(mode: str, kind: type) -> None:
    assert isinstance(display(mode), kind)


def test_attached_containers_are_known_before_they_exist() -> None:
    services = {"web": Service(name="web", scale=2), "db": Service(name="db", container_name="the-db")}
    project = Project(name="shop", working_dir="/", services=services)
    assert expected(project, Wish(services=("web", "db"))) == {
        "shop-web-1": ("web-1", "web"),
        "shop-web-2": ("web-2", "web"),
        "the-db": ("the-db", "db"),
    }
    assert list(expected(project, Wish(services=("web",), replicas={"web": 1}))) == ["shop-web-1"]


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (ExitRecord(code=0), "exited with code 0"),
        (ExitRecord(code=None), "exited with code unknown"),
        (ExitRecord(code=137, oom=True), "exited with code 137 (out of memory)"),
        (
            ExitRecord(code=137, oom=True, reason="memory limit of 64 MiB reached"),
            "exited with code 137 (memory limit of 64 MiB reached)",
        ),
    ],
)
def test_an_ending_says_what_there_is_to_say(record: ExitRecord, text: str, tmp_path: Any) -> None:
    spec = ContainerSpec(id="0" * 64, name="shop-web-1", argv=("x",), layers=())
    state = ContainerState(id=spec.id, name=spec.name, status="exited", exit=record)
    assert ending_text(Container(spec, state, tmp_path)) == text
