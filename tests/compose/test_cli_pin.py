"""Images by digest."""

from __future__ import annotations

from compose.cli.pin import lock, pinned

DIGEST = "sha256:" + "1" * 64
MODEL = {
    "name": "shop",
    "services": {
        "a": {"image": "nginx:1", "tty": True},
        "b": {"image": f"nginx:1@{DIGEST}"},
        "c": {"build": {}},
        "d": {"image": "nginx:1"},
    },
}


def test_a_tag_is_asked_for_once_and_a_digest_never() -> None:
    asked: list[str] = []

    def find(image: str) -> str:
        asked.append(image)
        return DIGEST

    services = pinned(MODEL, find)["services"]
    assert services["a"] == {"image": f"docker.io/library/nginx:1@{DIGEST}", "tty": True}
    assert services["b"]["image"] == f"docker.io/library/nginx@{DIGEST}"
    assert services["c"] == {"build": {}}
    assert asked == ["nginx:1"]


def test_a_lock_holds_images_only() -> None:
    nothing = {"command": None, "entrypoint": None}
    locked = lock(pinned(MODEL, lambda _image: DIGEST))
    assert locked["services"]["c"] == nothing
    assert set(locked["services"]["a"]) == {"command", "entrypoint", "image"}
