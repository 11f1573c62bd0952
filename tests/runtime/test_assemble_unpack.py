"""Packages taken apart and laid down."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from runtime.image.assemble.deb import entries, read
from runtime.image.assemble.tree import Tree
from runtime.image.assemble.unpack import Unpacked, listing, slim
from tests.runtime.assemble_archive import deb

CONTROL = "Package: hello\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\nDescription: x\n long\n"


def archive(*items: tarfile.TarInfo, kind: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as out:
        for item in items:
            item.size = 3 if item.isreg() else 0
            out.addfile(item, io.BytesIO(b"abc") if item.isreg() else None)
    return buffer.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    item = tarfile.TarInfo(name)
    item.type, item.linkname, item.mode = kind, link, mode
    return item


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_long_links_are_read(kind: int) -> None:
    name, target = "./" + "d" * 90 + "/" + "f" * 120, "t" * 150
    found = list(entries(archive(info(name), info("./l", tarfile.SYMTYPE, target), kind=kind)))
    assert [(item.name, item.link, bytes(item.data)) for item in found] == [
        (name[2:], "", b"abc"),
        ("l", target, b""),
    ]


def test_a_deb_is_taken_apart() -> None:
    package = read(deb(CONTROL, {"usr/bin/hello": b"hi"}, {"postinst": "#!/bin/sh\n"}))
    assert package.control == {"control": CONTROL.encode(), "postinst": b"#!/bin/sh\n"}
    assert [(item.name, bytes(item.data)) for item in package.entries()] == [("usr/bin/hello", b"hi")]


def test_files_go_where_links_inside_the_root_lead(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "usr/bin").mkdir(parents=True)
    (lower / "bin").symlink_to("usr/bin")
    (lower / "var").mkdir()
    (lower / "var/run").symlink_to("/run")
    upper.mkdir()
    tree = Tree(upper, [lower])
    tree.file("bin/hello", "hi", 0o755)
    tree.file("var/run/x/pid", "1")
    assert (upper / "usr/bin/hello").read_text() == "hi"
    assert (upper / "run/x/pid").read_text() == "1"
    assert not (upper / "bin").exists()


def test_links_never_lead_out_of_the_root(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "out").symlink_to("../../../../etc")
    Tree(upper).file("out/motd", "here")
    assert (upper / "etc/motd").read_text() == "here"


def test_a_directory_of_a_lower_layer_keeps_its_mode(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "tmp").mkdir(parents=True)
    (lower / "tmp").chmod(0o1777)
    upper.mkdir()
    Tree(upper, [lower]).file("tmp/x", "")
    assert oct((upper / "tmp").stat().st_mode & 0o7777) == "0o1777"


def test_files_are_replaced_and_links_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("safe")
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "x").symlink_to(outside)
    Tree(upper).file("x", "new")
    assert (outside.read_text(), (upper / "x").read_text(), (upper / "x").is_symlink()) == (
        "safe",
        "new",
        False,
    )


def test_hard_links_modes_and_times_are_kept(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for entry in entries(archive(info("./a", mode=0o4755), info("./d/b", tarfile.LNKTYPE, "./a"))):
        tree.entry(entry)
    assert os.path.samestat((tmp_path / "a").stat(), (tmp_path / "d/b").stat())
    assert oct((tmp_path / "a").stat().st_mode & 0o7777) == "0o4755"


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("usr/share/doc/bash/changelog.gz", True),
        ("usr/share/doc/bash/copyright", False),
        ("usr/share/man/man1/ls.1.gz", True),
        ("usr/share/locale/de/LC_MESSAGES/x.mo", True),
        ("usr/share/locale/locale.alias", False),
        ("usr/share/mandoc/x", False),
        ("usr/bin/man", False),
    ],
)
def test_slim_leaves_out_manuals_and_keeps_licences(name: str, left_out: bool) -> None:
    assert slim(name) == left_out


def database(tmp_path: Path, package: bytes, settled: bool = False) -> tuple[str, Path]:
    tree = Tree(tmp_path)
    work = Unpacked(lambda name: settled)
    work.add(read(package), tree)
    work.write(tree)
    return (tmp_path / "var/lib/dpkg/status").read_text(), tmp_path / "var/lib/dpkg"


def test_dpkg_is_told_what_was_unpacked(tmp_path: Path) -> None:
    scripts = {"postinst": "x", "conffiles": "/etc/hello\n", "triggers": "interest-noawait hello\n"}
    status, home = database(tmp_path, deb(CONTROL, {"etc/hello": b"hi"}, scripts))
    assert status.splitlines() == [
        "Package: hello",
        "Status: install ok unpacked",
        "Version: 1",
        "Architecture: amd64",
        "Multi-Arch: same",
        "Description: x",
        " long",
        "Conffiles:",
        " /etc/hello 49f68a5c8493ec2c0bf489821c21fc3b",
        "",
    ]
    assert (home / "info/hello:amd64.list").read_text() == "/etc/hello\n"
    assert (home / "triggers/hello").read_text() == "hello/noawait\n"


def test_a_package_without_a_script_to_run_is_installed_at_once(tmp_path: Path) -> None:
    status, _ = database(tmp_path, deb(CONTROL, {}))
    assert "Status: install ok installed" in status


def test_a_settled_package_is_installed_at_once(tmp_path: Path) -> None:
    status, _ = database(tmp_path, deb(CONTROL, {}, {"postinst": "x"}), settled=True)
    assert "Status: install ok installed" in status


def test_the_root_is_listed_as_dpkg_lists_it() -> None:
    assert listing(["", "usr", "usr/bin"]) == "/.\n/usr\n/usr/bin\n"
