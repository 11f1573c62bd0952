"""Verbs about the store: filters, tables, what they refuse. Nothing here needs root."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from compose.cli import df, image_rows, main
from compose.cli.prune_filters import moment, wish
from compose.errors import UsageError
from runtime.errors import ImageError
from runtime.image import budget, garbage
from runtime.image.cachemounts import every, note_use
from runtime.image.garbage import Wish
from runtime.image.manifest import Image, ImageConfig, heritage
from runtime.inside.walk import usage

NOW = 1_700_000_000.0


def image(
    name: str, *layers: str, made: float = NOW, labels: dict[str, str] | None = None, **more: Any
) -> Image:
    return Image(
        id="sha256:" + name.encode().hex().ljust(64, "0"),
        references=more.pop("references", (f"docker.io/library/{name}:1",)),
        layers=(),
        layer_ids=layers,
        config=ImageConfig(labels=labels or {}),
        created=made,
        **more,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", NOW - 600),
        ("1h30m", NOW - 5400),
        ("1.5h", NOW - 5400),
        ("0s", NOW),
        ("1600000000", 1_600_000_000.0),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("2023-11-14", 1_699_920_000.0),
    ],
)
def test_a_time_is_a_duration_a_number_or_a_date(text: str, expected: float) -> None:
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "10", "10x", "m10", "2023-13-01"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="invalid time"):
        moment(text, NOW)


def test_filters_become_a_wish() -> None:
    assert wish(["label=a", "label!=b=c", "dangling=false"]) == Wish(
        all=True, labels=(("a", None, True), ("b", "c", False))
    )
    for text in ("label", "label=", "colour=red", "until=", "dangling=maybe"):
        with pytest.raises(UsageError):
            wish([text])


def test_only_what_nothing_uses_is_chosen() -> None:
    named, bare, used = image("named"), image("bare", references=()), image("used", references=())
    every = [named, bare, used]
    assert garbage.choose(every, Wish(), {used.id}) == [bare]
    assert garbage.choose(every, Wish(all=True), {used.id}) == [named, bare]
    assert garbage.choose(every, Wish(all=True), {one.id for one in every}) == []


def test_age_and_labels_narrow_the_choice() -> None:
    old, new = image("old", made=NOW - 100, labels={"a": "1"}), image("new", labels={"a": "2"})
    every = [old, new]
    assert garbage.choose(every, Wish(all=True, until=NOW - 50), ()) == [old]
    assert garbage.choose(every, Wish(all=True, labels=(("a", "2", True),)), ()) == [new]
    assert garbage.choose(every, Wish(all=True, labels=(("a", "2", False),)), ()) == [old]
    assert garbage.choose(every, Wish(all=True, labels=(("b", None, False),)), ()) == every


def test_the_steps_not_used_for_longest_go_first_and_what_images_have_costs_nothing() -> None:
    steps = [("k1", "L1", "", 1.0), ("k2", "L2", "", 2.0), ("k3", "L3", "", 3.0), ("k1b", "L1", "", 4.0)]
    sizes = {"L1": 10, "L2": 20, "L3": 30}
    assert garbage.excess(steps, sizes, (), 60) == ([], [])
    assert garbage.excess(steps, sizes, (), 59) == (["k2"], [])  # L1 was used again by another step
    assert garbage.excess(steps, sizes, (), 15) == (["k2", "k3"], [])
    assert garbage.excess(steps, sizes, (), 0) == (["k2", "k3", "k1", "k1b"], [])
    assert garbage.excess(steps, sizes, {"L2", "L3"}, 10) == ([], [])
    assert garbage.excess(steps, sizes, (), 0, until=2.5) == (["k2"], [])


def test_cache_mounts_count_and_go_by_their_last_use(tmp_path: Path) -> None:
    for number, name in enumerate(("old", "new")):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep/file").write_bytes(b"x" * 8192)
        (tmp_path / f"{name}.used").touch()
        os.utime(tmp_path / f"{name}.used", (number, number))
    found = every(tmp_path)
    assert sorted((one.path.name, one.used) for one in found) == [("new", 1.0), ("old", 0.0)]
    steps = [("k1", "L1", "", 0.5)]
    total = sum(one.size for one in found) + 10
    assert garbage.excess(steps, {"L1": 10}, (), total, mounts=found) == ([], [])
    assert garbage.excess(steps, {"L1": 10}, (), total - 1, mounts=found) == ([], [tmp_path / "old"])
    assert garbage.excess(steps, {"L1": 10}, (), 1, mounts=found) == (
        ["k1"],
        [tmp_path / "old", tmp_path / "new"],
    )
    (tmp_path / "old/more").write_bytes(b"x" * 8192)
    assert every(tmp_path) == found  # not used since: not measured again
    note_use(tmp_path / "old")
    assert {one.path.name: one.size for one in every(tmp_path)}["old"] > found[0].size


def test_a_budget_comes_from_the_file_and_over_it_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[cache]\nbuild = "2GB"\npackages = "10 MiB"\n')
    environment = {"PYCOMPOSE_CONFIG": str(path)}
    assert budget.read(environment) == budget.Budget(build=2 << 30, packages=10 << 20)
    assert budget.read({**environment, budget.BUILD: "0"}).build == 0
    assert budget.read({"PYCOMPOSE_CONFIG": str(tmp_path / "none")}) == budget.Budget()
    for text in ('[cache]\nbuild = "lots"\n', "[cache]\nbuilds = 1\n", "cache = 1\n", "["):
        path.write_text(text)
        with pytest.raises(ImageError, match=r"config\.toml"):
            budget.read(environment)
    with pytest.raises(ImageError, match=budget.BUILD):
        budget.read({budget.BUILD: "-1"})


def test_what_says_how_an_image_was_assembled_is_not_inherited() -> None:
    labels = {"io.pycompose.assembled": "true", "org.opencontainers.image.title": "stand-in", "own": "1"}
    assert heritage(labels) == {"own": "1"}
    assert heritage({"org.opencontainers.image.title": "x"}) == {"org.opencontainers.image.title": "x"}


def test_rows_name_every_tag_and_tell_where_an_image_came_from() -> None:
    two = image("x", references=("docker.io/library/x:1", "ghcr.io/y/x:2"), digests=("sha256:1",))
    bare = image("bare", references=(), labels={"io.pycompose.assembled": "true"})
    rows = image_rows.rows([two, bare], {two.id: ["a", "b"]})
    assert [(row["Repository"], row["Tag"], row["Origin"], row["Containers"]) for row in rows] == [
        ("x", "1", "registry", 2),
        ("ghcr.io/y/x", "2", "registry", 2),
        ("<none>", "<none>", "assembled", 0),
    ]


def test_shared_layers_count_once_in_sums_and_for_each_image_as_shared() -> None:
    one, two = image("one", "base", "a"), image("two", "base", "b", "b")
    sizes = {"base": 100, "a": 10, "b": 1}
    rows = [df.shares(one, [one, two], sizes, ["shop"]), df.shares(two, [one, two], sizes, [])]
    assert [(row["SharedSize"], row["UniqueSize"]) for row in rows] == [(100, 10), (100, 1)]
    assert df.total(rows) == 111
    caches = {"Steps": 2, "Mounts": 1, "Size": 50, "Reclaimable": 20, "Packages": 7}
    boxes = [{"Project": "shop", "Size": 5, "Running": True}, {"Project": "old", "Size": 3, "Running": False}]
    disks = [{"Project": "shop", "Size": 40, "Containers": 1}, {"Project": "", "Size": 2, "Containers": 0}]
    table = {row["Type"]: row for row in df.summary(rows, boxes, disks, caches)}
    assert (table["Images"]["Size"], table["Images"]["Reclaimable"], table["Images"]["Active"]) == (111, 1, 1)
    assert (table["Containers"]["Active"], table["Containers"]["Reclaimable"]) == (1, 3)
    assert (table["Local Volumes"]["Size"], table["Local Volumes"]["Reclaimable"]) == (42, 2)
    assert table["Build Cache"]["Reclaimable"] == 20
    found = {row["Project"]: row for row in df.projects(rows, boxes, disks)}
    assert (found["shop"]["ImageSize"], found["shop"]["VolumeSize"]) == (110, 40)
    assert (found["old"]["Containers"], found["old"]["Images"]) == (1, 0)


def test_disk_usage_counts_hard_links_once_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").write_bytes(b"x" * 100_000)
    before = usage(tmp_path / "d")
    (tmp_path / "d/b").hardlink_to(tmp_path / "d/a")
    (tmp_path / "d/c").symlink_to("/")
    assert usage(tmp_path / "d") == before
    assert usage(tmp_path / "none") == 0


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYCOMPOSE_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("PYCOMPOSE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["save", "x", "--format", "oci-dir"], "oci-dir is a directory"),
        (["save", "x", "--compress", "-o", "f"], "--compress is for --format docker-dir"),
        (["save", "x", "--uncompressed", "-o", "f"], "--uncompressed is for"),
        (["load", "-i", "nothing.tar"], "there is no file 'nothing.tar'"),
        (["import", "nothing.tar"], "there is no file 'nothing.tar'"),
        (["import", "https://example.com/x.tar"], "there is no file"),
        (["image", "sing"], "unknown command: image sing"),
        (["image", "rm"], "requires at least 1 IMAGE"),
        (["image", "prune", "x"], "image prune takes no names"),
        (["image", "prune", "--filter", "colour=red", "-f"], "invalid filter 'colour=red'"),
        (["builder", "sing"], "unknown command: builder sing"),
        (["images", "--all", "web"], "takes no services"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(
    argv: list[str], words: str, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 1
    err = capsys.readouterr().err
    assert words in err and "Traceback" not in err


def test_an_empty_machine_lists_nothing_and_is_not_written_to(
    empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["images", "--all"]) == 0
    assert capsys.readouterr().out.split() == [
        "REPOSITORY",
        "TAG",
        "IMAGE",
        "ID",
        "CREATED",
        "SIZE",
        "ORIGIN",
    ]
    assert main(["images", "--all", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["df", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["Projects"] == [] and all(row["Size"] == 0 for row in found["Summary"])
    assert not (empty / "data").exists()


def test_a_dry_run_changes_nothing(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (empty / "x.tar").write_bytes(b"")
    for argv in (["rmi", "x"], ["load", "-i", "x.tar"], ["import", "x.tar"], ["save", "x", "-o", "y.tar"]):
        assert main([*argv, "--dry-run"]) == 0
        assert capsys.readouterr().err.startswith("DRY-RUN MODE")
    assert not (empty / "data").exists() and not (empty / "y.tar").exists()
