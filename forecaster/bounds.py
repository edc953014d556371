"""What forecasts and intervals keep within: a smallest value, a largest one, whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.arrays import Flags, Floats, Ints
from forecaster.config import BoundsSpec
from forecaster.words import listed, of_series


@dataclass(frozen=True)
class Bounds:
    """The bounds of each series of a panel.

    Attributes:
        low: Smallest value, -inf for none; a whole number where only those are forecast `(series,)`.
        high: Largest value, inf for none; likewise `(series,)`.
        whole: Which series are forecast in whole numbers `(series,)`.
    """

    low: Floats
    high: Floats
    whole: Flags

    @classmethod
    def of(cls, spec: BoundsSpec, ids: Sequence[str]) -> Bounds:
        """Look the series up in the settings."""
        each = [spec.of(uid) for uid in ids]
        low = np.array([-np.inf if one.min is None else one.min for one in each], dtype=np.float64)
        high = np.array([np.inf if one.max is None else one.max for one in each], dtype=np.float64)
        whole = np.array([bool(one.whole) for one in each], dtype=np.bool_)
        return cls(np.where(whole, np.ceil(low), low), np.where(whole, np.floor(high), high), whole)

    def points(self, values: Floats, series: Ints) -> Floats:
        """Bring forecasts inside, whole ones to the nearest number `(window, horizon)`.

        Args:
            values: Forecasts in the units of the data `(window, horizon)`.
            series: Place of each window's series `(window,)`.
        """
        return self._kept(values, series, np.rint)

    def lows(self, values: Floats, series: Ints) -> Floats:
        """Bring lower ends of intervals inside; whole ones go down, so that none gets narrower."""
        return self._kept(values, series, np.floor)

    def highs(self, values: Floats, series: Ints) -> Floats:
        """Bring upper ends of intervals inside; whole ones go up."""
        return self._kept(values, series, np.ceil)

    def _kept(self, values: Floats, series: Ints, rounded: Callable[[Floats], Floats]) -> Floats:
        if self.whole.any():
            whole = rounded(values) + 0.0  # -0.0 would be written as such
            values = np.where(self.whole[series, None], whole, values)
        if np.isfinite([self.low, self.high]).any():
            values = np.clip(values, self.low[series, None], self.high[series, None])
        return np.ascontiguousarray(values)  # copied only out of levels that have quantiles too

    def outside(self, y: Floats, offsets: Ints) -> Flags:
        """Tell which series have values that their own bounds exclude `(series,)`."""
        series = np.repeat(np.arange(len(self.low)), np.diff(offsets))
        bad = y != self.points(y[:, None], series)[:, 0]
        return np.bincount(series, bad, minlength=len(self.low)) > 0


def outside_notice(spec: BoundsSpec, ids: Sequence[str], y: Floats, offsets: Ints) -> list[str]:
    """Say which series break their own bounds, if any."""
    outside = np.flatnonzero(Bounds.of(spec, ids).outside(y, offsets))
    if not len(outside):
        return []
    return [
        f"{of_series(len(outside), len(ids))} values outside their own bounds (min, max, "
        f"whole): {listed([ids[row] for row in outside.tolist()])}. Their forecasts keep the bounds."
    ]


def unknown_notice(spec: BoundsSpec, known: Collection[str]) -> list[str]:
    """Say which bounds are of no series that is known, if any."""
    unknown = sorted(set(spec.per_series) - set(known))
    return [f"Bounds of no series here are left unused: {listed(unknown)}."] if unknown else []
