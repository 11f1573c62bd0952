"""busybox: one static program under some 250 names, on nothing.

Comes in:  busybox-static of the release.
Goes out:  a single small layer with no dpkg in it.
Not here:  anything else.
"""

from __future__ import annotations

from runtime.image.assemble.recipe import PATH, Facts, Layer, Recipe
from runtime.image.assemble.tree import Tree
from runtime.image.manifest import ImageConfig

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUP = """\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
wheel:x:10:root
mail:x:8:
www-data:x:33:
shadow:x:42:
users:x:100:
nobody:x:65534:
"""


def skip(name: str) -> bool:
    """Only the program itself."""
    return name not in ("bin/busybox", "usr/bin/busybox")


def before(tree: Tree, facts: Facts) -> None:
    """The few files of a root."""
    if not tree.has("bin/busybox"):
        tree.file("bin/busybox", (tree.upper / "usr/bin/busybox").read_bytes(), 0o755)
        tree.remove("usr/bin/busybox")
    for name in (
        "dev",
        "etc",
        "home",
        "proc",
        "sys",
        "usr/bin",
        "usr/sbin",
        "var/spool/mail",
        "var/www",
        "run",
    ):
        tree.directory(name)
    tree.directory("root", 0o700)
    for name in ("tmp", "var/tmp"):
        tree.directory(name, 0o1777)
    tree.directory("home", 0o755, 65534, 65534)
    tree.file("etc/passwd", PASSWD)
    tree.file("etc/group", GROUP)
    tree.file(
        "etc/shadow",
        "".join(f"{line.split(':')[0]}:*:19000:0:99999:7:::\n" for line in PASSWD.splitlines()),
        0o640,
    )
    tree.link("bin/sh", "busybox")


def config(facts: Facts) -> ImageConfig:
    """As the official image."""
    return ImageConfig(env=(f"PATH={PATH}",), cmd=("sh",))


def busybox(codename: str, *, title: str) -> Recipe:
    """The recipe of ``busybox``."""
    layer = Layer(
        packages=("busybox-static",),
        skip=skip,
        settled=lambda name: True,
        before=before,
        script="/bin/busybox --install -s /bin",
        has_dpkg=False,
    )
    return Recipe(title=title, codename=codename, layers=(layer,), main="busybox-static", config=config)
