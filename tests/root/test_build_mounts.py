"""RUN --mount and what a RUN may: secrets, agents, caches, contexts, rights."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from build_bench import bench, text, tree

from runtime.build import Secret
from runtime.errors import BuildFailed
from runtime.kernel.mounts import mount
from tests.support.programs import need, program

pytestmark = pytest.mark.root


def own_memory() -> None:
    """Directories in memory that no other build uses; gone with the namespace of the test."""
    for place in ("/run", "/dev/shm"):
        mount("tmpfs", Path(place), "tmpfs")


def volatile() -> list[str]:
    return [str(path) for place in ("/run", "/dev/shm") for path in Path(place).glob("pycompose-build-*")]


def test_secrets_are_in_memory_and_leave_nothing(scratch: Path, busybox_root: Path) -> None:
    own_memory()
    b = bench(scratch, busybox_root)
    (scratch / "file").write_text("from file")
    image = b.build(
        "FROM busybox\nRUN --mount=type=secret,id=f,required "
        "--mount=type=secret,id=v,target=/deep/v,uid=5,gid=6,mode=0440 "
        "cat /run/secrets/f /deep/v; stat -c ' %a %u %g' /run/secrets/f /deep/v; "
        "stat -f -c %T /deep/v; grep ' /deep/v ' /proc/self/mountinfo\n"
        "RUN --mount=type=secret,id=none true\n"
        "RUN --mount=type=secret,id=o stat -c '%a %u' /run/secrets/o\n",
        secrets={
            "f": Secret(file=str(scratch / "file")),
            "v": Secret(value=b"from value"),
            "o": Secret(value=b"owned", uid=7, mode=0o444),
        },
    )
    said = b.said()
    assert said[0] == "from filefrom value 400 0 0" and said[1] == " 440 5 6" and said[-1] == "444 7"
    assert said[2] == "tmpfs" and re.search(r"//deleted /deep/v ro", said[3]), "nobody else can read it"
    assert [tree(image, n) for n in range(1, len(image.layers))] == [[]]
    assert "from value" not in str(image.config) and volatile() == []
    b.build(
        "FROM busybox\nRUN --mount=type=secret,id=v cat /run/secrets/v\n", secrets={"v": Secret(value=b"1")}
    )
    b.build(
        "FROM busybox\nRUN --mount=type=secret,id=v cat /run/secrets/v\n", secrets={"v": Secret(value=b"2")}
    )
    assert b.steps() == ["CACHED"], "a secret is no part of the key"


@contextmanager
def agent(home: Path) -> Iterator[tuple[str, str]]:
    """A real ssh-agent with one key; its socket and the key's file."""
    need("ssh-keygen", "ssh-agent", "ssh-add")
    key, where = home / "key", tempfile.mktemp(prefix="agent-", dir="/tmp")
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test@key", "-f", str(key)], check=True
    )
    with subprocess.Popen(["ssh-agent", "-D", "-a", where], stdout=subprocess.DEVNULL) as child:
        try:
            while not Path(where).exists():
                assert child.poll() is None
            env = {**os.environ, "SSH_AUTH_SOCK": where}
            subprocess.run(["ssh-add", "-q", str(key)], env=env, check=True)
            yield where, str(key)
        finally:
            child.terminate()


def install(name: str, root: Path) -> None:
    """Put a program of the host with its libraries below ``root``."""
    found = os.path.realpath(program(name))
    told = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout
    for path in (found, *re.findall(r"(/\S+) \(0x", told)):
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


