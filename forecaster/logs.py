"""What unattended runs did, as JSON lines: one event a line, many writers, bounded in size."""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from forecaster.atomic import at_home
from forecaster.sources.downloads import public

if TYPE_CHECKING:
    from forecaster.unattended import LogSpec

FOLDER = "logs"
Level = Literal["info", "warning", "error"]
ADDRESS = re.compile(r"https?://[^\s'\"<>]+")


class Log:
    """A log of events; what goes wrong with it is kept in `problem` and never raised.

    A line is written by one call to the end of the file, so that those of several processes never
    mix. A line written while another process sets the file aside goes to the file set aside.

    Args:
        path: The file; its folder is made when there is none.
        size: Bytes from which on the file is set aside as `<path>.1`, that as `<path>.2`, ...
        files: How many of these are kept.
        about: Fields of every line, such as the model and the run.

    Attributes:
        problem: Why an event could not be written; empty while all is well.
    """

    def __init__(self, path: Path, *, size: int, files: int, **about: Any) -> None:
        self.path = Path(path)
        self.size = size
        self.files = files
        self.about = about
        self.problem = ""

    @classmethod
    def of(cls, folder: Path, spec: LogSpec, name: str, **about: Any) -> Log:
        """Return the log of a model in a workspace, as the settings say.

        Args:
            folder: The workspace.
            spec: The settings.
            name: The model.
            about: Fields of every line besides the model, such as the run.
        """
        path = folder / at_home(spec.log_file or f"{FOLDER}/{name}.jsonl")
        return cls(path, size=spec.log_size, files=spec.log_files, model=name, **about)

    def write(self, message: str, *, level: Level = "info", step: str = "", **more: Any) -> None:
        """Append an event; addresses in it lose what may be secret.

        Args:
            message: What happened.
            level: `info`, `warning` or `error`.
            step: The step of the run, such as `fetch`.
            more: Further fields, such as seconds.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        event = {"time": now, "level": level, **self.about, "step": step, "message": message}
        line = json.dumps(_public(event | more), default=str)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._set_aside()
            self._append(f"{line}\n".encode())
        except OSError as error:
            self.problem = f"The log '{self.path}' cannot be written: {error.strerror or error}."

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # else half of a line may be seen
            end = os.fstat(descriptor).st_size
            if end and os.pread(descriptor, 1, end - 1) != b"\n":
                line = b"\n" + line  # a full disk had cut the line before short
            if os.write(descriptor, line) < len(line):
                self.problem = f"The log '{self.path}' cannot be written: the disk is full."
        finally:
            os.close(descriptor)

    def _set_aside(self) -> None:
        if not self._is_full():
            return
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=0):
                if self._is_full():  # else another process was faster
                    for number in range(self.files, 0, -1):
                        newer = self._aside(number - 1)
                        if newer.exists():
                            newer.replace(self._aside(number))
        except Timeout:  # another process is at it: the line goes to either file
            pass

    def _aside(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    def _is_full(self) -> bool:
        try:
            return self.path.stat().st_size >= self.size
        except FileNotFoundError:
            return False


def _public(value: Any) -> Any:
    """Return a value whose addresses have lost what may be secret.

    >>> _public({"said": ["no answer from https://me:secret@example.org/a?token=1"]})
    {'said': ['no answer from https://example.org/a']}
    """
    if isinstance(value, str):
        return ADDRESS.sub(lambda found: _without_secret(found[0]), value)
    if isinstance(value, dict):
        return {key: _public(item) for key, item in value.items()}
    return [_public(item) for item in value] if isinstance(value, (list, tuple)) else value


def _without_secret(address: str) -> str:
    try:
        return public(address)
    except ValueError:  # an address that is none, such as http://[
        return "http://..."
