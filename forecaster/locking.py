"""One writer at a time in a folder, who it is, and what may go wrong there in words."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from forecaster.errors import ForecasterError, TemporaryError
from forecaster.processes import is_alive

if TYPE_CHECKING:
    from filelock import BaseFileLock

OnWait = Callable[[str], None]  # told whom there is to wait for

TIMEOUT = 10.0
LOCK = ".lock"
HOLDER = ".lock-holder"  # beside the lock, because the lock's own file is its library's


def silent(line: str) -> None:
    """Say nothing while waiting."""
    del line


@contextmanager
def writing(folder: Path, *, timeout: float = TIMEOUT, on_wait: OnWait = silent) -> Iterator[None]:
    """Hold the lock of a folder in the body of `with`; the folder is made when there is none.

    The operating system lets go of the lock when its holder dies. A thread that holds it may take
    it again, so that a longer job can hold it around the steps that take it themselves.

    Args:
        folder: What is written to.
        timeout: Seconds to wait for another writer; 0 not to wait.
        on_wait: Told who holds the lock, once, when there is somebody to wait for.

    Raises:
        TemporaryError: Another writer kept the lock for too long; it is named.
        ForecasterError: The folder, or what the body writes, cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.absolute() / LOCK, is_singleton=True)
        _acquire(lock, folder, timeout, on_wait)
        try:
            yield
        finally:
            _release(lock, folder)
    except Timeout as error:
        raise TemporaryError(
            f"Another process is writing to '{folder}'{_holder(folder)} and did not finish within "
            f"{timeout:g} s.",
            "Run it again later.",
        ) from error
    except OSError as error:
        raise ForecasterError(
            f"Cannot write to '{error.filename or folder}': {error.strerror or error}.",
            "What was stored before is unchanged.",
        ) from error


def is_held(folder: Path, pid: int) -> bool:
    """Tell whether the lock of a folder is held, by whatever process, in whatever container.

    Args:
        folder: One that was written to.
        pid: Who held it; what counts where locks cannot be looked at.
    """
    try:
        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return is_alive(pid)
    return False


def _acquire(lock: BaseFileLock, folder: Path, timeout: float, on_wait: OnWait) -> None:
    from filelock import Timeout

    try:
        lock.acquire(timeout=0)
    except Timeout:
        if timeout <= 0:
            raise
        on_wait(f"Waiting for the process that writes to '{folder}'{_holder(folder)}.")
        lock.acquire(timeout=timeout)
    if lock.lock_counter == 1:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with suppress(OSError):  # a full disk: the note only tells others whom they wait for
                (folder / HOLDER).write_text(json.dumps({"pid": os.getpid(), "since": since}))
        except BaseException:
            lock.release()
            raise


def _release(lock: BaseFileLock, folder: Path) -> None:
    try:
        if lock.lock_counter == 1:
            with suppress(OSError):
                (folder / HOLDER).unlink(missing_ok=True)
    finally:
        lock.release()


def _holder(folder: Path) -> str:
    """Say who holds the lock, as far as that is known: one killed left its name behind."""
    try:
        holder = json.loads((folder / HOLDER).read_bytes())
        pid, since = int(holder["pid"]), str(holder["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f" (pid {pid}, since {since})" if is_alive(pid) else ""
