"""Hostile images: whatever an archive says, nothing is written outside and nothing half-made is kept."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from runtime.errors import ImageError
from runtime.image import archive, layer, tar
from runtime.image.manifest import Image, ImageConfig
from runtime.image.rootfs import adopt
from runtime.image.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from hostile import END, Endless, docker, entry, layout, member, sha

Take = Callable[[Store, bytes], Image]


def by_load(store: Store, data: bytes) -> Image:
    return archive.load(store, io.BytesIO(docker(data)))[0]


def by_layout(store: Store, data: bytes) -> Image:
    return archive.load(store, io.BytesIO(layout(data)))[0]


def by_import(store: Store, data: bytes) -> Image:
    return adopt(store, io.BytesIO(data), ImageConfig(), ["evil:1"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    return Store(tmp_path / "deep/images")


def untouched(store: Store) -> None:
    """Nothing of the image, nothing in the making, nothing beside the store."""
    top = store.root.parent.parent
    assert store.images() == []
    assert [path for path in (store.root / "ingest").iterdir() if path.is_dir()] == []
    assert list((store.root / "layers").iterdir()) == []
    assert sorted(path.name for path in top.iterdir()) == ["deep", "outside"]
    assert [path.read_text() for path in (top / "outside").iterdir()] == ["secret"]
    assert (top / "outside/secret").stat().st_nlink == 1


WAYS = [by_load, by_layout, by_import]
EVERY_WAY = pytest.mark.parametrize("take", WAYS)
SYMLINK, HARDLINK = tar.SYMLINK, tar.HARDLINK

REFUSED = {
    "dot-dot": entry("../outside/x", b"x"),
    "dot-dot inside": entry("a/../../../../outside/x", b"x"),
    "dot-dot directory": member("..", type=tar.DIRECTORY),
    "hard link up": member("x", type=HARDLINK, link=b"../../../outside/secret"),
    "absolute hard link": member("x", type=HARDLINK, link=b"/outside/secret"),
    "hard link through a link": member("way", type=SYMLINK, link=b"../../../../outside")
    + member("x", type=HARDLINK, link=b"way/secret"),
    "hard link to a directory": member("d", type=tar.DIRECTORY) + member("x", type=HARDLINK, link=b"d"),
    "hard link to itself": member("x", type=HARDLINK, link=b"x"),
    "whiteout of the root": member(".wh."),
    "whiteout of dot": member(".wh.."),
    "whiteout of dot-dot": member(".wh..."),
    "links in a circle": member("a", type=SYMLINK, link=b"b")
    + member("b", type=SYMLINK, link=b"a")
    + entry("a/x"),
    "name too long": entry("a" * 300, b"x"),
    "path too long": entry("/".join(["abcdefghi"] * 500), b"x"),
    "NUL in a pax name": entry(b"a" * 101 + b"\0b", b"x"),
    "negative size": entry("x", b"")[:124] + b"\xff" * 12 + entry("x", b"")[136:],
    "wrong checksum": entry("x", b"")[:148] + b"000000\0 " + entry("x", b"")[156:],
    "truncated": entry("x", bytes(5000))[:2000],
    "sparse map behind its end": b"",
}


def gnu_sparse(pieces: list[tuple[int, int]], real: int, content: bytes) -> bytes:
    """A member of GNU's own sparse form."""
    block = bytearray(entry("sparse", content)[:512])
    block[156:157] = b"S"
    block[257:265] = b"ustar  \0"
    for number, (offset, length) in enumerate(pieces):
        block[386 + 24 * number : 410 + 24 * number] = b"%011o\0%011o\0" % (offset, length)
    block[483:495] = b"\x80" + real.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + content + bytes(-len(content) % 512)


REFUSED["sparse map behind its end"] = gnu_sparse([(1 << 20, 10)], 100, b"0123456789")
REFUSED["sparse map larger than the content"] = gnu_sparse([(0, 5000)], 5000, b"0123456789")
REFUSED["sparse file beyond the limit"] = gnu_sparse([(0, 10)], 1 << 52, b"0123456789")


