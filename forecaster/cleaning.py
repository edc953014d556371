"""Defects of rows and their policies: order, duplicates, empty and infinite values, short series.

Nothing here looks ahead: a value is only ever mended from the rows before it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from forecaster.config import DataSpec
from forecaster.errors import InvalidInputError
from forecaster.frequencies import microseconds
from forecaster.rows import Rows, after_row, named


def order(rows: Rows, spec: DataSpec) -> None:
    """Put series one after the other and the rows of each in time, each time once.

    Raises:
        InvalidInputError: Rows are unsorted or repeated, and the policy is `error`.
    """
    rows.take(_by_series(rows.codes))
    moments = _moments(rows)
    backward = rows.inner & after_row(np.less, moments)
    if rows.settle(backward, spec.unsorted, "row{s} earlier than the row before", "unsorted"):
        series = np.unique(rows.codes[backward])
        rows.take(np.lexsort((moments, rows.codes)))  # stable: of equal times the last stays last
        rows.notices.append(f"Sorted the rows of {len(series)} series ({named(rows.ids[series])}).")
    moments = _moments(rows)  # anew: rows may have moved or gone
    repeated = rows.inner & after_row(np.equal, moments)
    what = "repeated timestamp"
    summary = rows.describe(repeated, what) if repeated.any() else ""
    if rows.settle(repeated, spec.duplicates, what, "duplicates"):
        # A row that the next one repeats gives way to it: later rows are corrections.
        rows.take(~np.append(repeated[1:], False))
        rows.notices.append(f"Dropped {summary}; the last row of each was kept.")


def _by_series(codes: np.ndarray) -> np.ndarray:
    if not after_row(np.less, codes).any():
        return np.ones(len(codes), dtype=bool)
    return np.argsort(codes, kind="stable")


def _moments(rows: Rows) -> np.ndarray:
    if isinstance(rows.ds, pd.DatetimeIndex):
        return microseconds(rows.ds)
    return rows.ds.to_numpy(dtype=np.int64)


def mend_values(rows: Rows, spec: DataSpec) -> None:
    """Settle empty and infinite values, then carry the last value forward.

    Rows before the first complete one of a series cannot be filled and are left out.

    Raises:
        InvalidInputError: There are such values, and the policy is `error`; or a column known ahead
            has an empty one: nothing about the future is filled in.
    """
    _require_known(rows)
    _settle_cells(rows, np.isnan, spec.missing_values, "empty value", "missing_values")
    _settle_cells(rows, np.isinf, spec.infinite_values, "infinite value", "infinite_values")
    leading = _carry_forward(rows)
    if leading.any():
        summary = rows.describe(leading, "row{s} before the first with a value in every column")
        rows.notices.append(f"Left out {summary}.")
        rows.take(~leading)


def _require_known(rows: Rows) -> None:
    """Refuse holes in the columns known ahead; before the first value there may be rows."""
    for number, name in enumerate(rows.names):
        if name not in rows.future:
            continue
        column = rows.covariates[:, number]
        holes = np.isnan(column) & ~rows.inserted & ~_unseen(column, first=rows.first)
        if holes.any():
            raise InvalidInputError(
                f"The column {name!r}, known ahead, has {rows.describe(holes, 'empty value')}.",
                "Fill it in; or name it in --covariates: those are filled from the row before.",
            )


def _settle_cells(
    rows: Rows, test: Callable[[np.ndarray], np.ndarray], policy: str, what: str, option: str
) -> None:
    found = test(rows.y) | test(rows.covariates).any(axis=1)
    found &= ~rows.inserted  # those are gaps, and were settled as such
    if not rows.settle(found, policy, what, option):
        return
    if policy == "drop":
        rows.notices.append(f"Dropped the rows with {rows.describe(found, what)}.")
        rows.take(~found)
        return
    for column in (rows.y, *rows.covariates.T):
        column[test(column)] = np.nan  # written in place: a view of the covariates
    mended = found & ~_unseen(rows.y, *rows.covariates.T, first=rows.first)
    if not mended.any():
        return
    seen = np.maximum.reduceat(
        np.where(np.isfinite(rows.y), np.arange(len(rows)), -1), np.unique(rows.first)
    )
    last = np.zeros(len(rows.ids), dtype=np.int64)
    last[np.unique(rows.codes)] = seen
    after = int((mended & (np.arange(len(rows)) > last[rows.codes])).sum())
    ends = f"; {after} of them at the end of a series" if after else ""
    ends += ", where --future would take them for the steps to forecast" if after else ""
    rows.notices.append(f"Filled {rows.describe(mended, what)}, with the value before{ends}.")


def _last_seen(column: np.ndarray) -> np.ndarray:
    """Return the row of the latest finite value so far, -1 before any: (row,) int64."""
    return np.maximum.accumulate(np.where(np.isfinite(column), np.arange(len(column)), -1))


def _unseen(*columns: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(row,) bool: some column has had no value in this series yet."""
    unseen = np.zeros(len(first), dtype=bool)
    for column in columns:
        if not np.isfinite(column).all():
            unseen |= _last_seen(column) < first
    return unseen


def _carry_forward(rows: Rows) -> np.ndarray:
    """Fill what is not finite from the row before; return the rows that have none, (row,) bool."""
    first = rows.first
    rows.inserted |= ~np.isfinite(rows.y)
    unseen = _unseen(rows.y, *rows.covariates.T, first=first)
    for column in (rows.y, *rows.covariates.T):
        if not np.isfinite(column).all():
            column[:] = column[np.maximum(_last_seen(column), first)]
    return unseen


def judge_series(rows: Rows, spec: DataSpec) -> None:
    """Settle series that are constant or have no rows.

    Raises:
        InvalidInputError: There are such series and the policy is `error`, or no series is left.
    """
    _judge_constant(rows, spec.constant)
    lengths = np.diff(rows.offsets)
    gone = np.isin(rows.ids, list(rows.skipped))
    empty = np.flatnonzero((lengths == 0) & ~gone)
    if len(empty):
        names = named(rows.ids[empty])
        if spec.too_short == "error":
            raise InvalidInputError(
                f"{len(empty)} series without rows: {names}.",
                "Remove them, or choose --too-short skip-series.",
            )
        rows.skip(empty, ["has no rows"] * len(empty))
        rows.notices.append(f"Skipped {len(empty)} series without rows: {names}.")


def _judge_constant(rows: Rows, policy: str) -> None:
    if len(rows) == 0:
        return
    offsets = rows.offsets
    series = np.flatnonzero(np.diff(offsets) > 1)
    present = np.flatnonzero(np.diff(offsets))
    change = rows.inner & after_row(np.not_equal, rows.y)
    varied = np.zeros(len(rows.ids), dtype=bool)
    varied[present] = np.logical_or.reduceat(change, offsets[present])
    constant = series[~varied[series]]
    if len(constant) == 0:
        return
    names = named(rows.ids[constant])
    never = "never changes" if len(constant) == 1 else "never change"
    if policy == "error":
        raise InvalidInputError(
            f"{len(constant)} series {never}: {names}.",
            "Remove them, or choose --constant keep or skip-series.",
        )
    if policy == "skip-series":
        rows.skip(constant, ["never changes"] * len(constant))
        rows.notices.append(f"Skipped {len(constant)} series that {never}: {names}.")
    else:
        were = "was" if len(constant) == 1 else "were"
        rows.notices.append(f"{len(constant)} series {never} and {were} kept: {names}.")
