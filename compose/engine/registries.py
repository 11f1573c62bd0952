"""Pull and push the images of several services side by side.

Comes in:  names of images, the store, a listener for progress.
Goes out:  images in the store, or in registries; what failed, by name.
Not here:  which images (policy, images), the protocol (runtime.image).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, TypeVar

from runtime.errors import RuntimeFailure
from runtime.image.manifest import Image
from runtime.image.progress import Events, Progress
from runtime.image.reference import parse
from runtime.image.stop import Stop, Stopped
from runtime.image.store import Store

Result = TypeVar("Result")


class Wanted(NamedTuple):
    """An image to be pulled. platform: "" for what this machine runs."""

    name: str
    platform: str = ""


class Outcome(NamedTuple):
    """What became of several images."""

    done: Mapping[Wanted, Image]
    failed: Mapping[Wanted, RuntimeFailure]

    def check(self, allowed: Sequence[Wanted] = ()) -> None:
        """Raise what failed, but for the ``allowed``: one error, or a group of them."""
        errors = [error for wanted, error in self.failed.items() if wanted not in allowed]
        if errors:
            raise errors[0] if len(errors) == 1 else ExceptionGroup("several images", errors)


def pull_each(
    store: Store,
    wanted: Sequence[Wanted],
    *,
    optional: Collection[str] = (),
    assemble: str = "auto",
    parallel: int = 4,
    events: Events,
) -> Outcome:
    """Pull images. assemble: "auto", "registry", "assemble", see ``runtime.image.pull``.

    optional: names whose failure is a warning only, and that only a registry can give.
    """
    from runtime.build import Runner
    from runtime.image.pull import pull

    stop, events = Stop(), _in_turn(events)

    def one(item: Wanted) -> Image:
        return pull(
            store,
            item.name,
            policy="registry" if item.name in optional else assemble,
            platform=item.platform or None,
            runner=Runner(),
            events=events,
            stop=stop,
        )

    return Outcome(*_each(wanted, one, ("Pulling", "Pulled"), parallel, events, stop, optional))


def push_each(
    store: Store, names: Sequence[str], *, parallel: int = 4, events: Events
) -> Mapping[str, RuntimeFailure]:
    """Push images by their names; gives the errors of those that failed."""
    from runtime.image.push import push

    stop, events = Stop(), _in_turn(events)

    def one(item: Wanted) -> str:
        return push(store, item.name, events=events, stop=stop)

    wanted = [Wanted(name) for name in dict.fromkeys(names)]
    _, failed = _each(wanted, one, ("Pushing", "Pushed"), parallel, events, stop)
    return {item.name: error for item, error in failed.items()}


def _in_turn(events: Events) -> Events:
    """The same listener, called by one thread at a time."""
    turn = threading.Lock()

    def listen(event: Progress) -> None:
        with turn:
            events(event)

    return listen


def _each(
    wanted: Sequence[Wanted],
    work: Callable[[Wanted], Result],
    words: tuple[str, str],
    parallel: int,
    events: Events,
    stop: Stop,
    optional: Collection[str] = (),
) -> tuple[dict[Wanted, Result], dict[Wanted, RuntimeFailure]]:
    """Do ``work`` for each, told before and after; errors are gathered, in the order asked for."""
    from concurrent.futures import ThreadPoolExecutor, wait

    def one(item: Wanted) -> Result:
        shown = parse(item.name).familiar()
        events(Progress(kind="image", id=shown, text=words[0]))
        try:
            result = work(item)
        except Stopped:
            raise
        except RuntimeFailure as failure:
            if item.name in optional:
                events(Progress(kind="image", id=shown, text="Warning", detail=failure.message))
            else:  # told in full at the end
                events(Progress(kind="image", id=shown, text="Error"))
            raise
        events(Progress(kind="image", id=shown, text=words[1]))
        return result

    with ThreadPoolExecutor(max(1, parallel)) as pool:
        futures = {item: pool.submit(one, item) for item in dict.fromkeys(wanted)}
        try:
            wait(futures.values())
        except BaseException:  # Ctrl-C: what is under way gives up, the rest is not begun
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    done: dict[Wanted, Result] = {}
    failed: dict[Wanted, RuntimeFailure] = {}
    for item, future in futures.items():
        try:
            done[item] = future.result()
        except RuntimeFailure as failure:
            failed[item] = failure
    return done, failed
