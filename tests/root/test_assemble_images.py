"""Assembled images run: apt works in the base, postgres serves, pip installs, redis and nginx answer.

Needs the Debian archive. The images are made once for all tests of this file.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import pytest

from runtime.build.run import Runner
from runtime.image.assemble import assemble
from runtime.image.manifest import Image
from runtime.image.store import Store
from runtime.policy import capabilities, paths
from runtime.process import oneshot
from runtime.spec import ContainerSpec, Mount, Namespaces

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.slow]

SERVE = """
docker-entrypoint.sh postgres -c max_connections=33 > /tmp/log 2>&1 & server=$!
for try in $(seq 500); do
    pg_isready -q -h 127.0.0.1 && break
    kill -0 $server || { cat /tmp/log; exit 1; }
    sleep 0.02
done
PGPASSWORD=secret psql -h 127.0.0.1 -U app -d shop -tA -c "$QUERY"; code=$?
kill -INT $server; wait $server
grep -c 'init process complete' /tmp/log
exit $code
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose store, and cache of packages, the tests of this file share."""
    return tmp_path_factory.mktemp("assemble")


def image(house: Path, name: str) -> Image:
    store = Store(house / "images")
    return store.find(name) or assemble(store, name, Runner())


def run(
    house: Path,
    name: str,
    script: str,
    *,
    env: Mapping[str, str] | None = None,
    network: str = "none",
    mounts: tuple[Mount, ...] = (),
    user: str = "",
    argv: tuple[str, ...] = (),
    upper: str = "",
) -> tuple[int | None, str]:
    """Run a shell script in a fresh container of the image; its code and what it said."""
    made = image(house, name)
    work = house / secrets.token_hex(4)
    for part in ("upper", "scratch", "etc"):
        (work / part).mkdir(parents=True)
    (work / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (work / "etc/hostname").write_text("box\n")
    (work / "etc/resolv.conf").write_text(Path("/etc/resolv.conf").read_text())
    spec = ContainerSpec(
        id=secrets.token_hex(32),
        name="box",
        argv=argv or ("sh", "-c", script),
        layers=tuple(str(layer) for layer in made.layers),
        upper=upper or str(work / "upper"),
        env=(*made.config.env, *(f"{key}={value}" for key, value in (env or {}).items())),
        working_dir=made.config.working_dir or "/",
        user=user,
        mounts=mounts,
        capabilities=capabilities.final(privileged=False),
        masked=paths.masked(1),
        readonly_paths=paths.READONLY,
        namespaces=Namespaces(network=network),
        etc=str(work / "etc"),
    )
    words: list[bytes] = []
    record = oneshot.run(spec, scratch=work / "scratch", output=words.append)
    return record.code, b"".join(words).decode()


def test_dpkg_and_apt_find_nothing_wrong_with_any_image(house: Path) -> None:
    for name in ("debian:bookworm-slim", "postgres:15", "python:3.11-slim", "redis:7", "nginx:1.22"):
        code, words = run(house, name, "dpkg --audit && apt-get -qq check && dpkg -l | grep -vc ^ii")
        assert (name, code, words) == (name, 0, "5\n")  # the five lines of dpkg's heading


def test_images_share_the_base_layer(house: Path) -> None:
    names = ("debian:bookworm-slim", "postgres:15", "python:3.11-slim")
    assert len({image(house, name).layer_ids[0] for name in names}) == 1


def test_the_base_has_the_modes_and_links_that_programs_rely_on(house: Path) -> None:
    code, words = run(
        house,
        "debian:bookworm-slim",
        "stat -c '%a %N' /tmp /var/tmp /bin /root /etc/shadow; awk 1 /etc/debian_version",
    )
    assert code == 0
    assert words.splitlines()[:4] == [
        "1777 '/tmp'",
        "1777 '/var/tmp'",
        "777 '/bin' -> 'usr/bin'",
        "700 '/root'",
    ]
    assert words.splitlines()[4] == "640 '/etc/shadow'"
    assert words.splitlines()[5].startswith("12.")


def test_apt_installs_into_the_base(house: Path) -> None:
    script = (
        "apt-get update -qq && apt-get install -qq --no-install-recommends less >/dev/null 2>&1;"
        "less --version"
    )
    code, words = run(house, "debian:bookworm-slim", script, network="host")
    assert code == 0, words
    assert "less 590" in words


def test_postgres_refuses_to_start_without_a_password(house: Path) -> None:
    code, words = run(house, "postgres:15", "exec docker-entrypoint.sh postgres")
    assert code == 1
    assert "superuser password is not specified" in words
    assert "POSTGRES_HOST_AUTH_METHOD=trust" in words


def test_postgres_makes_its_cluster_runs_the_scripts_and_keeps_the_data(house: Path, tmp_path: Path) -> None:
    scripts, data = tmp_path / "init", tmp_path / "data"
    scripts.mkdir()
    data.mkdir()
    (scripts / "1.sql").write_text("create table t (a int); insert into t values (1);")
    (scripts / "2.sh").write_text('docker_process_sql -c "insert into t values (2)"')
    (tmp_path / "password").write_text("secret\n")
    mounts = (
        Mount(type="bind", source=str(scripts), target="/docker-entrypoint-initdb.d"),
        Mount(type="bind", source=str(data), target="/var/lib/postgresql/data"),
        Mount(type="bind", source=str(tmp_path / "password"), target="/password"),
    )
    env = {"POSTGRES_USER": "app", "POSTGRES_DB": "shop", "POSTGRES_PASSWORD_FILE": "/password"}
    query = "select sum(a), current_setting('max_connections'), current_setting('lc_collate') from t"
    first = run(house, "postgres:15", SERVE, env={**env, "QUERY": query}, mounts=mounts)
    assert first == (0, "3|33|en_US.utf8\n1\n")
    assert data.stat().st_uid == 999
    assert (data / "pg_hba.conf").read_text().splitlines()[-1] == "host all all all scram-sha-256"
    again = run(house, "postgres:15", f"{SERVE} || true", env={**env, "QUERY": query}, mounts=mounts)
    assert again == (0, "3|33|en_US.utf8\n0\n")


def test_postgres_runs_under_a_number_that_passwd_does_not_know(house: Path) -> None:
    env = {"POSTGRES_PASSWORD": "x", "PGDATA": "/tmp/data"}
    script = (
        "docker-entrypoint.sh postgres > /tmp/log 2>&1 & "
        "for try in $(seq 400); do grep -q 'address .0.0.0.0' /tmp/log && break; sleep 0.05; done; sleep 0.2;"
        "kill -INT $!; wait $!; tail -n 1 /tmp/log"
    )
    code, words = run(house, "postgres:15", script, env=env, user="4321:4321")
    assert (code, "database system is shut down" in words) == (0, True), words


def test_python_has_pip_and_venv_in_the_usual_places(house: Path) -> None:
    script = (
        "for name in python python3 pip; do command -v $name; done "
        "&& python -c 'import ssl, sqlite3, ctypes, lzma' && pip --version "
        "&& pip list 2>/dev/null | cut -d' ' -f1 | tail -n 3 | xargs "
        "&& python -m venv /tmp/v && /tmp/v/bin/python -c 'print(1)'"
    )
    code, words = run(house, "python:3.11-slim", script)
    assert code == 0, words
    assert words.splitlines()[:3] == ["/usr/local/bin/python", "/usr/local/bin/python3", "/usr/local/bin/pip"]
    assert words.splitlines()[-2:] == ["pip setuptools wheel", "1"]


def test_pip_installs_for_every_user_without_a_word_about_externally_managed(
    house: Path, tmp_path: Path
) -> None:
    (tmp_path / "greet").mkdir()
    (tmp_path / "greet/setup.py").write_text(
        "import setuptools; setuptools.setup(name='greet', version='1', py_modules=['greet'])"
    )
    (tmp_path / "greet/greet.py").write_text("print('hello')")
    script = (
        "pip install -q --no-index --no-build-isolation /src "
        "&& exec setpriv --reuid 1000 --clear-groups python -m greet"
    )
    mounts = (Mount(type="bind", source=str(tmp_path / "greet"), target="/src"),)
    code, words = run(house, "python:3.11-slim", script, mounts=mounts)
    assert code == 0, words
    assert words.splitlines()[-1] == "hello"


def test_redis_gives_up_root_and_listens_to_other_hosts(house: Path) -> None:
    script = (
        "docker-entrypoint.sh --save '' > /tmp/log 2>&1 & "
        "for try in $(seq 200); do redis-cli ping 2>/dev/null && break; sleep 0.05; done;"
        "redis-cli config get protected-mode; stat -c %U /proc/$!; redis-cli shutdown nosave"
    )
    code, words = run(house, "redis:7", script)
    assert (code, words.split()) == (0, ["PONG", "protected-mode", "no", "redis"])


def test_nginx_serves_its_page_and_fills_in_templates(house: Path) -> None:
    script = (
        "mkdir -p /etc/nginx/templates; echo 'server { listen 81; return 200 \"hi $NAME $host\"; }'"
        " | sed 's/$NAME/${NAME}/' > /etc/nginx/templates/a.conf.template;"
        "/docker-entrypoint.sh nginx -g 'daemon off;' > /tmp/log 2>&1 & "
        "for try in $(seq 200); do curl -fs localhost > /tmp/page && break; sleep 0.05; done;"
        "grep -o '<h1>.*</h1>' /tmp/page;"
        "curl -s localhost:81; kill -QUIT $!; wait $!"
    )
    code, words = run(house, "nginx:1.22", script, env={"NAME": "bob"})
    assert (code, words) == (0, "<h1>Welcome to nginx!</h1>\nhi bob localhost")


def test_busybox_has_all_its_names(house: Path) -> None:
    code, words = run(
        house,
        "busybox",
        "for name in $(busybox --list); do command -v $name >/dev/null || echo $name; done; id -un",
    )
    assert (code, words) == (0, "root\n")


def test_node_takes_scripts_and_options_and_leaves_commands_alone(house: Path, tmp_path: Path) -> None:
    (tmp_path / "greet.js").write_text("console.log('hello from', process.argv.length)")
    mounts = (Mount(type="bind", source=str(tmp_path), target="/src"),)
    entry = "docker-entrypoint.sh"
    script = (
        f"{entry} -p 1+1; {entry} /src/greet.js x; {entry} echo plain; {entry} npm --version;"
        "stat -c '%u %n' /home/node; id -un 1000; which node npm npx | xargs; echo $NODE_VERSION"
    )
    code, words = run(house, "node:18-slim", script, mounts=mounts)
    assert code == 0, words
    lines = words.splitlines()
    assert lines[:3] == ["2", "hello from 3", "plain"]
    assert lines[3].count(".") == 2
    assert lines[4:7] == [
        "1000 /home/node",
        "node",
        "/usr/local/bin/node /usr/local/bin/npm /usr/local/bin/npx",
    ]
    assert lines[7].startswith("18.")


def test_npm_installs_a_package_and_its_command(house: Path, tmp_path: Path) -> None:
    (tmp_path / "greet").mkdir()
    (tmp_path / "greet/package.json").write_text(
        '{"name": "greet", "version": "1.0.0", "bin": {"greet": "greet.js"}}'
    )
    (tmp_path / "greet/greet.js").write_text("#!/usr/bin/env node\nconsole.log('hello')\n")
    mounts = (Mount(type="bind", source=str(tmp_path / "greet"), target="/src/greet", read_only=True),)
    script = (
        "npm config set update-notifier false; cd /tmp && npm pack --silent /src/greet && "
        "npm install --silent --offline -g ./greet-1.0.0.tgz && greet && command -v greet && dpkg --audit"
    )
    code, words = run(house, "node:18-slim", script, mounts=mounts)
    assert (code, words) == (0, "greet-1.0.0.tgz\nhello\n/usr/local/bin/greet\n")
