"""Verbs that read: they tell the truth from the state on disk, with docker compose's words and exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose.cli import main, report
from compose.cli.ls import matcher
from compose.cli.scope import may_make_namespaces
from compose.errors import UsageError
from runtime.spec import ContainerSpec, ContainerState, ExitRecord
from runtime.state import start_time, write_json

FILE = """
name: shop
services:
  web:
    image: nginx:1.22
    depends_on: {db: {condition: service_healthy}}
    ports: ["8080:80"]
  db:
    image: postgres:15
    environment: {PASSWORD: "${PASSWORD:-a$$b}"}
    volumes: ["data:/var/lib/postgresql/data"]
  debug:
    image: busybox
    profiles: [tools]
volumes: {data: {}}
"""
Run = Callable[..., int]


class Shop:
    """A project on disk: records of containers, as runtime and engine write them."""

    def __init__(self, directory: Path) -> None:
        self.run = directory / "run" / "shop"
        self.data = directory / "data" / "projects" / "shop"

    def container(
        self,
        service: str,
        number: int = 1,
        *,
        status: str = "running",
        end: ExitRecord | None = None,
        oneoff: bool = False,
        ago: float = 65.0,
        **facts: Any,
    ) -> str:
        name = f"shop-{service}-run-abc" if oneoff else f"shop-{service}-{number}"
        id = (f"{service}{number}{oneoff}".encode().hex() * 8)[:64]
        labels = {
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": service,
            "com.docker.compose.container-number": str(number),
            "com.docker.compose.oneoff": str(oneoff),
            "com.docker.compose.image": "sha256:" + "ab" * 32,
            "io.pycompose.image-name": f"{service}:1",
        }
        spec = ContainerSpec(
            id=id, name=name, argv=("sh", "-c", "echo hello db; sleep 9"), layers=(), labels=labels
        )
        living = status in ("running", "paused")
        state = ContainerState(
            id=id,
            name=name,
            status="running" if end else status,
            pid=os.getpid() if living else 0,
            start_time=start_time(os.getpid()) if living else 0,
            created_at=time.time() - ago,
            started_at=time.time() - ago,
        )
        record, volatile = self.data / "containers" / id, self.run / "containers" / id
        record.mkdir(parents=True)
        volatile.mkdir(parents=True)
        write_json(record / "spec.json", spec)
        launch = {"restart": facts.pop("restart", "no"), "endpoints": [{"network": "shop_default"}]}
        write_json(record / "launch.json", launch)
        os.utime(record / "launch.json", (time.time() - ago, time.time() - ago))
        write_json(record / "engine.json", facts)
        write_json(volatile / "state.json", state)
        if end is not None:
            write_json(volatile / "exit.json", end)
        return id

    def log(self, name: str, *texts: str) -> None:
        (self.data / "logs").mkdir(parents=True, exist_ok=True)
        lines = [f"2026-11-21T02:14:{n:02}.000000000Z {text}\n" for n, text in enumerate(texts)]
        (self.data / "logs" / f"{name}.log").write_text("".join(lines))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "compose.yaml").write_text(FILE)
    monkeypatch.chdir(home)
    for name in [name for name in os.environ if name.startswith(("COMPOSE_", "PYCOMPOSE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYCOMPOSE_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("PYCOMPOSE_DATA", str(tmp_path / "data"))
    yield Shop(tmp_path)
    report.choose_ansi("auto")


@pytest.fixture
def running(shop: Shop) -> Shop:
    ports = [
        {"host_ip": "", "published": 8080, "target": 80, "protocol": "tcp"},
        {"host_ip": "127.0.0.1", "published": 8443, "target": 443, "protocol": "tcp"},
    ]
    shop.container("web", ports=ports)
    shop.container("db", health="healthy")
    killed = ExitRecord(code=137, signal=9, oom=True, reason="memory limit reached", at=time.time() - 3.5)
    shop.container("web", 2, status="exited", end=killed)
    shop.container("db", status="exited", end=ExitRecord(code=0, at=time.time() - 90), oneoff=True)
    return shop


def outcome(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(list(argv))
    out, err = capsys.readouterr()
    return code, out, err


def test_ps_lists_what_runs(running: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = outcome(capsys, "ps")
    assert (code, err) == (0, "")
    heading, first, second = (re.split(r" {3,}", line) for line in out.splitlines())
    assert heading == ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]
    up, command = "Up About a minute", '"sh -c \'echo hello d…"'
    assert first == ["shop-db-1", "db:1", command, "db", "About a minute ago", f"{up} (healthy)", ""]
    ports = "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 127.0.0.1:8443->443/tcp"
    assert second == ["shop-web-1", "web:1", command, "web", "About a minute ago", up, ports]


def test_ps_a_shows_the_dead_and_that_memory_killed_them(
    running: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = outcome(capsys, "ps", "-a", "--format", "{{.Name}} {{.Status}}")
    assert out.splitlines() == [
        "shop-db-1 Up About a minute (healthy)",
        "shop-db-run-abc Exited (0) About a minute ago",
        "shop-web-1 Up About a minute",
        "shop-web-2 Exited (137) 3 seconds ago (out of memory)",
    ]


def test_ps_json_has_the_keys_of_docker_compose(running: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = outcome(capsys, "ps", "-a", "--format", "json", "web")
    first, second = (json.loads(line) for line in out.splitlines())
    assert set(first) >= {
        "Command", "CreatedAt", "ExitCode", "Health", "ID", "Image", "Labels", "LocalVolumes", "Mounts",
        "Name", "Names",
        "Networks", "Ports", "Project", "Publishers", "RunningFor", "Service", "State", "Status",
    }  # fmt: skip
    assert (first["Name"], first["State"], first["ExitCode"]) == ("shop-web-1", "running", 0)
    assert first["Publishers"][0] == {
        "URL": "0.0.0.0", "TargetPort": 80, "PublishedPort": 8080, "Protocol": "tcp",
    }  # fmt: skip
    assert (second["State"], second["ExitCode"], second["Publishers"]) == ("exited", 137, [])
    assert first["Networks"] == "shop_default" and len(first["ID"]) == 12


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        ([], "db-1 web-1"),
        (["-a"], "db-1 db-run-abc web-1 web-2"),
        (["--status", "exited"], "web-2"),
        (["--status", "exited", "--status", "running"], "db-1 web-1 web-2"),
        (["-a", "--filter", "status=exited"], "db-run-abc web-2"),
        (["--filter", "status=paused"], ""),
        (["web"], "web-1"),
        (["-a", "web", "debug"], "web-1 web-2"),
    ],
)
def test_ps_selects(argv: list[str], names: str, running: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(capsys, "ps", "--format", "{{.Name}}", *argv)
    assert (code, out.split()) == (0, [f"shop-{name}" for name in names.split()])


def test_ps_gives_ids_or_services_alone(running: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    ids = outcome(capsys, "ps", "-q")[1].split()
    assert [len(id) for id in ids] == [64, 64]
    assert outcome(capsys, "ps", "--services")[1] == "db\nweb\n"


def test_ps_of_an_unknown_service_or_status_fails(running: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = outcome(capsys, "ps", "wep")
    assert (code, out) == (1, "")
    assert err == "error: no such service: wep\nhint: did you mean 'web'?\n"
    assert outcome(capsys, "ps", "--status", "happy")[0] == 1
    assert outcome(capsys, "ps", "--filter", "name=x")[0] == 1


def test_ps_with_a_name_needs_no_file(
    running: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(outcome(capsys, "-p", "shop", "ps", "-q")[1].splitlines()) == 2
    code, _, err = outcome(capsys, "-p", "../shop", "ps", "-q")
    assert code == 1 and err.startswith("error: ")
    code, _, err = outcome(capsys, "ps")
    assert code == 1 and "no Compose file found" in err and "hint: " in err


def test_a_restart_under_way_is_shown(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    failed = ExitRecord(code=1, at=time.time() - 20)
    shop.container("web", status="exited", end=failed, restarting=True, restart="always")
    shop.container("db", status="exited", end=failed, restart="always")
    fresh = ExitRecord(code=1, at=time.time())
    shop.container("db", 2, status="exited", end=fresh, restart="always")
    shop.container("db", 3, status="exited", end=fresh, restart="always", stopped=True)
    _, out, _ = outcome(capsys, "ps", "-a", "--format", "{{.Name}} {{.State}}")
    assert out.split() == [
        "shop-db-1", "exited", "shop-db-2", "restarting", "shop-db-3", "exited", "shop-web-1", "restarting",
    ]  # fmt: skip


def test_orphans_are_listed_unless_unwanted(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.container("web")
    shop.container("old")
    assert len(outcome(capsys, "ps", "-q")[1].splitlines()) == 2
    assert len(outcome(capsys, "ps", "-q", "--orphans=false")[1].splitlines()) == 1


def test_logs_are_merged_prefixed_and_aligned(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.container("web")
    shop.container("db", 10)
    shop.log("shop-web-1", "stdout F one", "stdout P par", "stdout F tial")
    shop.log("shop-db-10", "stderr F two")
    code, out, err = outcome(capsys, "logs")
    assert code == 0
    assert sorted(out.splitlines()) == ["db-10  | two", "web-1  | one", "web-1  | partial"]
    assert err == ""
    assert outcome(capsys, "logs", "--no-log-prefix", "--tail", "1", "web")[1] == "partial\n"
    assert (
        outcome(capsys, "logs", "-t", "-n1", "web")[1] == "web-1  | 2026-11-21T02:14:01.000000000Z partial\n"
    )
    assert outcome(capsys, "logs", "--since", "1m")[1] == ""


def test_logs_of_a_removed_container_stay_readable(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.log("shop-web-1", "stdout F last words")
    assert outcome(capsys, "logs", "web")[1] == "web-1  | last words\n"


def test_logs_in_colour_give_each_service_its_own(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.container("web")
    shop.container("db")
    shop.log("shop-web-1", "stdout F one")
    shop.log("shop-db-1", "stdout F two")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = outcome(capsys, "--ansi", "always", "logs")[1]
    assert out == "\x1b[36mdb-1   | \x1b[0mtwo\n\x1b[33mweb-1  | \x1b[0mone\n"
    assert "\x1b" not in outcome(capsys, "--ansi", "always", "logs", "--no-color")[1]


@pytest.mark.parametrize("argv", [["--tail", "x"], ["--since", "yesterday"], ["--until", "??"], ["nosuch"]])
def test_logs_refuse_what_they_do_not_understand(
    argv: list[str], shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(capsys, "logs", *argv)
    assert (code, out) == (1, "") and err.startswith("error: ") and "hint: " in err


def test_following_logs_ends_when_nothing_runs(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.container("web", status="exited", end=ExitRecord(code=0, at=time.time() - 9))
    shop.log("shop-web-1", "stdout F done")
    assert outcome(capsys, "logs", "-f")[:2] == (0, "web-1  | done\n")


def test_port_tells_where_a_port_is_published(running: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "port", "web", "80")[:2] == (0, "0.0.0.0:8080\n")
    assert outcome(capsys, "port", "web", "443")[:2] == (0, "127.0.0.1:8443\n")
    assert outcome(capsys, "port", "web", "81")[2].startswith(
        "error: no port 81/tcp for container shop-web-1"
    )
    assert outcome(capsys, "port", "--protocol", "udp", "web", "80")[0] == 1
    assert 'service "web" is not running index=2' in outcome(capsys, "port", "--index", "2", "web", "80")[2]


def test_ls_counts_containers_by_state(running: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "ls")[1].splitlines() == [
        "NAME                STATUS              CONFIG FILES",
        "shop                running(2)          ",
    ]
    assert outcome(capsys, "ls", "-a", "--format", "json")[1] == (
        '[{"Name":"shop","Status":"exited(2), running(2)","ConfigFiles":""}]\n'
    )
    assert outcome(capsys, "ls", "-q", "--filter", "name=sho")[1] == "shop\n"
    assert outcome(capsys, "ls", "-q", "--filter", "name=x")[1] == ""


def test_top_shows_processes_of_running_containers(running: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(capsys, "top", "db")
    assert code == 0
    assert out.split()[:10] == ["SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert str(os.getpid()) in out.split()


def test_config_prints_the_model_in_both_forms(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = outcome(capsys, "config", "--format", "json")
    model = json.loads(out)
    assert list(model["services"]) == ["db", "web"]
    assert model["services"]["web"]["command"] is None
    assert model["services"]["db"]["environment"] == {"PASSWORD": "a$$b"}
    in_yaml = yaml.safe_load(outcome(capsys, "config")[1])
    assert "command" not in in_yaml["services"]["web"]
    assert in_yaml["services"]["web"]["ports"] == model["services"]["web"]["ports"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--services"], "db\nweb\n"),
        (["--images"], "postgres:15\nnginx:1.22\n"),
        (["--volumes"], "data\n"),
        (["--networks"], "default\n"),
        (["--profiles"], "tools\n"),
        (["-q"], ""),
        (["--services", "db"], "db\n"),
    ],
)
def test_config_lists_parts(
    argv: list[str], expected: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(capsys, "config", *argv)[:2] == (0, expected)


def test_config_of_a_service_brings_what_it_needs(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    model = json.loads(outcome(capsys, "config", "--format", "json", "db")[1])
    assert (list(model["services"]), list(model["volumes"])) == (["db"], ["data"])
    model = json.loads(outcome(capsys, "config", "--format", "json", "web")[1])
    assert list(model["services"]) == ["db", "web"]


def test_config_shows_variables_environment_and_hashes(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outcome(capsys, "config", "--variables")[1].splitlines()[1].split() == [
        "PASSWORD",
        "false",
        "a$$b",
    ]
    monkeypatch.setenv("PASSWORD", "geheim")
    assert "PASSWORD=geheim\n" in outcome(capsys, "config", "--environment")[1]
    lines = outcome(capsys, "config", "--hash", "*")[1].splitlines()
    assert [(line.split()[0], len(line.split()[1])) for line in lines] == [("db", 64), ("web", 64)]


def test_config_can_write_a_file(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "config", "--services", "-o", "out.txt")[:2] == (0, "")
    assert Path("out.txt").read_text() == "db\nweb\n"


def test_config_of_a_wrong_file_names_the_place(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    Path("compose.yaml").write_text("services:\n  web:\n    image: a\n    imagee: b\n")
    code, out, err = outcome(capsys, "config")
    assert (code, out) == (1, "")
    assert err.startswith("error: ") and "at compose.yaml:4:" in err


def test_graph_shows_who_waits_for_whom(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "graph")[1] == "1. db\n2. web  <- db (healthy)\n"
    assert '"db" -> "web" [label="healthy"];' in outcome(capsys, "graph", "--format", "dot")[1]
    assert "n0 -- healthy --> n1" in outcome(capsys, "graph", "--format", "mermaid")[1]


def test_schema_is_printed_whole_or_in_part(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert "$defs" in json.loads(outcome(capsys, "schema")[1])
    assert json.loads(outcome(capsys, "schema", "port")[1])
    assert outcome(capsys, "schema", "nosuch")[0] == 1


def test_version_is_short_where_asked(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "version")[1].startswith("pycompose version ")
    assert outcome(capsys, "--version")[1] == outcome(capsys, "version")[1]
    assert json.loads(outcome(capsys, "version", "--format", "json")[1])["version"]
    short = outcome(capsys, "version", "--short")[1]
    assert re.fullmatch(r"2\.\d+\.\d+\+pycompose\.\d\S*\n", short), "scripts that ask for 2.x accept it"


def test_up_dry_run_prints_the_plan_and_changes_nothing(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = outcome(capsys, "--dry-run", "up", "-d")
    assert code == 0
    words = [line.split()[1:3] for line in out.splitlines()]
    assert ["network", "shop_default"] in words and ["start", "shop-web-1"] in words
    assert not (shop.run / "containers").exists() and not shop.data.exists()
    assert outcome(capsys, "up", "-d", "--dry-run")[1] == out


def test_down_dry_run_names_what_would_go(running: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = outcome(capsys, "down", "--dry-run")
    assert "stop" in out and "shop-web-1" in out and "shop-db-1" in out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["up", "-d", "--abort-on-container-exit"],
            "--detach and --abort-on-container-exit are incompatible",
        ),
        (["up", "--force-recreate", "--no-recreate"], "are incompatible"),
        (["up", "--build", "--no-build"], "are incompatible"),
        (["up", "--wait", "--attach", "web"], "--wait and --attach are incompatible"),
        (["up", "--scale", "web"], "invalid --scale option 'web'"),
        (["up", "--scale", "web=x"], "invalid number 'x'"),
        (["--dry-run", "up", "nosuch"], "no such service: nosuch"),
        (["--dry-run", "up", "--scale", "nosuch=1"], "no such service: nosuch"),
        (["scale", "web"], "invalid scale specifier: web"),
        (["kill", "-s", "SIGNOPE"], "unknown signal 'SIGNOPE'"),
        (["port", "web", "http"], "invalid port 'http'"),
        (["stop", "nosuch"], "no such service: nosuch"),
        (["down", "nosuch"], "no such service: nosuch"),
        (["restart", "nosuch"], "no such service: nosuch"),
        (["start", "web"], 'service "web" has no container to start'),
        (["wait", "web"], 'no containers for project "shop"'),
        (["load", "-i", "nosuch.tar"], "there is no file 'nosuch.tar'"),
        (["--progress", "fancy", "ps"], "invalid value 'fancy' for --progress"),
    ],
)
def test_what_cannot_be_is_refused_with_exit_code_1(
    argv: list[str], words: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(capsys, *argv)
    assert (code, out) == (1, "")
    assert err.startswith("error: ") and words in err
    assert "Traceback" not in err


@pytest.mark.parametrize("verb", ["stop", "restart", "kill", "rm", "pause", "unpause"])
def test_nothing_to_do_is_no_error(verb: str, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(capsys, verb)
    assert (code, out) == (0, "")


@pytest.mark.parametrize(
    ("line", "allowed"), [("CapEff:\t000001ffffffffff", True), ("CapEff:\t0000000000000000", False)]
)
def test_rights_are_the_capability_and_not_the_user_id(line: str, allowed: bool) -> None:
    assert may_make_namespaces(f"Name:\tx\n{line}\n") is allowed
    assert not may_make_namespaces("Name:\tx\n")


def test_what_the_engine_fails_at_is_1_as_docker_composes() -> None:
    from compose.supervisor.protocol import error_from, error_message
    from runtime.errors import CommandNotFound

    assert error_from(error_message(CommandNotFound("exec: 'x': not found"))).exit_code == 1


def test_wait_gives_a_record_a_moment_to_follow_the_end(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.container("web", status="created")
    assert outcome(capsys, "wait", "web")[2].startswith('error: no containers for project "shop"')
    id = shop.container("db", status="exited", end=ExitRecord(code=7))
    record = shop.run / "containers" / id / "exit.json"
    record.unlink()
    writer = threading.Timer(0.2, write_json, (record, ExitRecord(code=7, at=time.time())))
    writer.start()
    code, out, _ = outcome(capsys, "wait", "db")
    writer.join()
    assert (code, out) == (7, f'container "{id}" exited with status code 7\n')


def test_a_service_with_a_name_of_its_own_cannot_be_scaled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: x, container_name: one}}\n")
    monkeypatch.chdir(tmp_path)
    code, _, err = outcome(capsys, "--dry-run", "up", "-d", "--scale", "web=2")
    assert (code, 'has the container name "one"' in err) == (1, True)


@pytest.mark.parametrize(("text", "yes"), [("y\n", True), ("YES\n", True), ("n\ny\n", False), ("", False)])
def test_an_answer_is_read_from_whatever_standard_input_is(
    text: str, yes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert report.ask("Are you sure?") is yes


def test_ls_filters_by_a_regular_expression() -> None:
    names = ("shop", "shop2", "ashop")
    assert [name for name in names if matcher("^shop$")(name)] == ["shop"]
    assert [name for name in names if matcher("hop")(name)] == list(names)
    with pytest.raises(UsageError):
        matcher("(")


def test_nothing_to_start_is_an_error_that_names_the_profiles(
    shop: Shop, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "idle.yaml"
    file.write_text("services: {a: {image: x, profiles: [debug, tools]}}\n")
    code, _, said = outcome(capsys, "-f", str(file), "--dry-run", "up", "-d")
    assert code == 1
    assert "no service selected" in said and "debug, tools" in said


@pytest.mark.parametrize(
    "argv",
    [
        ("run", "-P", "-p", "80:80", "web"),
        ("run", "-l", "novalue", "web"),
        ("up", "-V", "--no-recreate"),
        ("up", "--abort-on-container-exit", "--abort-on-container-failure"),
        ("logs", "--index", "1"),
        ("logs", "--index", "9", "web"),
    ],
)
def test_flags_that_exclude_each_other_are_refused(
    argv: tuple[str, ...], running: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(capsys, *argv)[0] == 1
