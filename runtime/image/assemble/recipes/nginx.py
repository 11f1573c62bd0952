"""nginx: the server with the files where the official image has them.

Comes in:  nginx of the release, envsubst.
Goes out:  a layer on the slim base: /etc/nginx as upstream lays it out, logs to the container's output.
Not here:  what happens when a container starts (files/nginx-entrypoint.sh).
"""

from __future__ import annotations

from runtime.image.assemble.recipe import PATH, Facts, Layer, Recipe, add_user, shipped
from runtime.image.assemble.recipes.certificates import PACKAGE, REHASH, trust
from runtime.image.assemble.recipes.debian import SLIM
from runtime.image.assemble.tree import Tree
from runtime.image.assemble.unpack import slim
from runtime.image.manifest import ImageConfig

UID = 101
OURS = {
    "etc/nginx/nginx.conf": "nginx.conf",
    "etc/nginx/conf.d/default.conf": "nginx-default.conf",
    "usr/share/nginx/html/index.html": "nginx-index.html",
    "usr/share/nginx/html/50x.html": "nginx-50x.html",
}


def skip(name: str) -> bool:
    """Slim, and none of Debian's own sites."""
    return slim(name) or name.startswith(
        ("etc/nginx/sites-", "etc/nginx/conf.d/", "etc/init.d/", "etc/logrotate.d/")
    )


def settled(name: str) -> bool:
    """Their scripts make log files and a start page, and register a service."""
    return name.startswith("nginx") or name == PACKAGE


def before(tree: Tree, facts: Facts) -> None:
    """User, configuration, pages, logs and entry point."""
    trust(tree)
    add_user(tree, "nginx", UID, "/nonexistent", "/bin/false")
    for target, source in OURS.items():
        tree.file(target, shipped(source))
    tree.link("var/log/nginx/access.log", "/dev/stdout")
    tree.link("var/log/nginx/error.log", "/dev/stderr")
    tree.directory("docker-entrypoint.d")
    tree.directory("var/cache/nginx", 0o755, UID, 0)
    tree.directory("etc/nginx/templates")
    tree.link("etc/nginx/modules", "/usr/lib/nginx/modules")
    tree.file("docker-entrypoint.sh", shipped("nginx-entrypoint.sh"), 0o755)
    tree.file("docker-entrypoint.d/20-envsubst-on-templates.sh", shipped("nginx-envsubst.sh"), 0o755)


def config(facts: Facts) -> ImageConfig:
    """As the official image."""
    return ImageConfig(
        env=(f"PATH={PATH}", f"NGINX_VERSION={facts.upstream('nginx')}"),
        entrypoint=("/docker-entrypoint.sh",),
        cmd=("nginx", "-g", "daemon off;"),
        exposed_ports=("80/tcp",),
        stop_signal="SIGQUIT",
    )


def nginx(codename: str, *, title: str) -> Recipe:
    """The recipe of ``nginx``."""
    layer = Layer(
        packages=("nginx", "libnginx-mod-stream", "gettext-base", "curl", PACKAGE),
        skip=skip,
        settled=settled,
        before=before,
        script=REHASH,
    )
    return Recipe(title=title, codename=codename, layers=(SLIM, layer), main="nginx", config=config)
