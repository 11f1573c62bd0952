"""Stop importing, before the root becomes a container's.

Comes in:  nothing.
Goes out:  from here on a module that is not loaded yet cannot be found, other than built-in ones.
Why:       a late import would be looked for by path, and those paths lead into the container now: code of
           its choice would run with the rights of the host.
"""

from __future__ import annotations

import sys
from importlib.machinery import BuiltinImporter, FrozenImporter


def close() -> None:
    """Keep the importers that read no file. For a process that is about to enter a container."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder in (BuiltinImporter, FrozenImporter)]
