"""A panel: many regular series as one array, and how a long frame becomes one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from forecaster.ahead import split_ahead
from forecaster.arrays import Ints
from forecaster.cleaning import judge_series, mend_values, order
from forecaster.columns import read_columns
from forecaster.config import DataSpec
from forecaster.delays import delay
from forecaster.errors import InvalidInputError, NotFoundError
from forecaster.index import NOTICES
from forecaster.regularity import regularise
from forecaster.statics import Statics
from forecaster.words import counted


@dataclass(frozen=True, eq=False)
class Panel:
    """Series one after the other, each in time order, without holes.

    Attributes:
        ids: (series,) names, sorted.
        offsets: (series + 1,) int64; rows `offsets[i]:offsets[i + 1]` belong to `ids[i]`.
        ds: (row,) timestamps of one zone or none, or integers.
        y: (row,) float64, finite.
        filled: (row,) bool, where `y` was not observed but filled in from the row before.
        covariates: (row, covariate) float64, finite: past ones, then those known ahead.
        covariate_names: One a covariate.
        ahead: Rows past the end of series: `unique_id`, `ds` and the columns known ahead.
        statics: Constant columns, one value a series (series,).
        frequency: Pandas alias of all series; for integers their step, as text.
        calendar: Exchange whose sessions are the steps.
        notices: What was found in the data and mended, one line each.
        skipped: Series left out, and why.
    """

    ids: tuple[str, ...]
    offsets: np.ndarray
    ds: pd.Index[Any]
    y: np.ndarray
    filled: np.ndarray
    covariates: np.ndarray
    covariate_names: tuple[str, ...] = ()
    ahead: pd.DataFrame = field(default_factory=partial(pd.DataFrame, columns=["unique_id", "ds"]))
    statics: Statics = field(default_factory=dict)
    frequency: str | None = None
    calendar: str | None = None
    notices: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def lengths(self) -> np.ndarray:
        """(series,) int64 rows of each series."""
        return np.diff(self.offsets)

    @property
    def past_names(self) -> tuple[str, ...]:
        """Names of the covariates that are not known ahead."""
        return tuple(name for name in self.covariate_names if name not in self.ahead)

    def select(self, ids: Sequence[str]) -> Panel:
        """Return a panel of some series.

        Raises:
            NotFoundError: A name that the panel does not have.
        """
        index = {name: number for number, name in enumerate(self.ids)}
        if unknown := [name for name in ids if name not in index]:
            near = get_close_matches(unknown[0], self.ids, 3)
            why = self.skipped.get(unknown[0], "")
            raise NotFoundError(
                f"There is no series {unknown[0]!r} among the {len(self.ids)} of the panel"
                + (f"; it was skipped: {why}." if why else "."),
                f"Near: {', '.join(near)}." if near else "",
            )
        series = np.array(sorted({index[name] for name in ids}), dtype=np.int64)
        return self._rows(series, self.lengths[series])

    def head(self, lengths: np.ndarray) -> Panel:
        """Return the first rows of each series: (series,) how many, at most all."""
        return self._rows(np.arange(len(self.ids)), np.clip(lengths, 0, self.lengths))

    def part(self, series: np.ndarray, begin: np.ndarray, stop: np.ndarray) -> Panel:
        """Return the rows `begin:stop` of some series, by their places; each `(series,)`."""
        return self._rows(series, stop - begin, begin)

    def _rows(self, series: np.ndarray, lengths: np.ndarray, begin: np.ndarray | int = 0) -> Panel:
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        shift = self.offsets[series] + begin - offsets[:-1]
        pieces = np.unique(shift[lengths > 0])
        rows: Any = (
            slice(pieces[0], pieces[0] + offsets[-1])
            if len(pieces) == 1
            else (np.arange(offsets[-1]) + np.repeat(shift, lengths))
        )
        return replace(
            self,
            ids=tuple(self.ids[number] for number in series.tolist()),
            offsets=offsets,
            ds=self.ds[rows],
            y=self.y[rows],
            filled=self.filled[rows],
            covariates=self.covariates[rows],
            statics={name: values[series] for name, values in self.statics.items()},
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the long frame: `unique_id, ds, y` and the covariates, of the rows past the end too."""
        frame = pd.DataFrame(
            {"unique_id": np.repeat(np.array(self.ids, dtype=object), self.lengths).astype(str)}
        )
        frame["ds"] = self.ds
        frame["y"] = self.y
        for number, name in enumerate(self.covariate_names):
            frame[name] = self.covariates[:, number]
        for name, values in self.statics.items():
            frame[name] = np.repeat(values, self.lengths)
        ahead = self.ahead[self.ahead["unique_id"].isin(self.ids)]
        return pd.concat([frame, ahead], ignore_index=True) if len(ahead) else frame

    @property
    def last_observed(self) -> Ints:
        """Row of the last value of each series that was not filled in, else its first `(series,)`."""
        rows = np.where(self.filled, -1, np.arange(len(self.y)))
        return np.maximum(np.maximum.reduceat(rows, self.offsets[:-1]), self.offsets[:-1])

    def digest(self) -> str:
        """Return the SHA-256, in hex, of the series as they are trained on or forecast from."""
        found = hashlib.sha256("\0".join(self.ids).encode())
        times = self.ds.asi8 if isinstance(self.ds, pd.DatetimeIndex) else self.ds.to_numpy()
        for array in (self.offsets, times, self.y, self.covariates):
            found.update(np.ascontiguousarray(array).tobytes())
        if self.statics:  # the hashes of versions of before there were any stay true
            found.update(str([values.tolist() for values in self.statics.values()]).encode())
        return found.hexdigest()

    def about(self) -> dict[str, Any]:
        """Return what a manifest says of the rows."""
        return {
            "series": len(self.ids),
            "rows": len(self.y),
            "filled": int(self.filled.sum()),
            "hash": self.digest(),
            "first": str(self.ds.min()),
            "last": str(self.ds.max()),
            "frequency": self.frequency,
        }


