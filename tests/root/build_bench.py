"""What tests of builds stand on: a store with a busybox image, a context to fill, what was said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.build import BuildSpec, build
from runtime.image import layer
from runtime.image.manifest import Image, ImageConfig
from runtime.image.progress import Progress
from runtime.image.store import Store
from runtime.image.view import View

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Bench:
    """A store with a busybox image, a context to fill, and what was said."""

    def __init__(self, root: Path, busybox: Path) -> None:
        self.context = root / "context"
        self.context.mkdir()
        self.store = Store(root / "images")
        self.heard: list[Progress] = []
        with self.store.ingest() as work:
            made = layer.unpack(layer.pack(busybox), work / "diff")
            self.store.commit_layer(work / "diff", made.diff_id, size=made.size)
        self.store.put_image(ImageConfig(env=(PATH,), cmd=("sh",)), [made.diff_id], ["busybox"])

    def files(self, **files: str) -> None:
        for name, text in files.items():
            path = self.context / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def build(self, text: str, environment: Mapping[str, str] = {}, **options: object) -> Image:
        self.heard.clear()
        spec = BuildSpec(
            context=str(self.context),
            dockerfile_text=text,
            environment=environment,
            network="none",
            **options,
        )  # type: ignore[arg-type]
        return build(self.store, spec, events=self.heard.append)

    def steps(self) -> list[str]:
        return [e.text for e in self.heard if e.kind == "step" and e.text != "Running"]

    def said(self) -> list[str]:
        return [event.text for event in self.heard if event.kind == "output"]

    def clean(self) -> bool:
        left = [path for path in (self.store.root / "ingest").iterdir() if path.is_dir()]
        mounts = [
            line
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if str(self.store.root) in line
        ]
        return not left and not mounts


def bench(scratch: Path, busybox_root: Path) -> Bench:
    return Bench(scratch, busybox_root)


def text(image: Image, path: str) -> str:
    found = View(image.layers).find(path)
    assert found is not None, path
    return found.host.read_text()


def tree(image: Image, n: int = -1) -> list[str]:
    """What layer ``n`` holds."""
    root = image.layers[n]
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))
