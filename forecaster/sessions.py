"""Sessions of stock exchanges, as sorted tables of days or of times.

The only module that knows `exchange_calendars`. It is slow to import, so it is imported when a
series asks for an exchange, and never else.
"""

from __future__ import annotations

import warnings
from difflib import get_close_matches
from functools import lru_cache
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd

from forecaster.errors import InvalidInputError


@lru_cache(maxsize=32)
def session_days(code: str, first_year: int, last_year: int) -> np.ndarray:
    """Return the days on which an exchange opens: (session,) int64 days since 1970.

    Some exchanges publish their holidays a year at a time: then the table ends before `last_year`.

    Args:
        code: Such as XNYS; any case, and common names such as NYSE.
        first_year: First year, whole.
        last_year: Last year, whole. The library's own default ends about a year from today.

    Raises:
        InvalidInputError: The exchange is not known, or the library cannot build its calendar.
    """
    days = _exchange(code, first_year, last_year).sessions.as_unit("us").asi8
    return np.asarray(days // 86_400_000_000)


@lru_cache(maxsize=32)
def session_times(code: str, first_year: int, last_year: int, step: int, local: bool) -> np.ndarray:
    """Return when bars begin: every `step` from each opening, and anew after a lunch break.

    Args:
        code: As for `session_days`.
        first_year: As for `session_days`.
        last_year: As for `session_days`.
        step: Length of a bar in microseconds.
        local: On the exchange's clock; otherwise UTC.

    Returns:
        (bar,) int64 microseconds since 1970, increasing.
    """
    exchange = _exchange(code, first_year, last_year)
    opens, closes = exchange.opens, exchange.closes
    pauses, resumes = exchange.break_starts, exchange.break_ends
    paused = pauses.notna().to_numpy()
    begins = np.concatenate([_utc(opens), _utc(resumes[paused])])
    ends = np.concatenate([_utc(pauses.where(paused, closes)), _utc(closes[paused])])
    bars = np.maximum(-(-(ends - begins) // step), 0)  # a last, shorter bar counts
    number = np.arange(bars.sum()) - np.repeat(np.cumsum(bars) - bars, bars)
    # An exchange without a daily close (24/7) would repeat the bar on the seam.
    times = np.unique(np.repeat(begins, bars) + number * step)
    if not local:
        return times
    zoned = pd.DatetimeIndex(times.view("M8[us]"), tz="UTC").tz_convert(exchange.tz)
    return np.unique(zoned.tz_localize(None).asi8)


def days_a_week(code: str) -> int:
    """Return on how many weekdays an exchange opens: 5 for most, 7 for 24/7."""
    year = pd.Timestamp.now("UTC").year
    return str(_exchange(code, year, year).weekmask).count("1")


def _utc(times: pd.Series[Any]) -> np.ndarray:
    return np.asarray(pd.DatetimeIndex(times).as_unit("us").asi8)


def _exchange(code: str, first_year: int, last_year: int) -> Any:
    import exchange_calendars

    names = exchange_calendars.get_calendar_names(include_aliases=True)
    known = {name.upper(): name for name in names}
    if code.upper() not in known:
        near = get_close_matches(code.upper(), known, 3, 0.5)
        meant = f" Near: {', '.join(known[name] for name in near)}." if near else ""
        raise InvalidInputError(
            f"There is no exchange calendar {code!r}.{meant}",
            "Use a market code such as XNYS, XLON or XTKS, or leave --calendar out.",
        )
    try:
        with warnings.catch_warnings():  # the library lags behind pandas' deprecations
            warnings.simplefilter("ignore", DeprecationWarning)
            return _covering(known[code.upper()], first_year, last_year)
    except (ValueError, NotImplementedError) as error:
        raise InvalidInputError(
            f"The installed exchange_calendars cannot build the calendar {code}: "
            f"{shorten(str(error), 200)}",
            "Leave --calendar out, or install another version of exchange_calendars.",
        ) from error


def _covering(name: str, first_year: int, last_year: int) -> Any:
    """Return a calendar of these years, or of as many of them as are on record."""
    from exchange_calendars import get_calendar

    default = get_calendar(name)  # the last twenty years and the next
    start, end = pd.Timestamp(first_year, 1, 1), pd.Timestamp(last_year, 12, 31)
    if default.first_session.year < first_year and end <= default.last_session:
        return default
    earliest, latest = default.bound_min(), default.bound_max()
    start = start if earliest is None else max(start, earliest)
    end = end if latest is None else min(end, latest)
    return get_calendar(name, start=start, end=end) if start < end else default
