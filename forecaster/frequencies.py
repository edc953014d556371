"""What a pandas frequency alias means, and how to guess it from timestamps.

A frequency is a unit (tick, day, business day, week, month) and how many of them make one step.
Quarters and years are steps of 3 and 12 months. Absolute time counts for ticks (an hour is 3,600
seconds, whatever the clocks do); the wall clock counts for everything longer.
"""

from __future__ import annotations

from collections import Counter
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
# Of the differences between neighbours, this share must be one step: else filling the gaps would
# invent more rows than there are.
REGULAR_SHARE = 0.5
# Markets with a rare weekend session (a budget day, a festival) are still business-daily.
WEEKEND_SHARE = 0.05


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


def default_season_length(frequency: str | None) -> int:
    """Return the steps in the season that data of this frequency most often has.

    >>> [default_season_length(alias) for alias in ("h", "15min", "D", "B", "W-SUN", "QS", None)]
    [24, 96, 7, 5, 52, 4, 1]
    """
    if frequency is None:
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
    if frequency is None:
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


def infer_frequency(ds: pd.Index[Any]) -> str | None:
    """Guess the frequency of one series from its timestamps.

    Gaps, missing holidays and any order are fine; two rows are enough.

    Args:
        ds: (row,) timestamps, or integers.

    Returns:
        A pandas alias; None for integers.

    Raises:
        InvalidInputError: One row only, or no step explains the differences.

    >>> infer_frequency(pd.DatetimeIndex(["2024-01-31", "2024-02-29", "2024-04-30"]))
    'ME'
    """
    if not isinstance(ds, pd.DatetimeIndex):
        return None
    rows = ds.unique().sort_values()
    alias = infer_frequencies(rows, np.array([0, len(rows)]))[0]
    if not alias:
        raise cannot_tell(rows)
    return alias


def cannot_tell(ds: pd.DatetimeIndex, where: str = "") -> InvalidInputError:
    """Say why no frequency was found in sorted timestamps.

    Args:
        ds: (row,) sorted timestamps.
        where: Such as "of series 'a' "; may be empty.
    """
    hint = "Pass --frequency with a pandas alias such as h, D, B, W-SUN or MS."
    if len(ds) < 2:
        return InvalidInputError(
            f"The frequency {where}needs at least 2 different timestamps but found {len(ds)}.", hint
        )
    counts = Counter(np.diff(microseconds(ds)).tolist()).most_common(4)
    found = ", ".join(f"{pd.Timedelta(step, 'us')} ({count}x)" for step, count in counts)
    return InvalidInputError(
        f"The frequency {where}cannot be told: the differences between its {len(ds)} timestamps "
        f"from {ds[0]} to {ds[-1]} are irregular, most often {found}.",
        hint,
    )


def infer_frequencies(ds: pd.DatetimeIndex, offsets: np.ndarray) -> list[str]:
    """Guess the frequency of every series at once.

    Args:
        ds: (row,) timestamps, sorted and without duplicates within each series.
        offsets: (series + 1,) rows `offsets[i]:offsets[i + 1]` belong to series i.

    Returns:
        One alias a series; an empty string where it cannot be told.
    """
    lengths = np.diff(offsets)
    aliases = np.full(len(lengths), "", dtype=object)
    enough = lengths >= 2
    if not enough.all():  # a lone row says nothing; without it every segment has differences
        ds, kept = ds[np.repeat(enough, lengths)], np.flatnonzero(enough)
        offsets = np.concatenate([[0], np.cumsum(lengths[enough])])
    else:
        kept = np.arange(len(lengths))
    if len(kept):
        steps = _Steps(ds, offsets)
        aliases[kept] = steps.aliases()
    return cast("list[str]", aliases.tolist())


