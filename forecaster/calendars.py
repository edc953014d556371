"""Where a series goes next in time: grids of pandas frequencies and of exchange sessions.

Everything follows from numbering the steps of a grid: `positions` finds the number of a timestamp
and `advance` the timestamp of a number. Both work on all series at once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd

from forecaster.errors import InvalidInputError
from forecaster.frequencies import (
    DAY,
    Frequency,
    business_ordinals,
    days_of_months,
    default_horizon,
    default_season_length,
    integer_step,
    microseconds,
    months_of,
    parse,
    wall_clock,
    weekdays,
)
from forecaster.sessions import session_days, session_times

__all__ = [
    "advance",
    "calendar_features",
    "default_horizon",
    "default_season_length",
    "future",
    "grid",
    "phases",
    "phases_ahead",
    "positions",
    "uses_calendar",
]

YEAR = 365.2425  # days
ROWS_AT_ONCE = 2**20  # what is computed on the way takes several times the memory of the rows
# Microseconds of one unit of a frequency, on average.
LENGTHS = {"tick": 1, "day": DAY, "business": 7 * DAY // 5, "week": 7 * DAY}
LENGTHS["month"] = int(YEAR * DAY / 12)
# The last years that ISO 8601, and nanoseconds in 64 bits, can write; whole ones, as averages are
# a few days off.
LATEST, LATEST_NS = (
    int(np.datetime64(day, "us").astype(np.int64)) for day in ("9999-12-01", "2262-03-01")
)
# Fewest sessions a year, and fewest microseconds a session, that any exchange is expected to
# have: they bound how far ahead its calendar must reach for a horizon.
SESSIONS = 200
SESSION = DAY // 12
LAST_SESSIONS = 2200  # exchange_calendars counts nanoseconds, which end in 2262


def future(
    last: pd.Timestamp | int | pd.Index[Any],
    periods: int,
    frequency: str | None,
    calendar: str | None = None,
) -> pd.Index[Any]:
    """Return the timestamps that follow `last`, never `last` itself.

    Args:
        last: The last observed time; an index of several gives them one after the other.
        periods: Steps ahead.
        frequency: A pandas alias; for integers their step, as text.
        calendar: Exchange code whose sessions are the grid, such as XNYS.

    Returns:
        (series * periods,) timestamps in the zone of `last`, or integers.

    Raises:
        InvalidInputError: An unknown frequency or exchange, or times too late to be written.

    >>> future(pd.Timestamp("2024-07-03"), 2, "B", "XNYS").strftime("%a %d").tolist()
    ['Fri 05', 'Mon 08']
    """
    lasts: pd.Index[Any] = last if isinstance(last, pd.Index) else pd.Index([last])
    if not isinstance(lasts, pd.DatetimeIndex):
        step = integer_step(frequency) or 1
        _require_room(int(lasts.max()), periods, step, 2**63 - 1, str(step), str)
        integers = np.repeat(np.asarray(lasts, dtype=np.int64), periods)
        integers += step * _ahead(periods, len(lasts))
        following: pd.Index[Any] = pd.Index(integers, dtype=np.int64)
        return following
    if frequency is None:
        raise InvalidInputError(
            f"Timestamps after {lasts[0]} need a frequency, and none is known.",
            "Pass --frequency with a pandas alias such as h, D, B or MS.",
        )
    parsed = parse(frequency)
    step = LENGTHS[parsed.unit] * parsed.count * parsed.months
    latest = LATEST_NS if lasts.unit == "ns" else LATEST
    _require_room(int(microseconds(lasts).max()), periods, step, latest, frequency, _day)
    return advance(lasts.repeat(periods), _ahead(periods, len(lasts)), frequency, calendar)


def clock(now: datetime, zone: Any) -> pd.Timestamp:
    """Return what a clock shows: one of a zone, or, where times have none, this machine's."""
    if zone is None:
        return pd.Timestamp(now.astimezone().replace(tzinfo=None))
    return pd.Timestamp(now).tz_convert(zone)


