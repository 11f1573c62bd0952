"""node: the interpreter and npm, usable as in the official image.

Comes in:  nodejs and npm of the release.
Goes out:  a layer on the slim base, with the user ``node`` and our docker-entrypoint.sh.
Not here:  a compiler (node:N-slim has none); node:N adds one, and what native modules are made with.

Debian's npm wants webpack, which npm itself never loads and which brings 200 packages of tools with it: it
stays out, as do, in the slim image, the parts for native modules. There is no yarn: Debian's needs babel.
"""

from __future__ import annotations

from runtime.image.assemble.recipe import PATH, Facts, Layer, Recipe, add_user, shipped
from runtime.image.assemble.recipes.certificates import PACKAGE, REHASH, trust
from runtime.image.assemble.recipes.debian import SLIM
from runtime.image.assemble.tree import Tree
from runtime.image.assemble.unpack import slim
from runtime.image.manifest import ImageConfig

UID = 1000
TOOLS = ("node", "nodejs", "npm", "npx", "corepack")
BUILD = ("build-essential", "python3", "git", "curl", "wget", "procps")
NATIVE = ("gyp", "libnode-dev", "python3")


def skip(name: str) -> bool:
    """Slim, and no translations or manuals of npm."""
    return slim(name) or name.startswith(("usr/share/nodejs/npm/docs/", "usr/share/nodejs/npm/man/"))


def settled(name: str) -> bool:
    """Their scripts register alternatives and links for editors."""
    return name == PACKAGE or name.startswith("libjs-")


def before(tree: Tree, facts: Facts) -> None:
    """The user, the authorities, commands where people look for them, the entry point."""
    trust(tree)
    add_user(tree, "node", UID, "/home/node", "/bin/bash")
    tree.directory("home/node", 0o755, UID, UID)
    for name in TOOLS:
        if tree.has(f"usr/bin/{name}"):
            tree.link(f"usr/local/bin/{name}", f"/usr/bin/{name}")
    tree.directory("usr/local/lib/node_modules")
    tree.file("usr/local/bin/docker-entrypoint.sh", shipped("node-entrypoint.sh"), 0o755)


def config(facts: Facts) -> ImageConfig:
    """As the official image, but for yarn."""
    return ImageConfig(
        env=(f"PATH={PATH}", f"NODE_VERSION={facts.upstream('nodejs')}"),
        entrypoint=("docker-entrypoint.sh",),
        cmd=("node",),
    )


def node(codename: str, *, small: bool, title: str) -> Recipe:
    """The recipe of ``node:<version>-slim``, or with ``small=False`` of the one that can compile."""
    layer = Layer(
        packages=("nodejs", "npm", PACKAGE, *(() if small else BUILD)),
        hollow=("webpack", *(NATIVE if small else ())),
        skip=skip,
        settled=settled,
        before=before,
        script=REHASH,
    )
    return Recipe(title=title, codename=codename, layers=(SLIM, layer), main="nodejs", config=config)
