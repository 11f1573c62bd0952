"""Builds in our own runtime: each a Dockerfile and what comes out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from build_bench import PATH, bench, text, tree

from runtime.build import BuildSpec, Secret, build
from runtime.errors import BuildFailed
from runtime.image import layer
from runtime.image.progress import Progress
from runtime.image.view import View

pytestmark = pytest.mark.root


def test_a_build_gives_files_and_configuration(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(a_txt="A", sub__b_txt="B")
    image = b.build(
        "ARG BASE=busybox\nFROM $BASE\nARG WHO=world\n"
        'ENV HELLO="hello $WHO" X=1\nWORKDIR /srv/app\nCOPY . .\n'
        'RUN echo "$HELLO $WHO" > said && pwd > where\nUSER web:staff\nEXPOSE 80 53/udp\nVOLUME /data\n'
        'LABEL a.b="c d"\nSTOPSIGNAL SIGINT\nHEALTHCHECK --interval=5s CMD wget -q localhost\n'
        'ENTRYPOINT ["/entry"]\nCMD ["x"]\n',
        args={"WHO": "you"},
        tags=("app:1",),
        labels={"more": "1"},
    )
    assert text(image, "/srv/app/said") == "hello you you\n"
    assert text(image, "/srv/app/where") == "/srv/app\n"
    assert text(image, "/srv/app/sub/b.txt") == "B"
    config = image.config
    assert config.env == (PATH, "HELLO=hello you", "X=1")
    assert (config.user, config.working_dir, config.volumes) == ("web:staff", "/srv/app", ("/data",))
    assert set(config.exposed_ports) == {"80/tcp", "53/udp"}
    assert config.labels == {"a.b": "c d", "more": "1"}
    assert (config.entrypoint, config.cmd, config.stop_signal) == (("/entry",), ("x",), "SIGINT")
    assert config.healthcheck is not None and config.healthcheck.test == ("CMD-SHELL", "wget -q localhost")
    assert b.store.resolve("app:1").id == image.id
    assert b.clean()


def test_a_second_build_takes_every_step_from_the_cache_and_gives_the_same_image(
    scratch: Path, busybox_root: Path
) -> None:
    b = bench(scratch, busybox_root)
    b.files(a="1")
    file = "FROM busybox\nWORKDIR /w\nCOPY a /w/\nRUN date +%N > n\nENV A=b\n"
    first = b.build(file)
    assert b.steps() == ["Done"] * 3
    os.utime(b.context / "a", (1, 1))
    assert b.build(file).id == first.id
    assert b.steps() == ["CACHED"] * 3


def test_only_what_depends_on_a_change_is_made_again(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(a="1", b="1")
    file = "FROM busybox\nRUN echo one > /one\nCOPY a /a\nRUN echo two > /two\nCOPY b /b\n"
    b.build(file)
    b.files(unused="x")
    b.build(file)
    assert b.steps() == ["CACHED"] * 4
    b.files(b="2")
    b.build(file)
    assert b.steps() == ["CACHED", "CACHED", "CACHED", "Done"]
    (b.context / "a").chmod(0o755)
    b.build(file)
    assert b.steps() == ["CACHED", "Done", "Done", "Done"]
    b.build(file, no_cache=True)
    assert b.steps() == ["Done"] * 4


def test_an_argument_counts_only_where_it_is_declared(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    file = "FROM busybox\nRUN echo a\nARG V\nRUN echo $V > /v\n"
    b.build(file, args={"V": "1"})
    image = b.build(file, args={"V": "2"})
    assert b.steps() == ["CACHED", "Done"]
    assert text(image, "/v") == "2\n"
    assert not any("V=" in item for item in image.config.env)


def test_only_the_stages_a_target_needs_are_built(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    file = (
        "FROM busybox AS one\nRUN echo 1 > /1\nFROM busybox AS broken\nRUN false\n"
        "FROM one AS two\nRUN echo 2 > /2\nFROM scratch\nCOPY --from=two /1 /2 /out/\nCOPY --from=0 /1 /x\n"
    )
    image = b.build(file)
    assert [tree(image, n) for n in range(2)] == [["out", "out/1", "out/2"], ["x"]]
    assert text(b.build(file, target="two"), "/2") == "2\n"
    with pytest.raises(BuildFailed, match="no stage 'too'"):
        b.build(file, target="too")


def test_a_failing_run_says_where_and_shows_its_last_lines(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    with pytest.raises(BuildFailed) as caught:
        b.build("FROM busybox\n\nRUN for i in $(seq 30); do echo line $i; done; touch /x; exit 7\n")
    message = caught.value.message
    assert message.startswith("Dockerfile:3: RUN for i in")
    assert "ended with exit code 7" in message
    assert "| line 30" in message and "| line 10" not in message and "| line 11" in message
    assert b.clean()
    assert b.steps() == ["Error"]


def test_mount_points_stay_out_of_the_layer(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    (scratch / "ca.pem").write_text("certificates")
    environment = {
        "PIP_CERT": str(scratch / "ca.pem"),
        "https_proxy": "http://proxy:3128",
        "PIP_INDEX_URL": "http://x",
    }
    image = b.build(
        "FROM busybox\nRUN --mount=type=cache,target=/var/deep/cache --mount=type=tmpfs,target=/scratch "
        "cat $PIP_CERT $SSL_CERT_FILE; echo; echo $HTTPS_PROXY $https_proxy [$PIP_INDEX_URL]; "
        "touch /var/deep/cache/x\n",
        environment=environment,
    )
    assert b.said() == ["certificatescertificates", "http://proxy:3128 http://proxy:3128 []"]
    assert tree(image) == []
    assert "pycompose/ca" not in str(image.config) and "3128" not in str(image.config)
    file = "FROM busybox\nRUN echo ${PIP_CERT:-none}\n"
    b.build(file, environment=environment, trust="none")
    assert b.said() == ["none"]
    b.build(file, environment=environment)
    assert b.steps() == ["CACHED"]


def test_deleted_files_become_whiteouts_and_survive_saving(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    image = b.build(
        "FROM busybox\nRUN echo 1 > /gone && mkdir -p /d && echo 2 > /d/old\n"
        "RUN rm /gone; rm -r /d; mkdir /d; echo 3 > /d/new\n"
    )
    view = View(image.layers)
    assert view.find("/gone") is None and view.find("/d/old") is None
    packed = list(layer.pack(image.layers[-1]))
    made = layer.unpack(iter(packed), scratch / "again")
    assert made.diff_id == image.layer_ids[-1]
    assert layer.digest(scratch / "again").diff_id == made.diff_id


def test_mounts_of_run(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(a="A")
    image = b.build(
        "FROM busybox AS one\nRUN echo from-one > /f\nFROM busybox\n"
        "RUN --mount=type=bind,target=/c --mount=from=one,target=/o,source=/f cat /c/a /o; touch /c/x; true\n"
        "RUN --mount=type=bind,target=/c,rw touch /c/x && ls /c\n"
        "RUN --mount=type=secret,id=key cat /run/secrets/key; id -u\n"
        "RUN --mount=type=secret,id=key,env=KEY echo $KEY\n"
        "RUN --mount=type=cache,id=c,target=/cache echo 1 >> /cache/n\n"
        "RUN --mount=type=cache,id=c,target=/other cat /other/n\n",
        secrets={"key": Secret(value=b"s3cret")},
    )
    said = b.said()
    assert said[0] == "Afrom-one"
    assert "a" in said and "x" in said
    assert "s3cret0" in said and "s3cret" in said and said[-1] == "1"
    assert sorted(path.name for path in b.context.iterdir()) == ["a"]
    assert [tree(image, n) for n in range(1, len(image.layers))] == [[]]
    assert "s3cret" not in str(image.config)


def test_here_documents(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    image = b.build(
        'FROM busybox\nENV A=1\nCOPY <<one <<"two" /d/\nA is $A "q" \'r\'\none\nA is $A\ntwo\n'
        "RUN <<EOF\nset -e\necho first > /f\nfalse || echo second >> /f\nEOF\n"
        "RUN cat <<EOF > /g\nhi $A\nEOF\nRUN <<EOF\n#!/bin/cat\nscript\nEOF\n"
    )
    assert text(image, "/d/one") == "A is 1 \"q\" 'r'\n"
    assert text(image, "/d/two") == "A is $A\n"
    assert text(image, "/f") == "first\nsecond\n"
    assert text(image, "/g") == "hi 1\n"
    assert b.said() == ["#!/bin/cat", "script"]


def test_triggers_run_in_the_child(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(a="A")
    parent = b.build("FROM busybox\nONBUILD COPY a /a\nONBUILD RUN cat /a > /b\n", tags=("parent",))
    assert parent.config.on_build == ("COPY a /a", "RUN cat /a > /b")
    child = b.build("FROM parent\nRUN cat /b\n")
    assert b.said() == ["A"]
    assert child.config.on_build == ()


def test_shell_user_and_the_two_forms(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.build(
        'FROM busybox\nUSER web\nRUN id -un\nRUN ["echo", "$HOME"]\n'
        "USER 0\nRUN grep CapEff /proc/self/status\n"
    )
    assert b.said() == ["web", "$HOME", "CapEff:\t00000000a80425fb"]


def test_an_entrypoint_resets_the_command_it_inherits(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    assert b.build('FROM busybox\nENTRYPOINT ["x"]\n').config.cmd == ()
    assert b.build('FROM busybox\nCMD ["y"]\nENTRYPOINT ["x"]\n').config.cmd == ("y",)
    assert b.build("FROM busybox\nCMD y z\n").config.cmd == ("/bin/sh", "-c", "y z")


def test_a_build_interrupted_in_the_middle_leaves_nothing(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)

    def stop(event: Progress) -> None:
        if event.kind == "output":
            raise KeyboardInterrupt

    spec = BuildSpec(
        context=str(b.context), dockerfile_text="FROM busybox\nRUN echo x; sleep 60\n", network="none"
    )
    with pytest.raises(KeyboardInterrupt):
        build(b.store, spec, events=stop)
    assert b.clean()


def test_source_date_epoch_bounds_the_times_of_the_image(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    image = b.build("FROM busybox\nRUN echo 1 > /x\n", args={"SOURCE_DATE_EPOCH": "1000000000"})
    assert image.config.created == "2001-09-09T01:46:40Z"


def test_a_named_context_and_a_dockerfile_with_its_own_ignore_file(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(a="A", b="B", build__Dockerfile="FROM base\nCOPY . /all\nCOPY --from=more x /x\n")
    (b.context / "build/Dockerfile.dockerignore").write_text("b\nbuild\n")
    (b.context / ".dockerignore").write_text("a\n")
    (scratch / "more").mkdir()
    (scratch / "more/x").write_text("X")
    spec = BuildSpec(
        context=str(b.context),
        dockerfile="build/Dockerfile",
        network="none",
        additional_contexts={"more": str(scratch / "more"), "base": "docker-image://busybox"},
    )
    image = build(b.store, spec)
    assert tree(image, -2) == ["all", "all/.dockerignore", "all/a"]
    assert text(image, "/x") == "X"


def test_more_layers_than_fit_a_page_of_mount_options(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    for n in range(60):
        b.files(**{f"f{n}": str(n)})
    copies = "".join(f"COPY f{n} /f{n}\n" for n in range(60))
    image = b.build("FROM busybox\n" + copies + "RUN cat /f0 /f59 > /all\n")
    assert text(image, "/all") == "059"


def test_a_build_from_nothing_runs_what_was_copied(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    image = b.build(
        "FROM scratch\nCOPY --from=busybox /bin/busybox /bin/sh\n"
        'RUN echo here > /file\nUSER 7\nRUN ["/bin/sh", "-c", "id -u"]\n'
    )
    assert b.said() == ["7"]
    assert tree(image, 1) == ["file"]
    assert image.config.env == (PATH,)


def test_the_network_of_a_build_is_default_host_or_none(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    with pytest.raises(BuildFailed, match="no network 'lan'"):
        b.build("FROM busybox\nRUN --network=lan true\n")
    with pytest.raises(BuildFailed, match="host's network, which is not granted"):
        b.build("FROM busybox\nRUN --network=host true\n")
    b.build("FROM busybox\nRUN --network=host ls /sys/class/net\n", entitlements=("network.host",))
    assert b.said() == ["lo"]
