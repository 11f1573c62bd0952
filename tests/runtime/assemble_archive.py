"""A package archive for tests: a few .debs, indexes, a signature by a key made for it, over HTTP."""

from __future__ import annotations

import base64
import hashlib
import io
import lzma
import random
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from runtime.image.assemble.openpgp import DIGEST_INFO, canonical_text


@dataclass(frozen=True)
class Signer:
    """An RSA key, small because tests are to be quick."""

    modulus: int
    secret: int
    exponent: int = 65537

    @property
    def packet(self) -> bytes:
        """The body of its public key packet (RFC 4880, 5.5.2)."""
        return b"\x04" + bytes(4) + b"\x01" + _mpi(self.modulus) + _mpi(self.exponent)

    @property
    def ring(self) -> bytes:
        return b"\x99" + len(self.packet).to_bytes(2, "big") + self.packet

    @property
    def id(self) -> str:
        return hashlib.sha1(self.ring).hexdigest()[-16:]

    def sign(self, text: str) -> bytes:
        """``text`` as a cleartext-signed document."""
        hashed = bytes([9, 16]) + bytes.fromhex(self.id)
        head = b"\x04\x01\x01\x08" + len(hashed).to_bytes(2, "big") + hashed
        trailer = head + b"\x04\xff" + len(head).to_bytes(4, "big")
        digest = hashlib.sha256(canonical_text(text.encode()) + trailer).digest()
        size = (self.modulus.bit_length() + 7) // 8
        tail = DIGEST_INFO["sha256"] + digest
        padded = b"\x00\x01" + b"\xff" * (size - len(tail) - 3) + b"\x00" + tail
        number = pow(int.from_bytes(padded, "big"), self.secret, self.modulus)
        body = head + bytes(2) + digest[:2] + _mpi(number)
        packet = b"\x89" + len(body).to_bytes(2, "big") + body
        armored = base64.b64encode(packet)
        lines = [b"- " + line if line.startswith(b"-") else line for line in text.encode().split(b"\n")]
        return (
            b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n"
            + b"\n".join(lines)
            + b"-----BEGIN PGP SIGNATURE-----\n\n"
            + armored
            + b"\n-----END PGP SIGNATURE-----\n"
        )


@cache
def signer(seed: int = 1) -> Signer:
    """The same key for the same seed."""
    source = random.Random(seed)
    first, second = _prime(source), _prime(source)
    return Signer(modulus=first * second, secret=pow(65537, -1, (first - 1) * (second - 1)))


def _prime(source: random.Random) -> int:
    while True:
        number = source.getrandbits(512) | 1 | 3 << 510
        if number % 65537 != 1 and all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7, 11)):
            return number


def _mpi(number: int) -> bytes:
    return number.bit_length().to_bytes(2, "big") + number.to_bytes((number.bit_length() + 7) // 8, "big")


def deb(control: str, files: Mapping[str, bytes], scripts: Mapping[str, str] | None = None) -> bytes:
    """A .deb with these files (mode 0755) and control members."""
    members = {"control": control, **(scripts or {})}
    parts = (
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", lzma.compress(tar({name: text.encode() for name, text in members.items()}))),
        ("data.tar.xz", lzma.compress(tar(files))),
    )
    out = b"!<arch>\n"
    for name, body in parts:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body
        out += b"\n" * (len(body) % 2)
    return out


def tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            item = tarfile.TarInfo(f"./{name}")
            item.size, item.mode, item.mtime = len(data), 0o755, 1_700_000_000
            archive.addfile(item, io.BytesIO(data))
    return buffer.getvalue()


@dataclass
class Archive:
    """What the server gives: path to content. ``asked``: what it was asked for. ``refuse``: hang up on
    everybody."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refuse: bool = False

    def add(self, suite: str, packages: Mapping[str, bytes], *, key: Signer, extra: str = "") -> None:
        """Publish a suite with .debs by the text of their control file."""
        stanzas = ""
        for control, data in packages.items():
            name = f"pool/{hashlib.sha256(data).hexdigest()[:12]}.deb"
            self.files[f"/debian/{name}"] = data
            digest = hashlib.sha256(data).hexdigest()
            stanzas += f"{control}Filename: {name}\nSize: {len(data)}\nSHA256: {digest}\n\n"
        index = lzma.compress(stanzas.encode())
        name, digest = "main/binary-amd64/Packages.xz", hashlib.sha256(index).hexdigest()
        name_arm = name.replace("amd64", "arm64")
        lines = "".join(f" {digest} {len(index)} {entry}\n" for entry in (name, name_arm))
        whole = hashlib.sha256(stanzas.encode()).hexdigest()
        lines += "".join(f" {whole} {len(stanzas)} {entry[:-3]}\n" for entry in (name, name_arm))
        text = f"Suite: {suite}\nCodename: {suite}\n{extra}SHA256:\n{lines}"
        self.files[f"/debian/dists/{suite}/InRelease"] = key.sign(text)
        self.files[f"/debian/dists/{suite}/{name}"] = index
        self.files[f"/debian/dists/{suite}/{name_arm}"] = index


@contextmanager
def served(archive: Archive) -> Iterator[str]:
    """Serve ``archive`` on the loopback; gives the URI of its root."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            archive.asked.append(self.path)
            if archive.refuse:
                self.close_connection = True
                return
            body = archive.files.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/debian"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings(root: Path, uri: str, key: Signer) -> dict[str, str]:
    """The environment that makes ``assemble`` use this archive and this key."""
    ring = root / "keyring.gpg"
    ring.write_bytes(key.ring)
    return {"PYCOMPOSE_DEBIAN_MIRROR": f"{uri} {uri}", "PYCOMPOSE_DEBIAN_KEYRING": str(ring)}
