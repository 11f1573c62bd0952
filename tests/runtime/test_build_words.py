"""The parts of a build that touch nothing: stages, arguments, configuration, what RUN sees of the host."""

from __future__ import annotations

import pytest

from runtime.build import environment
from runtime.build.copy import change_mode
from runtime.build.mounts import read, size_of
from runtime.build.stages import find_stage, needed, platform_arguments, split_stages
from runtime.build.state import State, apply, duration
from runtime.build.words import run_argv
from runtime.errors import BuildFailed
from runtime.image.dockerfile.parse import parse
from runtime.image.manifest import HealthCheck, ImageConfig


def stages(text: str, **args: str):  # type: ignore[no-untyped-def]
    return split_stages(parse(text), args)[0]


def configured(text: str, **given: str) -> State:
    """The state after instructions that touch no file."""
    state = State(layers=[], config=ImageConfig(env=("PATH=/bin",)), given=given, outer={"OUTER": "o"})
    for instruction in parse(text).instructions:
        assert apply(state, instruction)
    return state


def test_the_base_of_a_stage_knows_global_arguments() -> None:
    found = stages("ARG V=1\nARG IMAGE=a:$V\nFROM ${IMAGE}\nFROM --platform=$BUILDPLATFORM b AS Two\n", V="2")
    assert [(s.base, s.name) for s in found] == [("a:2", ""), ("b", "two")]
    assert found[1].platform == platform_arguments()["BUILDPLATFORM"]


def test_stages_are_found_by_name_and_number_and_only_needed_ones_are_kept() -> None:
    found = stages(
        "FROM a AS one\nFROM b AS two\nCOPY --from=one x y\nFROM c AS three\n"
        "FROM d\nRUN --mount=from=two,target=/x true\nCOPY --from=0 x y\n"
    )
    assert [s.number for s in needed(found)] == [0, 1, 3]
    assert [s.number for s in needed(found, "three")] == [2]
    assert [s.number for s in needed(found, "1")] == [0, 1]
    assert find_stage(found, "ONE", before=1) is found[0]
    assert find_stage(found, "two", before=1) is None


@pytest.mark.parametrize(
    "text,message",
    [
        ("RUN a\nFROM b", "RUN comes before FROM"),
        ("ARG a", "there is no FROM"),
        ("FROM a b", "FROM needs one image"),
        ("FROM a AS 1", "not a name for a stage"),
        ("FROM $nothing", "base of FROM is empty"),
    ],
)
def test_what_is_wrong_with_stages(text: str, message: str) -> None:
    with pytest.raises(BuildFailed, match=message.replace("$", r"\$")):
        stages(text)


def test_an_unknown_target_gets_a_suggestion() -> None:
    with pytest.raises(BuildFailed) as caught:
        needed(stages("FROM a AS runtime"), "runtme")
    assert caught.value.hint == "did you mean 'runtime'?"


def test_arguments_come_from_outside_the_default_or_the_global_scope() -> None:
    state = configured("ARG A=1\nARG B=2\nARG OUTER\nARG NONE\nARG C=$A$B", B="given")
    assert state.args == {"A": "1", "B": "given", "OUTER": "o", "C": "1given"}


def test_env_wins_over_arg_and_is_not_seen_on_its_own_line() -> None:
    state = configured("ARG A=arg\nENV A=env B=$A\nENV C=$A PATH=/x:$PATH\nENV D old style $B")
    assert state.config.env == ("PATH=/x:/bin", "A=env", "B=arg", "C=env", "D=old style arg")


def test_configuration_instructions() -> None:
    state = configured(
        'USER me:us\nEXPOSE 80 90-91/udp 80/tcp\nVOLUME /a /b\nVOLUME ["/c d"]\nLABEL a=1 "b c"=\'d e\'\n'
        'STOPSIGNAL SIGQUIT\nSHELL ["/bin/bash","-c"]\nCMD echo $HOME\nONBUILD RUN x\nMAINTAINER Me <me@x>\n'
        'HEALTHCHECK --interval=1m30s --timeout=500ms --retries=4 CMD ["test", "-f"]\n'
    )
    config = state.config
    assert config.exposed_ports == ("80/tcp", "90/udp", "91/udp")
    assert config.volumes == ("/a", "/b", "/c d")
    assert config.labels == {"a": "1", "b c": "d e"}
    assert config.cmd == ("/bin/bash", "-c", "echo $HOME")
    assert (config.user, config.stop_signal, config.on_build) == ("me:us", "SIGQUIT", ("RUN x",))
    assert config.author == "Me <me@x>"
    test = ("CMD", "test", "-f")
    assert config.healthcheck == HealthCheck(test=test, interval=90, timeout=0.5, retries=4)
    assert configured("HEALTHCHECK NONE").config.healthcheck == HealthCheck(test=("NONE",))


