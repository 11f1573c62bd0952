"""Tar archives of layers: read as GNU tar and tarfile write them, written so that they can read them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.errors import ImageError
from runtime.image import layer, tar
from runtime.image.compress import ahead, decompress
from runtime.image.errors import DigestMismatch, InvalidImage
from runtime.image.store import Store
from runtime.image.unpack import clean


def archive(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as target:
        for info, data in members:
            info.size = len(data) if info.type == tarfile.REGTYPE else 0
            target.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(name: str, type: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = type
    info.uid, info.gid = os.getuid(), os.getgid()
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def unpack(data: bytes, tmp_path: Path, **options: object) -> layer.Made:
    return layer.unpack(iter([data]), tmp_path / "diff", **options)  # type: ignore[arg-type]


def test_files_links_and_directories_arrive_with_mode_time_and_content(tmp_path: Path) -> None:
    data = archive(
        (member("bin", tarfile.DIRTYPE, mode=0o755, mtime=1000), b""),
        (member("bin/a", mode=0o4755, mtime=2000), b"hello"),
        (member("bin/b", tarfile.LNKTYPE, linkname="bin/a"), b""),
        (member("bin/c", tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
        (member("pipe", tarfile.FIFOTYPE, mode=0o600), b""),
    )
    made = unpack(data, tmp_path)
    root = tmp_path / "diff"
    assert (root / "bin/a").read_bytes() == b"hello"
    assert (root / "bin/a").stat().st_mode & 0o7777 == 0o4755
    assert (root / "bin/b").samefile(root / "bin/a")
    assert (root / "bin/c").readlink() == Path("/etc/passwd")
    assert (root / "bin").stat().st_mtime == 1000
    assert (root / "pipe").is_fifo()
    assert made.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert made.size == 5


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_format_are_read(tmp_path: Path, format: int) -> None:
    name = "/".join(["d" * 60, "e" * 60, "f" * 60])
    unpack(archive((member(name), b"x"), format=format), tmp_path)
    assert (tmp_path / "diff" / name).read_bytes() == b"x"


@pytest.mark.parametrize("format", ["gnu", "pax", "ustar", "v7", "oldgnu"])
def test_what_gnu_tar_writes_is_read(tmp_path: Path, format: str) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub/text").write_text("some text")
    os.link(source / "sub/text", source / "twin")
    with (source / "sparse").open("wb") as out:
        out.truncate(1 << 20)
        out.seek(300_000)
        out.write(b"middle")
    sparse = ["--sparse"] if format in ("gnu", "pax", "oldgnu") else []
    command = ["tar", f"--format={format}", *sparse, "-C", str(source), "-cf", "-", "."]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    unpack(data, tmp_path)
    for path in ("sub/text", "twin", "sparse"):
        assert (tmp_path / "diff" / path).read_bytes() == (source / path).read_bytes()
    assert (tmp_path / "diff/twin").stat().st_nlink == 2


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_every_pax_form_of_a_sparse_file_is_read(tmp_path: Path, version: str) -> None:
    with (tmp_path / "sparse").open("wb") as out:
        out.truncate(5 << 20)
        for place in range(0, 5 << 20, 1 << 20):
            out.seek(place)
            out.write(b"piece at %d" % place)
    command = [
        "tar",
        "--format=pax",
        f"--sparse-version={version}",
        "-S",
        "-C",
        str(tmp_path),
        "-cf",
        "-",
        "sparse",
    ]
    unpack(subprocess.run(command, check=True, capture_output=True).stdout, tmp_path)
    assert (tmp_path / "diff/sparse").read_bytes() == (tmp_path / "sparse").read_bytes()


def test_the_stream_of_a_directory_is_read_by_tarfile_and_always_the_same(tmp_path: Path) -> None:
    root = tmp_path / "diff"
    (root / ("deep" * 30) / ("er" * 40)).mkdir(parents=True)
    (root / ("deep" * 30) / ("er" * 40) / "fïle").write_bytes(b"content" * 1000)
    (root / "link").symlink_to("x" * 150)
    (root / "a").write_text("a")
    os.link(root / "a", root / "b")
    first, second = (b"".join(layer.pack(root)) for _ in range(2))
    assert first == second
    assert layer.digest(root).diff_id == "sha256:" + hashlib.sha256(first).hexdigest()
    with tarfile.open(fileobj=io.BytesIO(first)) as found:
        names = {info.name: info for info in found}
    assert names["link"].linkname == "x" * 150
    assert names["b"].islnk() and names["b"].linkname == "a"
    assert any(name.endswith("fïle") for name in names)


def test_a_layer_survives_packing_and_unpacking(tmp_path: Path) -> None:
    (tmp_path / "one/sub").mkdir(parents=True)
    (tmp_path / "one/sub/file").write_bytes(os.urandom(70_000))
    (tmp_path / "one/sub/file").chmod(0o640)
    made = layer.digest(tmp_path / "one")
    again = layer.unpack(layer.pack(tmp_path / "one"), tmp_path / "two", expected=made.diff_id)
    assert again == made
    assert layer.digest(tmp_path / "two") == made


def put(data: bytes, tmp_path: Path, *, packed: bytes = b"") -> tuple[Store, layer.Made]:
    """A layer taken into a store as pull and load do it."""
    store = Store(tmp_path / "images")
    with store.ingest() as work:
        (work / "blob").write_bytes(packed or data)
        made = layer.unpack(iter([packed or data]), work / "diff")
        blob = None if made.exact else work / "blob"
        store.commit_layer(work / "diff", made.diff_id, size=made.size, blob=blob)
    return store, made


@pytest.mark.parametrize("format", ["gnu", "pax", "ustar", "v7"])
@pytest.mark.parametrize("odd", [False, True])
def test_a_layer_of_others_comes_out_again_to_the_byte(tmp_path: Path, format: str, odd: bool) -> None:
    source = tmp_path / "source"
    (source / "z/deep").mkdir(parents=True)
    (source / "z/deep/er").write_bytes(os.urandom(3_000_000))
    (source / "a").write_text("a" * 513)
    (source / "empty").touch()
    os.link(source / "a", source / "z/twin")
    (source / "link").symlink_to("z/deep")
    words = ["tar", f"--format={format}", "--sort=name", "-b", "7", "-C", str(source), "-cf", "-"]
    names = [
        "./z",
        "./a",
        "./empty",
        "./link",
        *(["./a"] if odd else []),
    ]  # with "a" twice the archive is kept
    data = subprocess.run([*words, *names], check=True, capture_output=True).stdout + bytes(5000)
    store, made = put(data, tmp_path, packed=gzip.compress(data))
    home = store.layer(made.diff_id).parent
    assert b"".join(layer.stream(home, made.diff_id)) == data
    assert layer.length(home) == len(data)
    kept = sorted(path.name for path in home.iterdir())
    assert kept == (["blob", "diff"] if odd and format != "v7" else kept)
    assert made.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()


def test_a_layer_made_here_needs_no_record(tmp_path: Path) -> None:
    (tmp_path / "diff/sub").mkdir(parents=True)
    (tmp_path / "diff/sub/file").write_bytes(b"x" * 600)
    os.link(tmp_path / "diff/sub/file", tmp_path / "diff/twin")
    made = layer.digest(tmp_path / "diff")
    stream = b"".join(layer.stream(tmp_path, made.diff_id))
    assert layer.length(tmp_path) == len(stream)


def test_a_file_that_was_changed_in_the_store_is_noticed_when_the_layer_goes_out(tmp_path: Path) -> None:
    data = archive((member("x", mode=0o644), b"y" * 2000), (member("z"), b"z"))
    store, made = put(data, tmp_path)
    home = store.layer(made.diff_id).parent
    (home / "diff/x").write_bytes(b"Y" * 2000)
    with pytest.raises(DigestMismatch, match="a layer of the store"):
        list(layer.stream(home, made.diff_id))
    (home / "diff/x").write_bytes(b"y")
    with pytest.raises(InvalidImage, match="shorter"):
        list(layer.stream(home, made.diff_id))
    record = (home / "split").read_bytes()
    (home / "split").write_bytes(record[: len(record) // 2])
    with pytest.raises(InvalidImage):
        list(layer.stream(home, made.diff_id))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x", "a/..", "x\udcff/../y"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidImage, match="leads out"):
        unpack(archive((member(name), b"x")), tmp_path)


def test_an_absolute_name_lands_inside(tmp_path: Path) -> None:
    unpack(archive((member("/etc/x"), b"x")), tmp_path)
    assert (tmp_path / "diff/etc/x").read_text() == "x"


def test_a_link_is_followed_inside_the_root_only(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    data = archive(
        (member("way", tarfile.SYMTYPE, linkname=str(outside)), b""),
        (member("way/file"), b"x"),
        (member("up", tarfile.SYMTYPE, linkname="../../../.."), b""),
        (member("up/other"), b"y"),
    )
    unpack(data, tmp_path)
    assert list(outside.iterdir()) == []
    assert (tmp_path / "diff" / str(outside).lstrip("/") / "file").read_text() == "x"
    assert (tmp_path / "diff/other").read_text() == "y"


def test_a_hard_link_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    data = archive((member("x", tarfile.LNKTYPE, linkname=str(tmp_path / "secret")), b""))
    with pytest.raises(InvalidImage, match="hard link"):
        unpack(data, tmp_path)
    data = archive((member("x", tarfile.LNKTYPE, linkname="../secret"), b""))
    with pytest.raises(InvalidImage, match="leads out"):
        layer.unpack(iter([data]), tmp_path / "other")


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    data = archive(
        (member("a", tarfile.SYMTYPE, linkname="b"), b""),
        (member("b", tarfile.SYMTYPE, linkname="a"), b""),
        (member("a/x"), b""),
    )
    with pytest.raises(InvalidImage, match="circle"):
        unpack(data, tmp_path)


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..."])
def test_a_whiteout_of_the_root_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidImage, match="whiteout"):
        unpack(archive((member(name), b"")), tmp_path)


def test_a_later_entry_replaces_an_earlier_one(tmp_path: Path) -> None:
    data = archive(
        (member("x", tarfile.DIRTYPE, mode=0o755), b""),
        (member("x/inner"), b"1"),
        (member("x"), b"file now"),
        (member("y"), b"file"),
        (member("y/inner"), b"directory now"),
    )
    unpack(data, tmp_path)
    assert (tmp_path / "diff/x").read_text() == "file now"
    assert (tmp_path / "diff/y/inner").read_text() == "directory now"


def test_names_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    data = tar.header(tar.Entry(name=b"caf\xe9", size=1)) + b"x".ljust(512, b"\0") + bytes(1024)
    unpack(data, tmp_path)
    assert [os.fsencode(path.name) for path in (tmp_path / "diff").iterdir()] == [b"caf\xe9"]


def test_a_bomb_is_stopped_by_its_ratio(tmp_path: Path) -> None:
    def zeros() -> Iterator[bytes]:
        yield tar.header(tar.Entry(name=b"bomb", size=3 << 30))
        for _ in range(64):
            yield bytes(1 << 20)

    packed = gzip.compress(b"".join(zeros()), 1)
    with pytest.raises(InvalidImage, match="larger than allowed"):
        unpack(packed, tmp_path, compressed=len(packed))


@pytest.mark.parametrize("cut", [1, 100, 511, 512, 700, 1024])
def test_a_truncated_archive_is_refused(tmp_path: Path, cut: int) -> None:
    data = archive((member("x"), b"y" * 2000))
    with pytest.raises(InvalidImage):
        unpack(data[:cut], tmp_path)


@pytest.mark.parametrize("cut", [3, 11, 40, -9, -1])
def test_a_truncated_gzip_is_refused(tmp_path: Path, cut: int) -> None:
    data = gzip.compress(archive((member("x"), os.urandom(2000))))
    with pytest.raises(InvalidImage):
        unpack(data[:cut], tmp_path)


def test_damaged_compressed_data_is_refused() -> None:
    data = bytearray(gzip.compress(os.urandom(5000)))
    data[2000] ^= 0xFF
    with pytest.raises(InvalidImage):
        list(decompress([bytes(data)]))


def test_another_digest_than_promised_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch):
        unpack(archive((member("x"), b"y")), tmp_path, expected="sha256:" + "0" * 64)


def test_gzip_members_in_a_row_and_small_chunks_are_one_stream() -> None:
    data = gzip.compress(b"one") + gzip.compress(b"two") + bytes(512)
    assert b"".join(decompress(data[n : n + 1] for n in range(len(data)))) == b"onetwo"


def test_zstd_is_understood() -> None:
    zstd = pytest.importorskip("backports.zstd")
    data = zstd.compress(b"hello" * 100_000)
    assert b"".join(decompress(data[n : n + 7] for n in range(0, len(data), 7))) == b"hello" * 100_000


def test_reading_ahead_hands_errors_over_and_ends_its_thread() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ImageError("broken")

    stream = ahead(items())
    assert next(stream) == 1
    with pytest.raises(ImageError, match="broken"):
        next(stream)


def test_numbers_may_be_base_256_and_negative() -> None:
    assert tar.number(b"\x80\0\0\0\0\0\0\x01\0\0\0\0") == 1 << 32
    assert tar.number(b"\xff" * 12) == -1
    assert tar.number(b"0000644\0") == 0o644
    assert tar.number(b"\0" * 8) == 0


@pytest.mark.parametrize("uid,size", [(0, 0), (2**21, 5), (2**31 - 2, 9)])
def test_large_owners_travel_in_pax(uid: int, size: int) -> None:
    entry = tar.Entry(name=b"x", uid=uid, size=size, xattrs={"user.a": b"\0\n=x"})
    data = tar.header(entry) + bytes(512 if size else 0) + bytes(1024)
    (found,) = list(tar.Reader(iter([data])))
    assert (found.uid, found.size, found.xattrs) == (uid, size, {"user.a": b"\0\n=x"})


def test_clean_names() -> None:
    assert clean(b"./a//b/./c/") == b"a/b/c"
    assert clean(b"./") == b""
    with pytest.raises(InvalidImage):
        clean(b"x" * 300)
