"""Whether what is in service is fresh and whole: a monitor's probe.

It reads names, dates and manifests only, and imports neither pandas nor numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecaster.durations import EASTERNMOST, ago
from forecaster.errors import ForecasterError
from forecaster.manifest import read_manifest, trained_on
from forecaster.runs import Records, Run
from forecaster.versions import require_name
from forecaster.words import listed

if TYPE_CHECKING:
    from forecaster.archive import Archive
    from forecaster.index import Entry
    from forecaster.registry import Registry
    from forecaster.store import Store

DEFAULT = "default"  # the model that is missed when there is none
SLACK = 300.0  # seconds that something may lie in the future: clocks differ
WHAT = {  # of what a time is, as problems call it
    "data": "the data",
    "champion": "the version in service",
    "forecast": "the last published forecast",
    "csv": "the file",
    "run": "the last run",
}


@dataclass(frozen=True)
class Limits:
    """How old things may be, in seconds; None for any age.

    Attributes:
        age: Of what every run renews: the last forecast, the file, the last run.
        data: Of the last row of the series that is furthest behind.
        champion: Of the version in service.
    """

    age: float | None = None
    data: float | None = None
    champion: float | None = None

    def of(self, what: str) -> float | None:
        """Return the limit of one of `WHAT`."""
        own = {"data": self.data, "champion": self.champion}
        return own.get(what, self.age)


@dataclass
class Health:
    """How one model is.

    Attributes:
        name: The model.
        now: When it was looked at.
        champion: The version in service, if any.
        times: When each of `WHAT` is from, of those that there are.
        run: The last unattended run.
        next_run: When cron or systemd runs a command for it next, if that is known.
        problems: What is wrong, a sentence each; healthy when there is none.
    """

    name: str
    now: datetime
    champion: str | None = None
    times: dict[str, datetime] = field(default_factory=dict)
    run: Run | None = None
    next_run: datetime | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def ages(self) -> dict[str, float]:
        """Seconds since each time."""
        return {what: (self.now - time).total_seconds() for what, time in self.times.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {
            "name": self.name,
            "healthy": not self.problems,
            "champion": self.champion,
            "times": self.times,
            "ages": self.ages,
            "run": None if self.run is None else self.run.to_dict(),
            "next_run": self.next_run,
            "problems": self.problems,
        }


def examine(
    registry: Registry,
    store: Store,
    archived: Archive,
    name: str | None = None,
    *,
    limits: Limits,
    csv: Path | None = None,
    expected: Iterable[str] = (),
    now: datetime | None = None,
) -> list[Health]:
    """Look at a model, or at all models.

    Args:
        registry: The models.
        store: Their data.
        archived: What was published.
        name: Only this model.
        limits: How old things may be.
        csv: The file that readers downstream take the model's forecasts from; the table of the last
            run when None.
        expected: Models that there ought to be.
        now: The time to measure ages by; the clock's when None.

    Raises:
        InvalidInputError: The name cannot be a model's.
    """
    names = [name] if name is not None else sorted({*registry.all_names(), *expected}) or [DEFAULT]
    require_name(names[0])
    moment = now or datetime.now(UTC)
    return [
        _examined(Health(each, moment), registry, store, archived, limits, csv) for each in names
    ]


def _examined(
    health: Health,
    registry: Registry,
    store: Store,
    archived: Archive,
    limits: Limits,
    csv: Path | None,
) -> Health:
    for problems in (
        _champion(health, registry, store),
        _published(health, archived, limits),
        _run(health, registry),
        _file(health, csv, registry.folder.parent),
    ):
        try:
            health.problems += problems
        except ForecasterError as error:  # the other models are looked at all the same
            health.problems.append(str(error))
    health.problems += _too_old(health, limits)
    return health


def _champion(health: Health, registry: Registry, store: Store) -> Iterator[str]:
    """Look at the version in service and at the data it forecasts from."""
    try:
        health.champion = registry.champion(health.name)
        folder = registry.version_folder(health.name, health.champion)
        if created := read_manifest(folder).get("created"):
            health.times["champion"] = _moment(str(created))
        ids, stored = trained_on(folder), store.entries()
        lasts = {
            uid: time for uid in ids if uid in stored and (time := _last(stored[uid], health.now))
        }
    except (ForecasterError, ValueError) as error:
        yield str(error)
        return
    if missing := [uid for uid in ids if uid not in stored]:
        yield f"{len(missing)} of its {len(ids)} series are not stored: {listed(missing)}."
    if lasts:
        health.times["data"] = min(lasts.values())
    if early := [uid for uid, time in lasts.items() if time > _latest(stored[uid], health.now)]:
        yield (
            f"{listed(early)} {'has' if len(early) == 1 else 'have'} rows in the future, up to "
            f"{max(lasts[uid] for uid in early):%Y-%m-%d %H:%M} UTC: check the source and the clock."
        )


def _published(health: Health, archived: Archive, limits: Limits) -> Iterator[str]:
    published = archived.published(health.name)
    for each in published:  # the clock was ahead once: the later ones are the latest all the same
        if (early := (each.created - health.now).total_seconds()) > SLACK:
            yield f"'{each.path}' is from {ago(early)} in the future: check the clock, or delete it."
        else:
            health.times["forecast"] = each.created
    if not published and limits.age is not None:
        yield "No forecast was published."


def _file(health: Health, csv: Path | None, folder: Path) -> Iterator[str]:
    if csv is None and health.run is not None and health.run.output:
        csv = folder / health.run.output
        if health.run.outcome == "running" and not csv.exists():  # it is being made
            return
    if csv is None:
        return
    try:
        if csv.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        health.times["csv"] = datetime.fromtimestamp(csv.stat().st_mtime, UTC)
    except OSError as error:
        yield f"'{csv}' cannot be read: {error.strerror}."


def _run(health: Health, registry: Registry) -> Iterator[str]:
    """Look at the last unattended run; that there was none is no problem."""
    try:
        runs = Records(registry.model_folder(health.name)).newest_first()
        health.run = run = next(runs, None)
        while run is not None and run.outcome == "postponed":  # what was wrong before still is
            run = next(runs, None)
    except ForecasterError as error:
        yield str(error)
        return
    if health.run is not None:
        health.times["run"] = _moment(health.run.started)
    if run is None:
        return
    last = f" in the step {run.halted_at!r}" if run.halted_at else ""
    if run.outcome == "killed":
        yield f"The last run was killed{last}, or the machine went down."
    elif run.outcome == "failed":
        said = f": {run.message}" if run.message else "."
        yield f"The last run ended with the exit code {run.exit_code}{last}{said}"
    elif run.outcome == "refused":
        yield f"The last run wrote no table, because a gate said no{last}: {run.message}"


def _too_old(health: Health, limits: Limits) -> Iterator[str]:
    for what, age in health.ages.items():
        limit = limits.of(what)
        if limit is not None and age > limit:
            yield f"{WHAT[what].capitalize()} is {ago(age)} old; at most {ago(limit)} is allowed."
        elif what != "data" and age < -SLACK:
            yield f"{WHAT[what].capitalize()} is from {ago(-age)} in the future: check the clock."
    for what in ("data", "champion"):
        if limits.of(what) is not None and what not in health.times and health.champion:
            yield f"How old {WHAT[what]} is cannot be told: no time of it is known."


def _last(entry: Entry, now: datetime) -> datetime | None:
    """Return the time of a series' last row, or of its first one that is only known ahead.

    None for whole-number times.
    """
    if not isinstance(entry.last, str):
        return None
    ahead = [problem["first"] for problem in entry.problems if problem["kind"] == "ahead"]
    return min(_moment(ahead[0]), now) if ahead else _moment(entry.last)


def _latest(entry: Entry, now: datetime) -> datetime:
    """Return the time after which a series ends in the future.

    The end of a period that goes on may be its time. Without a zone it is the future where that begins
    first.
    """
    whole = _moment(str(entry.last)) - _moment(str(entry.first))
    step = max(whole / max(1, entry.rows - 1), timedelta(seconds=SLACK))
    there = now.astimezone(EASTERNMOST).replace(tzinfo=None) if entry.time == "naive" else now
    return there.astimezone(UTC) + step


def _moment(text: str) -> datetime:
    """Read a time and put it into UTC; one without a zone is of this machine's clock.

    >>> _moment("2024-01-02T00:00+02:00").isoformat()
    '2024-01-01T22:00:00+00:00'
    """
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.year > 1 else time.replace(tzinfo=UTC)  # none is before it


def metrics_text(found: list[Health]) -> str:
    """Return the text that Prometheus' node exporter collects from a file."""
    lines = []
    healthy = {_labels(model=each.name): int(not each.problems) for each in found}
    lines += _metric("forecast_healthy", "1 when forecast status found no problem.", healthy)
    times = {
        _labels(model=each.name, of=what): round(time.timestamp(), 3)
        for each in found
        for what, time in each.times.items()
    }
    lines += _metric("forecast_timestamp_seconds", "When each part of a model is from.", times)
    codes = {
        _labels(model=each.name): each.run.exit_code
        for each in found
        if each.run is not None and each.run.exit_code is not None
    }
    lines += _metric("forecast_last_run_exit_code", "What the last run ended with.", codes)
    return "".join(f"{line}\n" for line in lines)


def _metric(name: str, about: str, samples: Mapping[str, float]) -> list[str]:
    if not samples:
        return []
    heads = [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
    return [*heads, *(f"{name}{labels} {value}" for labels, value in samples.items())]


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"
