"""From the bars that Yahoo sends to a series that can be stored: no network here."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from forecaster.errors import InvalidInputError
from forecaster.words import counted

# Yahoo's fields, in the order of the stored columns.
FIELDS = {
    "Close": "close",
    "Adj Close": "adjusted_close",
    "Open": "open",
    "High": "high",
    "Low": "low",
    "Volume": "volume",
    "Dividends": "dividends",
    "Stock Splits": "splits",
}
EVENTS = ["dividends", "splits"]
COLUMNS = ["unique_id", "ds", "y", *FIELDS.values()]
PRICES = {"adjusted": "adjusted_close", "close": "close"}

MINUTES = {"1m": 1, "2m": 2, "5m": 5, "15m": 15, "30m": 30, "60m": 60, "90m": 90, "1h": 60}
# How many days back Yahoo serves bars within a day. Of 1m it serves 30, but 8 in one request.
DAYS_SERVED = {"1m": 8, "60m": 730, "1h": 730} | dict.fromkeys(
    ("2m", "5m", "15m", "30m", "90m"), 60
)
# The length of longer bars, and the spacing in days that tells them apart in a stored series.
SPANS = {
    "1d": (pd.DateOffset(days=1), (0.9, 4.1)),
    "1wk": (pd.DateOffset(weeks=1), (5.0, 9.0)),
    "1mo": (pd.DateOffset(months=1), (27.0, 32.0)),
    "3mo": (pd.DateOffset(months=3), (88.0, 94.0)),
}
INTERVALS = (*MINUTES, *SPANS)

# Exchanges publish late trades and delayed quotes for about half an hour after a bar ends.
SETTLING = pd.Timedelta(minutes=30)
# Yahoo's numbers jitter near the seventh digit; a real revision is larger than this.
TOLERANCE = 1e-4


def tidy(
    symbol: str,
    bars: pd.DataFrame,
    *,
    interval: str,
    price: str,
    session: tuple[pd.Timestamp, pd.Timestamp] | None,
    now: dt.datetime,
) -> tuple[pd.DataFrame, list[str]]:
    """Turn Yahoo's bars into a long frame without unfinished and null rows.

    Args:
        symbol: Becomes `unique_id`.
        bars: `(bar, field)` under Yahoo's names, indexed by exchange time.
        interval: One of `INTERVALS`.
        price: `adjusted` or `close`: which price is `y`.
        session: Start and end of the current regular session, when known.
        now: The time of the request, aware.

    Returns:
        The frame with the columns `COLUMNS`, and what was left out, in words.

    Raises:
        InvalidInputError: No row is left.
    """
    if bars.empty:
        raise InvalidInputError(f"Yahoo sent no rows for symbol {symbol!r} in the asked range.")
    table = bars[list(FIELDS)].rename(columns=FIELDS).astype(float).sort_index()
    done = finished(table.index, interval, session, now)
    notices = []
    if not done.all():
        times = ", ".join(str(label(time, interval)) for time in table.index[~done])
        unfinished = counted(int((~done).sum()), "unfinished bar")
        notices.append(f"{symbol}: left out {unfinished} ({times}).")
    table, more = with_prices(symbol, table[done])
    if table.empty:
        raise InvalidInputError(
            f"Yahoo has no finished bar of symbol {symbol!r} in the asked range."
        )
    frame = table.reset_index(drop=True)
    frame.insert(0, "unique_id", symbol)
    frame.insert(1, "ds", stamps(table.index, interval))
    frame.insert(2, "y", frame[PRICES[price]])
    return frame[COLUMNS], notices + more


def with_prices(symbol: str, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave out the rows without a close price, and say how many.

    Raises:
        InvalidInputError: There are rows, and none of them has one.
    """
    sound = np.isfinite(table[["close", "adjusted_close"]].to_numpy()).all(axis=1)
    if sound.all():
        return table, []
    if not sound.any():
        raise InvalidInputError(
            f"Yahoo sent {counted(len(table), 'row')} for symbol {symbol!r}, none of them with a "
            "close price.",
            "Try again; if it persists, leave the symbol out.",
        )
    gone = counted(int((~sound).sum()), "row")
    return without(table, sound), [f"{symbol}: left out {gone} without a close price."]


def finished(
    index: pd.Index,
    interval: str,
    session: tuple[pd.Timestamp, pd.Timestamp] | None,
    now: dt.datetime,
) -> np.ndarray:
    """Tell which bars are complete: `(bar,)` bool."""
    times = pd.DatetimeIndex(index)
    moment = pd.Timestamp(now).tz_convert(times.tz)
    if interval in MINUTES:
        return np.asarray(times + pd.Timedelta(minutes=MINUTES[interval]) + SETTLING <= moment)
    if interval != "1d":
        return np.asarray(times + SPANS[interval][0] <= moment)
    opening, closing = session or (moment, moment + SETTLING)
    if moment >= closing + SETTLING:
        return np.ones(len(times), dtype=bool)
    return np.asarray(times < opening.tz_convert(times.tz).normalize())


