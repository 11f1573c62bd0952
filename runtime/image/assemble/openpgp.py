"""Check that a cleartext-signed file was signed by a key that we ship.

Comes in:  the bytes of a signed file (InRelease) and public keys in their binary transferable form.
Goes out:  the signed text, or SignatureWrong.
Not here:  which keys are trusted for what (archive), web of trust, revocation, expiry of keys: a shipped
           key is trusted as long as we ship it, its subkeys included (docs/adr/0041).
Source: RFC 4880 sections 4 (packets), 5.2 (signatures), 5.5.2 (keys), 6 (armor), 7 (cleartext); RFC 8017 9.2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping

from runtime.image.assemble.errors import SignatureWrong
from schemas.frozen import dataclass

RSA = (1, 3)  # RSA encrypt-or-sign, RSA sign-only
PUBLIC_KEY, PUBLIC_SUBKEY, SIGNATURE = 6, 14, 2
TEXT_SIGNATURE, BINARY_SIGNATURE = 1, 0
HASHES = {8: "sha256", 9: "sha384", 10: "sha512"}  # SHA-1 (2) and MD5 (1) are not accepted
DIGEST_INFO = {  # DER prefix of DigestInfo, RFC 8017 section 9.2 note 1
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
BEGIN, SIGNED, END = (
    b"-----BEGIN PGP SIGNED MESSAGE-----",
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----END PGP SIGNATURE-----",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An RSA public key; ``id`` is the low 64 bits of the v4 fingerprint, as 16 hex digits."""

    id: str
    modulus: int
    exponent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A v4 RSA signature packet; ``trailer`` is what is hashed after the text (RFC 4880, 5.2.4)."""

    issuer: str
    kind: int
    digest: str
    trailer: bytes
    number: int


def verify(document: bytes, keys: Mapping[str, Key]) -> tuple[bytes, str]:
    """Give the text of ``document`` and the id of the shipped key that signed it.

    One good signature by one of ``keys`` is enough: the archive signs with several generations of keys.
    Raises SignatureWrong when the form is broken, no signature is by a known key, or none of those is good.
    """
    text, armored = split(document)
    found = list(signatures(dearmor(armored)))
    known = [item for item in found if item.issuer in keys]
    if not known:
        names = ", ".join(item.issuer for item in found) or "nobody"
        raise SignatureWrong(f"it is signed by {names}, none of which is a Debian archive key shipped here")
    canonical = canonical_text(text)
    for item in known:
        if good(item, keys[item.issuer], canonical):
            return text, item.issuer
    raise SignatureWrong("its signature does not match its text: it was changed on the way or is damaged")


def read_keys(rings: Iterable[bytes]) -> dict[str, Key]:
    """Read every RSA key and subkey of binary key rings; keys of other kinds are passed over."""
    keys: dict[str, Key] = {}
    for ring in rings:
        for tag, body in packets(ring):
            if tag in (PUBLIC_KEY, PUBLIC_SUBKEY) and body[0] == 4 and body[5] in RSA:
                modulus, rest = mpi(body[6:])
                exponent, _ = mpi(rest)
                fingerprint = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest()
                keys[fingerprint[-16:]] = Key(id=fingerprint[-16:], modulus=modulus, exponent=exponent)
    return keys


def split(document: bytes) -> tuple[bytes, bytes]:
    """Take a cleartext-signed document apart: (text with dash escapes undone, armored signature).

    Text before the first marker and after the last is refused, so that nothing unsigned can be read.
    """
    lines = document.replace(b"\r\n", b"\n").split(b"\n")
    try:
        blank, middle, end = lines.index(b""), lines.index(SIGNED), lines.index(END)
    except ValueError:
        raise SignatureWrong("it is not a signed document") from None
    headers = lines[1:blank]
    if lines[0] != BEGIN or not blank < middle < end or any(lines[end + 1 :]):
        raise SignatureWrong("it is not a signed document")
    if not all(header.startswith(b"Hash: ") for header in headers):
        raise SignatureWrong("it has a header that is not 'Hash'")
    text = [line[2:] if line.startswith(b"- ") else line for line in lines[blank + 1 : middle]]
    return b"\n".join(text) + b"\n", b"\n".join(lines[middle + 1 : end])


def canonical_text(text: bytes) -> bytes:
    """The form that is signed: no blanks at the ends of lines, CRLF between them, none after the last."""
    return b"\r\n".join(line.rstrip(b" \t\r") for line in text[:-1].split(b"\n"))


def dearmor(armored: bytes) -> bytes:
    """Undo radix-64: headers end at the first empty line; the CRC-24 line says nothing we rely on."""
    head, _, body = armored.partition(b"\n\n")
    lines = body.split(b"\n") if body else head.split(b"\n")
    try:
        return base64.b64decode(b"".join(line for line in lines if not line.startswith(b"=")), validate=True)
    except binascii.Error:
        raise SignatureWrong("its signature is not base64") from None


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk OpenPGP packets: (tag, body). Partial and indeterminate lengths are refused."""
    at = 0
    while at < len(data):
        head = data[at]
        if not head & 0x80:
            raise SignatureWrong("its signature is damaged")
        if head & 0x40:
            tag, (length, size) = head & 0x3F, _new_length(data, at + 1)
        else:
            tag, size = (head >> 2) & 0x0F, 1 << (head & 3)
            length = int.from_bytes(data[at + 1 : at + 1 + size], "big")
        start = at + 1 + size
        if size == 8 or start + length > len(data):
            raise SignatureWrong("its signature is damaged")
        yield tag, data[start : start + length]
        at = start + length


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    """New-format length at ``at``: (length, octets it took). RFC 4880, 4.2.2."""
    first = data[at] if at < len(data) else 255
    if first < 192:
        return first, 1
    if first < 224:
        return ((first - 192) << 8) + data[at + 1] + 192, 2
    if first == 255:
        return int.from_bytes(data[at + 1 : at + 5], "big"), 5
    raise SignatureWrong("its signature uses partial lengths")


