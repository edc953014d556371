"""Records of unattended runs: one JSON file each, `models/<name>/runs/<started>.json`.

A run writes its record when it begins, after each step, and when it ends, so that one that was
killed has left a record that says how far it came. Reading imports nothing heavy.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from forecaster.atomic import replace_file
from forecaster.errors import DamagedError, QualityGateError
from forecaster.locking import is_alive
from forecaster.versions import STAMP

FORMAT = 1
FOLDER = "runs"
WELL = {0, QualityGateError.exit_code}  # a gate that says no has done its work


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes:
        name: What it does, such as `fetch`.
        outcome: `running`, `done`, `failed` or `skipped`.
        seconds: What it took.
        message: What is worth knowing; the error of one that failed.
    """

    name: str
    outcome: str
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Run:
    """An unattended run.

    Attributes:
        command: What was run, such as `retrain`.
        started: UTC, ISO 8601.
        pid: Of its process.
        ended: UTC, ISO 8601; None while it runs, and for ever when it was killed.
        exit_code: What it ended with.
        message: What is worth knowing of it as a whole.
        steps: In the order begun.
    """

    command: str
    started: str
    pid: int
    ended: str | None = None
    exit_code: int | None = None
    message: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def outcome(self) -> str:
        """`running`, `killed`, `done` or `failed`."""
        if self.exit_code is None:
            return "running" if is_alive(self.pid) else "killed"
        return "done" if self.exit_code in WELL else "failed"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return asdict(self) | {"outcome": self.outcome}


class Records:
    """The run records of one model.

    Args:
        folder: Of the model; `runs/` in it is made at the first record.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder) / FOLDER

    def write(self, run: Run) -> None:
        """Write the record of a run, in place of what it had written before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"format": FORMAT, **asdict(run)}, indent=1).encode()
        stamp = datetime.fromisoformat(run.started).strftime(STAMP)
        path = self.folder / f"{stamp}-{run.pid}.json"
        replace_file(path, lambda file: file.write(content))

    def last(self) -> Run | None:
        """Return the run that began last; None when there is no record.

        Raises:
            DamagedError: Its record cannot be read.
        """
        newest = max(self.folder.glob("*.json"), default=None)
        return None if newest is None else _read(newest)


def _read(path: Path) -> Run:
    try:
        content = json.loads(path.read_bytes())
        content.pop("format")
        steps = tuple(Step(**step) for step in content.pop("steps"))
        run = Run(**content, steps=steps)
        times = [datetime.fromisoformat(time) for time in (run.started, run.ended) if time]
        if not times or type(run.pid) is not int or type(run.exit_code) not in {int, type(None)}:
            raise ValueError("it has no start, no pid, or an exit code that is none")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(
            f"The run record '{path}' cannot be read: {error}.", "Delete it."
        ) from error
    return run
