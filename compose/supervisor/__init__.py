"""The process that stays with a running project: the one writer of its containers and networks."""
