"""The command line: one short module a command, loaded only when it is asked for."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run `forecast` with the arguments of the process, and exit with its code."""
    try:
        from forecaster.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before the command line was even loaded
        code = 130
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process without tearing libraries down.

    Threads of Arrow, ONNX Runtime and TensorFlow now and then abort while the interpreter shuts
    down, which would replace the exit code that cron reads. All files are closed by now.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the reader went away, or the disk behind it is full
            code = code or 1
    os._exit(code)
