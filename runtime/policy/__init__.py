"""Decisions without effects: what a container may do, when it starts again, whether it is healthy."""
