"""Intervals that follow the errors made since training.

Calibrated on windows held out, intervals are as wide as the errors were there. Where what comes later is
rougher or calmer they cover too little or too much, until the next training. With every row that
comes in, more steps of windows after training have their truth. Every eighth of the horizon, and step
by step, the errors of a series on the latest of them count beside the calibrated ones (residuals of a
sliding window, as in Xu & Xie 2021, ICML, in a quantile of both; see `intervals.Recent`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forecaster.arrays import Flags, Floats, Ints
from forecaster.intervals import BEYOND, RANKS, Recent
from forecaster.model import Forecast, Model
from forecaster.series import Panel
from forecaster.statistical import STATISTICAL
from forecaster.windows import cutoffs_between, rows_after

LATEST_SPANS = 30  # horizons that are looked back on, besides the newest
EXPECTED_SPANS = 2.0  # horizons of errors that the calibrated ones count as
EXPECTED_ROWS = 20  # of errors that they count as at least: of so many one lies outside 95%
WINDOWS = 8  # at most that are looked at in a horizon: they overlap
AT_ONCE = 2**21  # values that are forecast at a time
UNKNOWN = 127  # the place of an error that does not count


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
    # Counted from here, windows are the same ones wherever the cutoffs are.
    least = begin + np.maximum(unseen, model.config.context_rows) - 1
    newest = least[series] + (cutoffs - least[series]) // step * step
    oldest = np.maximum(least[series], cutoffs - (LATEST_SPANS + 1) * horizon + 1)
    # A step of a window is known once its row is; where forecasts read rows past those observed, all
    # steps of a window are known together.
    after = np.full(horizon, horizon) if model.config.knows_ahead else np.arange(1, horizon + 1)
    first, stop = panel.offsets[1:].copy(), begin.copy()
    np.minimum.at(first, series, oldest)
    np.maximum.at(stop, series, newest - after[0] + 1)
    first = least + -(-(first - least) // step) * step
    known = cutoffs_between(begin, first - begin, stop - begin, step)
    known = known[_quick(model, panel, known)]
    if not len(known):
        return forecast
    (low, newest), groups = np.unique(
        [np.searchsorted(known, oldest), newest], axis=1, return_inverse=True
    )
    high = np.maximum(low[:, None], np.searchsorted(known, newest[:, None] - after, side="right"))
    counts = _counted(model, panel, known, low, high, step) * np.float32(step / horizon)
    if not counts[-1].any():
        return forecast
    recent = Recent(counts[:-1], counts[-1], expected_spans(horizon), groups.ravel())
    return replace(forecast, recent=recent)


def _counted(model: Model, panel: Panel, known: Ints, low: Ints, high: Ints, reach: int) -> Floats:
    """Forecast windows and count their errors as `_counts` does, some series at a time.

    Args:
        model: The one that made the forecast.
        panel: Regular series.
        known: Cutoffs of the windows, ascending `(window,)`.
        low: First of them that each group looks back on, ascending `(group,)`.
        high: The one before which it ends `(group, step)`.
        reach: Steps to either side that are averaged over.
    """
    firsts = np.searchsorted(known, panel.offsets)  # window of each series
    pieces = []
    for mine in _together(firsts * model.horizon, low * model.horizon):
        start, end = low[mine].min(), high[mine].max()
        places = _places(model, panel, known[start:end])
        pieces.append(_counts(places, low[mine, None] - start, high[mine] - start, reach))
    return np.concatenate(pieces, axis=1)


def _together(firsts: Ints, low: Ints) -> list[Flags]:
    """Part groups into some that are looked at together, those of a series never apart.

    Args:
        firsts: First value of each series, and last the number of all `(series + 1,)`.
        low: First value that each group looks back on, ascending `(group,)`.
    """
    parts = firsts[np.searchsorted(firsts, low, side="right") - 1] // AT_ONCE
    return [parts == part for part in np.unique(parts)]


def expected_spans(horizon: int) -> float:
    """Return as how many horizons of errors the calibrated ones count."""
    return max(EXPECTED_SPANS, EXPECTED_ROWS / horizon)


def _quick(model: Model, panel: Panel, cutoffs: Ints) -> Flags:
    """Tell which windows neither Theta nor ETS forecasts, which are fitted to each `(window,)`."""
    if model.fallback is None:
        return np.ones(len(cutoffs), dtype=bool)
    series = np.searchsorted(panel.offsets, cutoffs, side="right") - 1
    sources = model.fallback.of(model.scaling.rows_of(panel.ids)[series])
    return ~np.isin(sources.astype(str), STATISTICAL)


def _places(model: Model, panel: Panel, cutoffs: Ints) -> Ints:
    """Place the scores of windows among the knots, some windows at a time `(window, horizon)`."""
    parts = np.array_split(cutoffs, 1 + len(cutoffs) * model.horizon // AT_ONCE)
    return np.concatenate([_placed(model, panel, part) for part in parts])


def _placed(model: Model, panel: Panel, cutoffs: Ints) -> Ints:
    """Place the scores of windows among the knots: how many are smaller `(window, horizon)`.

    UNKNOWN where none was calibrated above 0, where the truth was filled in or lies past the end, and
    where the series has never changed.
    """
    forecast = model.forecast(panel, cutoffs)
    rows, ends = rows_after(cutoffs, model.horizon), panel.offsets[forecast.series + 1, None] - 1
    past = rows > ends
    rows = np.minimum(rows, ends)
    truth = forecast.scaling.levels(panel)[rows]
    scores = np.abs(forecast.distribution.deviate_of(truth))
    places = np.full(scores.shape, UNKNOWN, dtype=np.int8)
    for source, conformal in forecast.used.items():
        windows = np.flatnonzero((forecast.sources == source) & ~forecast.still)
        if not conformal.windows:
            continue
        own = scores[windows] / conformal.stretches(forecast.places[windows])[:, None]
        for step, knots in enumerate(conformal.knots().T):
            if knots[-1] > 0:
                places[windows, step] = np.searchsorted(knots, own[:, step])
    places[panel.filled[rows] | past] = UNKNOWN
    return places


def _counts(places: Ints, low: Ints, high: Ints, reach: int) -> Floats:
    """Count errors within each knot, and last all of them `(knot + 1, group, step)`.

    Args:
        places: Of the errors `(window, step)`.
        low: First window that each group looks back on `(group, 1)`.
        high: The window before which it ends `(group, step)`.
        reach: Steps to either side that are averaged over.
    """
    knots = len(RANKS) + len(BEYOND)
    found = np.empty((knots + 1, *high.shape), dtype=np.float32)
    for knot in range(knots):
        found[knot] = _averaged(_sums(places <= knot, low, high), reach)
    found[knots] = _averaged(_sums(places < UNKNOWN, low, high), reach)
    return found


def _averaged(counts: Ints, reach: int) -> Floats:
    """Average over the steps up to so far away, as far as there are any `(group, horizon)`."""
    steps = np.arange(counts.shape[1])
    low, high = np.maximum(steps - reach, 0), np.minimum(steps + reach + 1, len(steps))
    return np.asarray(_sums(counts.T, low[:, None], high[:, None]).T / (high - low))


def _sums(counts: Ints | Flags, low: Ints, high: Ints) -> Ints:
    """Sum rows of counts from one up to before another, each `(place, 1 or column)`."""
    total = np.zeros((len(counts) + 1, counts.shape[1]), dtype=np.int32)
    np.cumsum(counts, axis=0, dtype=np.int32, out=total[1:])
    columns = np.arange(counts.shape[1])
    return np.asarray(total[high, columns] - total[low, columns])
