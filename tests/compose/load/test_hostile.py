"""Hostile input ends with a clear error or a correct answer, in bounded time and memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from compose.errors import ComposeError, Several
from compose.load.project import LoadRequest, load

REPOSITORY = Path(__file__).parents[3]
WEB = b"services: {web: {image: x}}\n"
BOMB = b"a0: &a0 [x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)
)
MERGES = b"x-0: &a0 {k0: 1}\n" + b"".join(
    b"x-%d: &a%d {<<: [*a%d, *a%d], k%d: 1}\n" % (n, n, n - 1, n - 1, n) for n in range(1, 40)
)
INPUTS: dict[str, bytes] = {
    "deep flow": b"x-a: " + b"[" * 100_000,
    "deep flow, closed": b"x-a: " + b"[" * 5000 + b"]" * 5000,
    "deep mappings": b"{a: " * 50_000,
    "deep blocks": b"".join(b" " * n + b"a:\n" for n in range(3000)),
    "deep sequences": b"x-a:\n" + b"- " * 20_000 + b"a\n",
    "alias bomb": BOMB,
    "merge bomb": MERGES + WEB,
    "anchor that contains itself": b"x-a: &a [*a]\n",
    "mapping that contains itself": b"services: &s {web: *s}\n",
    "merge with itself": b"services: &s {<<: *s}\n",
    "nul": b"services: {web: {image: 'x\x00y'}}\n",
    "latin-1": "services: {web: {image: 'é'}}\n".encode("latin-1"),
    "utf-16 without mark": WEB.decode().encode("utf-16-le"),
    "utf-32": WEB.decode().encode("utf-32"),
    "half a character": WEB + b"# \xe2\x82",
    "lone surrogate": b'x-a: "\\ud800"\nservices: {web: {image: [1]}}\n',
    "binary": bytes(range(256)) * 40,
    "long key": b"? " + b"a" * 2_000_000 + b"\n: 1\n",
    "long number": b"services: {web: {image: x, scale: " + b"9" * 100_000 + b"}}\n",
    "long float": b"services: {web: {image: x, cpus: 1e" + b"9" * 5000 + b"}}\n",
    "long variable": b"services: {web: {image: '" + b"${A:-" * 20_000 + b"}" * 20_000 + b"'}}\n",
    "open variables": b"services: {web: {image: '" + b"${" * 50_000 + b"'}}\n",
    "many ports": b"services: {web: {image: x, ports: ['1-65535:1-65535', '1-65534:1-65535']}}\n",
    "tags": b"services: !!python/object/apply:os.system [echo]\n",
    "all resets": b"services: !reset {web: {image: x}}\n",
    "nested overrides": b"services: !override {web: !override {image: !override x}}\nname: !override []\n",
    "resets in lists": b"services: {web: {image: x, ports: [!reset 80, {target: !reset 1}]}, a: x}\n",
    "sexagesimal": b"services: {web: {image: x, scale: 12:30:45}}\n",
    "date as key": b"services: {2020-01-01: {image: x}}\n",
    "huge integer": b"services: {web: {image: x, pids_limit: 99999999999999999999999}}\n",
    "infinity": b"services: {web: {image: x, cpus: .inf, mem_limit: .nan}}\n",
    "merge of a list of texts": b"services: {web: {image: x, <<: [a, b]}}\n",
    "merge twice": b"services: {web: {<<: {image: x}, <<: {image: y}}}\n",
    "json, deep": b'{"services": ' + b'{"a":' * 3000 + b"1" + b"}" * 3001,
    "tabs": b"services:\n\tweb:\n\t\timage: x\n",
    "unclosed": b"services: {web: {image: 'x}}\n",
    "crlf and tabs": b"services:\r\n\tweb: x\r\n",
    "documents": b"---\n" * 20_000 + WEB,
    "directive": b"%TAG ! tag:x,2000:\n---\nservices: !web {}\n",
    "anchors": b"x-a: &a [1]\n" + b"".join(b"x-%d: *a\n" % n for n in range(50_000)),
    "self extends": b"services: {a: {extends: b}, b: {extends: c}, c: {extends: a}}\n",
    "self include": b"include: [compose.yaml]\nservices: {a: {image: x}}\n",
    "huge exponent": b"services: {web: {image: x, mem_limit: 1e400, stop_grace_period: 99999999999999h}}\n",
}


HARMLESS = ("all resets", "anchors", "directive", "long key", "many ports", "nested overrides")


def outcome(data: bytes, cwd: Path) -> ComposeError | None:
    """The error of a load from standard input, None when it gives a model; anything else propagates."""
    try:
        load(LoadRequest(files=("-",), cwd=str(cwd)), stdin=data, store=Path("/dev/null/none"))
    except ComposeError as error:
        return error
    return None


def confined(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Our command with a gigabyte of address space and a minute of processor time, no more."""

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    return subprocess.run(
        [sys.executable, "-m", "compose", *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "PYCOMPOSE_DATA": str(folder / "d")},
        preexec_fn=bounded,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether a command ended with a short error of ours, and no traceback."""
    told = "defect" not in done.stderr and "Traceback" not in done.stderr and "error: " in done.stderr
    return done.returncode == 1 and told and len(done.stderr) < 6000


@pytest.mark.parametrize("name", INPUTS)
def test_a_hostile_file_ends_within_bounds(name: str, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_bytes(INPUTS[name])
    done = confined(tmp_path, "config", "-q")
    assert refused(done) or (done.returncode == 0 and name in HARMLESS)


def test_ten_megabytes_are_read_within_bounds(tmp_path: Path) -> None:
    line = b"  - 'a line of text that says nothing, again and again and again'\n"
    (tmp_path / "compose.yaml").write_bytes(WEB + b"x-big:\n" + line * (10 * 1024 * 1024 // len(line)))
    done = confined(tmp_path, "config", "-q")
    assert (done.returncode, done.stderr) == (0, "")


def ten_thousand(folder: Path, first: str) -> None:
    """A file of ten thousand services, each waiting for the one before."""
    lines = ["services:", f"  s0: {{image: x{first}}}"]
    lines += [f"  s{n}: {{image: x, depends_on: [s{n - 1}]}}" for n in range(1, 10_000)]
    (folder / "compose.yaml").write_text("\n".join(lines) + "\n")


def test_ten_thousand_services_are_put_in_order_within_bounds(tmp_path: Path) -> None:
    ten_thousand(tmp_path, "")
    done = confined(tmp_path, "graph")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "10000. s9999  <- s9998 (started)"


def test_a_circle_of_ten_thousand_is_told_in_short(tmp_path: Path) -> None:
    ten_thousand(tmp_path, ", depends_on: [s9999]")
    done = confined(tmp_path, "config", "-q")
    assert refused(done)
    assert "s0 -> s9999 -> s9998" in done.stderr


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/tty", "/proc/self/mem"])
@pytest.mark.parametrize("flag", ["-f", "--env-file"])
def test_a_device_is_no_file(flag: str, device: str, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_bytes(WEB)
    assert refused(confined(tmp_path, flag, device, "config", "-q"))


@pytest.mark.parametrize("flag", ["-f", "--env-file"])
def test_a_fifo_given_by_a_flag_does_not_wait(flag: str, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_bytes(WEB)
    os.mkfifo(tmp_path / "p")
    assert refused(confined(tmp_path, flag, "p", "config", "-q"))


def test_a_fifo_as_dotenv_does_not_wait(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_bytes(WEB)
    os.mkfifo(tmp_path / ".env")
    assert refused(confined(tmp_path, "config", "-q"))


@pytest.mark.parametrize(
    "text",
    ["A=" + "${A:-" * 5000 + "}" * 5000, "A='" + "x" * 5_000_000, "=" * 100_000, "A\x00B=1\n", "\ud800=1"],
    ids=["nested", "open quote", "no names", "nul", "surrogate"],
)
def test_a_hostile_dotenv_ends_within_bounds(text: str, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_bytes(WEB)
    (tmp_path / ".env").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert refused(confined(tmp_path, "config", "-q"))


def test_a_file_beyond_the_limit_is_an_error(tmp_path: Path) -> None:
    error = outcome(WEB + b"#" * (33 << 20), tmp_path)
    assert error is not None
    assert "larger than 32 MiB" in str(error)


@pytest.mark.parametrize("attribute", ["env_file: p", "label_file: p", "extends: {file: p, service: a}"])
@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_a_fifo_or_directory_is_refused_wherever_a_file_is_named(
    attribute: str, kind: str, tmp_path: Path
) -> None:
    if kind == "fifo":
        os.mkfifo(tmp_path / "p")
    else:
        (tmp_path / "p").mkdir()
    error = outcome(f"services: {{web: {{image: x, {attribute}}}}}\n".encode(), tmp_path)
    assert error is not None
    assert ("is a directory" if kind == "directory" else "not a regular file") in str(error)


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_a_fifo_or_directory_cannot_be_included(kind: str, tmp_path: Path) -> None:
    if kind == "fifo":
        os.mkfifo(tmp_path / "p")
    else:
        (tmp_path / "p").mkdir()
    assert outcome(b"include: [p]\n" + WEB, tmp_path) is not None


def test_includes_in_a_circle_of_three_end(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"{name}.yaml").write_text(
            f"include: [{other}.yaml]\nservices: {{{name}: {{image: x}}}}\n"
        )
    with pytest.raises(ComposeError, match=r"in a circle: a\.yaml -> b\.yaml -> c\.yaml -> a\.yaml"):
        load(LoadRequest(files=("a.yaml",), cwd=str(tmp_path)), store=tmp_path / "s")


def test_a_long_chain_of_extends_is_read_within_bounds(tmp_path: Path) -> None:
    lines = ["services:", "  s0: {image: x}"]
    lines += [f"  s{n}: {{extends: s{n - 1}}}" for n in range(1, 400)]
    (tmp_path / "compose.yaml").write_text("\n".join(lines) + "\n")
    assert confined(tmp_path, "config", "-q").returncode == 0


def test_a_thousand_mistakes_are_all_told(tmp_path: Path) -> None:
    text = "services:\n" + "".join(f"  s{n}: {{image: x, prots: []}}\n" for n in range(1000))
    error = outcome(text.encode(), tmp_path)
    assert isinstance(error, Several)
    assert len(error.errors) == 1000
