"""events, stats, volumes: what they print of what they read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from compose.cli import events, stats, volumes
from compose.cli.containers import Container
from compose.engine import chronicle
from compose.engine.chronicle import Chronicle
from compose.plan.launch import Launch
from runtime.cgroup import usage
from runtime.cgroup.usage import Usage
from runtime.spec import ContainerSpec

LAUNCH = Launch(
    spec=ContainerSpec(
        id="ab" * 32, name="shop-web-1", argv=("x",), layers=(), labels={"io.pycompose.image-name": "busybox"}
    ),
    service="web",
)


def test_an_event_has_the_keys_of_docker_compose_in_its_order() -> None:
    made = chronicle.event("die", LAUNCH, 1_764_364_126_644_883_966, {"exitCode": 137})
    made["time"] = events.rfc3339(made["at"])
    assert list({key: made[key] for key in events.KEYS}) == [
        "action", "attributes", "id", "service", "time", "type",
    ]  # fmt: skip
    assert made["attributes"] == {"exitCode": "137", "image": "busybox", "name": "shop-web-1"}
    assert made["time"] == "2025-11-28T21:08:46.644883966Z"
    line = events.text(made)
    assert line.endswith(
        f".644884 container die {'ab' * 32} (exitCode=137, image=busybox, name=shop-web-1)\n\n"
    )


def test_what_happened_is_read_between_two_moments(tmp_path: Path) -> None:
    begin = events.rfc3339(time.time_ns())
    writer = Chronicle(tmp_path / "run" / "shop")
    writer.note("lost", LAUNCH)  # there is no directory: no harm
    writer.path.parent.mkdir(parents=True)
    for action in ("create", "start", "die"):
        writer.note(action, LAUNCH)
    found = list(events.between(writer.path.parent, begin, events.rfc3339(time.time_ns())))
    assert [one["action"] for one in found] == ["create", "start", "die"]
    assert list(events.between(writer.path.parent, "", begin)) == []


def test_the_record_of_events_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronicle, "LIMIT", 2000)
    writer = Chronicle(tmp_path)
    for _ in range(100):
        writer.note("start", LAUNCH)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 6000


def test_the_files_of_the_kernel_are_read() -> None:
    dev = (
        "head\nhead\n    lo: 9 9 0 0 0 0 0 0 9 9\n  eth0: 100 1 0 0 0 0 0 0 50 1\neth1:7 1 0 0 0 0 0 0 3 1\n"
    )
    assert usage.network(dev) == (107, 53)
    assert usage.blocks_v1("8:0 Read 4096\n8:0 Write 512\n8:16 Read 1\nTotal 4609\n") == (4097, 512)
    assert usage.blocks_v2("8:0 rbytes=4096 wbytes=512 rios=1\n") == (4096, 512)
    assert usage.fields("usage_usec 12\nname text\n") == {"usage_usec": 12}


def test_stats_are_in_dockers_words() -> None:
    container = cast(Container, SimpleNamespace(spec=SimpleNamespace(id="ab" * 32), name="shop-web-1"))
    before = Usage(at=0, cpu=0)
    now = Usage(
        at=10**9, cpu=5 * 10**8, memory=388 * 1024, limit=2**34, pids=3, received=646, sent=1_260_000, read=0,
        written=4096,
    )  # fmt: skip
    assert stats.row(container, now, before, whole=False) == {
        "BlockIO": "0B / 4.1kB", "CPUPerc": "50.00%", "Container": "ab" * 32, "ID": "abababababab",
        "MemPerc": "0.00%", "MemUsage": "388KiB / 16GiB", "Name": "shop-web-1", "NetIO": "646B / 1.26MB",
        "PIDs": "3",
    }  # fmt: skip
    ended: dict[str, Any] = stats.row(container, None, None, whole=True)
    assert (ended["ID"], ended["MemUsage"], ended["PIDs"]) == ("ab" * 32, "-- / --", "--")


def test_a_volume_has_the_keys_of_docker_compose() -> None:
    row = volumes.row("shop_data", "/v/shop_data/_data", {"b": "2", "a": "1"})
    assert json.loads(json.dumps(row)) == {
        "Availability": "N/A", "Driver": "local", "Group": "N/A", "Labels": "a=1,b=2", "Links": "N/A",
        "Mountpoint": "/v/shop_data/_data", "Name": "shop_data", "Scope": "local",
        "Size": "N/A", "Status": "N/A",
    }  # fmt: skip
