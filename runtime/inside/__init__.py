"""The only package that works on file trees which a container or an image may change.

Comes in:  the descriptor of a tree's root, paths as the container sees them.
Goes out:  descriptors, made files, copies; nothing outside of that root is ever opened, made or changed.
Not here:  which trees there are (``runtime.rootfs``, ``runtime.volume``, ``runtime.image``).
"""