def without(table: pd.DataFrame, sound: np.ndarray) -> pd.DataFrame:
    """Leave out rows, and carry their dividends and splits to the next row that stays."""
    kept = table[sound].copy()
    for time, events in table.loc[~sound, EVENTS].iterrows():
        later = kept.index[kept.index > time]
        for name in EVENTS:
            if events[name] and len(later):
                kept.loc[later[0], name] = events[name]
    return kept


def stamps(index: pd.Index, interval: str) -> pd.DatetimeIndex:
    """Give the stored time of each bar: exchange time within a day, else the naive date."""
    times = pd.DatetimeIndex(index).as_unit("us")
    return times if interval in MINUTES else times.tz_localize(None).normalize()


def label(time: pd.Timestamp, interval: str) -> str:
    """Write the time of a bar for a notice."""
    return time.isoformat() if interval in MINUTES else time.date().isoformat()


def is_within_days(stored: pd.DataFrame) -> bool:
    """Tell whether a stored series has bars shorter than a day: their times have a zone."""
    return isinstance(stored["ds"].dtype, pd.DatetimeTZDtype)


def mismatch(stored: pd.DataFrame, interval: str, price: str) -> str | None:
    """Say why a stored series cannot be continued with these choices; None when it can."""
    missing = [name for name in COLUMNS if name not in stored.columns]
    if missing:
        return f"the stored series has no column {', '.join(missing)}"
    if len(stored) < 2:
        return "the stored series is too short to be checked"
    days = float(stored["ds"].diff().dt.total_seconds().median()) / 86_400
    within = is_within_days(stored)
    if within != (interval in MINUTES):
        return f"the stored bars are not of interval {interval}"
    low, high = SPANS[interval][1] if not within else (MINUTES[interval] / 1440,) * 2
    if not low * (1 - 1e-9) <= days <= high * (1 + 1e-9):
        return f"the stored bars are not of interval {interval}"
    if not np.array_equal(stored["y"], stored[PRICES[price]]):
        return f"the stored y is not the {PRICES[price].replace('_', ' ')}"
    return None


def revision(stored: pd.DataFrame, fetched: pd.DataFrame) -> str | None:
    """Say how newly fetched rows contradict the stored past; None when they agree."""
    old, new = common(stored, fetched)
    if old.empty:
        return "no stored session is among those that Yahoo sent"
    for name in ("close", "adjusted_close"):
        moved = ~np.isclose(new[name], old[name], rtol=TOLERANCE, atol=0.0)
        if moved.any():
            return f"Yahoo revised the {name.replace('_', ' ')} of {day(old.index[moved][0])}"
    added = fetched[~fetched["ds"].isin(stored["ds"])].set_index("ds")
    for name in EVENTS:
        changed = old.index[~np.isclose(new[name], old[name], rtol=TOLERANCE)]
        happened = changed.append(added.index[added[name].to_numpy() != 0])
        if len(happened):
            return f"a new {name.removesuffix('s')} on {day(happened[0])}"
    return None


def common(stored: pd.DataFrame, fetched: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give the rows of both frames at the times that both have, indexed by time."""
    old, new = stored.set_index("ds"), fetched.set_index("ds")
    times = old.index.intersection(new.index)
    return old.loc[times], new.loc[times]


def day(time: pd.Timestamp) -> str:
    """Write a time for a reason: the date alone when it has no clock time."""
    return time.date().isoformat() if time.tzinfo is None else time.isoformat()


def extended(stored: pd.DataFrame, fetched: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Add the rows that the stored series lacks; give the whole series and their number.

    Stored prices stay as they are, so that jitter does not change the past.
    """
    added = fetched[~fetched["ds"].isin(stored["ds"])]
    if added.empty:
        return stored, 0
    whole = pd.concat([stored[COLUMNS], added], ignore_index=True)
    return whole.sort_values("ds", ignore_index=True), len(added)


def with_unserved(stored: pd.DataFrame, fetched: pd.DataFrame) -> tuple[pd.DataFrame, str | None]:
    """Keep the stored rows that are older than anything Yahoo still serves.

    Bars within a day vanish after some weeks, so a full refetch would lose them. They are put on
    the new scale by the median ratio of the closes that both have (a split moves all alike).

    Returns:
        The whole series, and what was kept in words.
    """
    older = stored.loc[stored["ds"] < fetched["ds"].min(), COLUMNS].copy()
    if older.empty:
        return fetched, None
    old, new = common(stored, fetched)
    ratio = float((new["close"] / old["close"]).median()) if len(old) else 1.0
    if abs(ratio - 1) <= TOLERANCE:
        ratio = 1.0
    older[["y", "close", "adjusted_close", "open", "high", "low"]] *= ratio
    older["volume"] /= ratio
    said = f"kept {counted(len(older), 'stored row')} that Yahoo no longer serves"
    if ratio != 1.0:
        said += f", their prices multiplied by {ratio:.6g}"
    return pd.concat([older, fetched], ignore_index=True), said
