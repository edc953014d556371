"""Seasonal effects of many series at once: how far each place of the season lies from the rest."""

from __future__ import annotations

import numpy as np

from forecaster.arrays import Floats, Ints

FEWEST_SEASONS = 3  # two of them have a trend on both sides, so that noise can be told


def seasonal_effects(levels: Floats, phases: Floats | Ints, length: int) -> Floats:
    """Decompose series additively and shrink their seasonal effects towards none.

    The trend is the centred mean over a season, an effect the mean distance from it (classical
    decomposition). A mean of few noisy seasons is as much noise as season: all effects of a series
    are multiplied by the share of their variance that its noise does not explain (Miller & Williams
    2003, IJF 19, without their factor for few places).

    Args:
        levels: From the first row of each series, NaN below its last `(row, series)`.
        phases: Where in the season the rows stand `(row, series)`.
        length: Steps of a season, at least 2.

    Returns:
        Effects of sum 0 by phase `(series, length)`; zeros for a series of fewer than
        `FEWEST_SEASONS` seasons.
    """
    series = levels.shape[1]
    if len(levels) < FEWEST_SEASONS * length:
        return np.zeros((series, length))
    half, rows = length // 2, np.isfinite(levels).sum(axis=0)
    middle = slice(half, len(levels) - half)  # rows with half a season on both sides
    inside = np.arange(len(levels) - 2 * half)[:, None] < rows - 2 * half
    centred = np.nan_to_num(levels - np.nanmean(levels, axis=0))
    sums = np.pad(centred.cumsum(axis=0), ((1, 0), (0, 0)))
    trend = sums[2 * half + 1 :] - sums[: -2 * half - 1]
    if length % 2 == 0:  # the place at both ends counts half each
        trend -= (centred[: -2 * half] + centred[2 * half :]) / 2
    off = (centred[middle] - trend / length)[inside]
    place = (phases[middle] + length * np.arange(series))[inside].astype(np.int64)
    count = np.maximum(1, np.bincount(place, minlength=series * length)).reshape(series, length)
    effects = np.bincount(place, off, series * length).reshape(series, length) / count
    squares = np.bincount(place // length, np.square(off), series)
    noise = squares - (count * np.square(effects)).sum(axis=1)
    noise = np.maximum(0.0, noise) / np.maximum(1, rows - 2 * half - length)
    effects -= effects.mean(axis=1, keepdims=True)
    found, chance = np.square(effects).mean(axis=1), noise * (1 / count).mean(axis=1)
    share = np.divide(found - chance, found, out=np.zeros(series), where=found > chance)
    share[rows < FEWEST_SEASONS * length] = 0.0
    return np.asarray(effects * share[:, None])
