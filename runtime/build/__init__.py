"""Build an image from a Dockerfile. Front door: ``build(store, BuildSpec(...), connect=..., events=...)``."""

from typing import Any

from runtime.build.builder import Network, build
from runtime.build.halt import Halt
from runtime.build.spec import BuildSpec, Secret

__all__ = ["BuildSpec", "Halt", "Network", "Runner", "Secret", "build"]


def __getattr__(name: str) -> Any:
    """Runner drags the containers in, which a build out of the cache does not need."""
    if name == "Runner":
        from runtime.build.run import Runner

        return Runner
    raise AttributeError(name)
