"""Whole containers through Runtime: what the program inside sees, and what is left when it is gone."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from boxes import Box, cgroups, kill, until, whole_lines

from runtime import state as records
from runtime.cgroup.layout import find
from runtime.errors import CommandNotFound, NotExecutable, RuntimeFailure
from runtime.policy.capabilities import final
from runtime.spec import ExecSpec, Limits, Mount, Namespaces, Ulimit

pytestmark = pytest.mark.root


@pytest.fixture
def box(scratch: Path, busybox_root: Path) -> Box:
    return Box(scratch, busybox_root)


@pytest.mark.smoke("busybox")
def test_a_container_runs_logs_and_ends_with_its_code(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec("sh", "-c", "echo out; echo err >&2; printf tail; exit 7")
            created = await runtime.create(spec)
            assert created.state.status == "created"
            assert created.netns.exists()
            state = await runtime.start(spec.id)
            assert (state.status, state.pid) == ("running", created.state.pid)
            record = await runtime.wait(spec.id)
            assert (record.code, record.signal, record.oom) == (7, 0, False)
            assert box.ended == [(spec.id, record)]
            assert records.read(box.run, box.data, spec.id).exit == record
            tags = {tuple(line.split(" ", 3)[1:]) for line in Path(spec.log).read_text().splitlines()}
            assert tags == {
                ("stdout", "F", "out"),
                ("stderr", "F", "err"),
                ("stdout", "P", "tail"),
                ("stdout", "F", ""),  # no later line is joined to it
            }

    asyncio.run(body())


def test_the_program_waits_at_the_gate_until_start(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec("sh", "-c", "echo ran")
            await runtime.create(spec)
            await asyncio.sleep(0.1)
            assert box.output(spec) == ""
            await runtime.start(spec.id)
            await runtime.wait(spec.id)
            assert box.output(spec) == "ran"

    asyncio.run(body())


def test_removal_leaves_no_directory_no_cgroup_and_no_process(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec("sh", "-c", "echo x > /file; sleep 100")
            state = (await runtime.create(spec)).state
            await runtime.start(spec.id)
            assert cgroups(box.project)
            with pytest.raises(RuntimeFailure, match="is running"):
                await runtime.remove(spec.id)
            await kill(runtime, spec.id)
            await runtime.remove(spec.id)
            assert records.containers(box.run, box.data) == []
            assert not (box.run / "containers" / spec.id).exists()
            assert not records.alive(state.pid, state.start_time)
            await runtime.remove(spec.id)

    asyncio.run(body())
    assert cgroups(box.project) == []
    assert not (box.data / "trash").exists()
    assert list((box.data / "containers").iterdir()) == []
    assert not (box.run / "monitors.sock").exists()
    assert [path.name for path in Path("/proc").glob("[0-9]*")] == [str(os.getpid())]


def test_a_second_start_of_the_same_container_keeps_its_files(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec("sh", "-c", "echo again >> /kept; cat /kept")
            await box.finish(runtime, spec)
            record, output = await box.finish(runtime, spec)
            assert record.code == 0
            assert output.splitlines() == ["again", "again", "again"]

    asyncio.run(body())


def test_user_groups_home_and_working_directory_come_from_the_image(box: Box) -> None:
    script = "id -u; id -g; id -G; echo $HOME; pwd; echo $HOSTNAME; hostname"
    _, output = box.finished("sh", "-c", script, user="web", working_dir="/srv/new", hostname="shop")
    assert output.splitlines() == ["1000", "1000", "1000 50", "/home/web", "/srv/new", "shop", "shop"]


def test_a_number_without_an_entry_is_a_user_too(box: Box) -> None:
    _, output = box.finished("sh", "-c", "id -u; id -g; echo $HOME", user="4711:12")
    assert output.splitlines() == ["4711", "12", "/"]


def test_an_unknown_user_is_named(box: Box) -> None:
    with pytest.raises(RuntimeFailure, match="no user 'ghost'"):
        box.finished("true", user="ghost")


def test_a_user_may_open_dev_stdout_again(box: Box) -> None:
    record, output = box.finished("sh", "-c", "echo hello > /dev/stdout; echo bad > /dev/stderr", user="web")
    assert (record.code, sorted(output.splitlines())) == (0, ["bad", "hello"])


def test_root_has_fourteen_capabilities_and_another_user_none(box: Box) -> None:
    script = "grep -E 'Cap(Eff|Prm|Bnd|Inh|Amb)' /proc/self/status"
    _, root = box.finished("sh", "-c", script)
    assert dict(line.split(":\t") for line in root.splitlines()) == {
        "CapInh": "0" * 16,
        "CapPrm": "00000000a80425fb",
        "CapEff": "00000000a80425fb",
        "CapBnd": "00000000a80425fb",
        "CapAmb": "0" * 16,
    }
    _, web = box.finished("sh", "-c", script, user="web")
    assert "CapEff:\t0000000000000000" in web
    assert "CapBnd:\t00000000a80425fb" in web


def test_no_new_privileges_reaches_the_program(box: Box) -> None:
    _, output = box.finished("grep", "NoNewPrivs", "/proc/self/status", no_new_privileges=True)
    assert output.split() == ["NoNewPrivs:", "1"]
    _, output = box.finished("grep", "NoNewPrivs", "/proc/self/status")
    assert output.split() == ["NoNewPrivs:", "0"]


def test_the_filter_refuses_namespaces_and_mounts(box: Box) -> None:
    script = "grep Seccomp: /proc/self/status; unshare -m true || echo no; mount -t tmpfs x /tmp || echo no"
    _, output = box.finished("sh", "-c", script)
    assert [line for line in output.splitlines() if line in ("no", "Seccomp:\t2")] == [
        "Seccomp:\t2",
        "no",
        "no",
    ]


def test_masked_and_readonly_paths(box: Box) -> None:
    script = "cd /proc; wc -c < timer_list; ls /sys/firmware | wc -l; echo 1 > sys/vm/laptop_mode || echo ro"
    _, output = box.finished("sh", "-c", script)
    assert [line for line in output.splitlines() if "can't" not in line] == ["0", "0", "ro"]


def test_sys_and_cgroup_are_read_only_unless_privileged(box: Box) -> None:
    script = (
        "touch /sys/kernel/x 2>/dev/null || echo ro; for d in /sys/fs/cgroup /sys/fs/cgroup/*; do "
        "mkdir $d/x 2>/dev/null && echo rw; done; true"
    )
    _, output = box.finished("sh", "-c", script)
    assert output == "ro"


def test_nothing_of_the_host_is_mounted_inside(box: Box) -> None:
    _, output = box.finished("cat", "/proc/mounts")
    targets = [line.split()[1] for line in output.splitlines()]
    assert targets[0] == "/"
    assert targets.count("/") == 1
    assert str(box.run) not in output.replace("upperdir", "")
    assert not [target for target in targets if target.startswith(("/work", "/run", "/mnt"))]


def test_devices_are_the_standard_ones(box: Box) -> None:
    _, output = box.finished(
        "sh", "-c", "ls /dev; echo x > /dev/null; head -c 3 /dev/zero | wc -c; ls /dev/pts"
    )
    names = output.split()
    wanted = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert [name for name in wanted.split(" ") if name not in names] == []
    assert names[-2:] == ["3", "ptmx"]


def test_shm_has_the_size_that_was_asked_for(box: Box) -> None:
    _, output = box.finished("sh", "-c", "df -k /dev/shm | tail -1", shm_size=8 << 20)
    assert output.split()[1] == "8192"


def test_a_host_device_can_be_neither_made_nor_opened(box: Box) -> None:
    disks = Path("/proc/partitions").read_text().splitlines()[2:]
    major, minor = (disks or ["7 0"])[0].split()[:2]  # at least the number of a loop device
    script = f"mknod /disk b {major} {minor} && dd if=/disk of=/dev/null count=1"
    record, output = box.finished("sh", "-c", script)
    assert record.code != 0
    assert "not permitted" in output


def test_a_memory_limit_that_killed_is_said(box: Box) -> None:
    script = "x=a; while true; do x=$x$x; done"
    record, _ = box.finished("sh", "-c", script, limits=Limits(memory=16 << 20))
    assert (record.code, record.oom) == (137, True)
    assert record.reason == "memory limit of 16 MiB reached"


def test_a_pids_limit_holds(box: Box) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait"
    _, output = box.finished("sh", "-c", script, limits=Limits(pids=4))
    assert "can't fork" in output


def test_ulimits_and_a_warning_for_what_cannot_be_raised(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            limits = (Ulimit(name="nofile", soft=100, hard=200), Ulimit(name="core", soft=0, hard=0))
            spec = box.spec("sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c", ulimits=limits)
            _, output = await box.finish(runtime, spec)
            assert output.split() == ["100", "200", "0"]
            spec = box.spec(
                "true", oom_score_adj=-500, ulimits=(Ulimit(name="nofile", soft=1 << 21, hard=1 << 21),)
            )
            warnings = (await runtime.create(spec)).warnings
            assert len(warnings) in (0, 2)  # none with CAP_SYS_RESOURCE
            await runtime.start(spec.id)
            assert (await runtime.wait(spec.id)).code == 0

    asyncio.run(body())


def test_sysctls_are_the_containers_own(box: Box) -> None:
    _, output = box.finished("cat", "/proc/sys/net/core/somaxconn", sysctls={"net.core.somaxconn": "777"})
    assert output == "777"
    with pytest.raises(RuntimeFailure, match=r"sysctl 'net\.nothing'"):
        box.finished("true", sysctls={"net.nothing": "1"})
    with pytest.raises(RuntimeFailure, match="would change the host"):
        box.finished("true", sysctls={"vm.swappiness": "61"})


def test_a_missing_command_and_a_text_file_are_told_apart(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            for argv, kind, code in (
                (("nope",), CommandNotFound, 127),
                (("/nope",), CommandNotFound, 127),
                (("/etc/passwd",), NotExecutable, 126),
                (("/etc",), NotExecutable, 126),
            ):
                spec = box.spec(*argv)
                await runtime.create(spec)
                with pytest.raises(kind) as caught:
                    await runtime.start(spec.id)
                assert caught.value.exit_code == code
                assert argv[0] in str(caught.value)
                assert records.read(box.run, box.data, spec.id).status == "created"
            assert cgroups(box.project) == []

    asyncio.run(body())


def test_a_failed_creation_leaves_nothing_running(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec("true", layers=("/nonexistent/layer",))
            with pytest.raises(RuntimeFailure, match="overlay"):
                await runtime.create(spec)
            assert cgroups(box.project) == []

    asyncio.run(body())


def test_an_init_reaps_forwards_and_hands_on_the_code(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            script = (
                "trap 'echo bye; exit 5' TERM; (sleep 0.05 &); echo $$; sleep 0.2; "
                "cat /proc/[0-9]*/stat | grep -c ') Z '; "
                "while true; do sleep 0.05; done"
            )
            spec = box.spec("sh", "-c", script, init=True)
            await runtime.create(spec)
            await runtime.start(spec.id)
            await until(lambda: len(box.output(spec).splitlines()) >= 2)
            await runtime.signal(spec.id, signal.SIGTERM)
            assert (await runtime.wait(spec.id)).code == 5
            first, zombies, last = box.output(spec).splitlines()
            assert (int(first) > 1, zombies, last) == (True, "0", "bye")

    asyncio.run(body())


def test_the_init_is_a_sealed_program_without_an_environment(box: Box) -> None:
    script = (
        "readlink /proc/1/exe; cat /proc/1/environ; echo x >> /proc/1/exe; "
        "cat /proc/1/cmdline | tr '\\0' ' '; awk '/VmRSS/ {print $2}' /proc/1/status; ls -l /proc/1/map_files"
    )
    _, output = box.finished("sh", "-c", script, init=True, capabilities=final(["ALL"]), seccomp="unconfined")
    link, refused, rest, *maps = output.splitlines()
    assert link == "/memfd:pycompose-init (deleted)"
    assert "can't create /proc/1/exe" in refused
    assert rest.startswith("/sbin/pycompose-init -- sh -c")
    assert int(rest.split()[-1]) < 64  # KiB; a forked interpreter has 8 MiB
    assert "python" not in output and "/lib/" not in "".join(maps)


def test_the_init_has_no_more_rights_than_the_program(box: Box) -> None:
    names = "'^(Uid|Gid|Groups|CapPrm|CapEff|CapBnd|NoNewPrivs|Seccomp):'"
    script = f"for p in 1 self; do grep -E {names} /proc/$p/status; done"
    for user in ("", "1234:5678"):
        _, output = box.finished("sh", "-c", script, init=True, user=user, no_new_privileges=True)
        lines = output.splitlines()
        assert len(lines) == 16
        assert lines[:8] == lines[8:]


def test_masking_does_not_hand_out_the_hosts_null_device(box: Box) -> None:
    _, output = box.finished("sh", "-c", "chmod 600 /proc/keys; stat -c %a /dev/null; stat -c %a /proc/keys")
    assert output.split()[:2] == ["600", "600"]
    assert os.stat("/dev/null").st_mode & 0o777 == 0o666


def test_a_terminal_is_a_terminal(box: Box) -> None:
    _, output = box.finished("sh", "-c", "tty; test -c /dev/console && echo console; echo $TERM", tty=True)
    assert output.replace("\r", "").splitlines() == ["/dev/pts/0", "console", "xterm"]


def test_an_open_stdin_never_ends_and_a_closed_one_does(box: Box) -> None:
    record, _ = box.finished("sh", "-c", "read x; exit 9")
    assert record.code == 9
    record, _ = box.finished("sh", "-c", "timeout 0.2 cat; echo $?; exit 4", stdin_open=True)
    assert record.code == 4


def test_a_read_only_root_still_has_writable_mounts(box: Box, scratch: Path) -> None:
    (scratch / "data").mkdir(exist_ok=True)
    mounts = (
        Mount(type="tmpfs", target="/tmp"),
        Mount(type="bind", source=str(scratch / "data"), target="/data", read_only=True),
    )
    script = "touch /x || echo root; touch /tmp/x && echo tmp; touch /data/x || echo data; "
    script += "touch /dev/shm/x && echo shm"
    _, output = box.finished("sh", "-c", script, read_only=True, mounts=mounts)
    assert [line for line in output.splitlines() if " " not in line] == ["root", "tmp", "data", "shm"]


def test_a_mount_over_a_symlink_stays_inside(box: Box, scratch: Path) -> None:
    layer = scratch / "layer"
    layer.mkdir()
    (layer / "out").symlink_to("/../../../../etc")
    (layer / "var").mkdir()
    (layer / "var/run").symlink_to("/run")
    source = scratch / "source"
    source.mkdir()
    (source / "mark").write_text("mine")
    mounts = (
        Mount(type="bind", source=str(source), target="/out/deep"),
        Mount(type="bind", source=str(source / "mark"), target="/var/run/app/mark"),
    )
    layers = (str(box.image), str(layer))
    _, output = box.finished("cat", "/etc/deep/mark", "/run/app/mark", mounts=mounts, layers=layers)
    assert output == "minemine"
    assert not Path("/etc/deep").exists()


def test_a_fresh_volume_is_seeded_with_owner_mode_and_links(box: Box, scratch: Path) -> None:
    layer, volume = scratch / "layer", scratch / "volume"
    (layer / "srv/sub").mkdir(parents=True)
    volume.mkdir()
    (layer / "srv/a").write_text("a")
    os.link(layer / "srv/a", layer / "srv/sub/b")
    (layer / "srv/link").symlink_to("a")
    os.chown(layer / "srv", 1000, 50)
    (layer / "srv").chmod(0o2750)
    (layer / "srv/a").chmod(0o4755)
    mounts = (Mount(type="bind", source=str(volume), target="/srv", seed=True),)
    layers = (str(box.image), str(layer))
    _, output = box.finished("sh", "-c", "cat /srv/sub/b; echo more > /srv/c", mounts=mounts, layers=layers)
    assert output == "a"
    info = volume.stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (1000, 50, 0o2750)
    assert (volume / "a").stat().st_ino == (volume / "sub/b").stat().st_ino
    assert (volume / "a").stat().st_mode & 0o7777 == 0o4755
    assert str((volume / "link").readlink()) == "a"
    assert (volume / "c").exists()
    (volume / "a").unlink()
    box.finished("true", mounts=mounts, layers=layers)
    assert not (volume / "a").exists()


def test_etc_files_are_bound_and_can_be_rewritten_in_place(box: Box, scratch: Path) -> None:
    etc = scratch / "etc"
    etc.mkdir()
    for name in ("hosts", "hostname", "resolv.conf"):
        (etc / name).write_text(f"# {name}\n")
    _, output = box.finished("cat", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", etc=str(etc))
    assert output.splitlines() == ["# hosts", "# hostname", "# resolv.conf"]


def test_a_hundred_and_fifty_layers_fit(box: Box, scratch: Path) -> None:
    layers = []
    for number in range(150):
        layer = scratch / "a-rather-long-directory-name-for-layers" / f"{number:064d}"
        layer.mkdir(parents=True)
        (layer / "top").write_text(str(number))
        (layer / f"f{number}").write_text("")
        layers.append(str(layer))
    _, output = box.finished(
        "sh", "-c", "cat /top; ls / | grep -c '^f[0-9]'", layers=(str(box.image), *layers)
    )
    assert output.split() == ["149150"] or output.split() == ["149", "150"]


def test_containers_can_share_network_ipc_and_pids(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            first = box.spec("sh", "-c", "echo 4 > /dev/shm/four; exec sleep 100", hostname="one")
            await runtime.create(first)
            state = await runtime.start(first.id)
            await until(lambda: Path(f"/proc/{state.pid}/root/dev/shm/four").exists())
            join = f"container:{first.id}"
            shared = Namespaces(network=join, ipc=join, pid=join)
            second = box.spec(
                "sh",
                "-c",
                "cat /dev/shm/four; ps | grep -c '[s]leep 100'; readlink /proc/self/ns/net",
                namespaces=shared,
            )
            _, output = await box.finish(runtime, second)
            assert output.splitlines() == ["4", "1", str(Path(f"/proc/{state.pid}/ns/net").readlink())]
            gone = box.spec("true", namespaces=Namespaces(network=f"container:{'f' * 64}"))
            with pytest.raises(RuntimeFailure, match="is not running"):
                await runtime.create(gone)

    asyncio.run(body())


def test_host_namespaces_are_the_hosts(box: Box) -> None:
    both = Namespaces(pid="host", network="host", ipc="host", uts="host")
    script = "readlink /proc/self/ns/net; readlink /proc/self/ns/pid; readlink /proc/self/ns/uts"
    _, output = box.finished("sh", "-c", script, namespaces=both)
    assert output.split() == [str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("net", "pid", "uts")]


def test_with_the_hosts_pids_no_process_is_left_behind(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec("sh", "-c", "sleep 4242 & exit 0", namespaces=Namespaces(pid="host"))
            await box.finish(runtime, spec)
            await until(lambda: not sleeping("4242"))

    asyncio.run(body())


def sleeping(seconds: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if seconds.encode() in path.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def test_a_privileged_container_sees_devices_and_may_mount(box: Box) -> None:
    script = "mount -t tmpfs x /mnt && echo mounted; ls /dev | wc -l"
    _, output = box.finished(
        "sh", "-c", "mkdir /mnt; " + script, privileged=True, masked=(), readonly_paths=()
    )
    mounted, devices = output.split()
    assert mounted == "mounted"
    assert int(devices) > 15


def test_an_image_with_one_directory_and_no_layers_is_its_own_root(box: Box, scratch: Path) -> None:
    tree = scratch / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/busybox").write_bytes((box.image / "bin/busybox").read_bytes())
    (tree / "bin/busybox").chmod(0o755)
    record, output = box.finished("/bin/busybox", "echo", "hi", layers=(), upper=str(tree))
    assert (record.code, output) == (0, "hi")


def test_logs_rotate_by_size(box: Box) -> None:
    spec_log: list[Path] = []

    async def body() -> None:
        async with box.opened() as runtime:
            spec = replace(box.spec("sh", "-c", "seq 1 20000"), log_size=100_000, log_files=3)
            await box.finish(runtime, spec)
            spec_log.append(Path(spec.log))

    asyncio.run(body())
    log = spec_log[0]
    names = sorted(path.name for path in log.parent.iterdir())
    assert names == [log.name, f"{log.name}.1", f"{log.name}.2"]
    kept = whole_lines(log.with_name(f"{log.name}.{n}") for n in (2, 1))
    kept += whole_lines([log])
    assert kept[1:] == [str(n) for n in range(int(kept[1]), 20001)]
    assert all(path.stat().st_size <= 100_000 for path in log.parent.iterdir())


def test_a_renamed_directory_of_the_image_is_copied_and_not_redirected(box: Box) -> None:
    script = "mkdir /a; mv /etc /moved 2>/dev/null; grep ' / overlay' /proc/self/mounts"
    _, output = box.finished("sh", "-c", script)
    assert "redirect_dir=on" not in output
    assert "metacopy=on" not in output
    if Path("/sys/module/overlay/parameters/metacopy").exists():
        assert "redirect_dir=nofollow" in output


def test_an_init_shows_the_program_and_nothing_of_the_host(box: Box) -> None:
    script = "cat /proc/1/cmdline | tr '\\0' ' '; echo; cat /proc/1/environ | tr -d '\\0' | wc -c"
    _, output = box.finished("sh", "-c", script, init=True, privileged=True)
    first, last = output.splitlines()
    assert first.startswith("/sbin/pycompose-init -- sh -c cat")
    assert "python" not in first
    assert last.strip() == "0"


def test_program_probe_and_children_are_in_the_containers_group_everywhere(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec("sleep", "100")
            await runtime.create(spec)
            state = await runtime.start(spec.id)
            own = Path(f"/proc/{state.pid}/cgroup").read_text()
            ours = [line for line in own.splitlines() if line.endswith(spec.id)]
            assert len(ours) >= len(find().roots())
            probe = await runtime.execute(spec.id, ExecSpec(argv=("cat", "/proc/self/cgroup")))
            inside = await runtime.execute(spec.id, ExecSpec(argv=("cat", "/proc/1/cgroup")))
            assert probe.output == inside.output
            assert f"/{box.project}/" not in probe.output

    asyncio.run(body())


def test_an_unfinished_line_is_not_joined_to_the_next_run(box: Box) -> None:
    async def body() -> None:
        async with box.opened() as runtime:
            spec = box.spec("sh", "-c", "printf tail")
            await box.finish(runtime, spec)
            await box.finish(runtime, spec)
            assert whole_lines([Path(spec.log)]) == ["tail", "tail"]

    asyncio.run(body())
