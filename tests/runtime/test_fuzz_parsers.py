"""Every parser of what a container or an image controls: whatever comes in, an answer or an error of ours.

A longer round is marked slow; PYCOMPOSE_FUZZ gives its number of examples.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compose.cli import harmless, top
from compose.engine import logs
from runtime import state
from runtime.cgroup import layout
from runtime.errors import RuntimeFailure
from runtime.image import layer, manifest
from runtime.policy.users import UnknownUser, look_up

_NAMES = st.sampled_from(["", "0", "1000", "root", "web", "web:staff", "0:0", "x:y:z", "\u0661", "-1"])
_COLONS = st.lists(st.lists(st.text(max_size=12), max_size=9).map(":".join), max_size=12).map("\n".join)
_TABLES = st.one_of(
    st.text(max_size=500), _COLONS, st.binary(max_size=500).map(lambda raw: raw.decode(errors="replace"))
)

_WORDS = (
    "schemaVersion mediaType config layers digest size manifests platform os architecture variant "
    "annotations rootfs diff_ids type history created_by empty_layer created Env Cmd Entrypoint User "
    "WorkingDir Labels Volumes ExposedPorts StopSignal Healthcheck Test Interval Timeout Retries Shell "
    "OnBuild urls data author"
)
_KEYS = st.sampled_from(_WORDS.split())
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["sha256:" + "a" * 64, "sha256:../../x", "linux", "amd64", "layers", "2020-01-01T00:00:00Z"]
    ),
    st.sampled_from(
        ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"]
    ),
)
_DOCUMENTS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_KEYS, inner, max_size=8)),
    max_leaves=25,
)
_JSON = st.one_of(st.binary(max_size=300), _DOCUMENTS.map(lambda value: json.dumps(value).encode()))


def users(data: tuple[str, str, str]) -> None:
    try:
        found = look_up(data[0], (), data[1], data[2])
        assert found.uid >= 0 and found.gid >= 0
    except UnknownUser:
        pass


def manifests(data: bytes) -> None:
    _ours(lambda: manifest.read_manifest(data))
    _ours(lambda: manifest.choose(data, "linux/amd64", "x"))


def configs(data: bytes) -> None:
    def both() -> None:
        config, layers = manifest.read_config(data)
        manifest.write_config(config, layers)

    _ours(both)


def _ours(body: Callable[[], Any]) -> None:
    try:
        body()
    except RuntimeFailure as error:
        assert error.message


_MEMBERS = st.builds(
    lambda name, kind, aim, size, mode: (name, kind, aim, size, mode),
    st.one_of(
        st.text(min_size=1, max_size=12),
        st.sampled_from(["a", "a/b", "../x", "/x", ".wh.a", "a/.wh..wh..opq"]),
    ),
    st.sampled_from(
        [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, b"9"]
    ),
    st.sampled_from(["", "a", "..", "../../x", "/", "a/b", "/proc/self/root"]),
    st.integers(0, 600),
    st.integers(0, 0o7777),
)


def _tar(members: list[tuple[str, bytes, str, int, int]], cuts: list[tuple[int, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, errors="surrogatepass") as made:
        for name, kind, aim, size, mode in members:
            info = tarfile.TarInfo(name.replace("\0", "_"))
            info.type, info.linkname, info.mode = kind, aim, mode
            info.size = size if kind == tarfile.REGTYPE else 0
            made.addfile(info, io.BytesIO(b"x" * info.size))
    raw = bytearray(buffer.getvalue())
    for place, value in cuts:
        raw[place % len(raw)] = value
    return bytes(raw)


_TARS = st.tuples(
    st.lists(_MEMBERS, max_size=6),
    st.lists(st.tuples(st.integers(0, 4096), st.integers(0, 255)), max_size=6),
)


def layers(data: tuple[list[tuple[str, bytes, str, int, int]], list[tuple[int, int]]]) -> None:
    packed = _tar(*data)
    with tempfile.TemporaryDirectory() as home:
        place = Path(home) / "one/two/diff"
        place.parent.mkdir(parents=True)
        _ours(lambda: layer.unpack([packed], place))
        outside = {path.name for path in Path(home).iterdir()} | {
            path.name for path in (Path(home) / "one").iterdir()
        }
        assert outside == {"one", "two"}


def log_lines(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "web-1.log").write_bytes(data)
        for tail in (None, 0, 3):
            for _ in logs.read(Path(home), ["web-1"], tail=tail):
                pass


_RECORDS = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.builds(
            lambda tag, text: b"2026-01-01T00:00:00.000000000Z stdout " + tag + b" " + text,
            st.sampled_from([b"F", b"P", b"", b"X"]),
            st.binary(max_size=40),
        ),
    ),
    max_size=10,
).map(b"\n".join)


def texts(data: str) -> None:
    for shown in (harmless.escaped(data), harmless.marked(data), harmless.sentence(data).replace("\n", "")):
        assert not set("\x1b\n\r\x9b\u202e\u2066\u2028\x07\x08") & set(shown)
    assert json.loads(harmless.in_json(json.dumps(data, ensure_ascii=False))) == data


_PATHS = st.text(st.characters(exclude_characters=" \t\n\\\0"), max_size=20)  # the kernel escapes these
_MOUNTS = st.lists(
    st.builds(
        lambda place, kind, source, options: f"29 1 0:26 / /{place} rw shared:1 - {kind} {source} {options}",
        _PATHS,
        st.sampled_from(["cgroup", "cgroup2", "fuse", "fuse.x - cgroup", "tmpfs"]),
        _PATHS,
        st.sampled_from(["rw", "rw,cpu,cpuacct", "rw,memory"]),
    ),
    max_size=8,
)


def mounts(data: list[str]) -> None:
    real = "30 1 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids"
    found = layout.parse("\n".join((real, *data, "")), lambda path: "cpu memory")
    assert found.controllers["pids"] == Path("/sys/fs/cgroup/pids")


TARGETS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], None]]] = {
    "users": (st.tuples(_NAMES, _TABLES, _TABLES), users),
    "manifests": (_JSON, manifests),
    "configs": (_JSON, configs),
    "layers": (_TARS, layers),
    "log lines": (_RECORDS, log_lines),
    "texts": (st.text(), texts),
    "mountinfo": (_MOUNTS, mounts),
}


# to give files away takes rights
_CASES = [pytest.param(name, marks=pytest.mark.root) if name == "layers" else name for name in TARGETS]


@pytest.mark.parametrize("target", _CASES)
def test_no_input_breaks_a_parser(target: str) -> None:
    _round(target, 150)


@pytest.mark.slow
@pytest.mark.parametrize("target", _CASES)
def test_no_input_breaks_a_parser_in_a_longer_round(target: str) -> None:
    _round(target, int(os.environ.get("PYCOMPOSE_FUZZ", "3000")))


def _round(target: str, examples: int) -> None:
    strategy, body = TARGETS[target]

    @settings(max_examples=examples, deadline=None, suppress_health_check=[*HealthCheck])
    @given(strategy)
    def attempt(data: Any) -> None:
        body(data)

    attempt()


@pytest.mark.parametrize(
    "name", ["a) b", "(", ")", "x) S 1 1 1", "\n", "\x1b[2J", "", "a b c", ") Z 0", "\udcff"]
)
def test_a_process_that_names_itself_oddly_is_read_like_another(name: str) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        Path("/proc/self/comm").write_bytes(name.encode(errors="surrogateescape")[:15])
        os.read(reader, 1)
        os._exit(0)
    try:
        os.close(reader)
        assert state.alive(pid, state.start_time(pid))
        found = top.processes()[pid]
        assert found.parent == os.getpid()
    finally:
        os.close(writer)
        os.waitpid(pid, 0)
