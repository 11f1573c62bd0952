"""COPY and ADD: what lands where, whose it is, and what is refused."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import tarfile
import threading
from pathlib import Path

import pytest
from build_bench import bench, text, tree

from runtime.errors import BuildFailed
from runtime.image.view import View

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    "copy,expected",
    [
        ("COPY a.txt /x", ["x"]),
        ("COPY a.txt /x/", ["x", "x/a.txt"]),
        ("COPY a.txt /tmp", ["tmp", "tmp/a.txt"]),
        ("COPY sub /x", ["x", "x/b.txt", "x/deep", "x/deep/c.md"]),
        ("COPY sub/ /x/y/", ["x", "x/y", "x/y/b.txt", "x/y/deep", "x/y/deep/c.md"]),
        ("COPY a.txt sub /x/", ["x", "x/a.txt", "x/b.txt", "x/deep", "x/deep/c.md"]),
        ("COPY *.txt /x/", ["x", "x/a.txt", "x/z.txt"]),
        ("COPY [\"with space\", \"/x\"]", ["x"]),
        ("COPY **/*.md /x/", ["x", "x/c.md"]),
        ("COPY --parents sub/deep/c.md /x/", ["x", "x/sub", "x/sub/deep", "x/sub/deep/c.md"]),
        ("COPY --exclude=*.txt sub /x", ["x", "x/deep", "x/deep/c.md"]),
        ("COPY a.txt relative", ["relative"]),
        ("COPY link /x", ["x"]),
        ("COPY nothing* a.txt /x/", ["x", "x/a.txt"]),
    ],
)  # fmt: skip
def test_copy(scratch: Path, busybox_root: Path, copy: str, expected: list[str]) -> None:
    b = bench(scratch, busybox_root)
    b.files(a_txt="A", z_txt="Z", sub__b_txt="B", sub__deep__c_md="C", ignored="no")
    (b.context / "with space").write_text("s")
    (b.context / "link").symlink_to("a.txt")
    (b.context / ".dockerignore").write_text("ignored\n")
    assert tree(b.build(f"FROM busybox\n{copy}\n")) == expected
    assert b.clean()


@pytest.mark.parametrize(
    "copy,message",
    [
        ("COPY missing /x", "'missing' is not in the build context"),
        ("COPY ignored /x", "'ignored' is not in the build context"),
        ("COPY ../../etc/passwd /x", "'../../etc/passwd' is not in the build context"),
        ("COPY out /x", "'out' is not in the build context"),
        ("COPY --from=nobody/here /x /y", "nobody/here"),
        ("COPY --chown=stranger a.txt /x", "no user 'stranger'"),
        ("COPY a.txt", "needs a source and a destination"),
        ("COPY a.txt /etc/passwd/x", "is a file"),
        ("ADD http://127.0.0.1:1/y /z", "127.0.0.1:1 cannot be reached"),
        ("ADD http://127.0.0.1:1/y.git /z", "git ls-remote: fatal: unable to access"),
        ("COPY <<../../x /z\ntext\n../../x", "is not a name for a file"),
        ("RUN --mount=type=odd,target=/x true", "unknown type 'odd'"),
        ("RUN --mount=type=secret,id=s,required true", "secret 's' is required"),
        ("EXPOSE 99999", "invalid containerPort: 99999"),
        ("RUN nosuchprogram", "exit code 127"),
        ('RUN ["nosuchprogram"]', "nosuchprogram"),
        ("WORKDIR /etc/passwd", "is a file"),
    ],
)
def test_what_cannot_be_built_says_why_and_leaves_nothing(
    scratch: Path, busybox_root: Path, copy: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench(scratch, busybox_root)
    b.files(a_txt="A", z_txt="Z", ignored="no")
    (b.context / ".dockerignore").write_text("ignored\n")
    (b.context / "out").symlink_to("/../../../etc/shadow")
    with pytest.raises(Exception, match=r"(?s).") as caught:
        b.build(f"FROM busybox\n{copy}\n")
    assert message in str(caught.value)
    assert b.clean()


def test_owners_and_modes_of_copy(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(a="A", d__x="X")
    os.chown(b.context / "a", 77, 77)
    image = b.build(
        "FROM busybox\nCOPY a /plain\nCOPY --chown=web:staff --chmod=600 a /owned\nCOPY --chown=5 a /five\n"
        "COPY --chmod=u=rw,go=r d /d\n"
    )
    facts = {}
    for path in ("/plain", "/owned", "/five", "/d/x"):
        found = View(image.layers).find(path)
        assert found is not None
        facts[path] = (found.info.st_uid, found.info.st_gid, oct(found.info.st_mode & 0o7777))
    assert facts["/plain"][:2] == (0, 0)
    assert facts["/owned"] == (1000, 50, "0o600")
    assert facts["/five"][:2] == (5, 5)
    assert facts["/d/x"][2] == "0o644"


def test_copy_follows_links_of_the_image(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(a="A")
    image = b.build("FROM busybox\nRUN mkdir /run && ln -s /run /var/run\nCOPY a /var/run/\n")
    assert tree(image) == ["run", "run/a"]


def test_add_unpacks_archives_and_copy_does_not(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(a="A", gz="no archive at all, whatever its name says, and a bit longer than that")
    with tarfile.open(b.context / "pack.tar.gz", "w:gz") as archive:
        archive.add(b.context / "a", "in/side")
    image = b.build("FROM busybox\nADD pack.tar.gz /x\nCOPY pack.tar.gz /y\nADD gz /z\n")
    assert [tree(image, n) for n in (-3, -2, -1)] == [["x", "x/in", "x/in/side"], ["y"], ["z"]]


def test_add_fetches_files_and_checks_them(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(b.context))
    handler.func.log_message = lambda *_: None  # type: ignore[attr-defined]
    b.files(a="A")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/a"
        right = hashlib.sha256(b"A").hexdigest()
        try:
            image = b.build(
                f"FROM busybox\nADD --checksum=sha256:{right} {url} /d/\nADD --chmod=644 {url} /e\n"
            )
            with pytest.raises(BuildFailed, match="has the digest"):
                b.build(f"FROM busybox\nADD --checksum=sha256:{'0' * 64} {url} /d/\n")
        finally:
            server.shutdown()
            thread.join()
    modes = {
        path: (View(image.layers).find(path) or pytest.fail()).info.st_mode & 0o777 for path in ("/d/a", "/e")
    }
    assert modes == {"/d/a": 0o600, "/e": 0o644}
    assert text(image, "/d/a") == "A"
