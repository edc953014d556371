"""The step of time of a series, guessed from its timestamps.

Gaps and missing holidays are expected: a step is one that enough neighbouring rows agree on.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import numpy as np
import pandas as pd

from forecaster.arrays import Flags, Ints
from forecaster.errors import InvalidInputError
from forecaster.frequencies import (
    DAY,
    MONTHS,
    PLACES,
    WEEKDAYS,
    Place,
    business_ordinals,
    days_of_months,
    microseconds,
    months_of,
    wall_clock,
    weekdays,
)

# Of the differences between neighbours, this share must be one step: else filling the gaps would
# invent more rows than there are.
REGULAR_SHARE = 0.5
# Markets with a rare weekend session (a budget day, a festival) are still business-daily.
WEEKEND_SHARE = 0.05
NIGHT = 0.25  # share of the day that must always be empty to be taken for closing hours
FEWEST_DAYS = 3  # that show when a market opens
FEWEST_APART = 5  # rows that several weekdays apart may be days of any week


def keep_hours(ds: pd.DatetimeIndex, owner: Ints, series: int, single: Flags, step: int) -> Flags:
    """Tell which series have rows in certain hours of the day only, as markets do `(series,)`.

    Args:
        ds: Timestamps `(row,)`.
        owner: Number of the series of each row `(row,)`.
        series: How many there are.
        single: Whether a row is one step after the row before it, of the same series `(row,)`.
        step: In microseconds.
    """
    nights = have_nights(ds, owner, series, step)
    inner = np.bincount(owner, minlength=series) - 1
    regular = np.bincount(owner[single], minlength=series) >= REGULAR_SHARE * inner
    days = wall_clock(ds)[0]
    return nights & regular & (_distinct(days - days.min(), owner, series) >= FEWEST_DAYS)


def have_nights(ds: pd.DatetimeIndex, owner: Ints, series: int, step: int) -> Flags:
    """Tell which series have no row ever at so much of the day that it may be closed `(series,)`."""
    if DAY % step:
        return np.zeros(series, dtype=bool)
    return _distinct(wall_clock(ds)[1] // step, owner, series) * step <= (1 - NIGHT) * DAY


def _distinct(values: Ints, owner: Ints, series: int) -> Ints:
    """Count the different values, none below 0, of each series `(series,)`."""
    width = values.max() + np.int64(1)
    return np.bincount(pd.unique(owner * width + values) // width, minlength=series)


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
    if (day := int(ds[0].day)) != 1 and (ds.day == day).all() and ds.is_normalized:
        return InvalidInputError(
            f"The frequency {where}cannot be told: its {len(ds)} timestamps from {ds[0]} to {ds[-1]} "
            f"stand on day {day} of a month, and a month is counted from its first or its last day.",
            f"Write them as months, such as {ds[0]:%Y-%m}, or as month starts, such as "
            f"{ds[0]:%Y-%m}-01.",
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


def infer_steps(numbers: np.ndarray, offsets: np.ndarray) -> list[str]:
    """Guess the step between the integers of every series: the most frequent, the least of several.

    Args:
        numbers: (row,) int64, sorted and without duplicates within each series.
        offsets: (series + 1,) rows `offsets[i]:offsets[i + 1]` belong to series i.

    Returns:
        One step a series, as text; an empty string for a series of one row or none.

    >>> infer_steps(np.array([10, 20, 40, 50, 7]), np.array([0, 4, 5]))
    ['10', '']
    """
    series = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    inner = np.diff(series, prepend=-1) == 0
    series, steps = series[inner], np.diff(numbers, prepend=0)[inner]
    order = np.lexsort((steps, series))
    series, steps = series[order], steps[order]
    new = (np.diff(series, prepend=-1) != 0) | (np.diff(steps, prepend=0) != 0)
    begins = np.flatnonzero(new)
    counts = np.diff(np.append(begins, len(steps)))
    found = [""] * (len(offsets) - 1)
    for place in np.lexsort((-steps[begins], counts)).tolist():  # the last one written stays
        found[series[begins[place]]] = str(steps[begins[place]])
    return found


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
            self._put(found, daily, *self._business_days_apart())
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

    def _business_days_apart(self) -> tuple[np.ndarray, str]:
        """Every second weekday and the like; of few rows that would be a guess."""
        step, fits = self.common_step(business_ordinals(self.days))
        fits &= self.every(weekdays(self.days) < 5) & (self.lengths > FEWEST_APART)
        last = self.offsets[1:] - 1
        return np.where(fits & (self.days[last] - self.days[self.starts] > 6), step, 0), "B"

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
