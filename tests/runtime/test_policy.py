"""Decisions without effects: capabilities, users, restart, health."""

from __future__ import annotations

import pytest

from runtime.policy import capabilities, health, restart, users
from runtime.policy.health import HealthSpec, HealthState
from runtime.policy.sysctls import own_sysctl
from runtime.spec import ExecResult, ExitRecord

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n#note\nbroken\n"
GROUP = "root:x:0:\nweb:x:1000:\nstaff:x:50:web,other\n"


def test_the_default_has_fourteen_capabilities() -> None:
    assert len(capabilities.final()) == 14
    assert capabilities.mask(capabilities.final()) == 0xA80425FB


def test_adding_dropping_and_all() -> None:
    assert "NET_ADMIN" in capabilities.final(add=["cap_net_admin"])
    assert "CHOWN" not in capabilities.final(drop=["CHOWN"])
    assert capabilities.final(add=["NET_RAW"], drop=["ALL"]) == ("NET_RAW",)
    assert len(capabilities.final(add=["ALL"], drop=["SYS_ADMIN"])) == len(capabilities.NAMES) - 1
    assert set(capabilities.final(privileged=True)) == set(capabilities.NAMES)
    with pytest.raises(ValueError, match="'CAP_FLY' is no capability"):
        capabilities.final(add=["CAP_FLY"])


def test_sysctls_of_the_host_are_not_the_containers() -> None:
    own = [
        own_sysctl(name, network="private", ipc="private") for name in ("net.core.somaxconn", "kernel.shmmax")
    ]
    assert own == [True, True]
    assert not own_sysctl("net.core.somaxconn", network="host", ipc="private")
    assert not own_sysctl("kernel.shmmax", network="private", ipc="host")
    for name in ("vm.swappiness", "kernel.panic", "net...kernel.panic", "fs.file-max"):
        assert not own_sysctl(name, network="private", ipc="private"), name


def test_bits_have_names() -> None:
    assert capabilities.named(1 << 21 | 1) == ["CHOWN", "SYS_ADMIN"]


@pytest.mark.parametrize(
    ("asked", "extra", "found"),
    [
        ("", (), (0, 0, (0,), "/root")),
        ("web", (), (1000, 1000, (1000, 50), "/home/web")),
        ("1000", (), (1000, 1000, (1000, 50), "/home/web")),
        ("web:staff", (), (1000, 50, (50,), "/home/web")),
        ("4711", (), (4711, 0, (0,), "")),
        ("4711:12", ("staff", "77"), (4711, 12, (12, 50, 77), "")),
    ],
)
def test_users_are_looked_up_in_the_image(
    asked: str, extra: tuple[str, ...], found: tuple[object, ...]
) -> None:
    assert tuple(users.look_up(asked, extra, PASSWD, GROUP)) == found


@pytest.mark.parametrize("asked", ["ghost", "web:ghosts", "99999999999", "-1"])
def test_an_unknown_user_or_group_is_an_error(asked: str) -> None:
    with pytest.raises(users.UnknownUser):
        users.look_up(asked, (), PASSWD, GROUP)


def test_an_image_without_passwd_has_root_all_the_same() -> None:
    assert tuple(users.look_up("", (), "", "")) == (0, 0, (0,), "")


@pytest.mark.parametrize(
    ("policy", "code", "attempts", "ran_for", "stopped", "delay"),
    [
        ("no", 1, 0, 0.0, False, None),
        ("", 1, 0, 0.0, False, None),
        ("always", 0, 0, 0.0, False, 0.1),
        ("always", 0, 3, 0.0, False, 0.8),
        ("always", 0, 3, 10.0, False, 0.1),
        ("always", 0, 40, 0.0, False, 60.0),
        ("always:2", 0, 1, 0.0, False, 0.2),
        ("always:2", 0, 2, 0.0, False, None),
        ("unless-stopped", 1, 0, 0.0, True, None),
        ("on-failure", 0, 0, 0.0, False, None),
        ("on-failure", 1, 9, 60.0, False, 0.1),
        ("on-failure:3", 1, 2, 0.0, False, 0.4),
        ("on-failure:3", 1, 3, 0.0, False, None),
        ("on-failure", None, 0, 0.0, False, 0.1),
    ],
)
def test_restart(
    policy: str, code: int | None, attempts: int, ran_for: float, stopped: bool, delay: float | None
) -> None:
    assert restart.decide(policy, ExitRecord(code=code), attempts, ran_for, stopped) == pytest.approx(delay)


def probe(spec: HealthSpec, codes: list[int], until: float) -> tuple[HealthState, list[float]]:
    """Run probes that take no time; the last code repeats. Returns the state and when each was made."""
    state, delay = health.next_state(spec, HealthState(), None, 0.0)
    now, times = 0.0, []
    while (now := now + delay) <= until:
        code = codes.pop(0) if len(codes) > 1 else codes[0]
        times.append(now)
        state, delay = health.next_state(spec, state, ExecResult(code=code), now)
    return state, times


def test_the_first_probe_is_at_once_and_success_is_healthy() -> None:
    state, times = probe(HealthSpec(test=("CMD", "true"), interval=5), [0], 11)
    assert (state.status, times) == ("healthy", [0, 5, 10])


def test_before_the_first_success_probes_come_quickly() -> None:
    state, times = probe(HealthSpec(test=("CMD",), interval=1), [1, 1, 1, 1, 0], 1.0)
    assert state.status == "healthy"
    assert times[4] < 0.2


def test_nobody_is_unhealthy_earlier_than_docker_says() -> None:
    spec = HealthSpec(test=("CMD",), interval=2, retries=3)
    assert probe(spec, [1], 5.9)[0].status == "starting"
    assert probe(spec, [1], 12)[0].status == "unhealthy"


def test_failures_in_the_start_period_do_not_count() -> None:
    spec = HealthSpec(test=("CMD",), interval=1, retries=1, start_period=60)
    assert probe(spec, [1], 59)[0].status == "starting"
    assert probe(spec, [1], 70)[0].status == "unhealthy"


def test_a_healthy_one_needs_retries_failures_and_recovers_with_one_success() -> None:
    spec = HealthSpec(test=("CMD",), interval=1, retries=2)
    state, _ = probe(spec, [0, 1], 1.5)
    assert (state.status, state.failing) == ("healthy", 1)
    state, delay = health.next_state(spec, state, ExecResult(code=1), 2)
    assert (state.status, delay) == ("unhealthy", 1)
    state, _ = health.next_state(spec, state, ExecResult(code=0), 3)
    assert (state.status, state.failing, len(state.log)) == ("healthy", 0, 4)
