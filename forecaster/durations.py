"""Lengths of time as people write them: light, for commands that need no settings."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

EASTERNMOST = timezone(timedelta(hours=14))  # where days begin first
DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds(value: object) -> object:
    """Turn a duration such as `90`, `"10m"` or `"1h30m"` into seconds.

    Raises:
        ValueError: A text that is none.

    >>> seconds("1h30m")
    5400.0
    """
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        return float(value.strip())
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", value.strip())
    if not parts or "".join(number + unit for number, unit in parts) != value.strip():
        raise ValueError("a duration such as 90s, 10m, 1h30m or 2d is needed")
    return sum(float(number) * DURATION_UNITS[unit] for number, unit in parts)


def before(now: datetime, age: float) -> datetime:
    """Return the time so many seconds ago, or the first there is.

    >>> before(datetime(2024, 1, 2), 86_400), before(datetime(2024, 1, 2), 1e300).year
    (datetime.datetime(2024, 1, 1, 0, 0), 1)
    """
    try:
        return now - timedelta(seconds=age)
    except OverflowError:
        return datetime.min.replace(tzinfo=now.tzinfo)


def ago(age: float) -> str:
    """Say a length of time in its largest fitting unit.

    >>> ago(90), ago(7200), ago(200_000), ago(-5)
    ('1.5 min', '2.0 h', '2.3 days', '0 s')
    """
    if age < 60:
        return f"{max(age, 0):.0f} s"
    if age < 3600:
        return f"{age / 60:.1f} min"
    return f"{age / 3600:.1f} h" if age < 2 * 86_400 else f"{age / 86_400:.1f} days"
