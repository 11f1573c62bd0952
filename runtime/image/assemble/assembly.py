"""Make an image from Debian's packages.

Comes in:  a reference that the catalogue offers, the store, something that runs programs in a root.
Goes out:  an Image in the store, its layers shared with every other image that has them.
Not here:  where packages come from (sources, archive), what is in an image (recipes).

A layer is known by its key: the recipe, the digests of its packages and the key of what lies below. A layer
that the store has is never made again; one that another process is making is waited for.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from runtime.image import budget
from runtime.image import layer as layers
from runtime.image.assemble import archive, catalog
from runtime.image.assemble.errors import ConfigureFailed, DiskFull, NotOffered
from runtime.image.assemble.fetch import Fetcher, trim
from runtime.image.assemble.packages import Package, Packages, total
from runtime.image.assemble.recipe import PATH, VERSION, Facts, Layer, Recipe, fingerprint
from runtime.image.assemble.resolve import resolve
from runtime.image.assemble.sources import Sources, sources
from runtime.image.assemble.supply import Supply
from runtime.image.assemble.tree import Tree
from runtime.image.assemble.unpack import Unpacked
from runtime.image.manifest import History, Image, ImageConfig, host_platform
from runtime.image.progress import Events, Progress, Runner, silent
from runtime.image.store import Store
from schemas.frozen import dataclass, replace

LABEL = "io.pycompose.assembled"
ENVIRONMENT = {
    "PATH": PATH,
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DEBCONF_NOWARNINGS": "yes",
}
CONFIGURE = "dpkg --force-depends --force-unsafe-io --configure -a && ldconfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One layer to be had. hollow: recorded, not unpacked. key: its identity. title: what the user reads."""

    layer: Layer
    title: str
    key: str
    facts: Facts
    packages: tuple[Package, ...]
    hollow: tuple[Package, ...]


def assemble(
    store: Store,
    reference: str,
    runner: Runner,
    events: Events = silent,
    *,
    environment: Mapping[str, str] = os.environ,
    etc: Path = Path("/etc"),
) -> Image:
    """Make the image ``reference`` and let it have that name.

    events:      called from several threads, never from two at once.
    environment: PYCOMPOSE_DEBIAN_MIRROR, PYCOMPOSE_CHECK_VALID_UNTIL and proxies are read from it.
    Raises NotOffered, MirrorUnreachable, SignatureWrong, ArchiveStale, DigestWrong, ConfigureFailed,
    StoreFull, DiskFull.
    Nothing is kept of an image that could not be made but downloaded packages.
    """
    offer = catalog.find(reference)
    if offer is None:
        raise NotOffered(reference, catalog.closest(reference))
    recipe = offer.make()
    where = sources(recipe.codename, environment, etc)
    with ExitStack() as stack:
        stack.enter_context(_room(store.root))
        stack.enter_context(store.using())
        cache = store.root.parent / "cache" / "debian" / "pool"
        fetcher = Fetcher(cache, proxy=where.proxy, origin=where.origin)
        stack.callback(fetcher.close)
        work = Assembly(store, runner, _one_at_a_time(events), fetcher)
        steps = work.plan(recipe, where)
        _check(offer, recipe, steps[-1].facts)
        ids = work.make(steps)
        _, made = store.index.step(steps[-1].key) or ("", time.time())
        store.index.touch_steps([step.key for step in steps])
        trim(cache.parent, budget.read(environment).packages)
        return store.put_image(_config(recipe, steps, made), ids, [reference])


