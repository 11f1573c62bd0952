"""Durations, sizes and commands the way docker prints them. Pure.

Source: docker/go-units HumanDuration and HumanSize (as observed in the output of docker 28).
"""

from collections.abc import Sequence


def duration(seconds: float) -> str:
    """A rough length of time in words: "Less than a second", "3 minutes", "About an hour"."""
    whole = int(seconds)
    minutes, hours = whole // 60, int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    for limit, unit, name in ((336, 24, "days"), (1440, 168, "weeks"), (17520, 720, "months")):
        if hours < limit:
            return f"{hours // unit} {name}"
    return f"{hours // 8760} years"


def size(count: float) -> str:
    """Bytes with decimal units and at most four significant digits: "1.98MB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.4g}{unit}" if count >= 1000 else f"{count:.3g}{unit}"


def command(argv: Sequence[str], *, whole: bool = False) -> str:
    """A command in double quotes, cut to twenty characters unless ``whole``."""
    text = " ".join(_quoted(word) for word in argv)
    if not whole and len(text) > 20:
        text = text[:19] + "…"
    return (
        '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
    )


_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%_-+=:,./")


def _quoted(word: str) -> str:
    if word and _SAFE.issuperset(word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"
