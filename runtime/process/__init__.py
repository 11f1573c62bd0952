"""The processes of a container: spawner, monitor, launch, exec, and one-shot runs."""
