"""The whole road on a tiny archive: nothing half-made stays, nothing is made twice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ImageError
from runtime.image.assemble import LABEL, assemble
from runtime.image.assemble.errors import (
    ArchiveStale,
    ConfigureFailed,
    DigestWrong,
    MirrorUnreachable,
    NotOffered,
    PackageMissing,
    SignatureWrong,
)
from runtime.image.progress import Progress
from runtime.image.store import Store
from tests.runtime.assemble_archive import Archive, deb, served, settings, signer

CONTROL = "Package: busybox-static\nVersion: 1:1.35.0-4+deb12u1\nArchitecture: amd64\n"
PACKAGE = deb(CONTROL, {"bin/busybox": b"#!program", "usr/share/doc/busybox/copyright": b"x"})


class Machine:
    """A Runner that writes down what it was asked."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.asked: list[list[str]] = []

    def __call__(self, argv: Any, *, output: Any = None, **rest: Any) -> int:
        self.asked.append(list(argv))
        assert (rest["upper"] / "bin/busybox").exists()
        assert rest.get("network", "none") == "none"
        if output:
            output(b"busybox: something to say\n")
        return self.code


class House:
    """A store, an archive that is served, and what the user is told."""

    def __init__(self, root: Path, archive: Archive, uri: str) -> None:
        self.root, self.archive, self.uri = root, archive, uri
        self.store = Store(root / "images")
        self.told: list[Progress] = []
        self.environment: Mapping[str, str] = settings(root, uri, signer())

    def assemble(self, name: str = "busybox", machine: Machine | None = None) -> Any:
        machine = machine or Machine()
        return assemble(
            self.store, name, machine, self.told.append, environment=self.environment, etc=self.root / "etc"
        )

    def fails(self, kind: type[ImageError], machine: Machine | None = None) -> str:
        with pytest.raises(kind) as caught:
            self.assemble(machine=machine)
        assert self.store.images() == []
        assert [path for path in (self.root / "images/ingest").iterdir() if path.is_dir()] == []
        assert list((self.root / "images/layers").iterdir()) == []
        return f"{caught.value.message} | {caught.value.hint}"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    archive = Archive()
    archive.add("bookworm", {CONTROL: PACKAGE}, key=signer())
    with served(archive) as uri:
        yield House(tmp_path, archive, uri)


def test_an_image_is_made_and_says_what_it_is(house: House) -> None:
    machine = Machine()
    image = house.assemble(machine=machine)
    assert image.references == ("docker.io/library/busybox:latest",)
    assert image.config.cmd == ("sh",)
    assert image.config.labels[LABEL] == "true"
    assert image.config.labels["io.pycompose.packages"] == "busybox-static=1:1.35.0-4+deb12u1"
    assert image.config.labels["org.opencontainers.image.title"] == "Debian stand-in for busybox:latest"
    assert machine.asked == [["/bin/busybox", "sh", "-c", "/bin/busybox --install -s /bin"]]
    assert (image.layers[0] / "bin/busybox").read_bytes() == b"#!program"
    assert not (image.layers[0] / "usr/share/doc").exists()


def test_the_second_time_nothing_is_made_or_downloaded(house: House) -> None:
    first = house.assemble()
    del house.archive.asked[:]
    machine = Machine()
    again = house.assemble("busybox:1.35", machine)
    assert (again.id == first.id, again.layer_ids == first.layer_ids) == (False, True)  # the title differs
    assert machine.asked == []
    assert [path for path in house.archive.asked if "InRelease" not in path] == []
    assert house.assemble().id == first.id


def test_downloaded_packages_outlive_the_image(house: House) -> None:
    house.assemble()
    house.store.remove("busybox")
    house.store.index.drop_steps([step[0] for step in house.store.index.steps()])
    house.store.collect()
    del house.archive.asked[:]
    house.assemble()
    assert [path for path in house.archive.asked if path.endswith((".deb", ".xz"))] == []


def test_a_damaged_file_of_the_cache_is_fetched_again(house: House) -> None:
    house.assemble()
    for path in (house.root / "cache/debian/pool").iterdir():
        path.write_bytes(b"damaged")
    house.store.index.drop_steps([step[0] for step in house.store.index.steps()])
    house.assemble()
    assert sum(path.endswith(".deb") for path in house.archive.asked) == 2


def test_a_damaged_index_of_the_cache_is_fetched_again(house: House) -> None:
    house.assemble()
    for path in (house.root / "cache/debian/index").iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    house.assemble("busybox:1.35")
    assert sum(path.endswith("Packages.xz") for path in house.archive.asked) == 2


def test_without_a_network_what_is_kept_makes_the_image_and_that_is_said(house: House) -> None:
    house.assemble()
    house.store.remove("busybox")
    house.store.index.drop_steps([step[0] for step in house.store.index.steps()])
    house.archive.refuse = True
    house.told.clear()
    image = house.assemble()
    assert (image.layers[0] / "bin/busybox").exists()
    notes = [event.text for event in house.told if event.kind == "note"]
    assert any("taking its index of bookworm as it was on 20" in text for text in notes)