@EVERY_WAY
@pytest.mark.parametrize("what", REFUSED)
def test_what_leads_out_or_lies_is_refused_and_nothing_is_kept(store: Store, what: str, take: Take) -> None:
    with pytest.raises(ImageError):
        take(store, entry("first", b"1") + REFUSED[what] + (b"" if what == "truncated" else END))
    untouched(store)


@EVERY_WAY
def test_what_only_looks_like_a_way_out_stays_inside(store: Store, take: Take) -> None:
    outside = str(store.root.parent.parent / "outside")
    data = (
        entry("/absolute", b"1")
        + member("way", type=SYMLINK, link=outside.encode())
        + entry("way/secret", b"2")
        + member("up", type=SYMLINK, link=b"../../../../../..")
        + entry("up/higher", b"3")
        + member("conf", type=SYMLINK, link=b"/etc")
        + entry("conf/passwd", b"4")
        + END
    )
    root = take(store, data).layers[0]
    assert (root / "absolute").read_bytes() == b"1"
    assert (root / outside.lstrip("/") / "secret").read_bytes() == b"2"
    assert (root / "higher").read_bytes() == b"3"
    assert (Path(outside) / "secret").read_text() == "secret"
    assert (root / "etc/passwd").read_bytes() == b"4" and Path("/etc/passwd").read_bytes() != b"4"


@EVERY_WAY
def test_the_last_of_several_entries_of_a_name_counts(store: Store, take: Take) -> None:
    data = (
        entry("x", b"old")
        + entry("x", b"new")
        + entry("d/inner", b"1")
        + entry("d", b"file")
        + member("l", type=SYMLINK, link=b"x")
        + entry("l", b"not the link's aim")
        + END
    )
    image = take(store, data)
    root = image.layers[0]
    assert [(root / name).read_bytes() for name in ("x", "d", "l")] == [
        b"new",
        b"file",
        b"not the link's aim",
    ]
    stream = b"".join(layer.stream(root.parent, image.layer_ids[0]))
    assert stream == data or take is by_import


@EVERY_WAY
def test_names_that_are_not_utf8_and_odd_ones_are_kept(store: Store, take: Take) -> None:
    names = [b"caf\xe9", b"new\nline", b" ", b"-rf", b"*", "é".encode() * 60, b"\x1b[31m"]
    image = take(store, b"".join(entry(name, b"x") for name in names) + END)
    assert sorted(os.fsencode(path.name) for path in image.layers[0].iterdir()) == sorted(names)


@EVERY_WAY
def test_pax_oddities_are_understood_or_refused(store: Store, take: Take) -> None:
    odd = {
        "no length": b"=x\n",
        "too long": b"99 path=x\n",
        "too short": b"3 path=x\n",
        "no newline": b"9 path=xx",
        "no equals": b"8 pathx\n",
        "huge number": b"40 size=" + b"9" * 31 + b"\n",
        "nan": b"13 mtime=abc\n",
    }
    for name, text in odd.items():
        front = tar._ustar(b"PaxHeaders/x", b"x", 0o644, 0, 0, len(text), 0, b"", 0, 0)
        data = front + text + bytes(-len(text) % 512) + entry("x", b"1") + END
        with pytest.raises(ImageError):
            take(store, data)
        assert store.images() == [], name
    untouched(store)


def test_an_extended_header_of_gigabytes_is_refused_before_it_is_read(store: Store) -> None:
    front = tar._ustar(b"PaxHeaders/x", b"x", 0o644, 0, 0, 5 << 30, 0, b"", 0, 0)
    with pytest.raises(ImageError, match="extended header"):
        by_import(store, front + END)
    untouched(store)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("cut", [7, 0.3, 0.9, -1])
def test_a_truncated_archive_leaves_nothing(store: Store, packer: str, cut: float) -> None:
    plain = entry("x", os.urandom(30_000)) + END
    for data in (PACKERS[packer](plain), PACKERS[packer](docker(plain))):
        end = int(cut) if cut in (7, -1) else int(len(data) * cut)
        with pytest.raises(ImageError):
            by_import(store, data[:end])
        with pytest.raises(ImageError):
            archive.load(store, io.BytesIO(data[:end]))
    untouched(store)


