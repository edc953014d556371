"""Rows past the end of a series: no value yet, only what is known ahead of the times to come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from forecaster.arrays import Floats
from forecaster.errors import InvalidInputError
from forecaster.rows import Rows, named
from forecaster.words import counted


def split_ahead(rows: Rows) -> pd.DataFrame:
    """Take the rows after the last value of each series away, where columns are known ahead.

    Args:
        rows: In order; left with the rows that have been observed.

    Returns:
        `unique_id`, `ds` and the columns known ahead.
    """
    after = _after_last(rows) if rows.future else np.zeros(len(rows), dtype=bool)
    ahead = pd.DataFrame({"unique_id": rows.ids[rows.codes[after]], "ds": rows.ds[after]})
    for column in range(-len(rows.future), 0):
        ahead[rows.names[column]] = rows.covariates[after, column]
    if after.any():
        if after.all():
            raise InvalidInputError(
                "The column y is empty in every row, so that there is nothing to forecast from.",
                "Give rows with values, and after them those that are known ahead.",
            )
        missing = [
            f"{name} is empty in {count} of them, and needed up to the horizon"
            for name, count in ahead[list(rows.future)].isna().sum().items()
            if count
        ]
        rows.notices.append(
            f"{rows.describe(after, 'row{s} without a value of y')}: past the end of the series, "
            f"they say what is known ahead ({'; '.join([', '.join(rows.future), *missing])})."
        )
        rows.take(~after)
    return ahead


def _after_last(rows: Rows) -> np.ndarray:
    """Tell which rows come after the last value of their series: (row,) bool."""
    observed = np.flatnonzero(~np.isnan(rows.y))
    last = np.full(len(rows.ids), -1)
    np.maximum.at(last, rows.codes[observed], observed)
    return np.asarray(np.arange(len(rows)) > last[rows.codes])


def values_ahead(
    ahead: pd.DataFrame, ids: Sequence[str], ds: pd.Index[Any], horizon: int
) -> tuple[Floats, list[str]]:
    """Look up the values of the steps after the end of each series.

    A network forecasts whole blocks of steps; those after the horizon are not given out. Where
    they have no value, the one before is held, and that is said.

    Args:
        ahead: As `split_ahead` returns it.
        ids: Series.
        ds: Times of their steps, one series after the other `(series * step,)`.
        horizon: Steps that need values.

    Returns:
        `(series * step, column)`, and notices.

    Raises:
        InvalidInputError: A value is missing within the horizon.
    """
    names = list(ahead.columns[2:])
    steps = len(ds) // len(ids)
    index = pd.MultiIndex.from_arrays([np.repeat(np.array(ids, dtype=object), steps), ds])
    looked_up = ahead.set_index(["unique_id", "ds"]).reindex(index).to_numpy(np.float64, copy=True)
    found = looked_up.reshape(len(ids), steps, len(names))
    missing = ~np.isfinite(found)
    if missing[:, :horizon].any():
        raise _missing(missing[:, :horizon], ids, ds, steps, names)
    for step in range(horizon, steps):
        found[:, step] = np.where(missing[:, step], found[:, step - 1], found[:, step])
    held = np.flatnonzero(missing.any(axis=(0, 1)))
    notices = []
    if len(held):
        notices.append(
            f"The network forecasts {steps} steps at once; after the {horizon} wanted, the last "
            f"values of {named([names[column] for column in held])} are held."
        )
    return found.reshape(len(ds), len(names)), notices


def _missing(
    missing: np.ndarray, ids: Sequence[str], ds: pd.Index[Any], steps: int, names: Sequence[str]
) -> InvalidInputError:
    """Name the first value that is missing `(series, step, column)`."""
    series, step, column = (int(place) for place in np.argwhere(missing)[0])
    few = int((~missing.any(axis=(0, 2))).cumprod().sum())
    time = str(ds[series * steps + step]).removesuffix(" 00:00:00")
    lower = f", or use a --horizon of at most {few}" if few else ""
    return InvalidInputError(
        f"Series {ids[series]!r} has no value of {names[column]!r} at {time}, which has to be known "
        f"ahead: {counted(missing.shape[1], 'step')} after the last value of y are forecast.",
        "Give a row for each of them, with y left empty and the columns known ahead "
        f"({', '.join(names)}) filled in{lower}.",
    )
