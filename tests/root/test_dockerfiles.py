"""The corpus of Dockerfiles: every case gives its files and its configuration, or its error."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dockerfile_cases as corpus
import pytest

from runtime.build import BuildSpec, Secret, build
from runtime.errors import BuildFailed
from runtime.image import layer
from runtime.image.manifest import ImageConfig
from runtime.image.store import Store
from tests.support.programs import program, reference

DOCKER = reference("docker")


@pytest.fixture(scope="session")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One store with the image busybox for the whole corpus, and what that image holds."""
    home = tmp_path_factory.mktemp("corpus", numbered=True)
    (root := home / "busybox").mkdir()
    corpus.make_base(root, program("busybox"))
    store = Store(home / "images")
    with store.ingest() as work:
        made = layer.unpack(layer.pack(root), work / "diff")
        store.commit_layer(work / "diff", made.diff_id, size=made.size)
    config = ImageConfig(env=(corpus.PATH,), cmd=("sh",))
    image = store.put_image(config, [made.diff_id], ["busybox"])
    return SimpleNamespace(store=store, base=corpus.tree(image.layers), program=program("busybox"))


def outcome(store: Store, base: corpus.Tree, case: dict[str, str], context: Path) -> dict[str, Any]:
    """What we make of a case, as an expectation has it."""
    corpus.lay_out(case, context)
    given = corpus.options(case)
    spec = BuildSpec(
        context=str(context),
        dockerfile=given.get("dockerfile", "Dockerfile"),
        args=given.get("args", {}),
        target=given.get("target", ""),
        labels=given.get("labels", {}),
        secrets={name: Secret(file=str(context / file)) for name, file in given.get("secrets", {}).items()},
        additional_contexts={name: str(context / path) for name, path in given.get("contexts", {}).items()},
        network="none",
        environment={},
    )
    try:
        image = build(store, spec)
    except BuildFailed as error:
        return {"error": error.message, "hint": error.hint}
    return {
        "files": corpus.changes(base, corpus.tree(image.layers)),
        "config": corpus.settings(image.config),
    }


@pytest.mark.root
@pytest.mark.parametrize("name", corpus.cases())
def test_a_dockerfile_gives_its_image_or_its_error(
    name: str, kitchen: SimpleNamespace, scratch: Path
) -> None:
    case = corpus.read(name)
    wanted = corpus.expected(case)
    made = outcome(kitchen.store, kitchen.base, case, scratch)
    if "error" in wanted:
        assert wanted["error"] in made.get("error", "no error")
        assert wanted.get("hint", "") in made["hint"]
    else:
        assert made == wanted


@pytest.mark.skipif(not DOCKER, reason="PYCOMPOSE_BUILDKIT names no docker")
@pytest.mark.parametrize("name", corpus.cases())
def test_a_real_buildkit_gives_the_same(name: str, kitchen: SimpleNamespace, docker: Any) -> None:
    case = corpus.read(name)
    wanted, made = corpus.expected(case), docker.outcome(name)
    if why := corpus.options(case).get("differs"):
        pytest.skip(why)
    assert made == wanted or ("error" in made and "error" in wanted)


@pytest.fixture(scope="session")
def docker(kitchen: SimpleNamespace) -> Any:
    """The reference, which must see PYCOMPOSE_BUILDKIT_WORK (default: the directory of temporary files)."""
    from dockerfile_reference import Docker

    work = Path(os.environ.get("PYCOMPOSE_BUILDKIT_WORK", "/tmp"))
    return Docker(DOCKER, work, kitchen.program)
