"""From a Compose file to a running project: load, graph, plan, engine, supervisor, cli."""