def test_a_truncated_zstd_leaves_nothing(store: Store) -> None:
    zstd = pytest.importorskip("backports.zstd")
    data = zstd.compress(docker(entry("x", os.urandom(30_000)) + END))
    for end in (5, 100, len(data) // 2, -1):
        with pytest.raises(ImageError):
            archive.load(store, io.BytesIO(data[:end]))
    assert archive.load(store, io.BytesIO(data))[0].references


def zeros() -> Iterator[bytes]:
    """The beginning of 100 GiB of zeros in one file, gzipped: 1000 to 1."""
    import zlib

    machine = zlib.compressobj(1, zlib.DEFLATED, 31)
    yield machine.compress(tar.header(tar.Entry(name=b"bomb", size=100 << 30)))
    block = bytes(8 << 20)
    for _ in range(100 << 7):
        yield machine.compress(block)


class Limited(Endless):
    """A pipe that may give this many bytes and no more before the reader has had enough."""

    def __init__(self, chunks: Iterator[bytes], most: int) -> None:
        super().__init__(chunks)
        self.left = most

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self.left -= count
        assert self.left > 0, "the bomb was read on and on"
        return count


@pytest.mark.parametrize("way", ["load", "import"])
def test_a_bomb_is_given_up_soon(store: Store, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.image.compress.FREE", 64 << 20)
    monkeypatch.setattr("runtime.image.rootfs._UNKNOWN", 1 << 20)
    pipe = cast(BinaryIO, Limited(zeros(), 64 << 20))
    with pytest.raises(ImageError, match=r"larger than allowed|decompress to more") as caught:
        archive.load(store, pipe) if way == "load" else adopt(store, pipe, ImageConfig(), ["evil:1"])
    assert "bomb" in caught.value.hint
    untouched(store)


def test_a_bomb_inside_an_archive_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.image.compress.FREE", 8 << 20)
    plain = entry("bomb", bytes(64 << 20)) + END
    with pytest.raises(ImageError, match="larger than allowed"):
        archive.load(store, io.BytesIO(layout(plain)))
    untouched(store)
    monkeypatch.setenv("PYCOMPOSE_LAYER_LIMIT", "65MB")
    assert archive.load(store, io.BytesIO(layout(plain)))


LIES: dict[str, bytes] = {}


def _lies() -> None:
    plain = entry("x", b"1") + END
    other = entry("x", b"2") + END
    blob = gzip.compress(plain)
    LIES["size of the layer, larger"] = layout(plain, lie={"size": len(blob) + 1})
    LIES["size of the layer, smaller"] = layout(plain, lie={"size": len(blob) - 1})
    LIES["size that is no number"] = layout(plain, lie={"size": "12"})
    LIES["negative size"] = layout(plain, lie={"size": -1})
    LIES["digest of the layer"] = layout(plain, packed=blob, lie={"digest": sha(b"other")})
    LIES["digest of another kind"] = layout(plain, lie={"digest": "md5:" + "0" * 32})
    LIES["digest that is a path"] = layout(plain, lie={"digest": "sha256:../../../../outside/secret"})
    LIES["digest of the manifest"] = layout(plain, top={"digest": sha(b"other")})
    LIES["size of the manifest"] = layout(plain, top={"size": 1})
    LIES["another layer than the configuration says"] = layout(plain, packed=gzip.compress(other))
    LIES["more layers than the configuration"] = docker(plain, Layers=["0/layer.tar", "0/layer.tar"])
    LIES["a layer that is not there"] = docker(plain, Layers=["nothing"])
    LIES["a layer outside"] = docker(plain, Layers=["../../../outside/secret"])
    LIES["a layer behind a link"] = docker(
        plain, more=[member("way", type=SYMLINK, link=b"/etc/passwd")], Layers=["way"]
    )
    LIES["a configuration behind a link"] = docker(
        plain, more=[member("way", type=SYMLINK, link=b"../../../../etc/hostname")], Config="way"
    )
    LIES["a configuration that is a list"] = docker(plain, more=[entry("c", b"[]")], Config="c")
    LIES["a configuration of thousands of layers"] = docker(
        plain,
        more=[
            entry(
                "c",
                b'{"rootfs":{"diff_ids":[' + b",".join([b'"' + sha(plain).encode() + b'"'] * 5000) + b"]}}",
            )
        ],
        Config="c",
        Layers=["0/layer.tar"] * 5000,
    )
    LIES["a diffID that is a path"] = docker(
        plain, more=[entry("c", b'{"rootfs":{"diff_ids":["sha256:../../../outside"]}}')], Config="c"
    )
    LIES["a name that is none"] = docker(plain, tags=["../../outside"])
    LIES["deep JSON"] = entry("manifest.json", b"[" * 100_000) + END
    LIES["no image at all"] = entry("manifest.json", b"[]") + END
    LIES["an empty file"] = b""
    LIES["noise"] = bytes(range(256)) * 40


_lies()


@pytest.mark.parametrize("what", LIES)
@pytest.mark.parametrize("how", ["pipe", "file", "gzip"])
def test_a_lie_in_the_documents_is_refused_and_nothing_is_kept(
    store: Store, tmp_path: Path, what: str, how: str
) -> None:
    with pytest.raises(ImageError):
        if how == "file":
            (store.root.parent / "x.tar").write_bytes(LIES[what])
            archive.load(store, store.root.parent / "x.tar")
        else:
            data = gzip.compress(LIES[what]) if how == "gzip" else LIES[what]
            archive.load(store, io.BytesIO(data))
    left = list((store.root / "layers").iterdir())
    store.collect()  # a whole layer of an image that failed later may stay until now
    assert not left or what in ("a name that is none",)
    untouched(store)


def test_an_archive_of_too_many_members_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.image.members._MEMBERS", 50)
    data = b"".join(entry(f"f{number}") for number in range(60)) + END
    with pytest.raises(ImageError, match="more than 50 members"):
        archive.load(store, io.BytesIO(data))
    untouched(store)


def test_a_layer_of_too_many_entries_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.image.unpack import Bounds

    monkeypatch.setattr("runtime.image.layer.Bounds", lambda **given: Bounds(entries=50, **given))
    with pytest.raises(ImageError, match="larger than allowed"):
        by_import(store, b"".join(entry(f"f{number}") for number in range(60)) + END)
    untouched(store)


MANY = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from runtime.image import layer, tar
resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))
def link(n):
    return tar.header(tar.Entry(name=b"d%d/e%d" % (n % 97, n), type=b"2", link=b"x"))