def mpi(data: bytes) -> tuple[int, bytes]:
    """Read a multiprecision integer: (number, what follows it). RFC 4880, 3.2."""
    size = (int.from_bytes(data[:2], "big") + 7) // 8
    return int.from_bytes(data[2 : 2 + size], "big"), data[2 + size :]


def signatures(data: bytes) -> Iterator[Signature]:
    """Read the v4 RSA signatures over text among the packets of ``data``; others are passed over."""
    for tag, body in packets(data):
        if tag != SIGNATURE or len(body) < 10 or body[0] != 4 or body[2] not in RSA or body[3] not in HASHES:
            continue
        if body[1] not in (TEXT_SIGNATURE, BINARY_SIGNATURE):
            continue
        hashed = 6 + int.from_bytes(body[4:6], "big")
        loose = hashed + 2 + int.from_bytes(body[hashed : hashed + 2], "big")
        issuer = _issuer(body[6:hashed]) or _issuer(body[hashed + 2 : loose])
        trailer = body[:hashed] + b"\x04\xff" + hashed.to_bytes(4, "big")
        number, _ = mpi(body[loose + 2 :])
        yield Signature(issuer=issuer, kind=body[1], digest=HASHES[body[3]], trailer=trailer, number=number)


def _issuer(area: bytes) -> str:
    """Find the issuer's key id in a subpacket area: type 33 (fingerprint) or 16 (key id)."""
    at = 0
    while at < len(area):
        length, size = _new_length(area, at)
        kind, body = area[at + size] & 0x7F, area[at + size + 1 : at + size + length]
        if kind in (16, 33):
            return body[-8:].hex()
        at += size + max(length, 1)
    return ""


def good(signature: Signature, key: Key, canonical: bytes) -> bool:
    """Check one RSASSA-PKCS1-v1_5 signature over ``canonical`` (RFC 8017, 8.2.2: encode, then compare)."""
    size = (key.modulus.bit_length() + 7) // 8
    if signature.number >= key.modulus:
        return False
    digest = hashlib.new(signature.digest, canonical + signature.trailer).digest()
    tail = DIGEST_INFO[signature.digest] + digest
    expected = b"\x00\x01" + b"\xff" * (size - len(tail) - 3) + b"\x00" + tail
    seen = pow(signature.number, key.exponent, key.modulus).to_bytes(size, "big")
    return hmac.compare_digest(seen, expected)
