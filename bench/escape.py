"""Print the escape table: every attempt of ``tests/security``, in every form, for us and for docker compose.

    sudo .venv/bin/python -m bench.escape [--only PATTERN] [--markdown FILE]

Comes in:  PYCOMPOSE_DOCKER, the docker command ("docker"), and PYCOMPOSE_DOCKER_WORK, a directory that its
           daemon sees; without them only our side is printed.
Goes out:  one line per attempt, totals; exit code 1 when one is worse than docker's.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.security import edges, table
from tests.security.calls import CALLS
from tests.security.engine import Engine, docker, ours


@dataclass(frozen=True)
class Row:
    """An attempt in one form; what came through by us and by docker ("" nothing, None not tried)."""

    attempt: str
    form: str
    ours: str
    theirs: str | None

    @property
    def verdict(self) -> str:
        if self.theirs is None:
            return "held" if not self.ours else "passed"
        if bool(self.ours) == bool(self.theirs):
            return "equal"
        return "worse" if self.ours else "better"


def collect(engine: Engine, home: Path, only: str) -> dict[tuple[str, str], str]:
    """(attempt, form) -> what came through."""
    engine.load(table.archive(home))
    found = {}
    for form, outcomes in ({} if only else table.rounds(engine)).items():
        for name, one in outcomes.items():
            found[_kind(name), form] = one.note if one.passed else ""
    for name, body in edges.EDGES.items():
        if not re.search(only, name):
            continue
        print(f"{engine.name}: {name}", file=sys.stderr)
        try:
            found[name, "project"] = body(engine)
        except subprocess.TimeoutExpired:
            found[name, "project"] = "a command does not end"
        except Exception as error:
            print(f"  not tried: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
    engine.close()
    return found


def _kind(name: str) -> str:
    return f"call {name}" if name in CALLS else name


def rows(mine: dict[tuple[str, str], str], theirs: dict[tuple[str, str], str] | None) -> Iterator[Row]:
    for (name, form), note in mine.items():
        yield Row(name, form, note, theirs.get((name, form)) if theirs is not None else None)


def totals(found: list[Row]) -> str:
    """Attempts and attempts in forms, by verdict. An attempt counts by its worst form, then by its best."""
    by_name: dict[str, set[str]] = {}
    for row in found:
        by_name.setdefault(row.attempt, set()).add(row.verdict)
    order = ("passed", "worse", "better", "equal", "held")
    names = Counter(next(one for one in order if one in verdicts) for verdicts in by_name.values())
    forms = Counter(row.verdict for row in found)
    lines = [f"{len(by_name)} attempts, {len(found)} with the forms counted one by one"]
    lines += [f"{word}: {names[word]} attempts, {forms[word]} with forms" for word in order if forms[word]]
    return "\n".join(lines)


def short(found: list[Row]) -> Iterator[tuple[str, str, str, str, str]]:
    """Rows that say the same in several forms as one."""
    merged: dict[tuple[str, str, str, str], list[str]] = {}
    for row in found:
        theirs = "-" if row.theirs is None else row.theirs or "refused"
        merged.setdefault((row.attempt, _bare(row.ours or "refused"), _bare(theirs), row.verdict), []).append(
            row.form
        )
    for (name, mine, theirs, verdict), forms in merged.items():
        yield name, "all" if len(forms) == len(table.FORMS) else ", ".join(forms), mine, theirs, verdict


def _bare(note: str) -> str:
    return "passes" if note not in ("refused", "-") else note


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--markdown", type=Path, help="write the table there as well")
    parser.add_argument(
        "--only", default="", help="a regular expression: the attempts at edges that it finds"
    )
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="pycompose-escape-", dir="/var/tmp"))
    home.chmod(0o755)
    other = docker()
    theirs = None
    if other is not None:
        place = other.work / home.name
        theirs = collect(other, place, arguments.only)
        shutil.rmtree(place)
    found = list(rows(collect(ours(home), home / "image", arguments.only), theirs))
    shutil.rmtree(home)
    for row in found:
        if row.ours or row.theirs:
            print(f"{row.verdict:7} {row.attempt} ({row.form}): ours {row.ours!r}, docker {row.theirs!r}")
    print(totals(found))
    if arguments.markdown:
        lines = ["| attempt | form | pycompose | Docker | |", "|---|---|---|---|---|"]
        lines += [
            f"| {' | '.join(word.replace('|', chr(92) + '|') for word in row)} |" for row in short(found)
        ]
        arguments.markdown.write_text("\n".join((*lines, "", totals(found), "")))
    return 1 if any(row.verdict == "worse" for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
