"""Firewall state by nfnetlink batches: messages (codec), ruleset (what a network needs), apply (send)."""