def chunks():
    for n in range(0, COUNT, 1000):
        yield b"".join(map(link, range(n, n + 1000)))
    yield bytes(1024)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = layer.unpack(chunks(), Path(sys.argv[1]) / "diff")
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(made.entries, (after - before) // 1024)
"""


def test_memory_does_not_grow_with_the_number_of_entries(tmp_path: Path) -> None:
    grown = []
    for number, count in enumerate((2_000, 22_000)):
        place = tmp_path / str(number)
        place.mkdir()
        code = MANY.replace("COUNT", str(count))
        words = [sys.executable, "-c", code, str(place), str(Path(__file__).parents[2])]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        entries, mebibytes = map(int, done.stdout.split())
        assert entries == count
        grown.append(mebibytes)
    assert grown[1] - grown[0] < 8  # 400 bytes for each entry more


def test_set_id_bits_stay_and_devices_need_the_right_to_make_them(store: Store) -> None:
    data = entry("su", b"x", mode=0o6755) + member("tty", type=tar.CHAR, major=5, minor=0, mode=0o666) + END
    root = by_import(store, data).layers[0]
    assert stat.S_IMODE((root / "su").stat().st_mode) == 0o6755
    if os.geteuid() != 0:
        assert not (root / "tty").exists()


@pytest.mark.root
def test_an_opaque_mark_that_has_content_is_still_a_mark(store: Store) -> None:
    data = entry("d/.wh..wh..opq", b"content") + entry("d/.wh.gone", b"content") + END
    image = by_load(store, data)
    assert layer.is_opaque(image.layers[0] / "d")
    assert stat.S_ISCHR((image.layers[0] / "d/gone").lstat().st_mode)
    assert b"".join(layer.stream(image.layers[0].parent, image.layer_ids[0])) == data