def without_short(panel: Panel, needed: Ints | int, what: str, policy: str) -> Panel:
    """Leave out, or refuse, the series that have too few rows.

    Args:
        panel: Any panel.
        needed: Rows that each series needs, `(series,)` or one number.
        what: What they are needed for, as the message says it.
        policy: `skip-series` or `error`.

    Raises:
        InvalidInputError: The policy says so, or no series is left.
    """
    rows = np.broadcast_to(needed, panel.lengths.shape)
    skipped = {
        panel.ids[row]: f"needs at least {counted(rows[row], 'row')} ({what}) but has "
        f"{panel.lengths[row]}"
        for row in np.flatnonzero(panel.lengths < rows)
    }
    if not skipped:
        return panel
    if policy == "error" or len(skipped) == len(panel.ids):
        name, reason = max(
            skipped.items(), key=lambda item: panel.lengths[panel.ids.index(item[0])]
        )
        raise InvalidInputError(
            f"Series {name!r} {reason}.",
            "Fetch more history, or use a smaller --min-context or --horizon, or hold out fewer rows.",
        )
    kept = panel.select([name for name in panel.ids if name not in skipped])
    return replace(kept, skipped=panel.skipped | skipped)


def prepare(frame: pd.DataFrame, spec: DataSpec) -> Panel:
    """Turn a long frame into a regular panel, each defect by its policy.

    Values are only ever filled from earlier rows, so that no row depends on a later one. Preparing
    the frame of a panel again changes nothing, unless rows were dropped or a covariate is published
    late.

    Where columns are known ahead, the rows after the last value of `y` are no part of the series:
    they are kept in `ahead`.

    Args:
        frame: Columns `unique_id`, `ds` and `y`, in any order, and columns that may be covariates;
            what the store says of them is in `attrs`.
        spec: The policies, the frequency and the calendar.

    Returns:
        The panel; its notices say what was mended, its `skipped` what was left out.

    Raises:
        InvalidInputError: A column that cannot be read, a defect whose policy is `error`, mixed or
            irregular frequencies, no series left, or a frame that is none.

    >>> days = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-04"])
    >>> frame = pd.DataFrame({"unique_id": "shop", "ds": days, "y": [1.0, 2.0, 4.0]})
    >>> panel = prepare(frame, DataSpec())
    >>> panel.y.tolist(), panel.frequency
    ([1.0, 2.0, 2.0, 4.0], 'D')
    """
    if not isinstance(frame, pd.DataFrame):
        raise InvalidInputError(
            f"A pandas DataFrame is needed, got {type(frame).__name__}.",
            "Give one with the columns unique_id, ds and y.",
        )
    rows = read_columns(frame, spec)
    rows.notices[:0] = frame.attrs.get(NOTICES, [])
    order(rows, spec)
    ahead = split_ahead(rows)
    frequency, calendar = regularise(rows, spec)
    mend_values(rows, spec)
    delay(rows, spec)
    judge_series(rows, spec)
    lengths = np.diff(rows.offsets)
    return Panel(
        ids=tuple(rows.ids[lengths > 0].tolist()),
        offsets=np.concatenate([[0], np.cumsum(lengths[lengths > 0])]).astype(np.int64),
        ds=rows.ds.rename(None),
        y=rows.y,
        filled=rows.inserted,
        covariates=rows.covariates,
        covariate_names=rows.names,
        ahead=ahead,
        statics={name: values[lengths > 0] for name, values in rows.statics.items()},
        frequency=frequency,
        calendar=calendar,
        notices=tuple(rows.notices),
        skipped=dict(rows.skipped),
    )