class Assembly:
    """The making of one image."""

    def __init__(self, store: Store, runner: Runner, events: Events, fetcher: Fetcher) -> None:
        self.store = store
        self.runner = runner
        self.events = events
        self.fetcher = fetcher

    def plan(self, recipe: Recipe, where: Sources) -> list[Step]:
        """Read the archive and decide what every layer is made of."""
        self.say(recipe.title, "Reading package lists")
        with ThreadPoolExecutor(4, thread_name_prefix="index") as pool:
            index = archive.read(where, _architecture(), self.fetcher, pool, self.note)
        steps: list[Step] = []
        for number, layer in enumerate(recipe.layers):
            last = number == len(recipe.layers) - 1
            title = recipe.title if last else f"debian:{recipe.codename}-slim"
            steps.append(_step(layer, title, recipe, where, index, steps))
        return steps

    def make(self, steps: list[Step]) -> list[str]:
        """See to it that the store has every layer; gives their diffIDs, lowest first."""
        missing = [step for step in steps if self.known(step) is None]
        for step in steps:
            if step not in missing:
                self.say(step.title, "Exists")
        meter = Meter(missing, self.events)
        supply = Supply(self.fetcher, meter.moved)
        try:
            for step in missing:
                supply.order(step.packages)
            ids: list[str] = []
            for step in steps:
                ids.append(self.known(step) or self.one(step, ids, supply))
            return ids
        finally:
            supply.close()

    def known(self, step: Step) -> str | None:
        """The diffID of the layer when the store has it."""
        found = self.store.index.step(step.key)
        return found[0] if found and self.store.has_layer(found[0]) else None

    def one(self, step: Step, below: list[str], supply: Supply) -> str:
        """Make one layer, unless somebody else makes it just now: then that one is it."""
        with self.store.locked(step.key):
            found = self.known(step)
            if found:
                return found
            with self.store.ingest() as work:
                began = time.monotonic()
                upper = self.fill(step, [self.store.layer(name) for name in below], supply, work)
                made = layers.digest(upper)
                self.store.commit_layer(upper, made.diff_id, size=made.size)
                self.store.index.put_step(step.key, made.diff_id, f"assembled {step.title}", time.time())
                size = made.size / 1e6
                self.say(step.title, f"Done ({size:.0f} MB in {time.monotonic() - began:.1f} s)")
                return made.diff_id

    def fill(self, step: Step, below: list[Path], supply: Supply, work: Path) -> Path:
        """Unpack, prepare, configure, finish: the layer as a directory."""
        upper, empty, scratch = work / "upper", work / "empty", work / "scratch"
        for path in (upper, empty, scratch):
            path.mkdir(mode=0o755)
        lower = below or [empty]
        tree = Tree(upper, below)
        step.layer.layout(tree, step.facts)
        self.unpack(step, tree, supply)
        step.layer.before(tree, step.facts)
        self.configure(step, lower, upper, scratch)
        step.layer.after(Tree(upper, below), step.facts)
        return upper

    def unpack(self, step: Step, tree: Tree, supply: Supply) -> None:
        """Put the files of every package in place."""
        unpacked = Unpacked(step.layer.settled)
        done, size = 0, total(step.packages)
        for package in step.packages:
            deb = supply.take(package)
            if step.layer.has_dpkg:
                unpacked.add(deb, tree, step.layer.skip)
            else:
                Unpacked.files(deb, tree, step.layer.skip)
            done += package.size
            self.say(step.title, "Unpacking", done, size)
        for package in step.hollow:
            unpacked.hollow(package, tree)
        if step.layer.has_dpkg:
            unpacked.write(tree)

    def configure(self, step: Step, lower: list[Path], upper: Path, scratch: Path) -> None:
        """Let dpkg run the packages' scripts, and the recipe's, inside the root. Raises ConfigureFailed."""
        self.say(step.title, "Configuring")
        parts = [CONFIGURE] if step.layer.has_dpkg else []
        script = " && ".join([*parts, *([step.layer.script] if step.layer.script else [])])
        if not script:
            return
        words: list[bytes] = []
        shell = "/bin/sh" if step.layer.has_dpkg else "/bin/busybox"
        argv = [shell, "-c", script] if step.layer.has_dpkg else [shell, "sh", "-c", script]
        code = self.runner(
            argv, layers=lower, upper=upper, scratch=scratch, env=ENVIRONMENT, output=words.append
        )
        shutil.rmtree(scratch, ignore_errors=True)
        if code != 0:
            raise ConfigureFailed(step.title, code, b"".join(words).decode("utf-8", "replace"))

    def say(self, title: str, text: str, current: int = 0, size: int = 0) -> None:
        """One change of a layer."""
        self.events(Progress(kind="layer", id=title, text=text, current=current, total=size))

    def note(self, text: str) -> None:
        """One sentence for the user."""
        self.events(Progress(kind="note", text=text))


