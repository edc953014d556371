"""A stored series and the rows that its file has today: what is kept, what is taken, what is refused.

A file that is read every night may be half written, hold only the latest rows, or be wrong. Nobody is
there to ask, so that nothing stored is lost to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from forecaster.durations import EASTERNMOST
from forecaster.words import counted

LOST = 0.1  # share of the stored rows that a file may have lost between its first and its last
CHANGED = 0.5  # share of the values that a file of the latest rows may have revised
TELLS = 10  # rows of which the usual step can be told: Friday and Monday are three days apart
GAP = 100  # steps without a row, from which on one of the dates beside them is taken for wrong


@dataclass(frozen=True)
class Renewed:
    """What became of the rows of a file.

    Attributes:
        frame: Rows to store, with those kept from before.
        refused: Series that stay as they are stored, and why.
        kept: Series whose earlier rows the file does not have, and how many those are.
    """

    frame: pd.DataFrame
    refused: dict[str, str]
    kept: dict[str, int]


def renew(frame: pd.DataFrame, stored: pd.DataFrame, now: datetime) -> Renewed:
    """Put the rows of a file in place of the stored ones that they cover.

    Args:
        frame: Rows of the file: `unique_id, ds, y` and more.
        stored: Those of the same series that are stored.
        now: The time that no value can be from after.
    """
    before = dict(list(stored.groupby("unique_id", observed=True)))
    pieces, refused, kept = [], {}, {}
    for uid, rows in frame.groupby("unique_id", observed=True):
        name = str(uid)
        old = before.get(uid, stored[:0])
        if why := next(_refusals(rows, old, now), ""):
            refused[name] = why
            continue
        earlier = old[old["ds"] < rows["ds"].min()] if len(old) else old
        if len(earlier):
            kept[name] = len(earlier)
            earlier = earlier.assign(ds=earlier["ds"].astype(rows["ds"].dtype))
            pieces += [_without_truths(earlier, rows), _without_truths(rows, earlier)]
        else:
            pieces.append(rows)
    whole = pd.concat(pieces, ignore_index=True) if pieces else frame[:0]
    return Renewed(whole, refused, kept)


def _without_truths(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Make numbers of truths where others have numbers: pandas would make one column of both kinds."""
    mixed = [
        name
        for name in rows.columns.intersection(others.columns)
        if rows[name].dtype == bool and others[name].dtype.kind in "iuf"
    ]
    return rows.astype(dict.fromkeys(mixed, "float64"))


def _refusals(new: pd.DataFrame, old: pd.DataFrame, now: datetime) -> Iterator[str]:
    """Say why rows cannot take the place of others."""
    known, was = (rows.loc[rows["y"].notna(), "ds"] for rows in (new, old))
    if known.empty:
        yield "has no value"
        return
    first, last = new["ds"].min(), known.max()
    step = _step(was if len(was) > 1 else known)
    ahead = _from_when_on(known, step, now)
    if ahead is not None and last > ahead:
        yield f"has a value at {_said(last)}, which is in the future"
    if was.empty:
        return
    if _kind(known) != _kind(was):
        yield f"has {_kind(known)}, but {_kind(was)} are stored"
        return
    limit = _from_when_on(was, step, now)
    was = was if limit is None else was[was <= limit]  # a wrong date of before may go
    if wide := _new_gap(known, was, step):
        yield f"leaves a gap of {wide:,} steps, as a wrong date would"
    if len(known) >= TELLS and not 0.5 <= _step(known) / step <= 2:
        yield f"has another frequency than what is stored: steps of {_step(known)}, not {step}"
    if last < was.max():
        yield f"ends at {_said(last)}, but rows up to {_said(was.max())} are stored"
    covered = was[was >= first]
    lost = int((~_plain(covered).isin(_plain(known))).sum())
    if lost > max(1, LOST * len(covered)):
        since = f"{len(covered):,} that are stored since {_said(first)}"
        yield f"lacks {counted(lost, 'row')} of the {since}"
    if first > was.min() and (share := _changed(new, old)) > CHANGED:
        yield f"has other values than are stored for {share:.0%} of its rows, and not the rows before"


def _from_when_on(times: pd.Series, step: Any, now: datetime) -> pd.Timestamp | None:
    """Return the time after which times are of the future: a step on, as one may be a period's end.

    Of times without a zone it is the future where that begins first.
    """
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        return None
    zone = times.dt.tz
    moment = pd.Timestamp(now).tz_convert(zone or EASTERNMOST)
    return (moment if zone else moment.tz_localize(None)) + step


def _step(times: pd.Series) -> Any:
    """Return the usual distance of times, in their own unit; that of a day or one when unknown."""
    usual = times.sort_values().diff().median()
    if not pd.isna(usual) and usual:
        return usual
    return pd.Timedelta(days=1) if pd.api.types.is_datetime64_any_dtype(times.dtype) else 1


def _new_gap(known: pd.Series, was: pd.Series, step: Any) -> int:
    """Return the steps of the widest gap, when it is wide and none such is stored; else 0."""
    now, before = (times.sort_values().diff().max() / step for times in (known, was))
    return int(now) if now > GAP and not now < 10 * before else 0


def _changed(new: pd.DataFrame, old: pd.DataFrame) -> float:
    """Return the share of the values of both that differ."""
    one, other = (
        rows.assign(ds=_plain(rows["ds"])).drop_duplicates("ds").set_index("ds")["y"].dropna()
        for rows in (new, old)
    )
    both = pd.concat({"new": one, "old": other}, axis=1, join="inner")
    if both.empty:
        return 0.0
    return float((~np.isclose(both["new"], both["old"], rtol=1e-6, atol=0)).mean())


def _said(time: pd.Timestamp | int) -> str:
    return str(time).removesuffix(" 00:00:00")


def _plain(times: pd.Series) -> pd.Series:
    """Return times that can be looked up among others of the same kind."""
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        return times
    clock = times if times.dt.tz is None else times.dt.tz_convert("UTC").dt.tz_localize(None)
    return clock.astype("datetime64[us]")


def _kind(times: pd.Series) -> str:
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        return "whole numbers as times"
    return "times without a zone" if times.dt.tz is None else "times with a zone"
