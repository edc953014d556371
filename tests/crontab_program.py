"""A program `crontab` that keeps the table in a file beside itself, as cron's does in its spool."""

from __future__ import annotations

import sys
from pathlib import Path

PROGRAM = """#!{python}
import sys
from pathlib import Path
here = Path(__file__).parent
table = here / "table"
if (here / "broken").exists():
    sys.exit((here / "broken").read_text())
if sys.argv[1] == "-l":
    if not table.exists():
        sys.exit("no crontab for me")
    sys.stdout.buffer.write(table.read_bytes())
else:
    new = sys.stdin.buffer.read()
    if b"refuse" in new:
        sys.exit("errors in crontab file, can't install.")
    table.write_bytes(new)
"""


def write_crontab_program(folder: Path) -> Path:
    """Write the program and return where it keeps its table."""
    folder.mkdir()
    program = folder / "crontab"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    return folder / "table"
