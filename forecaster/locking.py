"""One writer at a time in a folder, and what may go wrong there in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forecaster.errors import ForecasterError, TemporaryError

TIMEOUT = 10.0


@contextmanager
def writing(folder: Path, *, timeout: float = TIMEOUT) -> Iterator[None]:
    """Hold the lock of a folder in the body of `with`; the folder is made when there is none.

    Args:
        folder: What is written to.
        timeout: Seconds to wait for another writer.

    Raises:
        TemporaryError: Another writer kept the lock for too long.
        ForecasterError: The folder, or what the body writes, cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=timeout):
            yield
    except Timeout as error:
        raise TemporaryError(
            f"Another process is writing to '{folder}' and did not finish within {timeout:g} s.",
            "Run it again later.",
        ) from error
    except OSError as error:
        raise ForecasterError(
            f"Cannot write to '{error.filename or folder}': {error.strerror or error}.",
            "What was stored before is unchanged.",
        ) from error
