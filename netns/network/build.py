"""A network for the containers of image builds, from a synchronous program.

Comes in:  the RUN directory, the namespace of each build container.
Goes out:  a plugged container whose names are served; nothing is left at the end.
Not here:  running builds (runtime.build knows only the ``connect`` function).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from netns.dns.server import Server
from netns.errors import NetworkInUse, NetworkNotFound
from netns.network.networks import Networks
from netns.spec import EndpointSpec, NetworkSpec

BUILDS = NetworkSpec(name="pycompose_builds")


@contextmanager
def build_network(run: Path, dns: Sequence[str] = ()) -> Iterator[Callable[[Path], None]]:
    """A network for the containers of image builds, with names; shared by builds that run at once.

    Gives a function that plugs the namespace at a path in. For synchronous callers: names are served
    by a thread. At the end the containers are unplugged, and the last build removes the bridge.
    """
    networks, loop = Networks(run), asyncio.new_event_loop()
    server, plugged = Server(loop, networks), list[str]()
    one_at_a_time = threading.Lock()
    thread = threading.Thread(target=loop.run_forever, name="build names", daemon=True)

    def connect(netns: Path) -> None:
        container = os.urandom(32).hex()
        with one_at_a_time:
            if not thread.is_alive():
                _sweep_builds(networks)
                thread.start()
            title = f"build-{os.getpid()}-{container[:6]}"
            _plug(
                networks, netns, EndpointSpec(network=BUILDS.name, container=container, container_name=title)
            )
            plugged.append(container)
        asyncio.run_coroutine_threadsafe(serve(container, netns), loop).result(10)

    async def serve(container: str, netns: Path) -> None:
        server.attach(container, netns, [BUILDS.name], dns=dns)

    async def end() -> None:
        server.close()

    try:
        yield connect
    finally:
        if thread.is_alive():
            asyncio.run_coroutine_threadsafe(end(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            for container in plugged:
                networks.forget(container)
            with suppress(NetworkInUse):  # another build is still running
                networks.remove(BUILDS.name)
        loop.close()
        networks.close()


def _plug(networks: Networks, netns: Path, endpoint: EndpointSpec) -> None:
    """Connect; a build that ended in between may have removed the network: then once more."""
    networks.create(BUILDS)
    try:
        networks.connect(netns, [endpoint])
    except NetworkNotFound:
        networks.create(BUILDS)
        networks.connect(netns, [endpoint])


def sweep(networks: Networks) -> None:
    """Remove what killed builds left: their endpoints and, when no other build runs, the network."""
    if networks.find(BUILDS.name) is not None:
        _sweep_builds(networks)
        with suppress(NetworkInUse, NetworkNotFound):
            networks.remove(BUILDS.name)


def _sweep_builds(networks: Networks) -> None:
    """Forget endpoints of builds whose process was killed."""
    for endpoint in networks.endpoints(BUILDS.name):
        pid = endpoint.spec.container_name.split("-")[1]
        if not Path(f"/proc/{pid}").exists():
            networks.forget(endpoint.spec.container)