class _Steps:
    """The differences between neighbouring rows of each series, and what they agree on."""

    def __init__(self, ds: pd.DatetimeIndex, offsets: np.ndarray) -> None:
        self.ds, self.offsets = ds, offsets
        self.starts = offsets[:-1]
        self.lengths = np.diff(offsets)
        self.inner = np.ones(len(ds), dtype=bool)  # rows with a predecessor in their series
        self.inner[self.starts] = False
        self.first_step = self.starts - np.arange(len(self.starts))
        self.days, self.time = wall_clock(ds)

    def differences(self, values: np.ndarray) -> np.ndarray:
        """(row,) -> (step,): within series only."""
        return np.diff(values, prepend=0)[self.inner]

    def every(self, mask: np.ndarray) -> np.ndarray:
        """(row,) bool -> (series,) bool."""
        return np.logical_and.reduceat(mask, self.starts)

    def constant(self, values: np.ndarray) -> np.ndarray:
        """(row,) -> (series,) bool."""
        return np.asarray(
            np.maximum.reduceat(values, self.starts) == np.minimum.reduceat(values, self.starts)
        )

    def common_step(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the divisor of all differences, and whether enough of them equal it: (series,)."""
        steps = self.differences(values)
        divisor = np.gcd.reduceat(steps, self.first_step)
        equal = steps == np.repeat(divisor, self.lengths - 1)
        share = np.add.reduceat(equal.astype(np.float64), self.first_step) / (self.lengths - 1)
        return divisor, (share >= REGULAR_SHARE) & (divisor > 0)

    def aliases(self) -> np.ndarray:
        """Return one alias a series, the most specific that fits: (series,) object."""
        found = np.full(len(self.starts), "", dtype=object)
        daily = self.constant(self.time)
        if daily.any():
            for place in PLACES:
                self._put(found, daily, *self._monthly(place))
            self._put(found, daily, *self._weekly())
            self._put(found, daily, *self._business())
            step, fits = self.common_step(self.days)
            self._put(found, daily & fits, step, "D")
        if (found == "").any():
            step, fits = self.common_step(microseconds(self.ds))
            for value in np.unique(step[fits]):
                found[(found == "") & fits & (step == value)] = _tick_alias(int(value))
        for series in np.flatnonzero(found == "").tolist():
            found[series] = self._majority(series)
        return found

    @staticmethod
    def _put(found: np.ndarray, fits: np.ndarray, count: np.ndarray, names: Any) -> None:
        open_ = (found == "") & fits & (count > 0)
        if not open_.any():
            return
        labels = np.broadcast_to(np.asarray(names, dtype=object), found.shape)
        found[open_] = [
            (f"{n}" if n > 1 else "") + name
            for n, name in zip(count[open_].tolist(), labels[open_], strict=True)
        ]

    def _monthly(self, place: Place) -> tuple[np.ndarray, np.ndarray]:
        months = months_of(self.days)
        step, fits = self.common_step(months)
        fits &= self.every(self.days == days_of_months(months, place))
        step = np.where(fits, step, 0)
        month = months[self.starts] % 12  # January 0
        monthly, quarterly, yearly = PLACES[place]
        # Quarters are named after January to March when they start there, and after the last
        # month of a year that ends there: QS-JAN and QE-DEC are the calendar's own.
        quarter = month % 3 if place.endswith("start") else (month % 3 + 9)
        names = np.where(
            step % 12 == 0,
            [f"{yearly}-{MONTHS[m]}" for m in month],
            np.where(step % 3 == 0, [f"{quarterly}-{MONTHS[q]}" for q in quarter], monthly),
        ).astype(object)
        # Half-years have no alias of their own: six months it is.
        names[step % 12 == 6] = monthly
        unit = np.select([step % 12 == 0, step % 12 == 6, step % 3 == 0], [12, 1, 3], 1)
        return step // unit, names

    def _weekly(self) -> tuple[np.ndarray, np.ndarray]:
        step, fits = self.common_step(self.days)
        names = np.array([f"W-{name}" for name in WEEKDAYS], dtype=object)
        weeks = np.where(fits & (step % 7 == 0), step // 7, 0)
        return weeks, names[weekdays(self.days[self.starts])]

    def _business(self) -> tuple[np.ndarray, str]:
        weekend = (weekdays(self.days) > 4).astype(np.float64)
        rare = np.add.reduceat(weekend, self.starts) / self.lengths <= WEEKEND_SHARE
        ordinals = business_ordinals(self.days)
        last = self.offsets[1:] - 1
        days, work = (values[last] - values[self.starts] for values in (self.days, ordinals))
        single = self.differences(ordinals) <= 1  # a weekend session does not advance
        share = np.add.reduceat(single.astype(np.float64), self.first_step) / (self.lengths - 1)
        return (rare & (days > work) & (share >= REGULAR_SHARE)).astype(np.int64), "B"

    def _majority(self, series: int) -> str:
        """Return what three steps in four agree on; the odd rows are left to the caller."""
        rows = slice(self.offsets[series], self.offsets[series + 1])
        steps = np.diff(microseconds(self.ds[rows]))
        values, counts = np.unique(steps, return_counts=True)
        step = int(values[counts.argmax()])
        agree = np.mean(steps % step == 0)
        if counts.max() / len(steps) < REGULAR_SHARE or agree < 0.75 or len(steps) < 4:
            return ""
        return _tick_alias(step)


def _tick_alias(step: int) -> str:
    if step % DAY == 0:
        return f"{step // DAY}D".removeprefix("1D") or "D"
    offset = pd.tseries.frequencies.to_offset(pd.Timedelta(step, "us"))
    alias: str = cast(Any, offset).freqstr
    return alias
