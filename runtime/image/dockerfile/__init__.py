"""The language of Dockerfiles, pure: parse (with lines, flags, instruction, check), words (with glob),
ignore, lint (with lint_stage, lint_text, rules)."""
