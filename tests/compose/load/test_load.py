"""The front door: discovery, warnings, profiles, errors together, the cache, hostile files."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from compose.errors import ComposeError, Several, UsageError
from compose.load.canonical import printed
from compose.load.project import Loaded, LoadRequest, load

REPOSITORY = Path(__file__).parents[3]


class Place:
    """A directory with Compose files and a cache of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root / "shop"
        self.store = root / "store"
        self.root.mkdir()

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def load(self, *, cwd: str = ".", stdin: bytes | None = None, **fields: object) -> Loaded:
        given = {"environment": {"HOME": "/home/user"}, "cwd": str((self.root / cwd).resolve()), **fields}
        return load(LoadRequest(**given), stdin=stdin, store=self.store)  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


WEB = "services: {web: {image: x}}\n"


def test_a_file_is_found_in_a_parent_directory(place: Place) -> None:
    place.write("compose.yaml", WEB)
    (place.root / "a/b").mkdir(parents=True)
    loaded = place.load(cwd="a/b")
    assert loaded.project.working_dir == str(place.root)
    assert loaded.project.name == "shop"


def test_standard_input_is_a_file(place: Place) -> None:
    loaded = place.load(files=("-",), stdin=WEB.encode())
    assert (loaded.project.files, loaded.project.working_dir) == (("-",), str(place.root))


def test_two_families_of_files_are_a_warning(place: Place) -> None:
    place.write("compose.yaml", WEB)
    place.write("docker-compose.yml", "services: {no: {image: x}}\n")
    loaded = place.load()
    assert list(loaded.project.services) == ["web"]
    assert loaded.warnings[0].startswith("found several Compose files, compose.yaml, docker-compose.yml")


def test_an_unset_variable_is_one_warning(place: Place) -> None:
    place.write("compose.yaml", "services:\n  web: {image: 'y$A$A', command: $A}\n  db: {image: 'x$B'}\n")
    assert place.load().warnings == (
        "compose.yaml:2:9: variable 'A' is not set, an empty text is used",
        "compose.yaml:3:8: variable 'B' is not set, an empty text is used",
    )


def test_naming_a_service_activates_it_but_not_its_profile_mates(place: Place) -> None:
    place.write("compose.yaml", WEB + "  \n" + "x-a: 1\n")
    place.write("c.yaml", "services: {a: {image: x, profiles: [p]}, b: {image: x, profiles: [p]}}\n")
    loaded = place.load(files=("compose.yaml", "c.yaml"), services=("a",))
    assert list(loaded.project.services) == ["web", "a"]
    assert loaded.project.disabled == ("b",)


def test_an_unknown_service_is_a_usage_error(place: Place) -> None:
    place.write("compose.yaml", WEB)
    with pytest.raises(UsageError, match="no such service: wbe"):
        place.load(services=("wbe",))


def test_required_variables_are_reported_together_with_the_way_out(place: Place) -> None:
    place.write("app/compose.yaml", "services:\n  web:\n    image: ${A:?}\n    user: ${B:?}\n")
    place.write("app/.env.example", "A=1\n")
    with pytest.raises(Several) as caught:
        place.load(files=("app/compose.yaml",))
    assert [str(e.where) for e in caught.value.errors] == ["app/compose.yaml:3:5", "app/compose.yaml:4:5"]
    assert [e.hint for e in caught.value.errors] == ["", "cp app/.env.example app/.env"]


def test_a_secret_is_never_printed(place: Place) -> None:
    place.write(
        "compose.yaml",
        "services: {web: {image: x, secrets: [s]}}\nsecrets: {s: {environment: TOKEN}}\n",
    )
    loaded = place.load(environment={"TOKEN": "hunter2"})
    assert loaded.project.secrets["s"].content == "hunter2"
    assert "hunter2" not in json.dumps(printed(loaded.canonical)) + repr(loaded)