class Meter:
    """Adds up what arrives for each layer and tells it at most ten times a second."""

    def __init__(self, steps: list[Step], events: Events) -> None:
        self._events = events
        self._step = {package.name: step for step in reversed(steps) for package in step.packages}
        self._size = {step.title: total(step.packages) for step in steps}
        self._here = {step.title: 0 for step in steps}
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()

    def moved(self, package: Package, count: int) -> None:
        """``count`` bytes of ``package`` arrived."""
        title = self._step[package.name].title
        with self._lock:
            self._here[title] += count
            here, size, now = self._here[title], self._size[title], time.monotonic()
            if here < size and now - self._told.get(title, 0.0) < 0.1:
                return
            self._told[title] = now
        text = "Downloading" if here < size else "Downloaded"
        self._events(Progress(kind="layer", id=title, text=text, current=here, total=size))


def _step(
    layer: Layer, title: str, recipe: Recipe, where: Sources, index: Packages, below: list[Step]
) -> Step:
    present = {package.name for step in below for package in (*step.packages, *step.hollow)}
    wished = [*(index.base() if layer.required else ()), *layer.packages]
    packages = resolve(wished, index, present | set(layer.hollow))
    hollow = [found for name in layer.hollow if (found := index.find(name))]
    mirror = (where.suites[0].uri, where.suites[-1].uri)
    facts = Facts(
        codename=recipe.codename,
        packages={package.name: package for package in packages},
        mirror=mirror,
        check_dates=where.check_dates,
    )
    words = [fingerprint(), below[-1].key if below else "", *mirror, str(where.check_dates)]
    words += [
        repr((layer.packages, layer.hollow, layer.script, layer.skip.__qualname__, layer.skip.__module__))
    ]
    words += sorted(package.sha256 for package in (*packages, *hollow))
    key = "assemble:" + hashlib.sha256("\n".join(words).encode()).hexdigest()
    return Step(
        layer=layer, title=title, key=key, facts=facts, packages=tuple(packages), hollow=tuple(hollow)
    )


def _check(offer: catalog.Offer, recipe: Recipe, facts: Facts) -> None:
    """A tag that names a patch release is only made from that very release. Raises NotOffered."""
    if offer.exact and facts.upstream(recipe.main) != offer.exact:
        repository = offer.reference.partition(":")[0]
        raise NotOffered(offer.reference, [f"{repository}:{facts.upstream(recipe.main)}"])


def _config(recipe: Recipe, steps: list[Step], made: float) -> ImageConfig:
    """The recipe's configuration, and what every assembled image says about itself."""
    created = datetime.fromtimestamp(int(made), UTC).isoformat().replace("+00:00", "Z")
    versions = sorted(f"{package.name}={package.version}" for step in steps for package in step.packages)
    left_out = [package.name for step in steps for package in step.hollow]
    labels = {
        LABEL: "true",
        "io.pycompose.recipe": VERSION,
        "io.pycompose.packages": " ".join(versions),
        "org.opencontainers.image.title": f"Debian stand-in for {recipe.title}",
    }
    if left_out:
        labels["io.pycompose.left-out"] = " ".join(left_out)
    history = [
        History(created_by=f"assembled from Debian packages: {step.title}", created=created) for step in steps
    ]
    return replace(
        recipe.config(steps[-1].facts),
        labels=labels,
        created=created,
        architecture=_architecture(),
        history=tuple(history),
    )


def _architecture() -> str:
    """Debian's name of this machine's architecture; the same as OCI's for those that we know."""
    return host_platform().partition("/")[2]


def _one_at_a_time(events: Events) -> Events:
    lock = threading.Lock()

    def tell(event: Progress) -> None:
        with lock:
            events(event)

    return tell


@contextmanager
def _room(path: Path) -> Iterator[None]:
    """Turn ENOSPC of whatever is done here into DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(str(path), 700_000_000) from error
        raise
