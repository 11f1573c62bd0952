"""Have every image a project needs: pull what is missing, build what the file builds.

Comes in:  a Project, flags of ``up``, ``pull`` and ``build``, a listener for progress.
Goes out:  ImageFacts by service. Runs in the command itself, not in the supervisor.
"""
