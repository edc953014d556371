"""What a pandas frequency alias means, and the arithmetic of time behind it.

A frequency is a unit (tick, day, business day, week, month) and how many of them make one step.
Quarters and years are steps of 3 and 12 months. Absolute time counts for ticks (an hour is 3,600
seconds, whatever the clocks do); the wall clock counts for everything longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from forecaster.errors import InvalidInputError

Unit = Literal["tick", "day", "business", "week", "month"]
Place = Literal["start", "end", "business start", "business end"]

SECOND = 1_000_000  # all arithmetic on time is in int64 microseconds
DAY = 86_400 * SECOND
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
COMMON = ("h", "min", "30min", "D", "B", "W-SUN", "W-MON", "MS", "ME", "QS", "QE", "YS", "YE")
RENAMED = {"H": "h", "T": "min", "M": "ME", "Q": "QE", "Y": "YE", "A": "YE", "BM": "BME"}
PLACES: dict[Place, tuple[str, str, str]] = {  # aliases of one, three and twelve months
    "start": ("MS", "QS", "YS"),
    "end": ("ME", "QE", "YE"),
    "business start": ("BMS", "BQS", "BYS"),
    "business end": ("BME", "BQE", "BYE"),
}
MONTHLY: dict[str, tuple[int, Place]] = {  # pandas' names of its offset classes
    "MonthBegin": (1, "start"),
    "QuarterBegin": (3, "start"),
    "YearBegin": (12, "start"),
    "MonthEnd": (1, "end"),
    "QuarterEnd": (3, "end"),
    "YearEnd": (12, "end"),
    "BusinessMonthBegin": (1, "business start"),
    "BQuarterBegin": (3, "business start"),
    "BYearBegin": (12, "business start"),
    "BusinessMonthEnd": (1, "business end"),
    "BQuarterEnd": (3, "business end"),
    "BYearEnd": (12, "business end"),
}


@dataclass(frozen=True)
class Frequency:
    """A parsed alias.

    Attributes:
        alias: As pandas writes it, such as `30min`, `W-SUN`, `QS-JAN`.
        unit: What is counted.
        count: Units in a step; microseconds for ticks.
        months: For months: 1, 3 or 12.
        anchor: For weeks the weekday (Monday 0); for months a month (1-12) on the grid.
        place: For months: which day of the month.
    """

    alias: str
    unit: Unit
    count: int = 1
    months: int = 1
    anchor: int = 0
    place: Place = "start"


@lru_cache(maxsize=256)
def parse(alias: str) -> Frequency:
    """Read a pandas alias.

    Raises:
        InvalidInputError: pandas does not know it, or it has no regular grid.

    >>> parse("30min").count == 30 * 60 * SECOND
    True
    >>> parse("QS").alias
    'QS-JAN'
    """
    try:
        offset = cast(Any, pd.tseries.frequencies.to_offset(alias))
    except ValueError as error:
        raise _unknown(alias) from error
    if offset is None or offset.n < 1:
        raise _unknown(alias)
    name = type(offset).__name__
    if isinstance(offset, pd.tseries.offsets.Tick):
        return Frequency(offset.freqstr, "tick", max(1, pd.Timedelta(offset).value // 1000))
    simple: dict[str, Unit] = {"Day": "day", "BusinessDay": "business"}
    if name in simple:
        return Frequency(offset.freqstr, simple[name], offset.n)
    if name == "Week" and offset.weekday is not None:
        return Frequency(offset.freqstr, "week", offset.n, anchor=offset.weekday)
    if name not in MONTHLY:
        raise _unknown(alias)
    months, place = MONTHLY[name]
    anchor = {1: 1, 3: getattr(offset, "startingMonth", 1), 12: getattr(offset, "month", 1)}[months]
    return Frequency(offset.freqstr, "month", offset.n, months, anchor, place)


def _unknown(alias: str) -> InvalidInputError:
    stem = alias.lstrip("0123456789")
    near = [RENAMED[stem]] if stem in RENAMED else get_close_matches(stem, COMMON, 1)
    meant = f" Did you mean {near[0]}?" if near and near[0] != stem else ""
    return InvalidInputError(
        f"The frequency {alias!r} is not a regular pandas alias.{meant}",
        f"Use one such as {', '.join(COMMON)}.",
    )


def integer_step(frequency: str | None) -> int | None:
    """Return the step between integers that a frequency stands for; None when it is one of dates.

    >>> integer_step("5"), integer_step("5D"), integer_step(None)
    (5, None, None)
    """
    return (int(frequency) or None) if frequency and frequency.isdecimal() else None


def default_season_length(frequency: str | None) -> int:
    """Return the steps in the season that data of this frequency most often has.

    >>> [default_season_length(alias) for alias in ("h", "15min", "D", "B", "W-SUN", "QS", None)]
    [24, 96, 7, 5, 52, 4, 1]
    """
    if frequency is None or integer_step(frequency):
        return 1
    parsed = parse(frequency)
    # A day of seconds is too long a season to see twice: below a minute, the season is the hour.
    tick_season = DAY if parsed.count >= 60 * SECOND else 3600 * SECOND
    if parsed.unit == "tick" and parsed.count >= DAY:
        parsed, tick_season = Frequency(frequency, "tick", parsed.count), 7 * DAY
    season = {"tick": tick_season, "day": 7, "business": 5, "week": 52, "month": 12}[parsed.unit]
    step = parsed.count * parsed.months
    return season // step if season % step == 0 else 1


def default_horizon(frequency: str | None) -> int:
    """Return how far ahead people most often look at this frequency, in steps.

    >>> [default_horizon(alias) for alias in ("h", "5min", "D", "B", "W-SUN", "MS", "YE", None)]
    [24, 96, 14, 5, 8, 12, 4, 10]
    """
    if frequency is None or integer_step(frequency):
        return 10
    parsed = parse(frequency)
    if parsed.unit == "tick":
        return int(np.clip(DAY // parsed.count, 4, 96))  # a day, in steps
    if parsed.unit == "month":
        return {1: 12, 3: 8, 12: 4}[parsed.months]
    return {"day": 14, "business": 5, "week": 8}[parsed.unit]


def microseconds(ds: pd.DatetimeIndex) -> np.ndarray:
    """Return absolute time, (row,) int64 microseconds since 1970 (UTC when aware)."""
    return np.asarray(ds.as_unit("us").asi8)


def wall_clock(ds: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
    """Return the local day, days since 1970, and the time of day in microseconds: both (row,)."""
    local = microseconds(ds if ds.tz is None else ds.tz_localize(None))
    days, time = np.divmod(local, DAY)
    return days, time


def weekdays(days: np.ndarray) -> np.ndarray:
    """Return the weekday, Monday 0, of days since 1970: (row,)."""
    return np.asarray((days + 3) % 7)  # 1970-01-01 was a Thursday


def business_ordinals(days: np.ndarray) -> np.ndarray:
    """Number the weekdays; a weekend has the number of the Friday before it."""
    weeks, weekday = np.divmod(days + 3, 7)
    return np.asarray(weeks * 5 + np.minimum(weekday, 4))


def months_of(days: np.ndarray) -> np.ndarray:
    """Return months since January 1970 of days since 1970: (row,) int64."""
    return days.astype("M8[D]").astype("M8[M]").astype(np.int64)


def days_of_months(months: np.ndarray, place: Place) -> np.ndarray:
    """Return the day, since 1970, that stands for each month: (row,) int64."""
    last = place.endswith("end")
    days = (months + last).astype("M8[M]").astype("M8[D]").astype(np.int64) - last
    if place == "business start":
        days = days + np.array([0, 0, 0, 0, 0, 2, 1])[weekdays(days)]
    if place == "business end":
        days = days - np.array([0, 0, 0, 0, 0, 1, 2])[weekdays(days)]
    return days