def moment(text: str, ds: pd.Index[Any]) -> pd.Timestamp | int:
    """Read a time so that it can be compared with others; without a zone it is in theirs.

    Args:
        text: ISO 8601, or an integer.
        ds: The others: timestamps, or integers.

    Raises:
        InvalidInputError: It is no such time.

    >>> moment("2024-07-03", pd.DatetimeIndex([], tz="UTC"))
    Timestamp('2024-07-03 00:00:00+0000', tz='UTC')
    """
    try:
        if not isinstance(ds, pd.DatetimeIndex):
            return int(text)
        time = pd.to_datetime([text], format="ISO8601")[0]
        if pd.isna(time):
            raise ValueError("not a time")
        if (time.tzinfo is None) == (ds.tz is None):
            return time
        # Of an hour that occurs twice the first is meant, of one that does not the time after it.
        return time.tz_localize(ds.tz, ambiguous=True, nonexistent="shift_forward")
    except ValueError as error:
        dates = isinstance(ds, pd.DatetimeIndex)
        kind = "a time such as 2024-07-03 or 2024-07-03T12:00" if dates else "a whole number"
        raise InvalidInputError(
            f"{text!r} is not {kind}, as the times of the series are.", "Write one."
        ) from error


def _ahead(periods: int, series: int) -> np.ndarray:
    return np.tile(np.arange(1, periods + 1), series)  # (series * periods,)


def _require_room(
    last: int, periods: int, step: int, latest: int, name: str, show: Callable[[int], str]
) -> None:
    """Refuse a horizon that ends after the latest time, before any work is done for it."""
    if last + periods * step > latest:
        raise InvalidInputError(
            f"{periods} steps of {name} after {show(last)} end later than can be written "
            f"({show(latest)}).",
            f"Use a --horizon of at most {(latest - last) // step}.",
        )


def _day(moment: int) -> str:
    return str(np.datetime64(moment, "us").astype("M8[D]"))


def grid(
    first: pd.Timestamp, last: pd.Timestamp, frequency: str, calendar: str | None = None
) -> pd.DatetimeIndex:
    """Return every timestamp of a grid between two times, both included.

    A `first` that is not on the grid is passed over to the next that is.

    >>> grid(pd.Timestamp("2024-01-15"), pd.Timestamp("2024-04-01"), "MS").strftime("%m-%d").tolist()
    ['02-01', '03-01', '04-01']
    """
    ends = pd.DatetimeIndex([first, last])
    numbers, _ = positions(ends, np.zeros(2, dtype=np.int64), frequency, calendar)
    steps = np.arange(max(int(numbers[1]), 0) + 1)
    found = advance(ends[:1].repeat(len(steps)), steps, frequency, calendar)
    return found[(found >= first) & (found <= last)]


def advance(
    origin: pd.DatetimeIndex, steps: np.ndarray, frequency: str, calendar: str | None = None
) -> pd.DatetimeIndex:
    """Return each origin moved along the grid.

    An origin between two points of the grid counts as the earlier one. The time of day is kept,
    but for one that a clock change skips: it becomes the first time after the change.

    Args:
        origin: (row,) timestamps.
        steps: (row,) int64, how many steps to go.
        frequency: A pandas alias.
        calendar: Exchange code; only steps of a day or shorter heed it.

    Raises:
        InvalidInputError: An unknown frequency or exchange, or one not known that far ahead.
    """
    if len(origin) == 0:
        return origin
    parsed = parse(frequency)
    table = _table(origin, parsed, calendar, int(steps.max(initial=0)))
    numbers = _numbers(origin, parsed, table) + steps * _stride(parsed, table)
    _check_reach(numbers, table, origin, calendar)
    return _timestamps(_values(numbers, parsed, table), origin, parsed)


