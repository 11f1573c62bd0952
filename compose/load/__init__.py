"""From the text of Compose files to one checked Project.

Comes in:  a LoadRequest (``project.load``): files, environment, profiles, services named by the user.
Goes out:  a Loaded: the frozen Project, the canonical model, the start order, warnings.
Not here:  deciding what to do with it (``compose.plan``).
Read next: ``project.py`` (the front door), then ``layers.py`` (the road of one file).
"""
