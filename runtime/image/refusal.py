"""A registry's "no", told apart by what the user can do about it.

Comes in:  status, headers and body of an answer; what was asked for.
Goes out:  the error to be raised, with the registry's own words; how long to wait. Pure but for the clock.
Not here:  asking again (registry).
Source: OCI distribution-spec v1.1, Error Codes; RFC 9110, Retry-After; Docker Hub, "Usage and limits".
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from email.utils import parsedate_to_datetime

from runtime.errors import ImageNotFound, RegistryError
from runtime.image.errors import RegistryBroken, RegistryDenied, RegistryRateLimited
from runtime.image.reference import Reference

LONGEST_WAIT = 30.0  # what is worth waiting for without being asked to
_SHOWN = 5


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds until the registry wants to be asked again; None when it does not say."""
    moment = time.time() if now is None else now
    text = headers.get("retry-after", "").strip()
    if text.replace(".", "", 1).isdigit():
        return float(text)
    if text:
        try:
            return max(parsedate_to_datetime(text).timestamp() - moment, 0.0)
        except (TypeError, ValueError):
            return None
    for name in ("x-ratelimit-reset", "x-retry-after"):
        value = headers.get(name, "").strip()
        if value.isdigit():
            return max(float(value) - moment, 0.0) if float(value) > 1e9 else float(value)
    return None


def patience(headers: Mapping[str, str], attempt: int) -> float | None:
    """Seconds to wait before attempt number ``attempt`` + 1; None when that is too long to be sat out."""
    told = retry_after(headers)
    if told is None:
        return min(0.5 * 2.0**attempt, LONGEST_WAIT)
    return told if told <= LONGEST_WAIT else None


def again_at(headers: Mapping[str, str]) -> str:
    """When a limit ends, as words to be appended: "; it ends in 5 minutes (12:34:56)", or ""."""
    told = retry_after(headers)
    if told is None:
        return ""
    clock = time.strftime("%H:%M:%S", time.localtime(time.time() + told))
    return f"; it ends in {length(told)}, at {clock}"


def length(seconds: float) -> str:
    """A time to wait in words: "40 seconds", "6 minutes", "2.5 hours"."""
    for unit, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= unit or unit == 1:
            count = f"{seconds / unit:.1f}".removesuffix(".0") if unit > 1 else str(round(seconds))
            return f"{count} {name}{'' if count == '1' else 's'}"
    return ""


def words(body: bytes) -> tuple[str, str]:
    """The first error code and message of a registry's answer, made harmless for a terminal."""
    try:
        value = json.loads(body)
        first = value["errors"][0]
        code, text = str(first.get("code", "")), str(first.get("message", ""))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return "", ""
    return code, "".join(c for c in text if c.isprintable())[:200]


def refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    host: str,
    name: Reference,
    what: str,
    anonymous: bool,
    hint: str,
) -> RegistryError | ImageNotFound:
    """The error for an answer that is none. hint: how to log in. anonymous: nobody is."""
    code, text = words(body)
    said = f" ({text})" if text else ""
    if status == 404:
        return missing(host, name, what, code=code)
    if status in (401, 403):
        why = "no such image, or it wants a login" if anonymous else "the login does not suffice"
        return RegistryDenied(f"{host} denies access to '{name.familiar()}': {why}{said}", hint=hint)
    if status == 429:
        limit = _limit(headers)
        return RegistryRateLimited(
            f"{host} refuses more requests for now{again_at(headers)}{said}",
            hint=f"{limit}{hint if anonymous else 'wait'}",
        )
    kind = RegistryBroken if status >= 500 else RegistryError
    return kind(
        f"{host} answered with {status} when asked for {what} of '{name.familiar()}'{said}",
        hint="a proxy in front of it limits the size of requests" if status == 413 else "",
    )


def _limit(headers: Mapping[str, str]) -> str:
    """What Docker Hub says of its limit: "100;w=21600"."""
    count, _, rest = headers.get("ratelimit-limit", "").partition(";w=")
    if not (count.isdigit() and rest.isdigit()):
        return ""
    return f"the limit is {count} in {length(float(rest))}; "


def missing(
    host: str, name: Reference, what: str, *, code: str = "", tags: Sequence[str] = ()
) -> ImageNotFound:
    """No such image; with the nearest tags where they are known."""
    if what.startswith(("blob", "layer")):
        return ImageNotFound(f"{host} has lost {what} of '{name.familiar()}'")
    near = nearest(name.tag, tags)
    if near:
        others = f"; there are {', '.join(near[:_SHOWN])}" if len(near) > 1 else ""
        hint = f"did you mean '{name.name_with(near[0])}'?{others}"
    elif tags:
        hint = f"its tags are {', '.join(tags[:_SHOWN])}{', ...' if len(tags) > _SHOWN else ''}"
    elif code == "NAME_UNKNOWN":
        hint = "there is no repository of that name; check the spelling"
    else:
        hint = "check name and tag"
    return ImageNotFound(f"{host} has no image '{name.familiar()}'", hint=hint)


def nearest(tag: str, tags: Sequence[str]) -> list[str]:
    """Those of ``tags`` that ``tag`` may have been meant to be, the likeliest first."""
    if not tag:
        return []
    begun = sorted(
        (t for t in tags if t.startswith(tag) or tag.startswith(t)), key=lambda t: abs(len(t) - len(tag))
    )
    close = get_close_matches(tag, tags, n=_SHOWN, cutoff=0.5)
    return list(dict.fromkeys([*close, *begun]))[:_SHOWN]