@pytest.mark.parametrize(
    "text",
    ["EXPOSE x", "EXPOSE 80/foo", "SHELL /bin/sh", "HEALTHCHECK whatever", "HEALTHCHECK --retries=x CMD y",
     "STOPSIGNAL !", "ARG =a", "ENV =x", "HEALTHCHECK --interval=3 CMD x", 'VOLUME [""]',
     "LABEL a=${b:?must}"],
)  # fmt: skip
def test_what_is_wrong_with_configuration_has_a_line(text: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        configured(f"USER x\n{text}")
    assert getattr(caught.value, "line", 0) == 2


def test_paths_are_seen_from_the_working_directory() -> None:
    state = configured("USER x")
    state.change(working_dir="/a/b")
    assert [state.directory(p) for p in ("c", "c/", "/d", "..", ".", "./", "/")] == [
        "/a/b/c", "/a/b/c/", "/d", "/a", "/a/b", "/a/b/", "/"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text,seconds", [("0", 0), ("0s", 0), ("1h2m3s", 3723), ("1.5s", 1.5), ("100us", 1e-4)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


def test_the_forms_of_run() -> None:
    def argv(text: str):  # type: ignore[no-untyped-def]
        return run_argv(parse(text).instructions[0], ("/bin/sh", "-c"))

    assert argv("RUN a b") == (("/bin/sh", "-c", "a b"), "")
    assert argv('RUN ["a", "b"]') == (("a", "b"), "")
    assert argv("RUN <<E\nx\ny\nE") == (("/bin/sh", "-c", "x\ny\n"), "")
    assert argv("RUN <<E\n#!/usr/bin/env python3\nE") == (("/dev/pipes/EOF",), "#!/usr/bin/env python3\n")
    assert argv("RUN cat <<E | sort\nx\nE") == (("/bin/sh", "-c", "cat <<E | sort\nx\nE"), "")


def test_proxies_come_in_both_cases_and_arguments_win() -> None:
    found = environment.proxies({"http_proxy": "a", "NO_PROXY": "b", "OTHER": "c"}, {"HTTP_PROXY": "d"})
    assert found == {"HTTP_PROXY": "d", "http_proxy": "d", "NO_PROXY": "b", "no_proxy": "b"}


@pytest.mark.parametrize(
    "trust,variables,result",
    [
        ("", {}, ""),
        ("", {"PIP_CERT": "/ca"}, "/ca"),
        ("", {"PIP_CERT": "relative"}, ""),
        ("", {"PIP_CERT": "/missing"}, ""),
        ("auto", {"SSL_CERT_FILE": "/ca"}, "/ca"),
        ("none", {"SSL_CERT_FILE": "/ca"}, ""),
        ("", {"PYCOMPOSE_EXTRA_CA": "none", "PIP_CERT": "/ca"}, ""),
        ("", {"PYCOMPOSE_EXTRA_CA": "host"}, "/etc/ssl/certs/ca-certificates.crt"),
        ("", {"PYCOMPOSE_TRUST_HOST_CA": "1"}, "/etc/ssl/certs/ca-certificates.crt"),
        ("/ca", {}, "/ca"),
    ],
)
def test_which_certificates_run_trusts(trust: str, variables: dict[str, str], result: str) -> None:
    there = {"/ca", "/etc/ssl/certs/ca-certificates.crt"}
    assert environment.bundle(trust, variables, there.__contains__) == result


def test_certificates_that_are_not_there_are_an_error() -> None:
    with pytest.raises(BuildFailed):
        environment.bundle("/missing", {}, lambda path: False)


def test_mounts_are_read_with_their_other_names() -> None:
    wanted = read("type=cache,dst=/c$A,sharing=locked,ro", lambda text: text.replace("$A", "1"), 1)
    assert (wanted.type, wanted.get("target"), wanted.get("sharing")) == ("cache", "/c1", "locked")
    assert wanted.on("ro")
    assert read("target=/x,src=y,readwrite", str, 1).values == {"target": "/x", "source": "y", "rw": "true"}


@pytest.mark.parametrize(
    "text", ["type=x,target=/y", "type=cache", "type=tmpfs,target=/x,mode=1", "target=/x,a=b"]
)
def test_mounts_that_make_no_sense(text: str) -> None:
    with pytest.raises(BuildFailed):
        read(text, str, 1)


def test_sizes_and_modes() -> None:
    assert [size_of(text) for text in ("5", "1k", "2MB", "1g")] == [5, 1024, 2 << 20, 1 << 30]
    assert change_mode("755", 0o644, directory=False) == 0o755
    assert change_mode("u+x,go-rwx", 0o644, directory=False) == 0o700
    assert change_mode("a=rX", 0o644, directory=True) == 0o555
    assert change_mode("+t", 0o755, directory=True) == 0o1755
    for wrong in ("9", "rwx", "u+q"):
        with pytest.raises(BuildFailed):
            change_mode(wrong, 0, directory=False)
