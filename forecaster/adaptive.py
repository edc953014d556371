"""Intervals that follow the errors made since training.

Calibrated on windows held out, intervals are as wide as the errors were there. Where what comes later is
rougher or calmer they cover too little or too much, until the next training. With every row that
comes in, more windows after training have their truth: step by step, the widths of a series are
multiplied by how large its errors on the latest of them are, to those expected (residuals of a sliding
window, as in Xu & Xie 2021, ICML, with split conformal scores in the place of plain residuals).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forecaster.arrays import Flags, Floats, Ints
from forecaster.model import Forecast, Model
from forecaster.series import Panel
from forecaster.statistical import STATISTICAL
from forecaster.windows import cutoffs_between, rows_after

LATEST_SPANS = 30  # horizons of rows that are looked back on
EXPECTED_SPANS = 2.0  # horizons of rows after which the errors seen count as much as those expected
WINDOWS = 8  # at most that are looked at in a horizon: they overlap
MOST = 20.0  # times the error expected: what an error counts at most, so that no wild row decides
AT_ONCE = 2**21  # forecast values, or memory would grow with the panel


def adapted(
    model: Model, forecast: Forecast, panel: Panel, cutoffs: Ints, unseen: Ints
) -> Forecast:
    """Return a forecast whose intervals follow the errors known at each cutoff.

    Args:
        model: Calibrated, the one that made the forecast.
        forecast: Of the cutoffs.
        panel: Regular series.
        cutoffs: Row of the last observed value of each window `(window,)`.
        unseen: First row of each series after those that trained and calibrated the model, counted
            from its beginning `(series,)`.
    """
    series, horizon = forecast.series, model.horizon
    step = -(-horizon // WINDOWS)
    begin = panel.offsets[:-1]
    latest = cutoffs - horizon  # the newest window whose whole truth is known
    least = begin + np.maximum(unseen, model.config.context_rows) - 1
    oldest = np.maximum(least[series], latest - LATEST_SPANS * horizon + 1)
    first, stop = panel.offsets[1:].copy(), begin.copy()
    np.minimum.at(first, series, oldest)
    np.maximum.at(stop, series, latest + 1)
    first = least + -(-(first - least) // step) * step  # the same windows, wherever cutoffs are
    known = cutoffs_between(begin, first - begin, stop - begin, step)
    known = known[_quick(model, panel, known)]
    if not len(known):
        return forecast
    parts = np.array_split(known, 1 + len(known) * horizon // AT_ONCE)
    ratios = np.concatenate([_ratios(model, panel, part) for part in parts])
    if not np.isfinite(ratios).any():
        return forecast
    low = np.searchsorted(known, oldest)
    high = np.maximum(low, np.searchsorted(known, latest, side="right"))
    spans, errors = (
        _sums(_averaged(each, step), low, high) * step / horizon
        for each in (np.isfinite(ratios), np.nan_to_num(ratios))
    )
    recent = (errors + EXPECTED_SPANS) / (spans + EXPECTED_SPANS)
    steps = np.minimum(np.arange(forecast.levels.shape[1]), horizon - 1)  # more are rolled forward
    return replace(forecast, recent=recent[:, steps])


def _quick(model: Model, panel: Panel, cutoffs: Ints) -> Flags:
    """Tell which windows neither Theta nor ETS forecasts, which are fitted to each `(window,)`."""
    if model.fallback is None:
        return np.ones(len(cutoffs), dtype=bool)
    series = np.searchsorted(panel.offsets, cutoffs, side="right") - 1
    sources = model.fallback.of(model.scaling.rows_of(panel.ids)[series])
    return ~np.isin(sources.astype(str), STATISTICAL)


def _ratios(model: Model, panel: Panel, cutoffs: Ints) -> Floats:
    """Compare the errors of windows with those expected `(window, horizon)`.

    NaN where none are expected, and where the truth was filled in.
    """
    forecast = model.forecast(panel, cutoffs)
    rows = rows_after(cutoffs, model.horizon)
    truth = forecast.scaling.levels(panel)[rows]
    scores = np.abs(forecast.distribution.deviate_of(truth))
    ratios = np.full(scores.shape, np.nan)
    for source, conformal in forecast.used.items():
        windows = (forecast.sources == source) & ~forecast.still
        if conformal.windows:
            expected = conformal.scores.mean(axis=0)
            expected = expected * conformal.stretches(forecast.places[windows])[:, None]
            possible = (expected > 0) & ~panel.filled[rows[windows]]
            found = np.full(expected.shape, np.nan)
            np.divide(scores[windows], expected, out=found, where=possible)
            ratios[windows] = np.minimum(found, MOST)
    return ratios


def _averaged(ratios: Floats, reach: int) -> Floats:
    """Average over the steps up to so far away, as far as there are any `(window, horizon)`."""
    steps = np.arange(ratios.shape[1])
    low, high = np.maximum(steps - reach, 0), np.minimum(steps + reach + 1, len(steps))
    return np.asarray(_sums(ratios.T, low, high).T / (high - low))


def _sums(values: Floats | Flags, low: Ints, high: Ints) -> Floats:
    """Sum rows of values from one up to before another `(place, column)`."""
    total = np.pad(values.cumsum(axis=0), ((1, 0), (0, 0)))
    return np.asarray(total[high] - total[low])
