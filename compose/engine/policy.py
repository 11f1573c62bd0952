"""What ``pull_policy`` and the flags of ``up``, ``run`` and ``pull`` mean for the image of one service. Pure.

Comes in:  a Service, whether its image is here and since when, the flags.
Goes out:  a Decision, or the reason to leave an image alone.
Not here:  pulling and building (images, registries).
Source: Compose Specification, pull_policy; docker compose 2.40, pkg/compose/pull.go and build.go.
"""

from __future__ import annotations

import re
from enum import Enum

from compose.errors import ComposeError
from compose.model.service import Service

_EVERY = re.compile(r"every_((?:[0-9]+[wdhms])+)")
_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_AGES = {"daily": 86400.0, "weekly": 604800.0, "refresh": 0.0}


class Decision(Enum):
    """What has to happen before a service can be created.

    USE: the image that is here. PULL: ask the registry. BUILD: make it. REFUSE: neither here nor to be got.
    """

    USE = "use"
    PULL = "pull"
    BUILD = "build"
    REFUSE = "refuse"


def age(policy: str) -> float | None:
    """Seconds after which ``daily``, ``weekly``, ``every_1d12h`` look again; None for other policies.

    Raises ComposeError for a duration that is none.
    """
    if policy in _AGES:
        return _AGES[policy]
    if not policy.startswith("every_"):
        return None
    match = _EVERY.fullmatch(policy)
    if match is None:
        raise ComposeError(
            f"'{policy}' is not a pull policy", hint="write every_ and a duration such as 12h or 1w2d"
        )
    return float(sum(int(n) * _SECONDS[u] for n, u in re.findall(r"(\d+)([wdhms])", match[1])))


def effective(service: Service, flag: str, *, build: bool = False) -> str:
    """The policy that counts: ``--build`` for what can be built, else ``--pull``, else the file's; "" for the
    default."""
    if build and service.build is not None:
        return "build"
    found = service.pull_policy if flag in ("", "policy") else flag
    return "missing" if found == "if_not_present" else found


def decide(
    service: Service,
    policy: str,
    *,
    here: bool,
    looked: float,
    now: float,
    no_build: bool = False,
    pulled: bool = False,
) -> Decision:
    """What to do for one service.

    here:   whether the store has its image. looked: when it was last named or looked up, seconds since the
            epoch.
    pulled: whether a pull was tried by this decision already; then it is not decided again.
    """
    if service.image and not pulled and _pulls(policy, here=here, expired=_expired(policy, looked, now)):
        return Decision.PULL
    if service.build is not None and not no_build and (not here or policy == "build"):
        return Decision.BUILD
    return Decision.USE if here else Decision.REFUSE


def _pulls(policy: str, *, here: bool, expired: bool) -> bool:
    if policy in ("never", "build"):
        return False
    if policy == "always":
        return True
    if age(policy) is not None:
        return not here or expired
    return not here  # what can be built is looked for first as well


def _expired(policy: str, looked: float, now: float) -> bool:
    limit = age(policy)
    return limit is not None and now >= looked + limit


def skipped(service: Service, policy: str, *, here: bool, ignore_buildable: bool = False) -> str:
    """Why ``pull`` leaves the image of a service alone, "" when it pulls it.

    policy: of the flag ``--policy`` or the file. ``latest`` is looked up even when it only has to be there.
    """
    if not service.image:
        return "No image to be pulled"
    if policy in ("never", "build"):
        return f"Its pull policy is {policy}"
    if policy == "missing" and here and not _is_latest(service.image):
        return "Image is already present locally"
    if service.build is not None and ignore_buildable:
        return "Image can be built"
    return ""


def _is_latest(image: str) -> bool:
    last = image.rpartition("/")[2]
    return "@" not in last and (":" not in last or last.endswith(":latest"))
