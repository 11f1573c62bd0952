"""Build an image from a Dockerfile. Front door: ``build(store, BuildSpec(...), connect=..., events=...)``."""

from runtime.build.builder import Network, build
from runtime.build.halt import Halt
from runtime.build.run import Runner
from runtime.build.spec import BuildSpec, Secret

__all__ = ["BuildSpec", "Halt", "Network", "Runner", "Secret", "build"]
