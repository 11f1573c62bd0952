"""What pull policies and their flags mean, against the behaviour of docker compose 2.40."""

from __future__ import annotations

import pytest

from compose.cli.speed import Speed, left
from compose.engine.images import push_names
from compose.engine.policy import Decision, age, decide, effective, skipped
from compose.errors import ComposeError
from compose.model.service import Build, Service

DAY = 86400.0
USE, PULL, BUILD, REFUSE = Decision.USE, Decision.PULL, Decision.BUILD, Decision.REFUSE


def service(
    *, image: str = "x:1", build: bool = False, policy: str = "", tags: tuple[str, ...] = ()
) -> Service:
    told = Build(context=".", tags=tags) if build else None
    return Service(name="web", image=image, build=told, pull_policy=policy)


@pytest.mark.parametrize(
    "policy,build,missing,here",
    [
        ("", False, PULL, USE),
        ("missing", False, PULL, USE),
        ("always", False, PULL, PULL),
        ("never", False, REFUSE, USE),
        ("build", False, REFUSE, USE),
        ("daily", False, PULL, USE),
        ("", True, PULL, USE),
        ("missing", True, PULL, USE),
        ("always", True, PULL, PULL),
        ("never", True, BUILD, USE),
        ("build", True, BUILD, BUILD),
        ("daily", True, PULL, USE),
    ],
)
def test_every_policy(policy: str, build: bool, missing: Decision, here: Decision) -> None:
    one = service(build=build, policy=policy)
    asked = effective(one, "")
    assert decide(one, asked, here=False, looked=0, now=100) is missing
    assert decide(one, asked, here=True, looked=100, now=100) is here


def test_after_a_pull_that_failed_it_is_built() -> None:
    one = service(build=True, policy="always")
    assert decide(one, "always", here=False, looked=0, now=0, pulled=True) is BUILD
    assert decide(one, "always", here=True, looked=0, now=0, pulled=True) is USE
    assert decide(service(), "always", here=False, looked=0, now=0, pulled=True) is REFUSE


def test_without_image_nothing_is_pulled() -> None:
    assert decide(service(image="", build=True), "always", here=False, looked=0, now=0) is BUILD


def test_no_build_never_builds() -> None:
    one = service(build=True)
    assert decide(one, "missing", here=False, looked=0, now=0, no_build=True) is PULL
    assert decide(one, "missing", here=False, looked=0, now=0, no_build=True, pulled=True) is REFUSE
    assert decide(one, "build", here=True, looked=0, now=0, no_build=True) is USE


@pytest.mark.parametrize(
    "policy,seconds",
    [
        ("daily", DAY),
        ("weekly", 7 * DAY),
        ("refresh", 0.0),
        ("every_12h", DAY / 2),
        ("every_1w2d", 9 * DAY),
        ("every_1h30m10s", 5410.0),
        ("always", None),
        ("", None),
    ],
)
def test_how_long_an_image_stays_fresh(policy: str, seconds: float | None) -> None:
    assert age(policy) == seconds


@pytest.mark.parametrize("policy", ["every_", "every_x", "every_1y", "every_1.5h", "every_12", "every_-1h"])
def test_a_duration_that_is_none_is_refused(policy: str) -> None:
    with pytest.raises(ComposeError, match="not a pull policy"):
        age(policy)


def test_an_image_is_looked_up_again_when_its_time_is_over() -> None:
    one = service(policy="every_1h")
    assert decide(one, "every_1h", here=True, looked=1000, now=1000 + 3599) is USE
    assert decide(one, "every_1h", here=True, looked=1000, now=1000 + 3600) is PULL
    assert decide(one, "every_1h", here=False, looked=1000, now=1000) is PULL


def test_flags_come_over_the_file() -> None:
    one = service(build=True, policy="daily")
    assert effective(one, "") == effective(one, "policy") == "daily"
    assert effective(one, "always") == "always"
    assert effective(one, "always", build=True) == "build"
    assert effective(service(policy="if_not_present"), "") == "missing"
    assert effective(service(), "always", build=True) == "always"


@pytest.mark.parametrize(
    "image,policy,here,why",
    [
        ("", "", False, "No image to be pulled"),
        ("x:1", "never", False, "Its pull policy is never"),
        ("x:1", "build", False, "Its pull policy is build"),
        ("x:1", "missing", True, "Image is already present locally"),
        ("x:1", "missing", False, ""),
        ("x", "missing", True, ""),
        ("r:5000/x", "missing", True, ""),
        ("x:latest", "missing", True, ""),
        ("r:5000/x:2", "missing", True, "Image is already present locally"),
        ("x:1", "", True, ""),
        ("x:1", "always", True, ""),
        ("x:1", "daily", True, ""),
    ],
)
def test_what_pull_leaves_alone(image: str, policy: str, here: bool, why: str) -> None:
    assert skipped(service(image=image), policy, here=here) == why


def test_buildable_images_are_left_alone_when_asked() -> None:
    assert skipped(service(build=True), "", here=False) == ""
    assert skipped(service(build=True), "", here=False, ignore_buildable=True) == "Image can be built"
    assert skipped(service(), "", here=False, ignore_buildable=True) == ""


def test_only_what_is_built_and_named_is_pushed() -> None:
    assert push_names(service(build=True, tags=("x:2", "x:1"))) == ["x:1", "x:2"]
    assert push_names(service()) == push_names(service(image="", build=True)) == []


# --- speed


def test_speed_and_time_left_come_after_half_a_second() -> None:
    speed = Speed()
    assert speed.words("a", 0, 10_000_000, 0.0) == "0B/10MB"
    assert speed.words("a", 400_000, 10_000_000, 0.4) == "400kB/10MB"
    assert speed.words("a", 2_000_000, 10_000_000, 1.0) == "2MB/10MB  2MB/s  4s left"
    assert speed.words("b", 0, 5, 1.0) == "0B/5B"
    assert speed.words("a", 10_000_000, 10_000_000, 2.0) == "10MB/10MB"


def test_speed_is_that_of_the_last_seconds() -> None:
    speed = Speed()
    for second in range(20):
        text = speed.words("a", min(second, 10) * 1_000_000, 20_000_000, float(second))
    assert text == "10MB/20MB  stalled"
    assert speed.words("a", 0, 20_000_000, 30.0) == "0B/20MB"


def test_what_takes_long_is_told_now_and_then() -> None:
    speed = Speed()
    assert [second for second in range(20) if speed.is_due("a", float(second))] == [5, 10, 15]


def test_times_left() -> None:
    assert [left(n) for n in (0.1, 59, 61, 600, 3600, 9000)] == [
        "1s",
        "59s",
        "1m01s",
        "10m00s",
        "1h00m",
        "2h30m",
    ]
