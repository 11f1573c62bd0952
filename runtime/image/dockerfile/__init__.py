"""The language of Dockerfiles, pure: parse (lines, flags, instruction, check), words (glob), ignore, lint (rules)."""
