"""Images around a running project: save, load, import, export, commit, rmi, prune, df."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, until


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> Stack:
    """The project, running and with its file made, on a store of its own."""
    stack("save", "-o", "busybox.tar", "busybox")
    stack.data = tmp_path / "data"
    stack.environment["PYCOMPOSE_DATA"] = str(stack.data)
    stack("load", "-i", "busybox.tar")
    stack("up", "-d", "--wait")
    return stack


def names(stack: Stack) -> set[str]:
    rows = json.loads(stack("images", "--all", "--format", "json").stdout)
    return {f"{row['Repository']}:{row['Tag']}" for row in rows}


def ids(stack: Stack) -> dict[str, str]:
    rows = json.loads(stack("images", "--all", "--format", "json").stdout)
    return {f"{row['Repository']}:{row['Tag']}": row["ID"] for row in rows}


def test_commit_makes_an_image_of_what_the_container_wrote(shop: Stack) -> None:
    done = shop("commit", "-a", "me", "-m", "why", "-c", "ENV X=1", "-c", "EXPOSE 80", "web", "made/web:1")
    assert done.stdout.strip() == ids(shop)["made/web:1"]
    assert shop("ps", "--format", "{{.State}}").stdout == "running\n"  # the pause is over
    (shop.directory / "probe.yaml").write_text("services: {p: {image: 'made/web:1', pull_policy: never}}")
    probe = ("-f", "probe.yaml", "-p", f"{shop.name}p")
    words = "cat /srv/file; echo $GREETING $X; ls /bin/vi /data /deep /etc/hosts 2>&1"
    out = shop(
        "-f", "probe.yaml", "-p", f"{shop.name}p", "run", "--rm", "-T", "p", "sh", "-c", words, check=False
    )
    assert out.stdout.splitlines()[:2] == ["made", "hello 1"]
    assert "/bin/vi: No such file" in out.stdout and "/deep: No such file" in out.stdout
    shop(*probe, "down")
    shop("save", "-o", "web.tar", "made/web:1")
    with tarfile.open(shop.directory / "web.tar") as packed:
        document = json.loads(packed.extractfile("manifest.json").read())[0]  # type: ignore[union-attr]
        config = json.loads(packed.extractfile(document["Config"]).read())  # type: ignore[union-attr]
    assert config["author"] == "me" and config["history"][-1]["comment"] == "why"
    assert config["config"]["ExposedPorts"] == {"80/tcp": {}}
    assert not [key for key in config["config"].get("Labels", {}) if key.startswith("io.pycompose")]


def test_commit_of_a_replica_that_is_not_there_is_told(shop: Stack) -> None:
    done = shop("commit", "--index", "7", "web", check=False)
    assert done.returncode == 1 and 'no container found for service "web" index=7' in done.stderr
    done = shop("commit", "nosuch", check=False)
    assert done.returncode == 1 and "no such service: nosuch" in done.stderr


def test_export_gives_the_merged_tree_and_import_takes_it(shop: Stack) -> None:
    shop("export", "-o", "web.tar", "web")
    with tarfile.open(shop.directory / "web.tar") as packed:
        found = {item.name for item in packed}
        assert packed.extractfile("srv/file").read() == b"made\n"  # type: ignore[union-attr]
    assert "bin/busybox" in found and "bin/vi" not in found and not any(".wh." in name for name in found)
    out = shop("import", "-c", 'CMD ["cat", "/srv/file"]', "-m", "taken", "web.tar", "made/root:1").stdout
    assert ids(shop)["made/root:1"] == out.strip()
    (shop.directory / "probe.yaml").write_text("services: {p: {image: 'made/root:1', pull_policy: never}}")
    probe = ("-f", "probe.yaml", "-p", f"{shop.name}p")
    assert shop(*probe, "run", "--rm", "-T", "p").stdout == "made\n"
    shop(*probe, "down")


def piped(stack: Stack, *commands: str) -> str:
    """What the last of these commands of a shell's pipe printed."""
    done = subprocess.run(
        ["sh", "-c", " | ".join(commands)],
        cwd=stack.directory,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_archives_go_through_pipes_and_a_stopped_container_is_exported(shop: Stack) -> None:
    def command(*words: str) -> str:
        return " ".join(shop.argv(*words))

    shop("stop", "-t", "0")
    out = piped(shop, command("export", "web"), "gzip", command("import", "-"))
    assert out.startswith("sha256:")
    shop("rmi", out.strip())
    shop("commit", "web", "made/pipe:1")
    out = piped(shop, command("save", "-q", "made/pipe:1"), "gzip -1", command("load", "-q"))
    assert out == "Loaded image: made/pipe:1\n"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir", "docker-dir"])
def test_save_and_load_keep_the_id(shop: Stack, form: str) -> None:
    shop("commit", "web", "made/base:1")
    before = ids(shop)["made/base:1"]
    shop("save", "--format", form, "-o", "saved", "made/base:1")
    shop("rmi", "made/base:1")
    assert "made/base:1" not in names(shop)
    out = shop("load", "-i", "saved").stdout
    assert out == (f"Loaded image ID: {before}\n" if form == "docker-dir" else "Loaded image: made/base:1\n")
    assert before in ids(shop).values()
    shop("rmi", "-f", before)


def test_save_refuses_what_is_there_and_what_is_not(shop: Stack) -> None:
    (shop.directory / "full").mkdir()
    (shop.directory / "full/file").write_text("mine")
    done = shop("save", "--format", "oci-dir", "-o", "full", "busybox", check=False)
    assert done.returncode == 1 and "is there already" in done.stderr
    done = shop("save", "-o", "new.tar", "busybox", "no/such:1", check=False)
    assert done.returncode == 1 and "'no/such:1' is not in the store" in done.stderr
    assert sorted(os.listdir(shop.directory / "full")) == ["file"]  # noqa: PTH208
    assert not list(Path(shop.directory).glob("*new.tar*"))


def test_an_image_in_use_is_never_removed(shop: Stack) -> None:
    for words in (("rmi", "busybox"), ("image", "rm", "busybox")):
        done = shop(*words, check=False)
        assert done.returncode == 1
        assert "is used by a container" in done.stderr and f"{shop.name}-web-1" in done.stderr
    shop("stop", "-t", "0")
    shop("image", "prune", "-a", "-f")
    assert "busybox:latest" in names(shop)
    shop("start")
    shop("exec", "-T", "web", "true")


def test_prune_takes_what_nothing_uses_by_age_and_label(shop: Stack) -> None:
    shop("commit", "-c", "LABEL keep=no", "web", "made/web:1")
    first = ids(shop)["made/web:1"]
    shop("commit", "-c", "LABEL keep=yes", "web", "made/web:1")  # the first has no name now
    assert first in ids(shop).values()
    assert "Total reclaimed space: 0B" in shop("image", "prune", "-f", "--filter", "until=1h").stdout
    assert "Total reclaimed space: 0B" in shop("image", "prune", "-f", "--filter", "label=keep=yes").stdout
    out = shop("image", "prune", "-f").stdout
    assert f"deleted: {first}" in out
    out = shop("image", "prune", "-a", "-f", "--filter", "label!=keep").stdout
    assert "made/web:1" in names(shop)
    out = shop("image", "prune", "-a", "-f", "--filter", "label=keep").stdout
    assert "untagged: made/web:1" in out


def test_prune_asks_on_a_terminal_and_does_nothing_without_one(shop: Stack) -> None:
    shop("commit", "web", "made/web:2")
    done = shop("image", "prune", "-a", check=False)
    assert done.returncode == 1 and "cancelled" in done.stderr
    for answer, there in (("n\n", True), ("y\n", False)):
        master, slave = pty.openpty()
        process = subprocess.Popen(
            shop.argv("image", "prune", "-a", "--filter", "until=0s"),
            cwd=shop.directory,
            env=shop.environment,
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.close(slave)
        os.write(master, answer.encode())
        _, err = process.communicate(timeout=60)
        os.close(master)
        assert b"[y/N]" in err
        assert ("made/web:2" in names(shop)) is there


def test_df_counts_by_project(shop: Stack) -> None:
    shop("exec", "-T", "web", "dd", "if=/dev/zero", "of=/data/big", "bs=1k", "count=3000")
    shop("exec", "-T", "web", "dd", "if=/dev/zero", "of=/tmp/big", "bs=1k", "count=2000")
    found = json.loads(shop("df", "--format", "json").stdout)
    mine = next(row for row in found["Projects"] if row["Project"] == shop.name)
    assert (mine["Containers"], mine["Volumes"], mine["Images"]) == (1, 1, 1)
    assert 3_000_000 < mine["VolumeSize"] < 3_300_000 and 2_000_000 < mine["ContainerSize"] < 2_500_000
    lines = shop("df").stdout.splitlines()
    assert lines[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert any(line.split()[0] == shop.name for line in lines if line)
    words = shop("df", "-v").stdout
    assert f"{shop.name}-web-1" in words and f"{shop.name}_data" in words


def test_the_build_cache_keeps_to_its_budget_and_volumes_are_not_touched(shop: Stack) -> None:
    (shop.directory / "b.yaml").write_text(
        "services: {b: {image: 'made/base:1', build: {context: ., dockerfile_inline: "
        '"FROM busybox\\nARG N=0\\nRUN dd if=/dev/zero of=/f bs=1k count=$$((1000+N))\\n"}}}'
    )
    build = ("-f", "b.yaml", "-p", f"{shop.name}b", "build", "-q")
    for number in range(3):  # the steps of the image before are kept by the cache alone
        shop(*build, "--build-arg", f"N={number}")
        shop("image", "prune", "-f")
    before = json.loads(shop("df", "--format", "json").stdout)["BuildCache"]["Reclaimable"]
    assert before > 2_000_000
    shop(*build, "--build-arg", "N=3", env={"PYCOMPOSE_BUILD_CACHE": "1500k"})
    shop("image", "prune", "-f")
    shop("exec", "-T", "web", "touch", "/data/still")
    pool = shop.data / "cache/debian/pool"
    pool.mkdir(parents=True)
    (pool / "package").write_bytes(bytes(100_000))
    out = shop("builder", "prune", "-a", "-f").stdout
    assert "Total reclaimed space" in out and not list(pool.iterdir())
    after = json.loads(shop("df", "--format", "json").stdout)["BuildCache"]
    assert after["Reclaimable"] == 0
    assert shop("exec", "-T", "web", "ls", "/data").stdout == "still\n"
    until(lambda: "healthy" in shop("ps", "--format", "{{.Status}}").stdout)


def test_cache_mounts_of_run_count_and_go_with_the_build_cache(shop: Stack) -> None:
    (shop.directory / "b.yaml").write_text(
        "services: {b: {image: 'made/base:1', build: {context: ., dockerfile_inline: "
        '"FROM busybox\\nRUN --mount=type=cache,target=/c dd if=/dev/zero of=/c/f bs=1k count=900\\n"}}}'
    )
    shop("-f", "b.yaml", "-p", f"{shop.name}b", "build", "-q")
    found = json.loads(shop("df", "--format", "json").stdout)["BuildCache"]
    assert found["Mounts"] == 1 and found["Reclaimable"] > 900_000
    shop("builder", "prune", "-a", "-f")
    assert json.loads(shop("df", "--format", "json").stdout)["BuildCache"]["Mounts"] == 0
    shop("-f", "b.yaml", "-p", f"{shop.name}b", "build", "-q", "--no-cache")
