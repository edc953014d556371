"""Processes: whether one runs, and folders that last as long as one."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from pathlib import Path

SCRATCH = "forecast-scratch-"
ABANDONED = 86_400.0  # seconds: the process may run in another container that shares the folder
_folders: list[tuple[int, Path]] = []


def is_alive(pid: int) -> bool:
    """Tell whether a process of this number runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it runs as somebody else
        return True
    return True


def scratch_folder() -> Path:
    """Return a new folder among the system's temporary ones, which goes when this process ends.

    What processes left that were killed goes now, once it is a day old.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        pid = left.name.removeprefix(SCRATCH).partition("-")[0]
        if pid.isdigit() and not is_alive(int(pid)) and age_of(left) > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-"))
    if not _folders:
        atexit.register(remove_scratch)
    _folders.append((os.getpid(), folder))
    return folder


def remove_scratch() -> None:
    """Delete the folders that this process was given, not those of the one it was forked from."""
    while _folders:
        pid, folder = _folders.pop()
        if pid == os.getpid():
            shutil.rmtree(folder, ignore_errors=True)


def age_of(path: Path) -> float:
    """Return the seconds since a file was changed; 0 for one that is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:  # somebody else has deleted it
        return 0.0
