"""Rows of many series while they are being cleaned, and the words for what was found in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from forecaster.config import policies
from forecaster.errors import InvalidInputError
from forecaster.words import counted


@dataclass
class Rows:
    """A long frame as arrays: every step of cleaning changes it in place.

    Attributes:
        ids: (series,) names, sorted.
        codes: (row,) int32, the series of each row.
        ds: (row,) timestamps or integers.
        y: (row,) float64.
        covariates: (row, covariate) float64: past ones, then those known ahead.
        names: One a covariate.
        future: Names of those known ahead.
        statics: Constant columns, one value a series.
        inserted: (row,) bool, rows that fill a gap; once values are mended, also those whose `y` was
            filled in.
        notices: What was found and mended.
        skipped: Name of a series left out, and why.
    """

    ids: np.ndarray
    codes: np.ndarray
    ds: pd.Index[Any]
    y: np.ndarray
    covariates: np.ndarray
    names: tuple[str, ...]
    inserted: np.ndarray
    notices: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    future: tuple[str, ...] = ()
    statics: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def offsets(self) -> np.ndarray:
        """(series + 1,) where each series begins, when the rows are in order."""
        return np.asarray(
            np.searchsorted(self.codes, np.arange(len(self.ids) + 1, dtype=self.codes.dtype))
        )

    @property
    def first(self) -> np.ndarray:
        """(row,) the first row of the same series."""
        return np.asarray(self.offsets[self.codes])

    @property
    def inner(self) -> np.ndarray:
        """(row,) bool: the row before is of the same series."""
        return after_row(np.equal, self.codes)

    def take(self, rows: np.ndarray) -> None:
        """Keep these rows: (kept,) indices in their new order, or a (row,) mask."""
        if rows.dtype == bool and rows.all():
            return
        self.codes, self.y, self.ds = self.codes[rows], self.y[rows], self.ds[rows]
        self.covariates, self.inserted = self.covariates[rows], self.inserted[rows]

    def skip(self, series: np.ndarray, reasons: Iterable[str]) -> None:
        """Leave out whole series: (skipped,) indices, and why."""
        self.skipped.update(zip(self.ids[series].tolist(), reasons, strict=True))
        wanted = np.ones(len(self.ids), dtype=bool)
        wanted[series] = False
        self.take(wanted[self.codes])
        if len(self) == 0:
            reasons = [f"{name}: {reason}" for name, reason in self.skipped.items()]
            raise InvalidInputError(
                f"No series is left; all {len(self.ids)} were skipped ({named(reasons)}).",
                "Fetch more history, or choose other policies for the data.",
            )

    def describe(self, found: np.ndarray, what: str, where: str = "at") -> str:
        """Say how many of what, in which series, and where first.

        Args:
            found: (row,) bool.
            what: In the singular, as `words.counted` takes it.
            where: How the first row stands to it.
        """
        row = int(found.argmax())
        series = np.unique(self.codes[found])
        return (
            f"{counted(int(found.sum()), what)} in {len(series)} series ({named(self.ids[series])}), "
            f"the first in {str(self.ids[self.codes[row]])!r} {where} "
            f"{str(self.ds[row]).removesuffix(' 00:00:00')}"
        )

    def settle(
        self, found: np.ndarray, policy: str, what: str, option: str, where: str = "at"
    ) -> bool:
        """Apply a policy as far as it is the same for every defect.

        Args:
            found: (row,) bool, where the defect is.
            policy: `error` and `skip-series` are dealt with here.
            what: The defect in words, in the singular.
            option: The setting whose policy this is.
            where: How the row stands to the defect.

        Returns:
            Whether the caller is to mend the rows.

        Raises:
            InvalidInputError: The policy is `error`.
        """
        if not found.any():
            return False
        summary = self.describe(found, what, where)
        if policy == "error":
            raise InvalidInputError(
                f"The data has {summary}.",
                f"Repair it, or say what to do: --{option.replace('_', '-')} "
                f"{' or '.join(other for other in policies(option) if other != 'error')}.",
            )
        if policy != "skip-series":
            return True
        series, counts = np.unique(self.codes[found], return_counts=True)
        self.skip(series, [counted(count, what) for count in counts.tolist()])
        self.notices.append(f"Skipped {len(series)} series for {summary}.")
        return False


def after_row(compare: Callable[..., np.ndarray], values: np.ndarray) -> np.ndarray:
    """Compare each row with the one before it, of which the first has none: (row,) bool.

    >>> after_row(np.less, np.array([3, 1, 2])).tolist()
    [False, True, False]
    """
    return np.append(np.zeros(min(len(values), 1), dtype=bool), compare(values[1:], values[:-1]))


def named(ids: Iterable[Any], limit: int = 5) -> str:
    """List names, and count those beyond the limit.

    >>> named(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    names = [str(name) for name in ids]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
