"""redis: the server as the official image runs it.

Comes in:  redis-server of the release.
Goes out:  a layer on the slim base.
Not here:  what happens when a container starts (files/redis-entrypoint.sh).
"""

from __future__ import annotations

from runtime.image.assemble.recipe import PATH, Facts, Layer, Recipe, add_user, shipped
from runtime.image.assemble.recipes.debian import SLIM
from runtime.image.assemble.tree import Tree
from runtime.image.assemble.unpack import slim
from runtime.image.manifest import ImageConfig

UID = 999


def before(tree: Tree, facts: Facts) -> None:
    """User, data directory and entry point."""
    add_user(tree, "redis", UID, "/home/redis", "/bin/sh")
    tree.directory("data", 0o755, UID, UID)
    tree.link("usr/local/bin/gosu", "/usr/sbin/gosu")
    for name in (
        "redis-server",
        "redis-cli",
        "redis-benchmark",
        "redis-check-aof",
        "redis-check-rdb",
        "redis-sentinel",
    ):
        tree.link(f"usr/local/bin/{name}", f"/usr/bin/{name}")
    tree.file("usr/local/bin/docker-entrypoint.sh", shipped("redis-entrypoint.sh"), 0o755)


def settled(name: str) -> bool:
    """Their scripts make a user and register a service."""
    return name.startswith("redis")


def config(facts: Facts) -> ImageConfig:
    """As the official image."""
    return ImageConfig(
        env=(
            f"PATH={PATH}",
            f"GOSU_VERSION={facts.upstream('gosu')}",
            f"REDIS_VERSION={facts.upstream('redis-server')}",
        ),
        entrypoint=("docker-entrypoint.sh",),
        cmd=("redis-server",),
        working_dir="/data",
        volumes=("/data",),
        exposed_ports=("6379/tcp",),
    )


def redis(codename: str, *, title: str) -> Recipe:
    """The recipe of ``redis``."""
    layer = Layer(packages=("redis-server", "gosu"), skip=slim, settled=settled, before=before)
    return Recipe(title=title, codename=codename, layers=(SLIM, layer), main="redis-server", config=config)
