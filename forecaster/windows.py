"""Windows over a panel, as row numbers: none is copied but those that are forecast just then.

A window is named by its cutoff, the row of the panel's arrays that holds its last observed value.
Its context are the `lookback` rows that end there, its target the `horizon` rows that follow.
Where a context reaches back past the start of its series, the series' first season stands in.
"""

from __future__ import annotations

import numpy as np

from forecaster.arrays import Floats, Ints


def cutoffs_between(starts: Ints, first: Ints, stop: Ints, step: int = 1) -> Ints:
    """List the cutoffs of several series.

    Args:
        starts: Row at which each series begins `(series,)`.
        first: First cutoff of each series, counted from its start `(series,)`.
        stop: Cutoffs of each series end before this, counted from its start `(series,)`.
        step: Rows from one cutoff to the next.

    Returns:
        Rows `(window,)`, series by series, in order of time.

    >>> cutoffs_between(np.array([0, 10]), np.array([3, 3]), np.array([6, 5])).tolist()
    [3, 4, 5, 13, 14]
    """
    counts = np.maximum(0, -(-(stop - first) // step))
    kind = np.int32 if starts[-1:].max(initial=0) < 2**30 else np.int64
    cutoffs = np.arange(counts.sum(), dtype=kind) * kind(step)
    before = np.cumsum(counts) - counts  # windows of earlier series
    cutoffs += np.repeat((starts + first - before * step).astype(kind), counts)
    return cutoffs


def spread(cutoffs: Ints, most: int) -> Ints:
    """Take at most so many windows, spread evenly.

    >>> spread(np.arange(10), 4).tolist()
    [0, 3, 6, 9]
    """
    places = np.linspace(0, len(cutoffs) - 1, min(len(cutoffs), most)).astype(int)
    return cutoffs[places]


def spans(cutoffs: Ints, starts: Ints, horizon: int) -> Ints:
    """Number the spans of a horizon, back from the last cutoff of each series `(window,)`.

    Args:
        cutoffs: `(window,)`.
        starts: Row at which each series begins `(series,)`.
        horizon: Rows of a span.

    >>> spans(np.array([3, 4, 5, 12]), np.array([0, 10]), 2).tolist()
    [1, 0, 0, 0]
    """
    series = np.searchsorted(starts, cutoffs, side="right") - 1
    last = np.zeros(len(starts), dtype=cutoffs.dtype)
    np.maximum.at(last, series, cutoffs)
    return (last[series] - cutoffs) // horizon


def rows_before(cutoffs: Ints, lookback: int, starts: Ints, season: int = 1) -> Ints:
    """Rows of each context `(window, lookback)`.

    Args:
        cutoffs: `(window,)`.
        lookback: Rows of a context.
        starts: Row at which each window's series begins `(window,)`.
        season: First rows of the series that are repeated before them.

    >>> rows_before(np.array([2]), 5, starts=np.array([1]), season=2).tolist()
    [[2, 1, 2, 1, 2]]
    """
    rows = cutoffs[:, None] + np.arange(1 - lookback, 1, dtype=cutoffs.dtype)
    first = starts[:, None].astype(cutoffs.dtype)
    return np.where(rows < first, first + (rows - first) % season, rows)


def contexts(rows: Floats, cutoffs: Ints, lookback: int, starts: Ints, season: int = 1) -> Floats:
    """Copy contexts out of rows `(window, lookback, feature)`.

    Args:
        rows: Any features of each row `(row, feature)`.
        cutoffs: `(window,)`.
        lookback: Rows of a context.
        starts: Row at which each window's series begins `(window,)`.
        season: First rows of the series that are repeated before them.
    """
    first = cutoffs + 1 - lookback
    if not len(first) or (first < starts).any():
        return np.asarray(rows[rows_before(cutoffs, lookback, starts, season)])
    every = np.lib.stride_tricks.sliding_window_view(rows, (lookback, rows.shape[1]))
    return np.asarray(every[first, 0])  # whole pieces of memory: several times as fast


def rows_known(cutoffs: Ints, lookback: int, starts: Ints) -> Ints:
    """Count the rows of each context that its series has `(window,)`.

    >>> rows_known(np.array([2, 9]), 5, starts=np.array([1, 1])).tolist()
    [2, 5]
    """
    return np.minimum(cutoffs - starts + 1, lookback)


def rows_after(cutoffs: Ints, horizon: int) -> Ints:
    """Rows of each target `(window, horizon)`."""
    return cutoffs[:, None] + np.arange(1, horizon + 1, dtype=cutoffs.dtype)
