"""Files and folders that appear whole or not at all, even when the power fails."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from forecaster.errors import InvalidInputError
from forecaster.processes import ABANDONED, age_of, is_alive

TEMPORARY = ".tmp"  # suffix of what is being written; a crash may leave one behind


def replace_file(path: Path, write: Callable[[BinaryIO], object], *, sync: bool = True) -> None:
    """Put a file in place whole: temporary sibling, fsync, rename, fsync of the folder.

    Args:
        path: The file, which may exist and keeps its permissions; a link to one, or a pipe or device,
            which stays what it is.
        write: Called with the open temporary file.
        sync: Off when another file of the same folder is replaced at once, which makes both last.

    Raises:
        OSError: It cannot be written; a file that existed is as it was.
    """
    if is_stream(path):
        with path.open("wb") as file:
            write(file)
        return
    path = path.resolve()  # a link stays one; what it points to is replaced
    temporary = path.with_name(f"{_stem(path)}{os.getpid()}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            _permit_as(path, file.fileno())
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_folder(path.parent)


def is_stream(path: Path) -> bool:
    """Tell whether there is a pipe or a device, which is written to and never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _permit_as(path: Path, descriptor: int) -> None:
    """Give an open file the owner and the permissions of the one it replaces, where that can be."""
    try:
        had = path.stat()
    except FileNotFoundError:
        return
    with suppress(OSError):  # not allowed, or a file system that has none
        os.fchown(descriptor, had.st_uid, had.st_gid)
    with suppress(OSError):
        os.fchmod(descriptor, stat.S_IMODE(had.st_mode))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill a temporary sibling in the body of `with`; it becomes `path` when the body ends well.

    Raises:
        OSError: It cannot be written, or `path` exists with content.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        sync_folder(temporary)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Delete a folder such that nobody ever sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    path.rename(temporary)
    sync_folder(path.parent)
    shutil.rmtree(temporary, ignore_errors=True)


def at_home(path: str | Path) -> Path:
    """Return a path whose `~` stands for somebody's home.

    Raises:
        InvalidInputError: There is nobody of that name, or no home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InvalidInputError(
            f"'{path}' names no folder: {error}", "Write it in full."
        ) from error


def sweep(folder: Path, older_than: float = 0.0) -> None:
    """Delete what an earlier crash left behind.

    Args:
        folder: Where nobody else is writing, or writes for longer than `older_than`.
        older_than: Seconds since the last change below which a temporary is left alone.
    """
    for path in folder.glob(f".*{TEMPORARY}"):
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:  # its writer has just put it in place
            continue
        if older_than and age < older_than:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sweep_file(path: Path) -> None:
    """Delete what earlier crashes left beside a file, not what another process is writing."""
    path = path.resolve()
    for left in path.parent.glob(f".*{TEMPORARY}"):
        number = left.name.removeprefix(_stem(path)).removesuffix(TEMPORARY)
        ours = left.name.startswith(_stem(path)) and number.isdigit()
        writing = number.isdigit() and int(number) != os.getpid() and is_alive(int(number))
        if ours and (not writing or age_of(left) > ABANDONED):  # a pid may be used again
            left.unlink(missing_ok=True)


def _stem(path: Path) -> str:
    """Return how the names of a file's temporaries begin."""
    return f".{path.name[:100]}."


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
