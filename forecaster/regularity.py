"""One grid of time for all series of a panel: agree on the frequency, then find and fill gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecaster.calendars import advance, positions, uses_calendar
from forecaster.config import DataSpec
from forecaster.errors import InvalidInputError
from forecaster.frequencies import (
    Frequency,
    integer_step,
    microseconds,
    parse,
    wall_clock,
    weekdays,
)
from forecaster.guessing import (
    WEEKEND_SHARE,
    cannot_tell,
    have_nights,
    infer_frequencies,
    infer_steps,
    keep_hours,
)
from forecaster.rows import Rows, after_row, named
from forecaster.sessions import days_a_week
from forecaster.words import counted

# Series of so few rows can look like a finer or coarser grid than theirs: Monday to Friday may be
# daily or business-daily. They have no say when longer series have one.
FEW = 5
Grid = tuple[np.ndarray, np.ndarray]  # (row,) steps from the first row; (row,) on the grid
ENOUGH = 100_000  # rows
MOST_FILLED = 9  # gaps for each row, before the frequency is taken to be wrong


def regularise(rows: Rows, spec: DataSpec) -> tuple[str | None, str | None]:
    """Put all series on one grid and fill its gaps with empty rows.

    Returns:
        The frequency of the panel, for integers their step as text, and the exchange whose sessions
        it follows.

    Raises:
        InvalidInputError: Mixed or irregular frequencies, rows off the grid, or gaps when the
            policy is `error`.
    """
    if not isinstance(rows.ds, pd.DatetimeIndex):
        step = integer_step(spec.frequency)
        if spec.calendar or (spec.frequency and not step):
            raise InvalidInputError(
                "--calendar and a --frequency that is not a whole number need dates, but the column "
                "ds holds integers.",
                "Leave them out, or give dates.",
            )
        step = step or _agreed_step(rows)
        _fill_integers(rows, spec, step)
        return str(step), None
    ds = rows.ds
    if integer_step(spec.frequency):
        raise InvalidInputError(
            f"Steps of {spec.frequency} need integers, but the column ds holds dates.",
            "Give integers, or train with a pandas alias such as h, D, B or MS as --frequency.",
        )
    frequency = parse(spec.frequency).alias if spec.frequency else _agreed(rows, ds)
    calendar = spec.calendar
    if calendar and not uses_calendar(frequency, calendar):
        rows.notices.append(f"Calendar {calendar} not used: steps of {frequency} are too long.")
        calendar = None
    if calendar and not spec.frequency and frequency in ("D", "B"):
        frequency = "B" if days_a_week(calendar) <= 5 else "D"
    parsed = parse(frequency)
    found, regular = positions(ds, rows.first, frequency, calendar)
    closed = "" if calendar else _closed(rows, ds, found, parsed)
    if closed:
        _keep_consecutive(rows, found, parsed, closed)
    else:
        _fill_times(rows, spec, frequency, calendar, (found, regular))
    return frequency, calendar


def _agreed(rows: Rows, ds: pd.DatetimeIndex) -> str:
    """Return the one frequency of all series."""
    offsets = rows.offsets
    lengths = np.diff(offsets)
    aliases = np.array(infer_frequencies(ds, offsets), dtype=object)
    vote = _voters(lengths)
    if unclear := np.flatnonzero(vote & (aliases == "")).tolist():
        one = ds[offsets[unclear[0]] : offsets[unclear[0] + 1]]
        more = f" (and of {len(unclear) - 1} more)" if len(unclear) > 1 else ""
        raise cannot_tell(one, f"of series {str(rows.ids[unclear[0]])!r}{more} ")
    names = sorted(set(aliases[vote].tolist()))
    if len(names) == 1:
        return str(names[0])
    # Few rows cannot tell every pair apart: the last business day of a month is often its last day.
    for name in names:
        periods = {(parse(other).months, parse(other).count) for other in names}
        alike = name.startswith("B") and len(periods) == 1 and (name != "B" or lengths.max() <= FEW)
        others = ds[(vote & (aliases != name))[rows.codes]]
        if alike and positions(others, np.arange(len(others)), name)[1].all():
            return str(name)
    raise _mixed(rows, vote, aliases)


def _agreed_step(rows: Rows) -> int:
    """Return the one step between the integers of all series; 1 when each has a lone row."""
    steps = np.array(infer_steps(rows.ds.to_numpy(dtype=np.int64), rows.offsets), dtype=object)
    vote = _voters(np.diff(rows.offsets)) & (steps != "")
    if len(names := set(steps[vote])) > 1:
        raise _mixed(rows, vote, steps)
    return int(names.pop()) if names else 1


def _voters(lengths: np.ndarray) -> np.ndarray:
    """Tell which series have a say in the frequency: (series,) bool."""
    for least in (FEW, 1, 0):
        if (lengths > least).any():
            break
    return np.asarray(lengths > least)


def _mixed(rows: Rows, vote: np.ndarray, found: np.ndarray) -> InvalidInputError:
    groups = "; ".join(
        f"{name}: {named(rows.ids[vote & (found == name)])}" for name in sorted(set(found[vote]))
    )
    return InvalidInputError(
        f"The series have different frequencies ({groups}).",
        "Train them apart, one frequency at a time, or pass --frequency.",
    )


def _closed(rows: Rows, ds: pd.DatetimeIndex, found: np.ndarray, parsed: Frequency) -> str:
    """Say, in words, when a market without a named calendar is closed; empty when it never is."""
    if parsed.unit == "business":
        return "weekdays"
    if parsed.unit != "tick" or not len(ds):
        return ""
    few, pooled = slice(ENOUGH), np.zeros(len(ds), dtype=np.int8)  # all series as one
    if not have_nights(ds[few], pooled[few], 1, parsed.count)[0]:  # nor has the whole
        return ""
    single = rows.inner & after_row(lambda later, earlier: later == earlier + 1, found)
    return "hours" if keep_hours(ds, pooled, 1, single, parsed.count)[0] else ""


def _keep_consecutive(rows: Rows, found: np.ndarray, parsed: Frequency, closed: str) -> None:
    """Take absent weekdays or hours as closing times: what follows is the next step."""
    if closed == "weekdays":
        weekend = weekdays(wall_clock(pd.DatetimeIndex(rows.ds))[0]) > 4
        if weekend.mean() > WEEKEND_SHARE:
            raise _off_grid(rows, weekend, parsed.alias)
        if weekend.any():
            rows.notices.append(f"Kept {rows.describe(weekend, 'row{s} on weekends')}.")
    gaps = np.where(rows.inner, np.diff(found, prepend=0) - 1, 0).clip(min=0)
    if not gaps.any():
        return
    series = np.unique(rows.codes[gaps > 0])
    rows.notices.append(
        f"{int(gaps.sum())} {closed} without a row in {len(series)} series "
        f"({named(rows.ids[series])}) were taken as closing times, not as gaps. "
        "Name the exchange with --calendar to tell them apart and to date forecasts exactly."
    )


def _fill_integers(rows: Rows, spec: DataSpec, step: int) -> None:
    numbers = rows.ds.to_numpy(dtype=np.int64)
    distance = numbers - numbers[rows.first]
    gaps = _gaps(rows, spec, distance // step, distance % step == 0, str(step))
    if gaps is None:
        return
    source, before = _spread(gaps)
    rows.take(source)
    rows.ds = pd.Index(rows.ds.to_numpy(dtype=np.int64) - before * step)
    _blank(rows, before > 0)


def _fill_times(
    rows: Rows, spec: DataSpec, frequency: str, calendar: str | None, grid: Grid
) -> None:
    gaps = _gaps(rows, spec, *grid, frequency)
    if gaps is None:
        return
    ds, first = pd.DatetimeIndex(rows.ds), rows.first
    source, before = _spread(gaps)
    new = before > 0
    steps = (grid[0][source] - before)[new]
    values = ds.asi8[source]
    values[new] = advance(ds[first[source[new]]], steps, frequency, calendar).as_unit(ds.unit).asi8
    times = pd.DatetimeIndex(values.view(f"M8[{ds.unit}]"))
    rows.take(source)
    rows.ds = times if ds.tz is None else times.tz_localize("UTC").tz_convert(ds.tz)
    _blank(rows, new)


def _gaps(
    rows: Rows, spec: DataSpec, steps: np.ndarray, regular: np.ndarray, step: str
) -> np.ndarray | None:
    """Return how many steps are missing before each row, (row,); None when none is to be filled."""
    if not regular.all():
        raise _off_grid(rows, ~regular, step)
    gaps = np.diff(steps, prepend=0)
    gaps -= 1
    gaps[~rows.inner] = 0
    total, present = int(gaps.sum()), len(rows)
    begin, what = np.append(gaps[1:] > 0, False), "gap{s} in time"  # the rows that gaps come after
    if not rows.settle(begin, spec.missing_timestamps, what, "missing_timestamps", "after"):
        return None
    if total > MOST_FILLED * present:
        raise InvalidInputError(
            f"With steps of {step}, {total} of {total + present} timestamps have no row: "
            f"{rows.describe(begin, what, 'after')}.",
            "Train with the --frequency that the rows have.",
        )
    rows.notices.append(
        f"Filled {rows.describe(begin, what, 'after')}: {counted(total, 'missing timestamp')} of step "
        f"{step}, with the values before."
    )
    return gaps


def _spread(gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Repeat each row for the gap before it.

    Returns:
        (filled row,) the row it comes from, and how many steps it is before that row.
    """
    counts = gaps + 1
    source = np.repeat(np.arange(len(gaps)), counts)
    return source, np.cumsum(counts)[source] - 1 - np.arange(len(source))


def _blank(rows: Rows, new: np.ndarray) -> None:
    rows.y[new] = np.nan
    rows.covariates[new] = np.nan
    rows.inserted = new


def _off_grid(rows: Rows, found: np.ndarray, step: str) -> InvalidInputError:
    zone = "convert them to their local time zone"
    if isinstance(rows.ds, pd.DatetimeIndex) and rows.ds.tz is not None:
        ahead = microseconds(rows.ds.tz_localize(None)) - microseconds(rows.ds)
        if len(pd.unique(ahead)) > 1:
            zone = "convert them to UTC, for their clock is set back and forth between them"
    return InvalidInputError(
        f"The data has {rows.describe(found, f'timestamp{{s}} off the grid of {step}')}.",
        f"Remove or round them, {zone}, or train with another --frequency or --calendar.",
    )
