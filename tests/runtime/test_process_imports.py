"""What enters a container imports nothing of the container's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_after_closing_no_file_is_imported_any_more(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("print('ran')\n")
    script = (
        "from runtime.process import imports; import runtime.process; imports.close()\n"
        f"import sys, errno; sys.path.insert(0, {str(tmp_path)!r}); runtime.process.__path__ = sys.path[:1]\n"
        "for name in ('late', 'runtime.process.late', 'colorsys'):\n"
        "    try: __import__(name)\n"
        "    except ModuleNotFoundError: print('no')\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("no\n" * 3, "")
