"""attach: the streams of a service's main process."""

from __future__ import annotations

import signal

from tests.e2e.oneoff.test_oneoff import Terminal
from tests.e2e.stack import Stack, until


def test_input_output_and_exit_code_are_those_of_the_process(stack: Stack) -> None:
    stack("up", "-d", "plain")
    done = stack("attach", "plain", stdin="one\nend\n", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("got-one\ngot-end\n", "err-one\nerr-end\n", 4)
    assert stack("attach", "plain", check=False).returncode == 1


def test_signals_are_passed_on_unless_unwanted(stack: Stack) -> None:
    stack("up", "-d", "plain")
    alone = stack.start("attach", "--sig-proxy=false", "--no-stdin", "plain")
    until(lambda: _catches(alone.pid, signal.SIGTERM))
    alone.send_signal(signal.SIGTERM)
    alone.communicate(timeout=30)
    assert stack.ps()["plain-1"]["State"] == "running"
    attached = stack.start("attach", "--no-stdin", "plain")
    until(lambda: _catches(attached.pid, signal.SIGUSR2))
    attached.send_signal(signal.SIGTERM)
    attached.communicate(timeout=30)
    assert attached.returncode == 9


def _catches(pid: int, number: int) -> bool:
    """SigCgt of /proc/PID/status, proc_pid_status(5)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        mask = next(line.split()[1] for line in status if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_a_terminal_has_our_size_shows_prompts_and_can_be_left(stack: Stack) -> None:
    stack("up", "-d", "screen")
    attached = Terminal(stack, "attach", "--detach-keys", "ctrl-x,q", "screen")
    attached.type("\n")
    seen = attached.until("prompt> ")
    assert "7 61" in seen
    attached.type("\x18q")
    assert attached.code() == 1
    assert stack.ps()["screen-1"]["State"] == "running"