def test_a_hit_needs_every_file_and_variable_as_it_was(place: Place) -> None:
    place.write(
        "compose.yaml",
        "services: {web: {image: 'x$TAG', env_file: [{path: e, required: false}]}}\n",
    )
    one, two = {"TAG": "1", "OTHER": "a"}, {"TAG": "2"}
    assert not place.load(environment=one).cached
    assert place.load(environment={**one, "OTHER": "b"}).cached
    assert not place.load(environment=two).cached
    assert place.load(environment=two).cached
    place.write("e", "A=1\n")
    loaded = place.load(environment=two)
    assert (loaded.cached, dict(loaded.project.services["web"].environment)) == (False, {"A": "1"})
    place.write("compose.override.yaml", "services: {web: {tty: true}}\n")
    assert not place.load(environment=two).cached
    place.write(".env", "X=1\n")
    assert not place.load(environment=two).cached
    assert place.load(environment=two).cached


def test_the_cache_is_readable_by_its_owner_only(place: Place) -> None:
    place.write("compose.yaml", WEB)
    place.load()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (place.store, *place.store.iterdir())]
    assert modes == [0o700, 0o600]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "entry": {}}', "\x00\xff"])
def test_a_broken_cache_is_a_miss(place: Place, text: str) -> None:
    place.write("compose.yaml", WEB)
    place.load()
    next(place.store.iterdir()).write_text(text)
    assert not place.load().cached
    assert place.load().cached


