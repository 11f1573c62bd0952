"""keyctl(2): the session keyring of a process.

Comes in:  nothing.
Goes out:  nothing; the caller has a keyring of its own.
"""

from __future__ import annotations

import errno

from runtime.kernel.libc import syscall

_JOIN_SESSION_KEYRING = 1


def join_session_keyring() -> None:
    """keyctl(2), KEYCTL_JOIN_SESSION_KEYRING: an anonymous, empty session keyring instead of the caller's.

    Nothing happens on a kernel without keys (ENOSYS) or where the caller is confined itself (EPERM): then
    keyctl(2) is out of the container's reach too. Raises OSError otherwise (EDQUOT).
    """
    try:
        syscall("keyctl", _JOIN_SESSION_KEYRING, None)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
