"""A stored series and the rows that its file has today: what is kept, what is taken, what is refused.

A file that is read every night may be half written, hold only the latest rows, or be wrong. Nobody is
there to ask, so that nothing stored is lost to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from forecaster.words import counted

LOST = 0.1  # share of the stored rows that a file may have lost between its first and its last


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
            pieces.append(earlier.assign(ds=earlier["ds"].astype(rows["ds"].dtype)))
        pieces.append(rows)
    whole = pd.concat(pieces, ignore_index=True) if pieces else frame[:0]
    return Renewed(whole, refused, kept)


def _refusals(new: pd.DataFrame, old: pd.DataFrame, now: datetime) -> Iterator[str]:
    """Say why rows cannot take the place of others."""
    known, was = (rows.loc[rows["y"].notna(), "ds"] for rows in (new, old))
    if known.empty:
        yield "has no value"
        return
    first, last = new["ds"].min(), known.max()
    if _is_ahead(last, known, now):
        yield f"has a value at {_said(last)}, which is in the future"
    if was.empty:
        return
    if _kind(known) != _kind(was):
        yield f"has {_kind(known)}, but {_kind(was)} are stored"
        return
    if last < was.max() and not _is_ahead(was.max(), was, now):
        yield f"ends at {_said(last)}, but rows up to {_said(was.max())} are stored"
    covered = was[was >= first]
    lost = int((~_plain(covered).isin(_plain(known))).sum())
    if lost > LOST * len(covered):
        since = f"{len(covered):,} that are stored since {_said(first)}"
        yield f"lacks {counted(lost, 'row')} of the {since}"


def _is_ahead(last: pd.Timestamp | int, times: pd.Series, now: datetime) -> bool:
    """Tell whether a time lies in the future, by more than a step: it may be a period's end."""
    if not isinstance(last, pd.Timestamp):
        return False
    step = (last - times.min()) / max(1, len(times) - 1)
    moment = pd.Timestamp(now)
    return bool(last > (moment.tz_convert(last.tz) if last.tz else moment.tz_localize(None)) + step)


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
