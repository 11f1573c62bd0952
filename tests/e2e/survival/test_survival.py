"""kill -9 of each process of ours, at rest and under load: nobody who uses the stack notices."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.stack import Stack, alive, free_port, kill, until

VICTIMS: dict[str, Callable[[Stack], int]] = {
    "supervisor": lambda stack: stack.supervisor(),
    "spawner": lambda stack: stack.spawner(),
    "monitor of the ticker": lambda stack: stack.monitor("ticker-1"),
    "monitor of the web server": lambda stack: stack.monitor("web-1"),
}
victims = pytest.mark.parametrize("victim", VICTIMS)


@pytest.fixture
def port(stack: Stack) -> int:
    """The stack is up, and its page is on this port."""
    stack.environment["PORT"] = str(port := free_port())
    stack("up", "-d")
    until(lambda: stack.get(port, "/hostname"))
    return port


@pytest.fixture
def load(stack: Stack, port: int) -> Iterator[list[str]]:
    """Two clients ask for the page all the time; each failure is a line of this list."""
    failures: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                stack.get(port, "/hostname", seconds=2)
            except OSError as error:
                failures.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield failures
    done.set()
    for thread in threads:
        thread.join()


def numbers(stack: Stack) -> list[int]:
    return [int(n) for n in re.findall(r"line (\d+)", stack("logs", "--no-log-prefix", "ticker").stdout)]


def check_everything_works(stack: Stack, pids: dict[str, int]) -> None:
    rows = stack.ps()
    assert {name: row["State"] for name, row in rows.items()} == dict.fromkeys(pids, "running")
    assert {name: stack.pid(name) for name in pids} == pids, "a container was started again"
    # A second or less: names resolve and restart policies hold.
    until(lambda: stack("exec", "client", "nslookup", "web", check=False).returncode == 0, seconds=3)
    stack("exec", "mortal", "touch", "/die")
    until(lambda: stack.pid("mortal-1") not in (0, pids["mortal-1"]), seconds=5)
    until(lambda: stack.ps()["mortal-1"]["State"] == "running", seconds=5)
    # No line is lost, none comes twice.
    before = numbers(stack)[-1]
    until(lambda: numbers(stack)[-1] > before + 10)
    seen = numbers(stack)
    assert seen == list(range(1, len(seen) + 1))


@victims
def test_a_kill_at_rest_is_not_noticed(stack: Stack, port: int, victim: str) -> None:
    pids = {name: stack.pid(name) for name in stack.ps()}
    pid = VICTIMS[victim](stack)
    kill(pid)
    assert stack.get(port, "/hostname")
    check_everything_works(stack, pids)
    until(lambda: VICTIMS[victim](stack) != pid and alive(VICTIMS[victim](stack)), seconds=5)
    stack("down")
    assert stack.ps() == {}


@victims
def test_a_kill_under_load_is_not_noticed(stack: Stack, load: list[str], victim: str) -> None:
    pids = {name: stack.pid(name) for name in stack.ps()}
    for _ in range(3):
        pid = VICTIMS[victim](stack)
        kill(pid)
        until(lambda pid=pid: VICTIMS[victim](stack) != pid and alive(VICTIMS[victim](stack)), seconds=5)
    check_everything_works(stack, pids)
    assert load == []


def test_everything_of_ours_killed_at_once_and_down_cleans_up(stack: Stack, port: int) -> None:
    ours = [stack.supervisor(), stack.spawner(), *(stack.monitor(name) for name in stack.ps())]
    for pid in ours:
        kill(pid)
    assert stack.get(port, "/hostname")
    assert {row["State"] for row in stack.ps().values()} == {"running"}
    stack("down")
    assert stack.ps() == {}


def test_a_container_that_dies_while_its_supervisor_is_dead_is_reported_with_its_code(stack: Stack) -> None:
    stack("up", "-d", "--scale", "mortal=1", "client")
    supervisor, pid = stack.supervisor(), stack.pid("client-1")
    kill(supervisor)
    kill(pid)
    until(lambda: stack.ps()["client-1"]["State"] == "exited", seconds=5)
    assert stack.ps()["client-1"]["ExitCode"] == 137


def test_up_after_the_supervisor_was_killed_changes_nothing(stack: Stack, port: int) -> None:
    before = stack.ids()
    kill(stack.supervisor())
    stack("up", "-d")
    assert stack.ids() == before
