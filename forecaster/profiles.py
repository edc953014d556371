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
    microseconds,
    months_of,
    parse,
    wall_clock,
)
from forecaster.guessing import infer_frequencies, keep_hours

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
    lengths = np.diff(offsets)
    if _one_clock(ds, offsets):  # the times of all series are those of the first
        aliases, problems = _time_profile(ds[: offsets[1]], offsets[:2])
        aliases, problems = aliases * len(lengths), [list(problems[0]) for _ in lengths]
    else:
        aliases, problems = _time_profile(ds, offsets)
    _add_value_problems(problems, ds, y, offsets)
    starts, ends = ds[offsets[:-1]], ds[offsets[1:] - 1]
    days = _midnight(starts) & _midnight(ends)  # one series is written one way
    first, last = written(starts, days), written(ends, days)
    rows = lengths.tolist()
    return [Profile(rows[i], first[i], last[i], aliases[i], problems[i]) for i in range(len(rows))]


def written(ds: pd.Index[Any], days: Flags | None = None) -> list[str | int]:
    """Write timestamps as ISO 8601; integers stay integers.

    Args:
        ds: (row,) timestamps or integers.
        days: (row,) which to write as dates; None: all of them when all are naive midnights.

    >>> written(pd.DatetimeIndex(["2024-01-31"]))
    ['2024-01-31']
    """
    if not isinstance(ds, pd.DatetimeIndex):
        return [int(value) for value in ds]
    if days is None:
        days = np.full(len(ds), _midnight(ds).all())
    if ds.tz is not None or not days.any():
        return [stamp.isoformat() for stamp in ds]
    dates: list[str | int] = np.datetime_as_string(ds.to_numpy(), unit="D").tolist()
    if not days.all():
        for i in np.flatnonzero(~days).tolist():
            dates[i] = ds[i].isoformat()
    return dates


def _midnight(ds: pd.Index[Any]) -> Flags:
    """Tell which timestamps are naive midnights: (row,)."""
    if not isinstance(ds, pd.DatetimeIndex) or ds.tz is not None:
        return np.zeros(len(ds), dtype=bool)
    return np.asarray(ds == ds.normalize())


def _integers(ds: pd.Index[Any]) -> Ints:
    values = ds.asi8 if isinstance(ds, pd.DatetimeIndex) else ds.to_numpy()
    return np.asarray(values, dtype=np.int64)


def _one_clock(ds: pd.Index[Any], offsets: Ints) -> bool:
    rows = int(offsets[1])
    if not bool((np.diff(offsets) == rows).all()):
        return False
    clocks = _integers(ds).reshape(-1, rows)  # (series, row)
    return bool((clocks == clocks[0]).all())


def _time_profile(
    ds: pd.Index[Any], offsets: Ints
) -> tuple[list[str | None], list[list[dict[str, Any]]]]:
    """Return the frequency of each series, and its duplicates and gaps."""
    lengths = np.diff(offsets)
    problems: list[list[dict[str, Any]]] = [[] for _ in lengths]
    series = np.repeat(np.arange(len(lengths)), lengths)
    integers = _integers(ds)
    duplicate = np.zeros(len(ds), dtype=bool)
    duplicate[1:] = (integers[1:] == integers[:-1]) & (series[1:] == series[:-1])
    if duplicate.any():
        counts = np.bincount(series[duplicate], minlength=len(lengths))
        _collect(problems, "duplicates", counts, series[duplicate], ds[duplicate])
        ds, offsets = ds[~duplicate], np.concatenate([[0], np.cumsum(lengths - counts)])
    aliases: list[str | None] = [None] * len(lengths)
    if isinstance(ds, pd.DatetimeIndex):
        aliases = [alias or None for alias in infer_frequencies(ds, offsets)]
    _add_gaps(problems, ds, offsets, aliases)
    return aliases, problems


def _add_value_problems(
    found: list[list[dict[str, Any]]],
    ds: pd.Index[Any],
    y: npt.NDArray[np.float64],
    offsets: Ints,
) -> None:
    lengths, empty = np.diff(offsets), np.isnan(y)
    ahead = empty & _past_the_end(empty, offsets)
    flags = {"infinite_values": np.isinf(y), "missing_values": empty & ~ahead, "ahead": ahead}
    for kind, flag in flags.items():
        rows = np.flatnonzero(flag)
        if len(rows):
            owner = np.searchsorted(offsets, rows, "right") - 1
            _collect(found, kind, np.bincount(owner, minlength=len(found)), owner, ds[rows])
    low, high = np.fmin.reduceat(y, offsets[:-1]), np.fmax.reduceat(y, offsets[:-1])
    for i in np.flatnonzero((low == high) & (lengths > 1)).tolist():
        found[i].append({"kind": "constant", "count": int(lengths[i]), "first": None})


def _past_the_end(empty: Flags, offsets: Ints) -> Flags:
    """Tell which rows come after the last value of their series; none of one without any: (row,)."""
    rows, lengths = np.arange(len(empty)), np.diff(offsets)
    last = np.maximum.reduceat(np.where(empty, -1, rows), offsets[:-1])
    return np.asarray(rows > np.repeat(np.where(last < 0, len(empty), last), lengths))


def _add_gaps(
    found: list[list[dict[str, Any]]], ds: pd.Index[Any], offsets: Ints, aliases: list[str | None]
) -> None:
    """Count missing timestamps; those of weekdays and of hours at which there is no row are closures."""
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
        closes = np.full(len(lengths), alias == "B")
        if isinstance(clock, pd.DatetimeIndex) and parse(alias).unit == "tick":
            single = np.append(False, np.diff(ordinals) == wide[1:]) & np.append(
                False, owner[1:] == owner[:-1]
            )
            closes = keep_hours(clock, owner, len(lengths), single, parse(alias).count)
        counts = np.zeros(len(lengths), dtype=np.int64)
        span = ordinals[bounds[1:] - 1] - ordinals[bounds[:-1]]
        counts[members] = span // step[members] + 1 - lengths[members]
        for kind, some in (("closures", closes), ("missing_timestamps", ~closes)):
            rows = gap & some[owner]
            _collect(found, kind, counts, owner[rows], clock[rows])


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
