"""postgres: the server and its clients, initialised on first start by our docker-entrypoint.sh.

Comes in:  postgresql-N of the release.
Goes out:  a layer on the slim base with the users, paths and defaults of the official image.
Not here:  what happens when a container starts (files/postgres-entrypoint.sh).
LLVM stays out: it is 110 MB and used by the JIT compiler alone, without which postgres works.
"""

from __future__ import annotations

import re
from functools import partial

from runtime.image.assemble.recipe import PATH, Facts, Layer, Recipe, add_user, shipped
from runtime.image.assemble.recipes.debian import SLIM
from runtime.image.assemble.tree import Tree
from runtime.image.assemble.unpack import slim
from runtime.image.manifest import ImageConfig

UID = 999
DATA = "/var/lib/postgresql/data"
I18N = "usr/share/i18n"
LOCALE_SOURCES = (
    "en_US",
    "en_GB",
    "iso14651_t1",
    "iso14651_t1_common",
    "i18n",
    "i18n_ctype",
    "translit_combining",
)


def skip(name: str) -> bool:
    """Slim, and of the locale sources only what en_US.UTF-8 is made from; no JIT."""
    if name.startswith(f"{I18N}/locales/"):
        last = name.rpartition("/")[2]
        return last not in LOCALE_SOURCES and not last.startswith("translit_")
    if name.startswith(f"{I18N}/charmaps/"):
        return not name.endswith("/UTF-8.gz")
    return slim(name) or "/bitcode/" in name or name.endswith("/llvmjit.so")


def settled(name: str) -> bool:
    """Their scripts make a user, dictionaries and a cluster; the first is made here, the rest not wanted."""
    return name.startswith("postgresql") or name in ("locales", "ucf")


def before(tree: Tree, facts: Facts) -> None:
    """The user has the number of the official image before any script can pick another."""
    add_user(tree, "postgres", UID, "/var/lib/postgresql", "/bin/bash")
    # a later upgrade of the package inside the image must not make a cluster of its own
    tree.file("etc/postgresql-common/createcluster.conf", "create_main_cluster = false\n")


def after(tree: Tree, facts: Facts, *, major: str) -> None:
    """Directories, defaults and commands as people know them."""
    for name, mode in (("var/lib/postgresql", 0o1777), (DATA, 0o1777), ("run/postgresql", 0o3777)):
        tree.directory(name, mode, UID, UID)
    tree.directory("docker-entrypoint-initdb.d")
    sample = f"usr/share/postgresql/{major}/postgresql.conf.sample"
    text = tree.read(sample).replace("#listen_addresses = 'localhost'", "listen_addresses = '*'")
    tree.file(sample, re.sub(r"^#jit = on\s", "jit = off\t", text, flags=re.M))
    # Debian's wrappers choose among clusters with a perl script; there is one cluster here
    home = f"usr/lib/postgresql/{major}/bin"
    for path in sorted((tree.upper / home).iterdir()):
        tree.link(f"usr/bin/{path.name}", f"/{home}/{path.name}")
    for name in ("locales", "charmaps"):
        for path in (tree.upper / I18N / name).iterdir():
            path.unlink()
    tree.link("usr/local/bin/gosu", "/usr/sbin/gosu")
    tree.file("usr/local/bin/docker-entrypoint.sh", shipped("postgres-entrypoint.sh"), 0o755)
    tree.link("docker-entrypoint.sh", "usr/local/bin/docker-entrypoint.sh")


def config(facts: Facts, *, major: str) -> ImageConfig:
    """Environment, entry point, volume, port and stop signal of the official image."""
    return ImageConfig(
        env=(
            f"PATH={PATH}:/usr/lib/postgresql/{major}/bin",
            f"GOSU_VERSION={facts.upstream('gosu')}",
            "LANG=en_US.utf8",
            f"PG_MAJOR={major}",
            f"PG_VERSION={facts.version(f'postgresql-{major}')}",
            f"PGDATA={DATA}",
        ),
        entrypoint=("docker-entrypoint.sh",),
        cmd=("postgres",),
        volumes=(DATA,),
        exposed_ports=("5432/tcp",),
        stop_signal="SIGINT",
    )


def postgres(codename: str, major: str, *, llvm: str, title: str) -> Recipe:
    """The recipe of ``postgres:<major>``."""
    layer = Layer(
        packages=(f"postgresql-{major}", "gosu", "locales", "libnss-wrapper", "xz-utils", "zstd"),
        hollow=(llvm, "ssl-cert"),
        skip=skip,
        settled=settled,
        before=before,
        script="localedef -i en_US -c -f UTF-8 -A /usr/share/locale/locale.alias en_US.UTF-8",
        after=partial(after, major=major),
    )
    return Recipe(
        title=title,
        codename=codename,
        layers=(SLIM, layer),
        main=f"postgresql-{major}",
        config=partial(config, major=major),
    )
