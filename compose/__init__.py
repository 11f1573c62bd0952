"""From a Compose file to a running project: load, graph, plan, engine, supervisor, cli."""

__version__ = "0.1.0"
LIKE = "2.40.3"  # the docker compose whose commands, flags and labels these are
