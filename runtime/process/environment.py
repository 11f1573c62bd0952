"""What a process of ours that outlives its caller keeps of the caller's environment.

Comes in:  the environment of a command.
Goes out:  a smaller one.
Not here:  the variables of containers, which come from the Compose file alone.
"""

from __future__ import annotations

from collections.abc import Mapping

_KEPT = frozenset({"PATH", "HOME", "TZ", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR"})
_OURS = "PYCOMPOSE_"


def own_environment(caller: Mapping[str, str]) -> dict[str, str]:
    """Keep the locale, the paths and our own settings.

    Dropped are secrets, such as the tokens of a CI job, because containers start as forks of these processes,
    and whatever changes which code runs (LD_PRELOAD, PYTHONPATH, MALLOC_ options ...).
    """
    return {name: value for name, value in caller.items() if name in _KEPT or name.startswith(_OURS)}
