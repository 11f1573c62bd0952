"""The front door: ``Networks`` (create, connect, disconnect, remove); ``build_network`` for image builds."""

from netns.network.build import build_network
from netns.network.cuts import Cuts
from netns.network.mending import Watch
from netns.network.networks import Connection, Networks
from netns.network.words import RESOLV_CONF

__all__ = ["RESOLV_CONF", "Connection", "Cuts", "Networks", "Watch", "build_network"]
