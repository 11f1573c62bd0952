"""The cache of builds: which steps are made again and why, what other machines give, which times count."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from build_bench import Bench, bench, text

from runtime.build.digests import Digests, fresh
from runtime.build.notes import Notes
from runtime.image.view import View

pytestmark = pytest.mark.root


def reasons(b: Bench) -> list[str]:
    """Each step as its instruction and why it was made, or CACHED."""
    found = []
    for event in b.heard:
        if event.kind == "step" and event.text in ("Running", "CACHED"):
            found.append(f"{event.id.partition('] ')[2]}: {event.detail or event.text}")
    return found


def test_each_step_says_cached_or_why_not(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(src__app_py="1", src__lib_py="1")
    file = (
        "FROM busybox AS web\nRUN echo base > /base\nARG VERSION=1\nRUN echo $VERSION > /v\n"
        "COPY src/ /src/\nWORKDIR /w\nRUN ls /src > list\n"
    )
    b.build(file)
    assert reasons(b) == [
        "RUN echo base > /base: never built before",
        "RUN echo $VERSION > /v: never built before",
        "COPY src/ /src/: never built before",
        "WORKDIR /w: never built before",
        "RUN ls /src > list: never built before",
    ]
    b.build(file)
    assert {reason.rpartition(": ")[2] for reason in reasons(b)} == {"CACHED"}
    b.files(src__app_py="2")
    b.build(file)
    below = "after COPY src/ /src/: src/app.py changed"
    assert reasons(b)[2:] == [
        "COPY src/ /src/: src/app.py changed",
        f"WORKDIR /w: {below}",
        f"RUN ls /src > list: {below}",
    ]
    b.build(file, args={"VERSION": "2"})
    assert reasons(b)[0] == "RUN echo base > /base: CACHED"
    assert reasons(b)[1] == "RUN echo $VERSION > /v: ARG VERSION changed"
    assert reasons(b)[2] == "COPY src/ /src/: after RUN echo $VERSION > /v: ARG VERSION changed"
    b.build(file.replace("RUN echo base", "USER 0\nRUN echo  base"), args={"VERSION": "2"})
    assert reasons(b)[0].startswith("RUN echo base > /base: the instruction changed, it was: RUN echo base")
    b.build(file, no_cache=True)
    assert {reason.rpartition(": ")[2] for reason in reasons(b)} == {"--no-cache"}


def test_one_stage_can_be_kept_from_the_cache(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    file = (
        "FROM busybox AS one\nRUN echo one > /one\nFROM busybox AS two\nRUN echo two > /two\n"
        "FROM one\nCOPY --from=two /two /\n"
    )
    b.build(file)
    b.build(file, no_cache_filter=("two",))
    assert sorted(reasons(b)) == [
        "COPY --from=two /two /: CACHED",
        "RUN echo one > /one: CACHED",
        "RUN echo two > /two: no_cache_filter names two",
    ]


def test_stages_that_do_not_need_each_other_run_at_once(scratch: Path, busybox_root: Path) -> None:
    """Each writes into a shared cache and waits for the other: one after the other would never end."""
    b = bench(scratch, busybox_root)
    meet = "RUN --mount=type=cache,id=meet,target=/m touch /m/{0}; until [ -e /m/{1} ]; do sleep 0.05; done\n"
    file = (
        f"FROM busybox AS a\n{meet.format('a', 'b')}RUN echo a > /a\n"
        f"FROM busybox AS b\n{meet.format('b', 'a')}RUN echo b > /b\n"
        "FROM busybox AS unused\nRUN false\n"
        "FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n"
    )
    image = b.build(file)
    assert (text(image, "/a"), text(image, "/b")) == ("a\n", "b\n")
    assert any(event.id.startswith("[a 2/3] RUN") for event in b.heard)
    assert any(event.id.startswith("[stage-3 1/2] COPY") for event in b.heard)
    assert not any("unused" in event.id for event in b.heard)


def test_stages_may_make_the_same_layer_at_once(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    for turn in range(5):
        stages = "".join(f"FROM busybox AS s{n}\nRUN : {turn} {n}\n" for n in range(6))
        last = "".join(f"COPY --from=s{n} /etc/group /g{n}\n" for n in range(6))
        assert text(b.build(f"{stages}FROM scratch\n{last}"), "/g5").startswith("root:")


def test_a_stage_that_fails_stops_the_others(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    file = (
        "FROM busybox AS slow\nRUN --mount=type=cache,id=fail,target=/m touch /m/on; sleep 1000\n"
        "FROM busybox AS bad\nRUN --mount=type=cache,id=fail,target=/m "
        "until [ -e /m/on ]; do sleep 0.05; done; exit 3\n"
        "FROM scratch\nCOPY --from=slow / /\nCOPY --from=bad / /\n"
    )
    with pytest.raises(Exception, match=r"Dockerfile:4: RUN .*exit code 3"):
        b.build(file)
    assert b.clean()


def test_a_linked_copy_stays_when_what_is_below_changes(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(app="1")
    file = (
        "FROM busybox\nARG V\nRUN echo $V > /v; chmod 1777 /var\nCOPY --link --chown=web app /var/app/run\n"
    )
    b.build(file, args={"V": "1"})
    image = b.build(file, args={"V": "2"})
    assert reasons(b)[1] == "COPY --link --chown=web app /var/app/run: CACHED"
    view = View(image.layers)
    var, app = view.find("/var"), view.find("/var/app/run")
    assert var is not None and app is not None
    assert oct(var.info.st_mode)[-4:] == "1777", "a linked layer must not change what is there"
    assert (app.info.st_uid, app.info.st_gid) == (1000, 1000)
    assert text(image, "/v") == "2\n"


def test_with_source_date_epoch_two_builds_give_one_image(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.files(a="1", d__b="2")
    file = (
        "FROM busybox\nWORKDIR /w\nCOPY . .\nRUN mkdir x && touch x/y && ln -s y x/l && rm a\nENV A=1\n"
        "COPY <<EOF /here\ntext\nEOF\n"
    )
    environment = {"SOURCE_DATE_EPOCH": "1700000000"}
    first = b.build(file, environment=environment, no_cache=True)
    for path in (b.context / "a", b.context / "d/b", b.context / "d"):
        os.utime(path)
    then = int(time.time())
    while int(time.time()) == then:
        time.sleep(0.05)
    second = b.build(file, environment=environment, no_cache=True)
    assert first.id == second.id and first.created == 1700000000.0
    assert {line.created for line in second.config.history} == {"2023-11-14T22:13:20Z"}
    found = View(second.layers).find("/w/x/y")
    assert found is not None and found.info.st_mtime == 1700000000


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_cache_in_a_directory_serves_another_machine(scratch: Path, busybox_root: Path, mode: str) -> None:
    (scratch / "one").mkdir()
    (scratch / "two").mkdir()
    one, two = bench(scratch / "one", busybox_root), bench(scratch / "two", busybox_root)
    file = (
        "FROM busybox AS make\nRUN date +%N > /tmp/made\nFROM busybox\nCOPY a /a\n"
        "COPY --from=make /tmp/made /\nRUN date +%N > /last\n"
    )
    for machine in (one, two):
        machine.files(a="1")
    place = f"type=local,dest={scratch}/cache,mode={mode}"
    first = one.build(file, cache_to=(place,))
    second = two.build(file, cache_from=(f"type=local,src={scratch}/cache",))
    hits = [reason.endswith(": CACHED") for reason in reasons(two)]
    if mode == "max":
        assert all(hits) and second.id == first.id
    else:
        assert not all(hits) and any(hits), "without its stage the copied file is another one"
    assert len(one.store.images()) == 2, "the image that carries the cache is not kept"
    assert sorted(path.name for path in scratch.iterdir()) == ["cache", "one", "two"]


def test_a_cache_that_is_not_there_is_told_and_passed_over(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.build("FROM busybox\nRUN true\n", cache_from=(f"type=local,src={scratch}/none", "type=gha"))
    notes = [event.text for event in b.heard if event.kind == "note"]
    assert notes[0].startswith(f"the cache {scratch}/none is not used") and "type 'gha'" in notes[1]


def test_a_damaged_memory_is_made_anew(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    b.build("FROM busybox\nRUN true\n")
    (b.store.root / "build.db").write_bytes(b"nonsense" * 1000)
    b.build("FROM busybox\nRUN true\n")
    assert b.steps() == ["CACHED"]


def test_names_and_words_that_are_no_utf8(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    (b.context / os.fsdecode(b"caf\xe9")).write_text("1")
    file = os.fsdecode(b"FROM busybox\nCOPY caf* /d/\nRUN echo \xe9 | od -An -tx1\n")
    b.build(file)
    assert b.said() == [" e9 0a"]
    b.build(file)
    assert b.steps() == ["CACHED", "CACHED"]


def test_files_are_read_once_unless_they_changed(scratch: Path) -> None:
    path = scratch / "file"
    path.write_text("one")
    clock = [path.stat().st_ctime_ns + 10_000_000_000]
    with Notes(scratch / "db") as notes:
        digests = Digests(notes, lambda: clock[0])
        first = digests.of(str(path), path.lstat())
        digests.keep()
    with Notes(scratch / "db") as notes:
        again = Digests(notes)
        assert again._load(str(scratch))["file"][6] == first
        path.write_text("two")
        assert again.of(str(path), path.lstat()) != first


def test_a_file_written_within_the_tick_of_the_clock_is_read_again(scratch: Path) -> None:
    path = scratch / "file"
    path.write_text("one")
    info = path.lstat()
    entry = [info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]
    assert not fresh([*entry, info.st_ctime_ns, "x"], info)
    assert not fresh([*entry, info.st_ctime_ns + 40_000_000, "x"], info)
    assert fresh([*entry, info.st_ctime_ns + 2_200_000_000, "x"], info)


def test_ctrl_c_stops_every_stage(scratch: Path, busybox_root: Path) -> None:
    b = bench(scratch, busybox_root)
    file = (
        "FROM busybox AS a\nRUN echo on; sleep 1000\nFROM busybox AS b\nRUN echo on; sleep 1001\n"
        "FROM a\nCOPY --from=b / /\n"
    )
    main = threading.main_thread().ident
    assert main is not None
    begun: list[str] = []

    class Heard(list):  # type: ignore[type-arg]
        def append(self, event: object) -> None:
            super().append(event)
            if getattr(event, "kind", "") == "output":
                begun.append("on")
                if len(begun) == 2:
                    import signal

                    signal.pthread_kill(main, signal.SIGINT)

    b.heard = Heard()
    with pytest.raises(KeyboardInterrupt):
        b.build(file)
    assert b.clean()
