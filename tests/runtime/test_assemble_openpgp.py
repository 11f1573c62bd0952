"""Signatures: Debian's own, and every way in which one can be wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtime.image.assemble.archive import check, shipped_keys
from runtime.image.assemble.errors import ArchiveStale, SignatureWrong
from runtime.image.assemble.openpgp import read_keys, verify
from tests.runtime.assemble_archive import signer

DOCUMENT = (Path(__file__).parent / "data" / "bookworm-security.InRelease").read_bytes()
TEXT = "Codename: bookworm\n- a line with a dash\ntrailing blanks  \nlast\n"


def test_the_keys_that_we_ship_are_those_of_debian_12_and_13() -> None:
    assert {"b7c5d7d6350947f8", "6ed0e7b82643e131", "225629df75b188bd", "254cf3b5aec0a8f0"} <= set(
        shipped_keys()
    )


def test_an_index_that_debian_signed_is_accepted() -> None:
    text, _ = verify(DOCUMENT, shipped_keys())
    assert b"Codename: bookworm-security\n" in text


@pytest.mark.parametrize("place", [r"Codename: (b)ookworm", r"SHA256:\n (\w)"])
def test_one_changed_letter_is_noticed(place: str) -> None:
    found = re.search(place.encode(), DOCUMENT)
    assert found is not None
    at = found.start(1)
    changed = DOCUMENT[:at] + bytes([DOCUMENT[at] ^ 1]) + DOCUMENT[at + 1 :]
    with pytest.raises(SignatureWrong):
        verify(changed, shipped_keys())


def test_a_dash_at_the_beginning_of_a_line_is_escaped_and_blanks_at_its_end_are_not_signed() -> None:
    key = signer()
    document = key.sign(TEXT)
    assert b"\n- - a line with a dash\n" in document
    text, who = verify(document.replace(b"blanks  \n", b"blanks\n"), read_keys([key.ring]))
    assert (b"\n- a line with a dash\n" in text, who) == (True, key.id)


def test_carriage_returns_do_not_matter() -> None:
    key = signer()
    verify(key.sign(TEXT).replace(b"\n", b"\r\n"), read_keys([key.ring]))


def test_a_key_that_we_do_not_know_is_named() -> None:
    with pytest.raises(SignatureWrong, match=signer(2).id):
        verify(signer(2).sign(TEXT), read_keys([signer().ring]))


def test_the_signature_of_another_text_is_refused() -> None:
    key = signer()
    with pytest.raises(SignatureWrong, match="does not match"):
        verify(key.sign(TEXT).replace(b"last", b"lost"), read_keys([key.ring]))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: b"Codename: evil\n" + document,
        lambda document: document + b"Codename: evil\n",
        lambda document: document.replace(b"Hash: SHA256", b"Comment: evil"),
        lambda document: document.replace(b"-----BEGIN PGP SIGNATURE-----", b""),
        lambda document: document[: len(document) // 2],
        lambda document: b"",
    ],
)
def test_nothing_unsigned_gets_in(spoil) -> None:  # type: ignore[no-untyped-def]
    key = signer()
    with pytest.raises(SignatureWrong):
        verify(spoil(key.sign(TEXT)), read_keys([key.ring]))


def test_an_index_of_another_suite_is_refused() -> None:
    with pytest.raises(SignatureWrong, match="bookworm-security, not of bookworm"):
        check(DOCUMENT, "bookworm", shipped_keys(), check_dates=False)


def test_an_expired_index_is_refused_unless_dates_do_not_count() -> None:
    key = signer()
    document = key.sign("Codename: x\nValid-Until: Sat, 01 Jan 2000 00:00:00 UTC\n")
    with pytest.raises(ArchiveStale, match="2000"):
        check(document, "x", read_keys([key.ring]), check_dates=True)
    assert check(document, "x", read_keys([key.ring]), check_dates=False).files == {}
