"""What is to be built: the words of ``build:`` and of ``docker build``, as a frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping

from runtime.spec import NOTHING, Ulimit
from schemas.frozen import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret for ``RUN --mount=type=secret``: ``value``, or what is in the host file ``file`` when that is
    None. uid, gid, mode: as ``build: secrets:`` wrote them, None when it did not."""

    file: str = ""
    value: bytes | None = field(default=None, repr=False)
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """One image to build.

    context:    absolute host directory, a Git URL (``...git#ref:directory``), or the URL of a tar archive or
                a Dockerfile.
    dockerfile: name relative to it, or absolute. dockerfile_text: the text itself, instead of a file.
    args:       values of ARG; secrets: by id. network: "" or "default", "host", "none".
    additional_contexts: name to an absolute directory, a URL as for ``context``,
                "docker-image://<reference>" or "oci-layout://<directory>[:<tag>|@<digest>]".
    extra_hosts: "name:address". platform: "" for this machine's.
    ssh:        id ("default") to the path of an agent's socket or of a private key.
    entitlements: "network.host", "security.insecure".
    cache_from, cache_to: "type=registry,ref=...", "type=local,src=...", or a bare reference.
    memory:     limit of each RUN in bytes, None for none.
    trust:      "auto" passes on the certificate authorities that the caller's environment names, "host"
                those of the machine, "none" nothing, else the path of a bundle. Only ever seen by RUN.
    environment: the caller's; proxies and certificate authorities are looked up in it.
    name:       shown with each step, such as the service's.
    volatile:   a directory in memory for secrets; "" looks for one.
    """

    context: str
    dockerfile: str = "Dockerfile"
    dockerfile_text: str = ""
    args: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    target: str = ""
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    network: str = ""
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    pull_policy: str = "auto"
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    ssh: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    extra_hosts: tuple[str, ...] = ()
    shm_size: int | None = None
    memory: int | None = None
    ulimits: tuple[Ulimit, ...] = ()
    additional_contexts: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    platform: str = ""
    privileged: bool = False
    entitlements: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    trust: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    name: str = ""
    volatile: str = ""