def test_an_index_that_has_expired_counts_without_a_network_and_not_with_one(house: House) -> None:
    house.assemble()
    old = "Valid-Until: Sat, 01 Jan 2000 00:00:00 UTC\n"
    house.archive.add("bookworm", {CONTROL: PACKAGE}, key=signer(), extra=old)
    with pytest.raises(ArchiveStale):
        house.assemble()
    house.archive.refuse = True
    assert house.assemble().references


def test_a_kept_index_that_was_tampered_with_is_refused(house: House) -> None:
    house.assemble()
    house.store.remove("busybox")
    for path in (house.root / "cache/debian/release").iterdir():
        path.write_bytes(path.read_bytes().replace(b"Suite: b", b"Suite: c"))
    house.archive.refuse = True
    with pytest.raises(SignatureWrong):
        house.assemble()


def test_the_cache_of_packages_keeps_to_its_budget(house: House) -> None:
    house.assemble()
    pool = house.root / "cache/debian/pool"
    for number in range(5):
        (pool / f"old{number}").write_bytes(bytes(1000))
        os.utime(pool / f"old{number}", (number + 1, number + 1))
    (pool / ".part.1.2").write_bytes(b"left")
    os.utime(pool / ".part.1.2", (1, 1))
    rest = sum(
        path.stat().st_size for path in pool.parent.glob("[pi]*/*") if not path.name.startswith((".", "old"))
    )
    house.environment = {**house.environment, "PYCOMPOSE_PACKAGE_CACHE": str(rest + 2500)}
    house.assemble()
    assert sorted(path.name for path in pool.iterdir() if path.name.startswith(("old", "."))) == [
        "old3",
        "old4",
    ]


def test_a_package_that_is_not_the_promised_one_is_refused(house: House) -> None:
    name = next(path for path in house.archive.files if path.endswith(".deb"))
    house.archive.files[name] = PACKAGE[:-1] + b"!"
    assert name in house.fails(DigestWrong)


def test_an_index_that_is_not_the_promised_one_is_refused(house: House) -> None:
    for name in house.archive.files:
        if name.endswith("Packages.xz"):
            house.archive.files[name] += b" "
    assert "Packages.xz" in house.fails(DigestWrong)


def test_a_mirror_that_signs_with_another_key_is_refused(house: House) -> None:
    house.archive.add("bookworm", {CONTROL: PACKAGE}, key=signer(2))
    words = house.fails(SignatureWrong)
    assert "dists/bookworm/InRelease cannot be trusted" in words
    assert "PYCOMPOSE_DEBIAN_MIRROR" in words


def test_an_old_index_is_refused(house: House) -> None:
    old = "Valid-Until: Sat, 01 Jan 2000 00:00:00 UTC\n"
    house.archive.add("bookworm", {CONTROL: PACKAGE}, key=signer(), extra=old)
    assert "PYCOMPOSE_CHECK_VALID_UNTIL=no" in house.fails(ArchiveStale)


def test_a_mirror_that_does_not_answer_is_named(house: House) -> None:
    house.environment = {**house.environment, "PYCOMPOSE_DEBIAN_MIRROR": "http://127.0.0.1:1/debian"}
    assert "127.0.0.1 cannot be reached: connection refused" in house.fails(MirrorUnreachable)


def test_a_mirror_without_the_release_is_named(house: House) -> None:
    del house.archive.files["/debian/dists/bookworm/InRelease"]
    assert "it has no http://127.0.0.1" in house.fails(MirrorUnreachable)


def test_a_missing_package_is_named(house: House) -> None:
    house.archive.add("bookworm", {}, key=signer())
    assert "'busybox-static'" in house.fails(PackageMissing)


def test_a_script_that_fails_shows_what_it_said(house: House) -> None:
    words = house.fails(ConfigureFailed, Machine(code=2))
    assert "exit code 2" in words
    assert "something to say" in words


def test_a_suite_beside_the_main_one_may_be_missing_and_that_is_said(house: House) -> None:
    house.assemble()
    notes = [event.text for event in house.told if event.kind == "note"]
    assert [text.partition(":")[0] for text in notes] == [
        "without bookworm-updates",
        "without bookworm-security",
    ]


def test_the_security_suite_wins(house: House) -> None:
    control = CONTROL.replace("deb12u1", "deb12u2")
    house.archive.add("bookworm-security", {control: deb(control, {"bin/busybox": b"fixed"})}, key=signer())
    image = house.assemble()
    assert (image.layers[0] / "bin/busybox").read_bytes() == b"fixed"


def test_a_patch_release_that_debian_does_not_have_is_refused(house: House) -> None:
    with pytest.raises(NotOffered) as caught:
        house.assemble("busybox:1.35.9")
    assert caught.value.hint == "these can: busybox:1.35.0"


def test_progress_is_told_for_the_layer(house: House) -> None:
    house.assemble()
    words = [event.text for event in house.told if event.kind == "layer"]
    assert words[0] == "Reading package lists"
    assert {"Downloaded", "Unpacking", "Configuring"} <= set(words)
    assert words[-1].startswith("Done")