@pytest.mark.smoke("ssh-add", "ssh-agent", "ssh-keygen")
@pytest.mark.parametrize("kind", ["agent", "key"])
def test_a_run_reaches_the_ssh_agent(scratch: Path, busybox_root: Path, kind: str) -> None:
    own_memory()
    b = bench(scratch, busybox_root)
    install("ssh-add", b.context / "tools")
    with agent(scratch) as (where, key):
        b.build(
            "FROM busybox\nCOPY tools /\nRUN --mount=type=ssh,uid=1000,mode=0600 "
            "stat -c '%F %a %u' $SSH_AUTH_SOCK; echo $SSH_AUTH_SOCK; ssh-add -L; ssh-add -l | cut -d' ' -f1\n"
            "RUN --mount=type=ssh,id=other echo none: $SSH_AUTH_SOCK\n"
            "USER 1000\nRUN --mount=type=ssh,uid=1000 ssh-add -L | cut -d' ' -f3\n",
            ssh={"default": where if kind == "agent" else key},
        )
        said = b.said()
        assert said[0] == "socket 600 1000" and said[1] == "/run/buildkit/ssh_agent.0"
        assert said[2] == Path(f"{key}.pub").read_text().strip() and said[3] == "256"
        assert said[4:] == ["none:", "test@key"]
    with pytest.raises(BuildFailed, match="requires the ssh agent 'default'"):
        b.build("FROM busybox\nRUN --mount=type=ssh,required true\n")
    assert b.clean() and volatile() == []


KEYED = """
import sys
from pathlib import Path
from runtime.build import BuildSpec, build
from runtime.image.store import Store
text = "FROM busybox\\nRUN --mount=type=ssh echo begun; sleep 1000\\n"
ssh = {"default": sys.argv[3]}
spec = BuildSpec(context=sys.argv[2], dockerfile_text=text, network="none", ssh=ssh)
build(Store(Path(sys.argv[1])), spec, events=lambda e: print(e.text, flush=True))
"""


def agents() -> int:
    """How many ssh-agents run, those left out that nobody has waited for."""
    found = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat")]
    return sum("(ssh-agent)" in text and ") Z " not in text for text in found)


