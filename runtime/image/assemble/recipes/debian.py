"""debian: the minimal system that the other recipes build on.

Comes in:  the packages that are Essential or required, and apt.
Goes out:  the base layer, in the full form (documents, manuals, translations) and the slim one.
Not here:  what is on top.
The set is that of debian:bookworm (88 packages). Source: debootstrap(8) minbase; dpkg(1) path-exclude.
"""

from __future__ import annotations

from runtime.image.assemble.fetch import shown
from runtime.image.assemble.recipe import PATH, Facts, Layer, Recipe
from runtime.image.assemble.tree import Tree
from runtime.image.assemble.unpack import prepare, slim
from runtime.image.manifest import ImageConfig

MERGED = ("bin", "sbin", "lib", "lib64")
EMPTY = (
    "boot",
    "dev",
    "home",
    "media",
    "mnt",
    "opt",
    "proc",
    "run",
    "srv",
    "sys",
    "usr/local/bin",
    "var/tmp",
)

EXCLUDES = """\
# manuals, translations and documents stay out of a slim image, but for licences
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/groff/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/linda/*
path-exclude /usr/share/locale/*
path-include /usr/share/locale/locale.alias
"""
CLEAN = """\
// a layer keeps no downloaded packages and no binary caches
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Apt::AutoRemove::SuggestsImportant "false";
"""
DATES = """\
// the archive that this image was made from is read without looking at expiry dates
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "false";
"""


# Their scripts restart services, add a user that is there, enable timers of systemd: 1.8 s for nothing.
SETTLED = ("libc6", "apt", "e2fsprogs")


def settled(name: str) -> bool:
    """Packages of the base whose postinst has nothing to do in a new root without an init."""
    return name in SETTLED


def layout(tree: Tree, facts: Facts) -> None:
    """What must be there before the first file: merged /usr, modes of shared directories, dpkg's database."""
    for name in MERGED:
        tree.directory(f"usr/{name}")
        tree.link(name, f"usr/{name}")
    for name in EMPTY:
        tree.directory(name)
    tree.directory("root", 0o700)
    for name in ("tmp", "var/tmp"):
        tree.directory(name, 0o1777)
    prepare(tree)


def before(tree: Tree, facts: Facts) -> None:
    """Users, groups and the few alternatives that scripts need before their owners are configured."""
    for name in ("passwd", "group"):
        tree.file(f"etc/{name}", tree.read(f"usr/share/base-passwd/{name}.master"))
    tree.link("usr/bin/awk", "mawk")  # mawk's own script makes an alternative of it
    if not tree.has("usr/bin/sh"):
        tree.link("usr/bin/sh", "dash")
    tree.file(
        "usr/sbin/policy-rc.d",
        "#!/bin/sh\n# no service is started while packages are installed\nexit 101\n",
        0o755,
    )
    tree.file("etc/dpkg/dpkg.cfg.d/docker-apt-speedup", "force-unsafe-io\n")
    tree.file("etc/apt/apt.conf.d/docker-clean", CLEAN)
    if not facts.check_dates:
        tree.file("etc/apt/apt.conf.d/docker-no-dates", DATES)
    tree.file("etc/apt/sources.list.d/debian.sources", apt_sources(facts))
    tree.file("etc/hostname", "localhost\n")
    tree.file("etc/resolv.conf", "")
    tree.file("etc/fstab", "# none in a container\n")


def before_slim(tree: Tree, facts: Facts) -> None:
    """As ``before``; later installations leave out the same files."""
    before(tree, facts)
    tree.file("etc/dpkg/dpkg.cfg.d/docker", EXCLUDES)


def after(tree: Tree, facts: Facts) -> None:
    """What must not stay: logs with the date of today, the machine's identity."""
    for name in (
        "var/log/dpkg.log",
        "var/log/alternatives.log",
        "var/cache/ldconfig/aux-cache",
        "var/lib/dpkg/status-old",
    ):
        tree.remove(name)
    tree.file("etc/machine-id", "")


def apt_sources(facts: Facts) -> str:
    """Where apt inside the image finds packages: the mirror it was made from, without names and passwords."""
    main, security = (shown(uri) for uri in facts.mirror)
    key = "/usr/share/keyrings/debian-archive-keyring.gpg"
    tail = f"Components: main\nSigned-By: {key}\n"
    return (
        f"Types: deb\nURIs: {main}\nSuites: {facts.codename} {facts.codename}-updates\n{tail}\n"
        f"Types: deb\nURIs: {security}\nSuites: {facts.codename}-security\n{tail}"
    )


def config(facts: Facts) -> ImageConfig:
    """That of the official image: a PATH, and bash."""
    return ImageConfig(env=(f"PATH={PATH}",), cmd=("bash",))


PACKAGES = ("apt", "usr-is-merged", "debian-archive-keyring")
FULL = Layer(packages=PACKAGES, required=True, settled=settled, layout=layout, before=before, after=after)
SLIM = Layer(
    packages=PACKAGES,
    required=True,
    skip=slim,
    settled=settled,
    layout=layout,
    before=before_slim,
    after=after,
)


def debian(codename: str, *, small: bool, title: str) -> Recipe:
    """The recipe of ``debian:<codename>`` or its ``-slim``."""
    return Recipe(title=title, codename=codename, layers=(SLIM if small else FULL,), config=config)
