"""The init of containers: its code is what its source assembles to, and it does what an init does."""

from __future__ import annotations

import os
import platform
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.kernel.processes import set_subreaper
from runtime.process import init_image
from tests.support.programs import program

MACHINES = {"x86_64": ("as", ""), "aarch64": ("aarch64-linux-gnu-as", "qemu-aarch64-static")}


def text_section(object_file: bytes) -> bytes:
    """The content of .text of a 64-bit ELF object (elf(5))."""
    (table,) = struct.unpack_from("<Q", object_file, 40)
    size, count, names = struct.unpack_from("<HHH", object_file, 58)
    sections = [struct.unpack_from("<IIQQQQ", object_file, table + size * n) for n in range(count)]
    strings = sections[names][4]
    for name, _, _, _, offset, length in sections:
        if object_file[strings + name :].startswith(b".text\0"):
            return object_file[offset : offset + length]
    raise AssertionError("no .text")


@pytest.mark.smoke("as", "aarch64-linux-gnu-as")
@pytest.mark.parametrize("machine", MACHINES)
def test_the_code_is_what_its_source_assembles_to(machine: str, tmp_path: Path) -> None:
    assembler = program("as" if machine == platform.machine() else MACHINES[machine][0])
    source = Path(init_image.__file__).with_name(f"init_{machine}.S")
    subprocess.run([assembler, "-o", tmp_path / "init.o", source], check=True)
    assert text_section((tmp_path / "init.o").read_bytes()) == init_image.code(machine)


@pytest.fixture(params=MACHINES)
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[], int]], int]:
    """Start an init over a child that runs a function. Returns the init's pid."""
    machine, emulator = str(request.param), MACHINES[request.param][1]
    prefix: list[str] = []
    if machine != platform.machine():
        if not emulator:
            pytest.skip(f"no emulator of {machine}")
        prefix = [program(emulator)]

    def start(body: Callable[[], int]) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            set_subreaper(True)
            signal.pthread_sigmask(signal.SIG_BLOCK, init_image.FORWARDED | {signal.SIGCHLD})
            child = os.fork()
            if child == 0:
                signal.pthread_sigmask(signal.SIG_SETMASK, [])
                os._exit(body())
            made = tmp_path / f"init{os.getpid()}"
            made.write_bytes(init_image.image(machine, child))
            made.chmod(0o755)
            argv = [*prefix, str(made)]
            os.execve(argv[0], argv, {})
        finally:
            os._exit(99)

    return start


Start = Callable[[Callable[[], int]], int]


def code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.smoke("qemu-aarch64-static")
@pytest.mark.parametrize("wanted", [0, 1, 7, 127, 255])
def test_it_exits_with_the_code_of_its_child(runner: Start, wanted: int) -> None:
    assert code(runner(lambda: wanted)) == wanted


@pytest.fixture
def emulated(request: pytest.FixtureRequest) -> bool:
    return bool(request.node.callspec.params["runner"] != platform.machine())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGABRT, signal.SIGUSR1])
def test_a_child_that_a_signal_ends_gives_128_and_its_number(runner: Start, number: int) -> None:
    def body() -> int:
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)
        return 0

    assert code(runner(body)) == 128 + number


def test_signals_are_passed_on(runner: Start, tmp_path: Path, emulated: bool) -> None:
    ready, seen = tmp_path / "ready", tmp_path / "seen"
    # SIGTSTP and SIGCONT drop each other (signal(7)); an emulator keeps some real-time signals for itself.
    several = init_image.FORWARDED - {signal.SIGTSTP}
    sent = sorted(number for number in several if not emulated or number < signal.SIGRTMIN)

    def body() -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, sent)
        ready.touch()
        found = set[int]()
        while found != set(sent) and (one := signal.sigtimedwait(sent, 5)):
            found.add(one.si_signo)
        seen.write_text(" ".join(map(str, sorted(found))))
        return 40

    pid = runner(body)
    while not ready.exists():
        time.sleep(0.005)
    time.sleep(0.1)  # the emulator takes signals once it runs
    for number in sent:
        os.kill(pid, number)
    assert code(pid) == 40
    assert seen.read_text().split() == [str(int(number)) for number in sent]


def test_orphans_are_reaped_and_the_childs_code_is_kept(runner: Start, tmp_path: Path) -> None:
    seen = tmp_path / "seen"

    def body() -> int:
        for _ in range(20):
            middle = os.fork()
            if middle == 0:
                if os.fork() == 0:
                    os._exit(3)
                os._exit(4)
            os.waitpid(middle, 0)
        time.sleep(0.3)
        own = os.getppid()
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        seen.write_text(str(len(children)))
        return 5

    assert code(runner(body)) == 5
    assert seen.read_text() == "1"


def test_a_machine_without_an_init_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        init_image.image("riscv64", 1)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_image_is_small_and_never_writable_and_executable(machine: str) -> None:
    made = init_image.image(machine, 4711)
    assert len(made) < 512
    flags = [struct.unpack_from("<II", made, 64 + 56 * n)[1] for n in range(2)]
    assert all(flag & 3 != 3 for flag in flags)
    assert struct.unpack("<Q", made[-8:])[0] == 4711
