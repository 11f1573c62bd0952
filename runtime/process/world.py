"""Leave the read-only view that a process of ours was started in.

Comes in:  the last two words of its command line, as ``fresh.start`` gave them.
Goes out:  the file system as the starter sees it.
Not here:  making the view (``runtime.kernel.views``), starting a process in it (``fresh``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from runtime.kernel.views import change_root


def enter(words: Sequence[str]) -> None:
    """Change to the real root. Every import comes before: what is mapped later can be changed from inside.

    words: the arguments of ``main``; the last two are the descriptors of the real root and of the view.
    """
    real, view = int(words[-2]), int(words[-1])
    change_root(real)
    os.close(real)
    os.close(view)
