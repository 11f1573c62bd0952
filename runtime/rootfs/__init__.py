"""A container's file system tree: decide it as a list, then do the list inside a mount namespace."""
