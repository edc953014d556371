"""Records of unattended runs: one JSON file each, `models/<name>/runs/<started>.json`.

A run writes its record when it begins, after each step, and when it ends, so that one that was
killed has left a record that says how far it came. Reading imports nothing heavy.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forecaster.atomic import replace_file, sweep
from forecaster.errors import DamagedError, PartialError, QualityGateError, TemporaryError
from forecaster.locking import is_held
from forecaster.versions import next_version

FORMAT = 1
FOLDER = "runs"
OUTCOMES = {  # of exit codes but that of gates; of any other, `failed`
    0: "done",
    PartialError.exit_code: "partial",
    TemporaryError.exit_code: "postponed",
}


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes:
        name: What it does, such as `fetch`.
        outcome: `running`, `done`, `refused` by a gate, `failed` or `skipped`.
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
        champion: The version in service when it ended, or as far as it came.
        challenger: The version that it trained, or found trained.
        promoted: Whether that came into service.
        scores: How champion and challenger compare: MASE of each, windows, or why they do not.
        output: The table that it replaces, from the workspace on.
        lost: Whether its process is gone without having said how it ended: seen when the record is read.
    """

    command: str
    started: str
    pid: int
    ended: str | None = None
    exit_code: int | None = None
    message: str = ""
    steps: tuple[Step, ...] = ()
    champion: str | None = None
    challenger: str | None = None
    promoted: bool = False
    scores: dict[str, Any] = field(default_factory=dict)
    output: str | None = None
    lost: bool = False

    @property
    def outcome(self) -> str:
        """`running`, `killed`, `done`, `partial`, `postponed`, `refused` or `failed`.

        A gate that keeps a challenger out has done its work; where no table was written, the run was
        refused.
        """
        if self.exit_code is None:
            return "killed" if self.lost else "running"
        if self.exit_code == QualityGateError.exit_code:
            exported = any((step.name, step.outcome) == ("export", "done") for step in self.steps)
            return "done" if exported else "refused"
        return OUTCOMES.get(self.exit_code, "failed")

    @property
    def halted_at(self) -> str:
        """The step in which it was killed, failed or was refused; empty when there is none."""
        bad = {"running"} if self.exit_code is None else {"running", "refused", "failed"}
        halted = [step.name for step in self.steps if step.outcome in bad]
        return halted[-1] if halted else ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return self.stored() | {"outcome": self.outcome}

    def stored(self) -> dict[str, Any]:
        """Return plain values for the record."""
        return {key: value for key, value in asdict(self).items() if key != "lost"}


class Records:
    """The run records of one model.

    Args:
        folder: Of the model; `runs/` in it is made at the first record.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder) / FOLDER

    def place(self, run: Run) -> Path:
        """Return where the record of a new run goes: after all others, even if the clock went back."""
        names = sorted(path.stem for path in self.folder.glob("*.json"))
        name = next_version(datetime.fromisoformat(run.started), str(run.pid), names)
        return self.folder / f"{name}.json"

    def write(self, run: Run, place: Path | None = None) -> None:
        """Write the record of a run into its place, a new one when none is given."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"format": FORMAT, **run.stored()}, indent=1).encode()
        replace_file(place or self.place(run), lambda file: file.write(content))

    def newest_first(self) -> Iterator[Run]:
        """Read the runs, the one that began last first.

        Raises:
            DamagedError: A record cannot be read.
        """
        for path in sorted(self.folder.glob("*.json"), reverse=True):
            yield _read(path)

    def last(self) -> Run | None:
        """Return the run that began last; None when there is no record.

        Raises:
            DamagedError: Its record cannot be read.
        """
        return next(self.newest_first(), None)

    def prune(self, keep: int) -> int:
        """Delete all but the newest records, and what a crash left; return how many went."""
        old = sorted(self.folder.glob("*.json"))[:-keep]
        for path in old:
            path.unlink(missing_ok=True)
        sweep(self.folder)
        return len(old)


OnStep = Callable[[Step], None]  # told when a step begins and when it ends, once that is recorded
Note = Callable[[str], None]


class Journal:
    """The record of one run as it goes on.

    Args:
        command: What is run.
        records: Where it is written.
        on_step: Told of each step.
    """

    def __init__(self, command: str, records: Records, on_step: OnStep) -> None:
        self.records = records
        self.on_step = on_step
        self.run = Run(command, datetime.now(UTC).isoformat(), os.getpid())
        self.place = records.place(self.run)

    def note(self, **facts: Any) -> None:
        """Set fields of the record; they are written with the next step."""
        self.run = replace(self.run, **facts)

    @contextmanager
    def step(self, name: str) -> Iterator[Note]:
        """Record a step around the body of `with`, which is given a way to say what came of it."""
        said: list[str] = []
        begin = time.monotonic()
        before = self.run.steps
        try:
            self.put(before, Step(name, "running"))
            yield said.append
        except BaseException as error:
            text = str(error) or type(error).__name__
            how = "refused" if isinstance(error, QualityGateError) else "failed"
            failed = Step(name, how, round(time.monotonic() - begin, 3), text)
            with suppress(OSError):  # the error itself says more
                self.put(before, failed)
            raise
        done = Step(name, "done", round(time.monotonic() - begin, 3), " ".join(said))
        self.put(before, done)

    def skip(self, name: str, why: str) -> None:
        """Record a step that is left out."""
        self.put(self.run.steps, Step(name, "skipped", message=why))

    def put(self, before: tuple[Step, ...], step: Step) -> None:
        """Write a step after others into the record, and tell of it."""
        self.note(steps=(*before, step))
        self.records.write(self.run, self.place)
        self.on_step(step)

    def end(self, code: int, message: str) -> None:
        """Write how the run ended."""
        self.note(ended=datetime.now(UTC).isoformat(), exit_code=code, message=message)
        self.records.write(self.run, self.place)


def _read(path: Path) -> Run:
    try:
        content = json.loads(path.read_bytes())
        content.pop("format")
        steps = tuple(Step(**step) for step in content.pop("steps"))
        run = Run(**content, steps=steps)
        times = [datetime.fromisoformat(time) for time in (run.started, run.ended) if time]
        if not times or type(run.pid) is not int or type(run.exit_code) not in {int, type(None)}:
            raise ValueError("it has no start, no pid, or an exit code that is none")
        if run.exit_code is None:  # it is written by who holds the lock of the model
            run = replace(run, lost=not is_held(path.parent.parent, run.pid))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(
            f"The run record '{path}' cannot be read: {error}.", "Delete it."
        ) from error
    return run
