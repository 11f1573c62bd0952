"""Published ports: reserve (bind before anything starts), holder (who has it), forward (IPv6, in userspace).

The kernel leads IPv4 to containers; those rules are in ``netns.nftables.ruleset``.
"""