def test_a_hit_imports_no_heavy_library(place: Place) -> None:
    place.write("compose.yaml", WEB)
    code = (
        "import sys; from pathlib import Path; from compose.load.project import load, LoadRequest;"
        f"l = load(LoadRequest(cwd={str(place.root)!r}), store=Path({str(place.store)!r}));"
        "print(l.cached, sorted({'yaml', 'jsonschema_rs', 'networkx'} & set(sys.modules)))"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    assert runs[1].stdout.strip() == "True []"


def test_a_fifo_is_refused_and_not_waited_for(place: Place) -> None:
    os.mkfifo(place.root / "compose.yaml")
    with pytest.raises(ComposeError, match="not a regular file"):
        place.load()


def test_an_empty_project_name_is_an_error(place: Place) -> None:
    place.write("compose.yaml", "name: '***'\n" + WEB)
    with pytest.raises(UsageError, match="the project has no name"):
        place.load()


def test_errors_of_one_file_come_in_one_run_in_its_order(place: Place) -> None:
    place.write("compose.yaml", "services:\n  a:\n    imge: x\n  b:\n    image: [1]\n  c:\n    tty: maybe\n")
    with pytest.raises(Several) as caught:
        place.load()
    assert [str(error.where) for error in caught.value.errors] == [
        "compose.yaml:3:5",
        "compose.yaml:5:5",
        "compose.yaml:6:3",
        "compose.yaml:7:5",
    ]
    assert "neither an image nor a build" in caught.value.errors[2].message


def test_errors_of_all_stages_come_in_one_run(place: Place) -> None:
    place.write(
        "compose.yaml",
        "services:\n  web:\n    imag: nginx\n    ports: ['80:80:80:80']\n    networks: [fronted]\n"
        "    depends_on: [bd]\n    restart: sometimes\n    command: $NOPE\n"
        "  db: {image: x, user: '${WHO:?}', links: [db2]}\n  db2: {image: x, depends_on: [db]}\n"
        "networks: {frontend: {}}\n",
    )
    place.write("broken.yaml", "a: [\n")
    with pytest.raises(Several) as caught:
        place.load(files=("compose.yaml", "broken.yaml", "missing.yaml"))
    assert [error.path for error in caught.value.errors if error.path] == [
        "services.web.imag",
        "services.web.ports[0]",
        "services.web.restart",
        "services.db",
        "services.db.user",
    ]
    assert {error.where.file for error in caught.value.errors if error.where} == {
        "compose.yaml",
        "broken.yaml",
        "missing.yaml",
    }
    with pytest.raises(Several) as caught:
        place.load(files=("compose.yaml",))
    found = {error.path: error.hint for error in caught.value.errors}
    assert found["services.web.networks.fronted"] == "did you mean 'frontend'?"
    assert found["services.web.depends_on.bd"] == "did you mean 'db'?"
    assert caught.value.warnings == ("compose.yaml:8:5: variable 'NOPE' is not set, an empty text is used",)


def test_what_follows_from_an_error_is_not_told(place: Place) -> None:
    place.write(
        "compose.yaml",
        "services:\n  a: {image: x, depends_on: [b], networks: [n], volumes: ['v:/v']}\n  b: text\n"
        "networks: {n: text}\nvolumes: [v]\n",
    )
    with pytest.raises(Several) as caught:
        place.load()
    assert [error.path for error in caught.value.errors] == ["services.b", "networks.n", "volumes"]


def test_a_variable_that_only_an_env_file_uses_counts_for_the_cache(place: Place) -> None:
    place.write("compose.yaml", "services: {web: {image: 'x:$TAG'}}\n")
    place.write(".env", "TAG=${BASE:-1}-slim\n")
    assert place.load().project.services["web"].image == "x:1-slim"
    changed = place.load(environment={"BASE": "2"})
    assert (changed.cached, changed.project.services["web"].image) == (False, "x:2-slim")


def test_an_env_file_may_refer_to_the_services_own_environment(place: Place) -> None:
    place.write("e", 'A=file\nB="<$A>"\n')
    place.write("compose.yaml", "services: {web: {image: x, env_file: e, environment: {A: own}}}\n")
    assert dict(place.load().project.services["web"].environment) == {"A": "own", "B": "<own>"}


def test_a_bind_source_is_made_unless_options_do_not_say_so(place: Place) -> None:
    mounts = (
        "./a:/a",
        "{type: bind, source: ./b, target: /b}",
        "{type: bind, source: ./c, target: /c, bind: {}}",
        "{type: bind, source: ./d, target: /d, bind: {propagation: rprivate}}",
        "{type: bind, source: ./e, target: /e, bind: {create_host_path: true}}",
    )
    place.write("compose.yaml", f"services: {{web: {{image: x, volumes: [{', '.join(mounts)}]}}}}\n")
    found = place.load().project.services["web"].volumes
    assert [mount.create_host_path for mount in found] == [True, True, False, False, True]


def test_a_start_order_is_made_when_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: x, depends_on: [b]}, b: {image: x}}\n")
    request, store = LoadRequest(cwd=str(tmp_path)), tmp_path / "store"
    assert load(request, store=store, order=False).order.nodes == ()
    found = load(request, store=store)
    assert (found.order.nodes, found.cached) == (("b", "a"), True)
    assert load(request, store=store).order == found.order


def test_a_circle_is_an_error_without_an_order(tmp_path: Path) -> None:
    text = "services: {a: {image: x, depends_on: [b]}, b: {image: x, pid: 'service:a'}}\n"
    (tmp_path / "compose.yaml").write_text(text)
    with pytest.raises(ComposeError, match="in a circle: a -> b -> a"):
        load(LoadRequest(cwd=str(tmp_path)), store=tmp_path / "store", order=False)


def test_an_empty_service_or_file_overrides_nothing(place: Place) -> None:
    place.write("compose.yaml", "services: {web: {image: x}}\n")
    place.write("compose.override.yaml", "services: {web: }\n")
    assert place.load().project.services["web"].image == "x"
    place.write("compose.override.yaml", "# nothing yet\n")
    assert place.load().project.services["web"].image == "x"


def test_the_project_name_can_be_used_in_itself_and_elsewhere(place: Place) -> None:
    text = "name: '${COMPOSE_PROJECT_NAME:-shop}-x'\nservices: {web: {image: $COMPOSE_PROJECT_NAME}}\n"
    place.write("compose.yaml", text)
    loaded = place.load()
    assert (loaded.project.name, loaded.project.services["web"].image) == ("shop-x", "shop-x")
