"""The front door: ``Networks`` (create, connect, disconnect, remove); ``build_network`` for image builds."""

from netns.network.build import build_network
from netns.network.networks import RESOLV_CONF, Connection, Networks

__all__ = ["RESOLV_CONF", "Connection", "Networks", "build_network"]