def positions(
    ds: pd.DatetimeIndex, first: np.ndarray, frequency: str, calendar: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many steps each timestamp is from the first of its series.

    Args:
        ds: (row,) timestamps.
        first: (row,) int64, the row that is step 0 for this row.
        frequency: A pandas alias.
        calendar: Exchange code; only steps of a day or shorter heed it.

    Returns:
        (row,) int64 steps, rounded down, and (row,) bool: the timestamp is on the grid.
    """
    if len(ds) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    parsed = parse(frequency)
    table = _table(ds, parsed, calendar, 0)
    steps, regular = np.empty(len(ds), dtype=np.int64), np.empty(len(ds), dtype=bool)
    for start in range(0, len(ds), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        some, origin = ds[part], ds[first[part]]
        numbers, begin = _numbers(some, parsed, table), _numbers(origin, parsed, table)
        _check_reach(numbers, table, ds, calendar)
        steps[part] = (numbers - begin) // _stride(parsed, table)
        expected = _values(begin + steps[part] * _stride(parsed, table), parsed, table)
        regular[part] = _timestamps(expected, origin, parsed) == some
    return steps, regular


def phases(ds: pd.Index[Any], frequency: str | None, length: int) -> np.ndarray:
    """Return where in a season of so many steps times stand, the same in any panel `(row,)`.

    Steps are counted by the clock of the times, without the sessions of an exchange: a day begins at
    the same hour after clocks change.

    >>> phases(pd.date_range("2024-11-01", periods=4, freq="MS"), "MS", 12).tolist()
    [10, 11, 0, 1]
    """
    found = np.zeros(len(ds), dtype=np.int64)
    if length == 1 or not len(ds):
        return found
    if not isinstance(ds, pd.DatetimeIndex):
        return np.asarray(ds, dtype=np.int64) // (integer_step(frequency) or 1) % length
    assert frequency is not None  # noqa: S101 - a season of more than a step has one
    parsed = parse(frequency)
    for start in range(0, len(ds), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        clock = ds[part].tz_localize(None) if parsed.unit == "tick" else ds[part]
        numbers = _numbers(clock, parsed, None)
        found[part] = numbers // parsed.count % length
    return found


def phases_ahead(ds: pd.Index[Any], frequency: str | None, length: int, steps: int) -> np.ndarray:
    """Return the phases of times and of the steps after each `(row, 1 + step)`, as `phases` counts.

    >>> begin = pd.DatetimeIndex(["2024-03-31 01:00"], tz="Europe/Berlin")
    >>> phases_ahead(begin, "h", 24, 2).tolist()
    [[1, 3, 4]]
    """
    zoned = isinstance(ds, pd.DatetimeIndex) and ds.tz is not None
    if not zoned or frequency is None or parse(frequency).unit != "tick":
        return (phases(ds, frequency, length)[:, None] + np.arange(1 + steps)) % length
    after = np.arange(1 + steps) * np.timedelta64(parse(frequency).count, "us")
    times = ds.repeat(1 + steps) + np.tile(after, len(ds))
    return phases(times, frequency, length).reshape(len(ds), -1)


def uses_calendar(frequency: str | None, calendar: str | None) -> bool:
    """Say whether an exchange's sessions make a difference to steps of this length."""
    if frequency is None or calendar is None:
        return False
    parsed = parse(frequency)
    return parsed.unit in ("day", "business") or (parsed.unit == "tick" and parsed.count < DAY)


def _table(
    ds: pd.DatetimeIndex, parsed: Frequency, calendar: str | None, ahead: int
) -> np.ndarray | None:
    """Return the sessions around some timestamps and `ahead` steps after: sorted, or None."""
    if calendar is None or not uses_calendar(parsed.alias, calendar):
        return None
    bars = max(1, SESSION // parsed.count) if parsed.unit == "tick" else 1 / parsed.count
    years = ahead / bars / SESSIONS + 30 / YEAR  # exchanges have closed for weeks
    first = (ds.min() - pd.Timedelta(days=30)).year
    last = int(ds.max().year + ds.max().day_of_year / YEAR + years)
    if last > LAST_SESSIONS:
        raise InvalidInputError(
            f"The sessions of {calendar} can be told up to {LAST_SESSIONS}; {ahead} steps of "
            f"{parsed.alias} after {ds.max():%Y-%m-%d} may go beyond.",
            "Use a smaller --horizon, or leave --calendar out.",
        )
    if parsed.unit == "tick":
        return session_times(calendar, first, last, parsed.count, ds.tz is None)
    return session_days(calendar, first, last)


def _check_reach(
    numbers: np.ndarray, table: np.ndarray | None, ds: pd.DatetimeIndex, calendar: str | None
) -> None:
    if table is None:
        return
    bounds = table[[0, -1]] * (1 if table[-1] > DAY else DAY)  # days or microseconds
    known = pd.DatetimeIndex(bounds.view("M8[us]"))
    span = pd.DatetimeIndex([ds.min(), ds.max()]).tz_localize(None)
    slack = pd.Timedelta(days=15)  # holidays at the turn of a year
    outside = bool(span[0] < known[0] - slack or span[1] > known[1] + slack)
    if outside or numbers.min() < 0 or numbers.max() >= len(table):
        raise InvalidInputError(
            f"The sessions of {calendar} are known here from {known[0]:%Y-%m-%d} to "
            f"{known[1]:%Y-%m-%d}; the series, from {span[0]:%Y-%m-%d} to {span[1]:%Y-%m-%d}, or "
            "its horizon go beyond.",
            "Shorten the history or the horizon, update exchange_calendars, or leave --calendar "
            "out.",
        )


def _stride(parsed: Frequency, table: np.ndarray | None) -> int:
    # A table of session times already has the length of a bar between its entries.
    return 1 if parsed.unit == "tick" and table is not None else parsed.count


def _numbers(ds: pd.DatetimeIndex, parsed: Frequency, table: np.ndarray | None) -> np.ndarray:
    """Number the points of the grid; between two, the earlier one: (row,) int64."""
    if parsed.unit == "tick":
        moments = microseconds(ds)
        return moments if table is None else np.searchsorted(table, moments, side="right") - 1
    days, _ = wall_clock(ds)
    if table is not None:
        return np.searchsorted(table, days, side="right") - 1
    if parsed.unit == "day":
        return days
    if parsed.unit == "business":
        return business_ordinals(days)
    if parsed.unit == "week":
        return np.asarray((days + 3 - parsed.anchor) // 7)
    months = months_of(days)
    # Months count from January 1970 as 0, the anchor from January as 1.
    phase = (parsed.anchor - 1) % parsed.months
    periods = (months - phase) // parsed.months
    begun = days >= days_of_months(periods * parsed.months + phase, parsed.place)
    return np.asarray(periods - ~begun)


def _values(numbers: np.ndarray, parsed: Frequency, table: np.ndarray | None) -> np.ndarray:
    """Return what `_numbers` has numbered: microseconds for ticks, else days since 1970."""
    if table is not None:
        return np.asarray(table[numbers])
    if parsed.unit in ("tick", "day"):
        return numbers
    if parsed.unit == "business":
        weeks, weekday = np.divmod(numbers, 5)
        return np.asarray(weeks * 7 + weekday - 3)
    if parsed.unit == "week":
        return np.asarray(numbers * 7 - 3 + parsed.anchor)
    phase = (parsed.anchor - 1) % parsed.months
    return days_of_months(numbers * parsed.months + phase, parsed.place)


def _timestamps(
    values: np.ndarray, origin: pd.DatetimeIndex, parsed: Frequency
) -> pd.DatetimeIndex:
    """Return values of `_values` as times like those of the origin."""
    unit: Literal["ns", "us"] = "ns" if origin.unit == "ns" else "us"
    if parsed.unit == "tick":
        stamps = pd.DatetimeIndex(values.view("M8[us]")).as_unit(unit)
        return stamps if origin.tz is None else stamps.tz_localize("UTC").tz_convert(origin.tz)
    local = pd.DatetimeIndex((values * DAY + wall_clock(origin)[1]).view("M8[us]")).as_unit(unit)
    if origin.tz is None:
        return local
    earlier = np.ones(len(local), dtype=bool)  # of the two when clocks go back
    return local.tz_localize(origin.tz, ambiguous=earlier, nonexistent="shift_forward")


def calendar_features(
    ds: pd.Index[Any], frequency: str | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return where in the day, week and year each timestamp is, as points on circles.

    Args:
        ds: (row,) timestamps; integers have no features.
        frequency: Cycles no longer than a step are left out.

    Returns:
        (row, feature) float32 in [-1, 1], and the name of each feature.

    >>> calendar_features(pd.DatetimeIndex(["2024-01-01"]), "D")[1]
    ('weekday_sin', 'weekday_cos', 'year_sin', 'year_cos')
    """
    cycles: dict[str, np.ndarray] = {}
    if isinstance(ds, pd.DatetimeIndex) and frequency is not None:
        parsed = parse(frequency)
        days, time = wall_clock(ds)
        january = days_of_months(months_of(days) // 12 * 12, "start")
        if parsed.unit == "tick" and parsed.count < DAY:
            cycles["day"] = time / DAY
        if parsed.unit in ("tick", "day", "business"):
            cycles["weekday"] = weekdays(days) / 7
        if parsed.unit == "month" and parsed.months < 12:
            cycles["month"] = (months_of(days) % 12) / 12  # months of unlike length stay equal
        elif parsed.unit != "month":
            cycles["year"] = (days - january) / YEAR
    features = np.empty((len(ds), 2 * len(cycles)), dtype=np.float32)
    for number, turn in enumerate(cycles.values()):
        features[:, 2 * number] = np.sin(2 * np.pi * turn)
        features[:, 2 * number + 1] = np.cos(2 * np.pi * turn)
    return features, tuple(f"{name}_{wave}" for name in cycles for wave in ("sin", "cos"))