def test_an_agent_of_our_own_ends_with_a_killed_build(scratch: Path, busybox_root: Path) -> None:
    own_memory()
    b = bench(scratch, busybox_root)
    key = scratch / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    command = [sys.executable, "-c", KEYED, str(b.store.root), str(scratch), str(key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        while "begun" not in (line := child.stdout.readline()):
            assert line, "it ended too early"
        assert agents() == 1
        child.kill()
    end = time.monotonic() + 60
    while agents() and time.monotonic() < end:
        time.sleep(0.02)
    assert agents() == 0


def test_caches_are_shared_locked_or_private(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    mount = "--mount=type=cache,id=c,target=/c,sharing="

    def two(sharing: str, first: str, second: str) -> str:
        return (
            f"FROM busybox AS a\nRUN {mount}{sharing} {first}\n"
            f"FROM busybox AS b\nRUN {mount}{sharing} {second}\n"
            "FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n"
        )

    add = "n=$(cat /c/n 2>/dev/null || echo 0); echo $((n+1)) > /c/n"
    step = f"for i in 1 2 3 4 5 6 7 8 9; do {add}; done; echo {{0}} > /{{0}}"
    b.build(two("locked", step.format("a"), step.format("b")))
    b.build(f"FROM busybox\nRUN {mount}locked cat /c/n\n")
    assert b.said() == ["18"], "one at a time"
    shared = "--mount=type=cache,id=meet,target=/m"
    wait = "touch /m/{0}; until [ -e /m/{1} ]; do sleep 0.05; done; ls /c; echo {0} > /{0}"
    image = b.build(
        f"FROM busybox AS a\nRUN {shared} --mount=type=cache,id=p,target=/c,sharing=private "
        f"touch /c/a; {wait.format('a', 'b')}\n"
        f"FROM busybox AS b\nRUN {shared} --mount=type=cache,id=p,target=/c,sharing=private "
        f"touch /c/b; {wait.format('b', 'a')}\n"
        "FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n"
    )
    assert sorted(b.said()) == ["a", "b"], "each has a cache of its own"
    assert (text(image, "/a"), text(image, "/b")) == ("a\n", "b\n")
    b.build("FROM busybox\nRUN --mount=type=cache,id=p,target=/c,sharing=private ls /c\n")
    assert b.said() in (["a"], ["b"]), "and keeps it"


def test_a_cache_begins_with_an_owner_a_mode_or_files(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.build(
        "FROM busybox AS seed\nRUN mkdir /s && echo seeded > /s/f\nFROM busybox\n"
        "RUN --mount=type=cache,target=/c,uid=1000,gid=50,mode=0700 stat -c '%u %g %a' /c\n"
        "RUN --mount=type=cache,target=/d,from=seed,source=/s cat /d/f; echo more >> /d/f\n"
        "RUN --mount=type=cache,id=/d,target=/e cat /e/f\n"
        "RUN --mount=type=cache,target=/d,ro touch /d/x 2>/dev/null || echo read-only\n"
        "RUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2\n"
    )
    assert b.said() == ["1000 50 700", "seeded", "seeded", "more", "read-only", "1024"]


def test_a_bound_context_shows_no_ignored_files(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(a="A", secret="S", d__x="X")
    (b.context / ".dockerignore").write_text("secret\n")
    b.build("FROM busybox\nRUN --mount=target=/c ls -R /c; touch /c/new 2>/dev/null || echo read-only\n")
    assert b.said() == ["/c:", "a", "d", "", "/c/d:", "x", "read-only"]
    b.files(a="B")
    b.build("FROM busybox\nRUN --mount=target=/c ls -R /c; touch /c/new 2>/dev/null || echo read-only\n")
    assert [event.detail for event in b.heard if event.text == "Running"] == ["a changed"]
    b.build("FROM busybox\nRUN --mount=target=/c,rw touch /c/new && ls /c\n")
    assert b.said() == ["a", "d", "new"] and not (b.context / "new").exists()


def test_a_run_is_as_confined_as_a_service(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    look = "RUN {0}grep -E 'CapEff|Seccomp:' /proc/self/status; hostname; env | sort\n"
    b.build("FROM busybox\n" + look.format(""), environment={"TOKEN": "leak", "HOME": "/home/me"})
    said = b.said()
    assert said[:2] == ["CapEff:\t00000000a80425fb", "Seccomp:\t2"]
    assert said[2] == "buildkitsandbox" and not any("leak" in line or "/home/me" in line for line in said)
    with pytest.raises(BuildFailed, match="all rights, which are not granted"):
        b.build("FROM busybox\n" + look.format("--security=insecure "))
    b.build("FROM busybox\n" + look.format("--security=insecure "), entitlements=("security.insecure",))
    assert b.said()[1] == "Seccomp:\t0"
    b.build("FROM busybox\n" + look.format(""), privileged=True, no_cache=True)
    assert b.said()[1] == "Seccomp:\t0"


def test_limits_hosts_and_shared_memory_of_a_run(scratch: Path, busybox_root: Path) -> None:
    from runtime.spec import Ulimit

    b = bench(scratch, busybox_root)
    b.build(
        "FROM busybox\nRUN ulimit -n; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2; "
        "grep far /etc/hosts\n",
        ulimits=(Ulimit(name="nofile", soft=123, hard=456),),
        shm_size=1 << 20,
        extra_hosts=("far:192.0.2.7",),
    )
    assert b.said() == ["123", "1024", "192.0.2.7\tfar"]
    with pytest.raises(BuildFailed, match="memory limit"):
        b.build("FROM busybox\nRUN awk 'BEGIN{s=\"x\"; while (1) s=s s}'\n", memory=16 << 20)


KILLED = """
import sys
from pathlib import Path
from runtime.build import BuildSpec, Secret, build
from runtime.image.store import Store
text = "FROM busybox\\nRUN --mount=type=secret,id=s cat /run/secrets/s; sleep 1000\\n"
secrets = {"s": Secret(value=b"begun\\n")}
spec = BuildSpec(context=sys.argv[2], dockerfile_text=text, network="none", secrets=secrets)
build(Store(Path(sys.argv[1])), spec, events=lambda e: print(e.text, flush=True))
"""


def test_a_killed_build_leaves_no_secret(scratch: Path, busybox_root: Path) -> None:
    own_memory()
    b = bench(scratch, busybox_root)
    command = [sys.executable, "-c", KILLED, str(b.store.root), str(scratch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        while "begun" not in (line := child.stdout.readline()):
            assert line, "it ended too early"
        left = [path for place in volatile() for path in Path(place).iterdir()]
        child.kill()
    assert left == [], "it is unlinked before the command runs"
    b.build("FROM busybox\nRUN --mount=type=secret,id=s true\n", secrets={"s": Secret(value=b"x")})
    assert volatile() == [], "the next build removes what was left"
