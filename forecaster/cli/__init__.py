"""The command line: one short module a command, loaded only when it is asked for."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

from forecaster.errors import INTERRUPTED


def main() -> NoReturn:
    """Run `forecast` with the arguments of the process, and exit with its code."""
    _mend_streams()
    try:
        from forecaster.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before the command line was even loaded
        code = INTERRUPTED
    _leave(code)


def _mend_streams() -> None:
    """Make the standard streams such that nothing written to them is lost unseen."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # the caller closed it (`>&-`): no other file may take its number
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115
        elif isinstance(getattr(stream, "buffer", None), io.FileIO):
            # PYTHONUNBUFFERED: Python drops what such a stream did not write at the first try
            encoding, buffer = stream.encoding, io.BufferedWriter(stream.detach())
            setattr(sys, name, io.TextIOWrapper(buffer, encoding, line_buffering=True))


def _leave(code: int) -> NoReturn:
    """End the process without tearing libraries down.

    Threads of Arrow, ONNX Runtime and TensorFlow now and then abort while the interpreter shuts
    down, which would replace the exit code that cron reads. All files are closed by now; what was
    to be done at exit is done here.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the reader went away, or the disk behind it is full
            code = code or 1
    if processes := sys.modules.get("forecaster.processes"):  # else it has made no folder
        processes.remove_scratch()
    os._exit(code)
