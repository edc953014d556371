"""What each series of a long frame is like: its rows, range, frequency and defects.

Everything is computed for all series at once; no pandas operation runs once a series, so that ten
thousand series cost what their rows cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecaster.frequencies import (
    business_ordinals,
    infer_frequencies,
    microseconds,
    months_of,
    parse,
    wall_clock,
)

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Profile:
    """One series in words and numbers.

    Attributes:
        rows: How many.
        first: First timestamp, ISO 8601 or an integer.
        last: Last timestamp.
        frequency: pandas alias; None for integers and where it cannot be told.
        problems: `{kind, count, first}` for each defect; `first` is the timestamp where it starts.
    """

    rows: int
    first: str | int
    last: str | int
    frequency: str | None
    problems: list[dict[str, Any]]


def profiles(ds: pd.Index[Any], y: npt.NDArray[np.float64], offsets: Ints) -> list[Profile]:
    """Describe every series of a sorted panel.

    Args:
        ds: (row,) timestamps or integers, ascending within a series.
        y: (row,) values.
        offsets: (series + 1,) rows `offsets[i]:offsets[i + 1]` belong to series i.
    """
    starts, lengths = offsets[:-1], np.diff(offsets)
    series = np.repeat(np.arange(len(starts)), lengths)
    duplicate = np.zeros(len(ds), dtype=bool)
    duplicate[1:] = (_integers(ds)[1:] == _integers(ds)[:-1]) & (series[1:] == series[:-1])
    kept = ~duplicate
    distinct = np.bincount(series, kept, len(starts)).astype(np.int64)
    bounds = np.concatenate([[0], np.cumsum(distinct)])
    unique = ds if kept.all() else ds[kept]
    aliases = _frequencies(unique, bounds)
    problems = _value_problems(ds, y, offsets, series, duplicate)
    _add_gaps(problems, unique, bounds, aliases)
    first, last = written(ds[starts]), written(ds[offsets[1:] - 1])
    rows = lengths.tolist()
    return [
        Profile(rows[i], first[i], last[i], aliases[i], problems[i]) for i in range(len(starts))
    ]


def written(ds: pd.Index[Any]) -> list[str | int]:
    """Write timestamps as ISO 8601, midnights of naive ones as dates; integers stay integers.

    >>> written(pd.DatetimeIndex(["2024-01-31"]))
    ['2024-01-31']
    """
    if not isinstance(ds, pd.DatetimeIndex):
        return [int(value) for value in ds]
    if ds.tz is None and bool((ds == ds.normalize()).all()):
        return [str(text) for text in np.datetime_as_string(ds.to_numpy(), unit="D")]
    return [stamp.isoformat() for stamp in ds]


def _integers(ds: pd.Index[Any]) -> Ints:
    values = ds.asi8 if isinstance(ds, pd.DatetimeIndex) else ds.to_numpy()
    return np.asarray(values, dtype=np.int64)


def _frequencies(ds: pd.Index[Any], offsets: Ints) -> list[str | None]:
    size = len(offsets) - 1
    if not isinstance(ds, pd.DatetimeIndex):
        return [None] * size
    rows = int(offsets[1])
    if size > 1 and len(ds) == rows * size and bool((np.diff(offsets) == rows).all()):
        grid = _integers(ds).reshape(size, rows)  # (series, row)
        if bool((grid == grid[0]).all()):  # one clock for all: asked once
            return [infer_frequencies(ds[:rows], offsets[:2])[0] or None] * size
    return [alias or None for alias in infer_frequencies(ds, offsets)]


def _value_problems(
    ds: pd.Index[Any], y: npt.NDArray[np.float64], offsets: Ints, series: Ints, duplicate: Flags
) -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = [[] for _ in offsets[:-1]]
    kinds = {
        "duplicates": duplicate,
        "infinite_values": np.isinf(y),
        "missing_values": np.isnan(y),
    }
    for kind, flag in kinds.items():
        counts = np.bincount(series[flag], minlength=len(found))
        _collect(found, kind, counts, series[flag], ds[flag])
    low, high = np.fmin.reduceat(y, offsets[:-1]), np.fmax.reduceat(y, offsets[:-1])
    lengths = np.diff(offsets)
    for i in np.flatnonzero((low == high) & (lengths > 1)).tolist():
        found[i].append({"kind": "constant", "count": int(lengths[i]), "first": None})
    return found


def _add_gaps(
    found: list[list[dict[str, Any]]], ds: pd.Index[Any], offsets: Ints, aliases: list[str | None]
) -> None:
    """Count missing timestamps; absent weekdays of a business-daily series are closures."""
    lengths = np.diff(offsets)
    # Aliases are few; the one of integers is empty.
    groups: dict[str, list[int]] = {}
    for i, named in enumerate(aliases):
        if named or not isinstance(ds, pd.DatetimeIndex):
            groups.setdefault(named or "", []).append(i)
    for alias, indices in groups.items():
        members = np.array(indices)
        rows = np.repeat(np.isin(np.arange(len(lengths)), members), lengths)
        clock = ds if rows.all() else ds[rows]
        bounds = np.concatenate([[0], np.cumsum(lengths[members])])
        ordinals, step = _ordinals(clock, alias, bounds)
        owner = np.repeat(members, lengths[members])
        gap = np.zeros(len(clock), dtype=bool)
        wide = np.repeat(step, lengths[members])
        gap[:-1] = (np.diff(ordinals) > wide[:-1]) & (owner[1:] == owner[:-1])
        if not gap.any():
            continue
        counts = np.zeros(len(lengths), dtype=np.int64)
        span = ordinals[bounds[1:] - 1] - ordinals[bounds[:-1]]
        counts[members] = span // step[members] + 1 - lengths[members]
        kind = "closures" if alias == "B" else "missing_timestamps"
        _collect(found, kind, counts, owner[gap], clock[gap])


def _ordinals(ds: pd.Index[Any], alias: str, offsets: Ints) -> tuple[Ints, Ints]:
    """Number the rows, (row,), and say by how much neighbours on the grid differ, (series,)."""
    size = len(offsets) - 1
    if not isinstance(ds, pd.DatetimeIndex):
        values = _integers(ds)
        inner = np.ones(len(values), dtype=bool)
        inner[offsets[:-1]] = False
        far = np.iinfo(np.int64).max  # a lone row has no step: nothing can be missing
        steps = np.where(inner, np.diff(values, prepend=0), far)
        return values, np.minimum.reduceat(steps, offsets[:-1])
    frequency = parse(alias)
    if frequency.unit == "tick":
        return microseconds(ds), np.full(size, frequency.count)
    days = wall_clock(ds)[0]
    if frequency.unit == "business":
        return business_ordinals(days), np.full(size, frequency.count)
    if frequency.unit == "month":
        return months_of(days), np.full(size, frequency.months * frequency.count)
    return days, np.full(size, (7 if frequency.unit == "week" else 1) * frequency.count)


def _collect(
    found: list[list[dict[str, Any]]], kind: str, counts: Ints, owner: Ints, ds: pd.Index[Any]
) -> None:
    """Append a problem to every series with a count, at its first timestamp."""
    series, index = np.unique(owner, return_index=True)
    for i, first in zip(series.tolist(), written(ds[index]), strict=True):
        if counts[i] > 0:
            found[i].append({"kind": kind, "count": int(counts[i]), "first": first})
