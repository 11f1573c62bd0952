"""Where builds take files from: repositories, URLs, archives, layouts, named contexts."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from build_bench import bench, text, tree
from build_servers import files, git, git_daemon, repository

from runtime.build import BuildSpec, build
from runtime.build.git import Repository, read
from runtime.errors import BuildFailed
from runtime.image.save import DirectorySink, save
from runtime.image.view import View

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    "word,expected",
    [
        ("https://h/p.git#v1:sub/dir", Repository("https://h/p.git", "v1", "sub/dir")),
        ("git@h:p.git#:d", Repository("git@h:p.git", "", "d")),
        ("github.com/o/p", Repository("https://github.com/o/p")),
        ("https://h/p.git?branch=x&subdir=y", Repository("https://h/p.git", "x", "y")),
        ("ssh://git@h/p", Repository("ssh://git@h/p")),
        ("https://h/p.tar.gz", None),
        ("/srv/p.git", None),
        ("busybox", None),
    ],
)
def test_what_names_a_repository(word: str, expected: Repository | None) -> None:
    assert read(word) == expected


@pytest.mark.smoke("git")
def test_a_repository_is_a_build_context(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    repository(scratch / "repo")
    with git_daemon(scratch) as url:
        spec = BuildSpec(context=f"{url}/repo#v1:sub", network="none")
        assert text(build(b.store, spec), "/b") == "B"
        inline = BuildSpec(
            context=f"{url}/repo", dockerfile_text="FROM busybox\nCOPY a.txt /a\n", network="none"
        )
        image = build(b.store, inline)
        assert text(image, "/a") == "two"
        found = View(image.layers).find("/a")
        assert found is not None and (found.info.st_mtime, found.info.st_uid) == (1600000000, 0)
        with pytest.raises(BuildFailed, match="'nope' is neither branch nor tag"):
            build(b.store, BuildSpec(context=f"{url}/repo#nope", network="none"))
        with pytest.raises(BuildFailed, match="has no directory 'gone'"):
            build(b.store, BuildSpec(context=f"{url}/repo#main:gone", network="none"))
    assert b.clean()


def test_add_takes_a_repository_at_a_branch_a_tag_or_a_commit(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    home = repository(scratch / "repo")
    first, second = git(home, "rev-parse", "v1^{commit}"), git(home, "rev-parse", "main")
    with git_daemon(scratch) as url:
        image = b.build(
            f"FROM busybox\nADD {url}/repo#v1 /tag\nADD {url}/repo /head\nADD {url}/repo#{first} /commit\n"
            f"ADD {url}/repo#side:sub /sub\nADD --keep-git-dir=true {url}/repo /kept\n"
            f"ADD --checksum={second} {url}/repo /checked\n"
        )
        assert [text(image, f"/{name}/a.txt") for name in ("tag", "head", "commit", "checked")] == [
            "one", "two", "one", "two"
        ]  # fmt: skip
        assert text(image, "/sub/b.txt") == "B"
        assert View(image.layers).find("/kept/.git/HEAD") and not View(image.layers).find("/head/.git")
        file = f"FROM busybox\nADD {url}/repo#main /head\n"
        b.build(file)
        b.build(file)
        assert b.steps() == ["CACHED"]
        (home / "a.txt").write_text("three")
        git(home, "commit", "-q", "-a", "-m", "three")
        assert text(b.build(file), "/head/a.txt") == "three"
        reasons = [event.detail for event in b.heard if event.text == "Running"]
        assert reasons == [f"{url}/repo#main changed"]
        with pytest.raises(BuildFailed, match=r"is the commit .* not"):
            b.build(f"FROM busybox\nADD --checksum={first} {url}/repo /x\n")
    assert b.clean()


def test_a_repository_behind_plain_files_is_fetched_whole(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    home = repository(scratch / "repo")
    git(scratch, "clone", "-q", "--bare", str(home), "www.git")
    git(scratch / "www.git", "update-server-info")
    with files(scratch) as (url, _):
        image = b.build(f"FROM busybox\nADD {url}/www.git#v1 /tag\nADD {url}/www.git#side /side\n")
    assert (text(image, "/tag/a.txt"), text(image, "/side/a.txt")) == ("one", "one")


def test_a_context_behind_a_link_is_the_directory_it_leads_to(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(a="A", Dockerfile="FROM busybox\nCOPY . /c/\n")
    (scratch / "link").symlink_to(b.context)
    image = build(b.store, BuildSpec(context=str(scratch / "link"), network="none"))
    assert tree(image) == ["c", "c/Dockerfile", "c/a"]


def test_add_asks_again_and_fetches_only_what_changed(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    (scratch / "www").mkdir()
    (scratch / "www/a").write_text("A")
    os.utime(scratch / "www/a", (1500000000, 1500000000))
    with files(scratch / "www") as (url, log):
        image = b.build(f"FROM busybox\nADD {url}/a /a\n")
        found = View(image.layers).find("/a")
        assert found is not None
        assert (found.info.st_mode & 0o7777, found.info.st_mtime) == (0o600, 1500000000)
        b.build(f"FROM busybox\nADD {url}/a /a\n")
        assert b.steps() == ["CACHED"] and log == ["GET /a 200", "GET /a 304"]
        (scratch / "www/a").write_text("B")
        assert text(b.build(f"FROM busybox\nADD {url}/a /a\n"), "/a") == "B"
        log.clear()
        sum_ = "sha256:df7e70e5021544f4834bbee64a9e3789febc4be81470df629cad6ddb03320a5c"
        for _ in range(2):
            b.build(f"FROM busybox\nADD --checksum={sum_} {url}/a /c\n")
        assert b.steps() == ["CACHED"] and log == ["GET /a 200"], "a checksum says it all"
        with pytest.raises(BuildFailed, match="answered with 404"):
            b.build(f"FROM busybox\nADD {url}/missing /a\n")
        with tarfile.open(scratch / "www/pack.tar.xz", "w:xz") as pack:
            pack.add(scratch / "www/a", "in/a")
        image = b.build(f"FROM busybox\nADD {url}/pack.tar.xz /p/\nADD --unpack=true {url}/pack.tar.xz /q/\n")
        assert [tree(image, n) for n in (-2, -1)] == [["p", "p/pack.tar.xz"], ["q", "q/in", "q/in/a"]]
    assert b.clean()


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", ""])
def test_add_unpacks_every_compression(scratch: Path, busybox_root: Path, kind: str) -> None:
    b = bench(scratch, busybox_root)
    b.files(a="A")
    with tarfile.open(b.context / "pack", f"w:{kind}") as pack:  # type: ignore[call-overload]
        pack.add(b.context / "a", "in/a")
    assert text(b.build("FROM busybox\nADD pack /p/\n"), "/p/in/a") == "A"


def test_an_archive_or_a_dockerfile_behind_a_url_is_a_context(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    (scratch / "www").mkdir()
    b.files(a="A", Dockerfile="FROM busybox\nCOPY a /a\n")
    with tarfile.open(scratch / "www/context.tar.gz", "w:gz") as pack:
        pack.add(b.context, ".")
    (scratch / "www/plain").write_text("FROM busybox\nRUN echo plain > /p\n")
    with files(scratch / "www") as (url, _):
        image = build(b.store, BuildSpec(context=f"{url}/context.tar.gz", network="none"))
        assert text(image, "/a") == "A"
        assert text(build(b.store, BuildSpec(context=f"{url}/plain", network="none")), "/p") == "plain\n"
    assert b.clean()


def test_named_contexts_of_every_kind(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    base = b.build("FROM busybox\nRUN echo layout > /l\n", tags=("made:1",))
    layout = scratch / "layout"
    layout.mkdir()
    save(b.store, ["made:1"], DirectorySink(layout), form="oci-dir")
    b.store.remove("made:1")
    (scratch / "dir").mkdir()
    (scratch / "dir/f").write_text("F")
    repository(scratch / "repo")
    with git_daemon(scratch) as url:
        image = b.build(
            "FROM busybox AS stage\nRUN false\nFROM lay\nCOPY --from=dir f /f\nCOPY --from=git a.txt /g\n"
            "COPY --from=stage /f /stage\nRUN --mount=from=dir,target=/m cat /m/f\n",
            additional_contexts={
                "lay": f"oci-layout://{layout}:1",
                "dir": str(scratch / "dir"),
                "git": f"{url}/repo#v1",
                "stage": str(scratch / "dir"),
            },
        )
    assert [text(image, path) for path in ("/l", "/f", "/g", "/stage")] == ["layout\n", "F", "one", "F"]
    assert b.said() == ["F"]
    assert base.layer_ids == image.layer_ids[: len(base.layer_ids)]
    assert b.store.find("made:1") is None, "a layout gives no names"
    assert b.clean()


def test_a_directory_or_another_image_stands_for_a_base(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    image = b.build(
        "FROM alpine:3.20\nRUN echo on busybox > /x\n",
        additional_contexts={"docker.io/library/alpine:3.20": "docker-image://busybox"},
    )
    assert text(image, "/x") == "on busybox\n"
    image = b.build(
        "FROM root AS r\nFROM scratch\nCOPY --from=r /bin/busybox /b\n",
        additional_contexts={"root": str(busybox_root)},
    )
    assert tree(image) == ["b"]
    image = b.build("FROM root\nRUN echo ran > /x\n", additional_contexts={"root": str(busybox_root)})
    assert text(image, "/x") == "ran\n"


def test_a_base_that_cannot_be_had_is_told_with_its_line(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    with pytest.raises(BuildFailed, match=r"^Dockerfile:2: FROM 127.0.0.1:1/nosuch: .*127.0.0.1:1") as caught:
        b.build("# a comment\nFROM 127.0.0.1:1/nosuch\n")
    assert caught.value.exit_code == 1 and b.clean()
