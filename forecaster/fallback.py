"""Series that a baseline forecasts, because the network did not beat it on validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from forecaster.arrays import Flags, Floats, Ints
from forecaster.intervals import Conformal, calibrate
from forecaster.metrics import SAME_LOSS

NETWORK = ""  # stands for the network where a baseline could be named
LEAST_SHARE = 1e-3  # of its last value: no baseline forecasts a series of logarithms lower


@dataclass(frozen=True)
class Fallback:
    """What forecasts each series that a model was trained on.

    Attributes:
        chosen: The baseline of each series, or `NETWORK` `(series,)`.
        conformal: Scores of each baseline that was chosen, over the windows of its series.
    """

    chosen: tuple[str, ...]
    conformal: dict[str, Conformal]

    def of(self, places: Ints) -> np.ndarray:
        """Return what forecasts windows, by their series' place; the network a new one (-1)."""
        return np.array([*self.chosen, NETWORK], dtype=object)[places]

    def by_series(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the baseline of each series that the network does not forecast."""
        return {uid: name for uid, name in zip(ids, self.chosen, strict=True) if name != NETWORK}

    def calibrated(self, deviates: Floats, places: Ints, still: Flags) -> Fallback:
        """Rank the scores of each baseline on windows of the series that it forecasts.

        Args:
            deviates: What reaches the truth `(window, horizon)`.
            places: Place of each window's series among those trained on `(window,)`.
            still: Windows of series that have never changed `(window,)`.
        """
        names, series = self.of(places), len(self.chosen)
        ranked = {
            name: calibrate(deviates[own], places[own], series, still[own])
            for name in set(names.tolist()) - {NETWORK}
            for own in [names == name]
        }
        return replace(self, conformal=self.conformal | ranked)


def choose(errors: Mapping[str, Floats], places: Ints, series: int) -> Fallback:
    """Choose what forecasts each series: the network only where its error is clearly the smallest.

    Args:
        errors: Mean absolute error of each window, of the network (`NETWORK`) and by baseline
            `(window,)`.
        places: Place of each window's series among those trained on `(window,)`.
        series: Number of series trained on; one without a window is left to the network.
    """
    number = np.bincount(places, minlength=series)
    sums = {name: np.bincount(places, error, minlength=series) for name, error in errors.items()}
    baselines = [name for name in sums if name != NETWORK]
    best = np.argmin([sums[name] for name in baselines], axis=0)
    smallest = np.min([sums[name] for name in baselines], axis=0)
    left = (number > 0) & (smallest <= sums[NETWORK] * (1 + SAME_LOSS))
    return Fallback(
        tuple(baselines[best[row]] if left[row] else NETWORK for row in range(series)), {}
    )


def levels_of(
    values: Floats,
    last: Floats,
    lowest: Floats,
    log: Flags,
    unit: Floats,
    shares: tuple[float, ...],
) -> Floats:
    """Write a baseline's forecasts as a network's: the point, then normal quantiles around it.

    Args:
        values: Forecasts in the units of the data `(window, horizon)`.
        last: Value at each window's cutoff `(window,)`.
        lowest: Level of a value that has no logarithm `(window,)`.
        log: Which windows are forecast as logarithms `(window,)`.
        unit: Usual size of an error, in levels `(window,)`.
        shares: Of the quantiles.

    Returns:
        Levels `(window, horizon, 1 + quantile)`.
    """
    above = np.maximum(values, LEAST_SHARE * np.maximum(last, 0)[:, None])
    positive = above > 0
    logarithms = np.where(positive, np.log(np.where(positive, above, 1.0)), lowest[:, None])
    point = np.where(log[:, None], logarithms, values)
    around = np.concatenate([[0.0], ndtri(np.asarray(shares, dtype=np.float64))])
    return np.asarray(point[:, :, None] + unit[:, None, None] * around)


def fallback_text(chosen: Collection[str], series: int) -> str:
    """Say how many series baselines forecast, and which baselines.

    Args:
        chosen: The baseline of each of these series.
        series: Number of all series.

    >>> fallback_text(["naive", "drift", "naive"], 5)
    'Fallback: a baseline that the network did not beat on validation forecasts 3 of 5 series (naive 2, drift 1).'
    >>> fallback_text([], 1)
    'Fallback: no series needs a baseline; the network beat them all on validation.'
    """
    if not chosen:
        return "Fallback: no series needs a baseline; the network beat them all on validation."
    which = ", ".join(f"{name} {count}" for name, count in Counter(chosen).most_common())
    return (
        "Fallback: a baseline that the network did not beat on validation forecasts "
        f"{len(chosen)} of {series} series ({which})."
    )
