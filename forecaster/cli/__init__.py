"""The command line: one short module a command, loaded only when it is asked for."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run `forecast` with the arguments of the process, and exit with its code."""
    try:
        from forecaster.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before the command line was even loaded
        code = 130
    sys.exit(code)
