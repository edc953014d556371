"""Seasonal effects of many series at once: how far each place of the season lies from the rest."""

from __future__ import annotations

import numpy as np

from forecaster.arrays import Floats

FEWEST_SEASONS = 3  # two of them have a trend on both sides, so that noise can be told


def seasonal_effects(levels: Floats, length: int) -> Floats:
    """Decompose series additively and shrink their seasonal effects towards none.

    The trend is the centred mean over a season, an effect the mean distance from it (classical
    decomposition). A mean of few noisy seasons is as much noise as season: all effects of a series
    are multiplied by the share of their variance that its noise does not explain (Miller & Williams
    2003, IJF 19, without their factor for few places).

    Args:
        levels: From the first row of each series, NaN below its last `(row, series)`.
        length: Steps of a season, at least 2.

    Returns:
        Effects of sum 0, the first that of the first row `(series, length)`; zeros for a series of
        fewer than `FEWEST_SEASONS` seasons.
    """
    if len(levels) < FEWEST_SEASONS * length:
        return np.zeros((levels.shape[1], length))
    half, rows = length // 2, np.isfinite(levels).sum(axis=0)
    inside = np.arange(len(levels) - 2 * half)[:, None] < rows - 2 * half
    centred = np.nan_to_num(levels - np.nanmean(levels, axis=0))
    sums = np.pad(centred.cumsum(axis=0), ((1, 0), (0, 0)))
    trend = sums[2 * half + 1 :] - sums[: -2 * half - 1]
    if length % 2 == 0:  # the place at both ends counts half each
        trend -= (centred[: -2 * half] + centred[2 * half :]) / 2
    off = np.where(inside, centred[half : len(centred) - half] - trend / length, 0.0)
    short = (0, -len(off) % length)
    by_place = np.pad(off, (short, (0, 0))).reshape(-1, length, levels.shape[1])
    count = np.maximum(1, np.pad(inside, (short, (0, 0))).reshape(by_place.shape).sum(axis=0))
    effects = by_place.sum(axis=0) / count
    left = np.square(off).sum(axis=0) - (count * np.square(effects)).sum(axis=0)
    noise = np.maximum(0.0, left) / np.maximum(1, rows - 2 * half - length)
    effects -= effects.mean(axis=0)
    found, chance = np.square(effects).mean(axis=0), (noise / count).mean(axis=0)
    share = np.divide(found - chance, found, out=np.zeros_like(found), where=found > chance)
    share[rows < FEWEST_SEASONS * length] = 0.0
    return np.asarray(np.roll(effects * share, half, axis=0).T)
