"""The keys that leave a terminal."""

from __future__ import annotations

import pytest

from runtime.process.detach import DEFAULT, Detach, keys


def test_keys_are_written_as_docker_writes_them() -> None:
    assert keys(DEFAULT) == b"\x10\x11"
    assert keys("ctrl-@,a,ctrl-_,~") == b"\x00a\x1f~"
    for wrong in ("", "ctrl-", "ctrl-1", "shift-a", "ab", "ctrl-p,"):
        with pytest.raises(ValueError):
            keys(wrong)


def test_everything_else_passes_in_order_however_it_comes() -> None:
    found = Detach(b"\x10\x11")
    passed = [found.feed(data) for data in (b"a\x10", b"b", b"\x10", b"\x10", b"c", b"x\x10\x11y")]
    assert passed == [
        (b"a", False),
        (b"\x10b", False),
        (b"", False),
        (b"\x10", False),
        (b"\x10c", False),
        (b"x", True),
    ]


def test_no_keys_never_leave() -> None:
    assert Detach(b"").feed(b"\x10\x11") == (b"\x10\x11", False)
