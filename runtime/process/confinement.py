"""The compiled seccomp program of a container.

Comes in:  a ContainerSpec.
Goes out:  bytes for ``runtime.kernel.seccomp.load``, b"" for none. Compiled once per profile and
           capabilities by the process that asks for containers; those that run them only read it.
Not here:  the compiler (``runtime.policy.seccomp``).
"""

from __future__ import annotations

import os

from runtime.errors import RuntimeFailure
from runtime.policy.seccomp import program
from runtime.spec import ContainerSpec


def of(spec: ContainerSpec) -> bytes:
    """Compile what ``spec`` asks for; a privileged container is not confined. Raises RuntimeFailure."""
    profile = "unconfined" if spec.privileged else spec.seccomp
    try:
        return program(profile, spec.capabilities, os.uname().machine)
    except ValueError as error:
        raise RuntimeFailure(str(error), hint="see 'security_opt:' of the service") from None
