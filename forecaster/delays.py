"""Covariates that are published late: each row shows what was out by its own time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from forecaster.arrays import Ints
from forecaster.config import DataSpec
from forecaster.errors import InvalidInputError
from forecaster.frequencies import SECOND, microseconds
from forecaster.rows import Rows


def delay(rows: Rows, spec: DataSpec) -> None:
    """Put in each row the latest value that was published by then, for every late covariate.

    Rows before the first publication show nothing and are left out.

    Args:
        rows: Regular and mended.
        spec: Says in `available_after` how long after its date a value is published.

    Raises:
        InvalidInputError: The times are integers.
    """
    if not spec.available_after:
        return
    if not isinstance(rows.ds, pd.DatetimeIndex):
        raise InvalidInputError(
            "--available-after needs dates, but the column ds holds integers.",
            "Give dates, or shift the column in the source.",
        )
    moments, early = microseconds(rows.ds), np.zeros(len(rows), dtype=bool)
    for name, seconds in spec.available_after.items():
        column = rows.covariates[:, rows.names.index(name)]
        shown = _latest(moments, rows.offsets, round(seconds * SECOND))
        column[:] = column[np.maximum(shown, 0)]  # written in place: a view of the covariates
        early |= shown < 0
    if early.any():
        late = ", ".join(spec.available_after)
        summary = rows.describe(early, "row{s}")
        rows.notices.append(f"Left out {summary}: before anything of {late} was published.")
        rows.take(~early)


def _latest(moments: Ints, offsets: Ints, lag: int) -> Ints:
    """Return the last row of the same series that is at least the lag older, -1 for none `(row,)`."""
    found = np.full(len(moments), -1)
    for start, stop in pairwise(offsets.tolist()):
        own = moments[start:stop]
        places = np.searchsorted(own, own - lag, side="right") - 1
        found[start:stop] = np.where(places < 0, -1, start + places)
    return found
