"""Times: of files in a layer, bounded for builds that can be repeated; of images, as text.

Comes in:  the directory of a layer, SOURCE_DATE_EPOCH.
Goes out:  the same directory, no file newer than that.
Source: reproducible-builds.org/specs/source-date-epoch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

EPOCH = "SOURCE_DATE_EPOCH"


def source_date(args: Mapping[str, str]) -> float | None:
    """SOURCE_DATE_EPOCH in seconds, when it is set."""
    text = args.get(EPOCH, "")
    return float(text) if text.isdigit() else None


def iso(moment: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def seconds(text: str) -> float:
    """The opposite; 0 for what is no time."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else 0.0
    except ValueError:
        return 0.0


def clamp(directory: Path, epoch: float) -> None:
    """Set the mtime of everything below that is newer than ``epoch`` to it."""
    limit = int(epoch) * 1_000_000_000
    for here, directories, files in os.walk(os.fsencode(directory), topdown=False):
        for name in (*files, *directories):
            path = here + b"/" + name
            if os.lstat(path).st_mtime_ns > limit:
                os.utime(path, ns=(limit, limit), follow_symlinks=False)
