"""The nouns of a Compose file as frozen values, in their long form, every default filled in.

Comes in:  nothing.
Goes out:  Project and everything below it.
Not here:  reading (``compose.load``), deciding (``compose.plan``).
Source: Compose Specification; names of fields are those of the file.
"""
