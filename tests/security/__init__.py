"""Attempts to get out of a container, as data and as tests, for us and for another engine side by side."""

SECRET = "ESCAPECALLERSECRET"  # what the caller's environment holds and no process inside may
