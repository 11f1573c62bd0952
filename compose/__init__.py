"""From a Compose file to a running project: load, graph, plan, engine, supervisor, cli."""

__version__ = "0.1.0"
