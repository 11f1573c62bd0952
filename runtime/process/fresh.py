"""Start a small Python process of ours that containers cannot change: isolated, from a read-only view.

Comes in:  a module below ``runtime.process`` with a ``main``, descriptors it gets.
Goes out:  a subprocess.Popen; in the new process ``world.enter`` leads from the view to the real file system.
Not here:  what the process does.

Containers are forks of these processes until their program runs, so /proc/<pid>/exe of a container's first
process is our interpreter. It and every library it maps are opened in a read-only view of the file system
(``runtime.kernel.views``, ADR 90), and its environment holds nothing of the caller's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from runtime.kernel.views import change_root, read_only_view, unshare_root
from runtime.process.environment import own_environment

_ROOT = str(Path(__file__).resolve().parents[2])
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from {module} import main; sys.exit(main(sys.argv[2:]))"
# Buffers of the log are larger than what malloc keeps: they go back to the kernel at once.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "131072"}


def start(
    module: str, arguments: Sequence[str], *, fds: Sequence[int], stderr: int | None = None
) -> subprocess.Popen[bytes]:
    """Run ``main(arguments)`` of ``module`` in a fresh interpreter (about 30 ms) that keeps ``fds`` open.

    ``main`` gets two words more, for ``world.enter``. Raises OSError: EPERM without CAP_SYS_ADMIN.
    """
    world = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        view = read_only_view(world)
        try:
            argv = [
                sys.executable,
                *("-I", "-S", "-B", "-X", "no_debug_ranges"),
                *("-c", _CODE.format(module=module), _ROOT),
                *(*arguments, str(world), str(view)),
            ]
            return _start_in(view, argv, (*fds, world, view), stderr)
        finally:
            os.close(view)
    finally:
        os.close(world)


def _start_in(
    view: int, argv: Sequence[str], fds: Sequence[int], stderr: int | None
) -> subprocess.Popen[bytes]:
    """Start ``argv`` with ``view`` as its root, by a thread whose root directory is its own."""
    made: list[subprocess.Popen[bytes]] = []
    failed: list[BaseException] = []

    def begin() -> None:
        try:
            unshare_root()
            change_root(view)
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr if stderr is not None else subprocess.DEVNULL,
                pass_fds=fds,
                env={**own_environment(os.environ), **_MALLOC},
                umask=0o022,
                start_new_session=True,
            )
            made.append(process)
        except BaseException as error:  # raised again in the thread that asked
            failed.append(error)

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
