"""When a model is run by itself: cron expressions, and the command line that is run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecaster.errors import InvalidInputError, NotFoundError
from forecaster.versions import require_name

if TYPE_CHECKING:
    from cronsim import CronSim

PREFIX = "FORECAST_"
UNTOLD = ("FORECAST_ON_FAILURE", "FORECAST_ON_PROMOTE")  # may be secret; `ps` shows command lines
NOT_FOR_JOBS = (
    "FORECAST_WORKSPACE", "FORECAST_EVENT", "FORECAST_NAME", "FORECAST_EXIT_CODE", "FORECAST_MESSAGE",
)  # fmt: skip
ALWAYS = ("PYTHONPATH",)  # where there is one, Python may not find its packages without it
SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WORDS = {*MONTHS, "sun", "mon", "tue", "wed", "thu", "fri", "sat"}


@dataclass(frozen=True)
class Job:
    """A command of `forecast` that is to run at certain times.

    Attributes:
        workspace: Its resolved folder, in which it runs: links would give it several marks.
        name: The model.
        cron: When, as five fields.
        command: `retrain` or `predict`.
        options: What follows the command's `--name`.
        environment: Variables that it needs.
    """

    workspace: Path
    name: str
    cron: str
    command: str = "retrain"
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_name(self.name)
        texts = (str(self.workspace), sys.executable, *self.options, *self.environment.values())
        for text in texts:
            if not text.isprintable():
                raise InvalidInputError(
                    f"A schedule is one line of printable letters, but it would hold {text!r}.",
                    "Change that path, option or variable.",
                )

    @property
    def mark(self) -> str:
        """What tells its entry from all others: the command, the model and the workspace."""
        return f"forecast:{self.command}:{self.name}:{digest(self.workspace)}"

    @property
    def words(self) -> list[str]:
        """The command line, which needs no PATH."""
        program = [sys.executable, "-m", "forecaster", "--workspace", str(self.workspace)]
        return [*program, self.command, "--name", self.name, *self.options]


@dataclass(frozen=True)
class Entry:
    """What is scheduled.

    Attributes:
        by: `cron` or `systemd`.
        name: The model.
        command: `retrain` or `predict`.
        cron: When, as cron writes it.
        enabled: False when somebody has made a comment of it.
        line: The line of the crontab, or the file of the timer.
    """

    by: str
    name: str
    command: str
    cron: str
    enabled: bool
    line: str

    @property
    def next(self) -> datetime | None:
        """When it runs next by the clock of this machine; None when that is not known."""
        return next_run(self.cron) if self.enabled else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return vars(self) | {"next": self.next}


def digest(workspace: Path) -> str:
    """Return what stands for a workspace in the mark of an entry."""
    return sha256(str(workspace).encode(errors="surrogateescape")).hexdigest()[:12]


def require_cron(text: str) -> str:
    """Return a cron expression as five fields.

    Raises:
        InvalidInputError: It is none, or such a day never comes.

    >>> require_cron("@daily"), require_cron(" 30 18 * *  1-5 ")
    ('0 0 * * *', '30 18 * * 1-5')
    """
    cron = " ".join(SHORTHANDS.get(text.strip(), text).split())
    problem = _problem(cron)
    if problem:
        raise InvalidInputError(
            f"The cron expression {text!r} is not valid: {problem}.",
            "Five fields are needed: minute, hour, day of month, month, day of week, such as "
            "'30 18 * * 1-5'.",
        )
    return cron


def _problem(cron: str) -> str:
    from cronsim import CronSimError

    fields = cron.split()
    if len(fields) != 5:
        return f"it has {len(fields)} fields"
    for part in fields:  # the library knows forms that cron does not
        words = {word.lower() for word in re.findall("[A-Za-z]+", part)}
        if not re.fullmatch(r"[\w*,/-]+", part, re.ASCII) or not words <= WORDS:
            return f"{part!r} is not known to cron"
    try:
        parsed(cron)
    except CronSimError as error:
        return str(error)[:1].lower() + str(error)[1:]
    return ""


def parsed(cron: str, after: datetime | None = None) -> CronSim:
    """Return the times of a cron expression, by the clock on the wall."""
    from cronsim import CronSim

    return CronSim(cron, after or datetime.now())


def next_run(cron: str, after: datetime | None = None) -> datetime | None:
    """Return when a cron expression is true next, with the zone of this machine.

    Args:
        cron: Five fields, or a shorthand such as `@daily`.
        after: By the clock on the wall, without a zone; `fold=1` the second time that it shows an
            hour. Now when None.

    >>> next_run("30 18 * * 1-5", datetime(2026, 11, 21)).replace(tzinfo=None)  # a Saturday
    datetime.datetime(2026, 11, 23, 18, 30)
    >>> next_run("@reboot") is None
    True
    """
    cron = SHORTHANDS.get(cron, cron)
    if _problem(cron):
        return None
    now = after or datetime.now()
    often = any(part.startswith("*") for part in cron.split()[:2])
    for time in parsed(cron, now):
        first, second = time.astimezone(), time.replace(fold=1).astimezone()
        if first.replace(tzinfo=None) != time:  # the clock skips it: cron runs it after the change
            return max(first, second)
        if first > now.astimezone():
            return first
        if often:  # the clock shows it again; cron runs what has its hour only the first time
            return second
    return None


def for_jobs(
    environment: Mapping[str, str], wanted: Iterable[str] = ()
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the variables that a job needs, and those left out because they may be secret.

    Args:
        environment: Of this process.
        wanted: Names of further variables.

    Raises:
        NotFoundError: A variable that is wanted is not set.
    """
    ours = [name for name in environment if name.startswith(PREFIX) and environment[name]]
    kept = [name for name in ours if name not in {*UNTOLD, *NOT_FOR_JOBS}]
    for name in wanted:
        if not environment.get(name):
            raise NotFoundError(f"The variable {name} is not set.", "Set it, or leave out --env.")
    names = sorted({*kept, *(name for name in ALWAYS if environment.get(name)), *wanted})
    left_out = tuple(name for name in UNTOLD if name in ours and name not in names)
    return {name: environment[name] for name in names}, left_out
