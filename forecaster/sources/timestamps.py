"""Times written as text, read one way only: never guessed value by value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from forecaster.errors import InvalidInputError

ISO = "ISO8601"  # as pandas names the form
OFFSET = re.compile(r"\d[T ]\d.*(Z|[+-]\d{2}(:?\d{2})?)$", re.IGNORECASE)
# 31/12/2020, 1.2.20 and the like, with or without a time behind
TWO_WAYS = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?:[T ]+(.+))?$")
QUARTER = re.compile(r"(\d{4})[- ]?Q([1-4])|Q([1-4])[- ]?(\d{4})", re.IGNORECASE)
WEEK = re.compile(r"(\d{4})[- ]?W(\d{1,2})", re.IGNORECASE)
SINCE_1970 = {  # by the power of ten that counts up to September 2001
    9: ("s", "seconds"),
    12: ("ms", "milliseconds"),
    15: ("us", "microseconds"),
    18: ("ns", "nanoseconds"),
}
DAYS_1970, DAYS_2100 = 25_569, 73_051  # as Excel numbers days


class UnreadableTimeError(Exception):
    """A value that is no time, or can be read in two ways."""

    def __init__(self, value: str, problem: str, hint: str) -> None:
        super().__init__(f"{problem}: {value!r}")
        self.value, self.problem, self.hint = value, problem, hint


class Times(NamedTuple):
    """Times as read.

    Attributes:
        values: (value,) integers or timestamps, of one zone when offsets were written.
        notices: How they were read, where that was not plain.
        day_first: Whether dates such as 1/2/2024 were read day first; None where there are none.
    """

    values: pd.Index[Any]
    notices: list[str]
    day_first: bool | None = None


WRITE_DATES = "Write the dates as 2024-01-31."
WRITE_ISO = "Write times as ISO 8601, such as 2024-01-31 or 2024-01-31T13:00:00+01:00."


def parse_times(
    values: Sequence[str], zone: str | None = None, day_first: bool | None = None
) -> Times:
    """Read distinct times: integers, ISO 8601, day/month/year either way, or one other way.

    Args:
        values: Distinct texts, in the order of their first appearance.
        zone: That times with an offset are put into; None: the one they share, or UTC.
        day_first: How dates such as 1/2/2024 were read before; None: as these values tell.

    Raises:
        UnreadableTimeError: Names the first value that does not fit.
    """
    values = [value.strip() for value in values]
    for value in values:
        if not value:
            raise UnreadableTimeError(value, "a time is missing", "Fill it in or delete the row.")
    if re.fullmatch(r"[+-]?\d+", values[0]):
        return Times(*_integers(values, zone))
    if TWO_WAYS.match(values[0]):
        return _day_and_month(values, day_first)
    return Times(*(_zoned(values, zone, ISO) if _is_iso(values[0]) else _other(values, zone)))


def _integers(values: list[str], zone: str | None) -> tuple[pd.Index[Any], list[str]]:
    for value in values:
        if not re.fullmatch(r"[+-]?\d+", value):
            raise UnreadableTimeError(
                value, "a time is not an integer as the ones before it", WRITE_ISO
            )
        if len(value) > 20 or abs(int(value)) >= 2**63:
            raise UnreadableTimeError(value, "a time is too large a number", WRITE_ISO)
    for digits, form in ((8, "%Y%m%d"), (6, "%Y%m")):
        if all(len(value) == digits and "1700" <= value[:4] <= "2199" for value in values):
            times = pd.to_datetime(pd.Index(values), format=form, errors="coerce")
            if not times.hasnans:
                return times, [f"Times such as {values[0]} were read as {form}."]
    numbers = np.array(values, dtype=np.int64)
    for power, (unit, name) in SINCE_1970.items():
        if numbers.min() >= 10**power and numbers.max() < 5 * 10**power:  # the years 2001 to 2128
            times = pd.DatetimeIndex(numbers.astype(f"M8[{unit}]"))
            times = times if unit == "ns" else times.as_unit("us")
            said = f"Times such as {values[0]} were read as {name} since 1970 (UTC)."
            return times.tz_localize("UTC").tz_convert(zone or "UTC"), [said]
    if numbers.min() > DAYS_1970 and numbers.max() < DAYS_2100:
        said = f"Times such as {values[0]} were kept as integers; "
        return pd.Index(numbers), [said + "if they are Excel's day numbers, export dates instead."]
    return pd.Index(numbers), []


def _is_iso(value: str) -> bool:
    return not pd.isna(pd.to_datetime([value], format=ISO, errors="coerce")[0])


def _zoned(values: list[str], zone: str | None, form: str) -> tuple[pd.DatetimeIndex, list[str]]:
    """Read times of one form, of which all may have a UTC offset."""
    may_have = form == ISO or "%z" in form  # the year of "13:00 01-02-2024" is no offset
    marked = [may_have and bool(OFFSET.search(value)) for value in values]
    if any(marked) and not all(marked):
        odd = values[marked.index(not marked[0])]
        missing = "a time has a UTC offset" if not marked[0] else "a time has no UTC offset"
        raise UnreadableTimeError(odd, f"{missing}, unlike the ones before it", WRITE_ISO)
    offsets = sorted({_offset(value) for value in values}) if all(marked) else []
    several = len(offsets) > 1
    try:
        parsed = pd.to_datetime(pd.Index(values), format=form, errors="coerce", utc=several)
    except ValueError as error:  # names of zones, as in "10:00 CET"
        raise UnreadableTimeError(
            values[0], "other times are not of the same zone as this one", WRITE_ISO
        ) from error
    times = _complete(parsed, values)
    if zone and times.tz:
        return times.tz_convert(zone), []
    said = (
        f"Times with different UTC offsets ({', '.join(offsets[:4])}) were converted to UTC, and "
        "forecasts will be in UTC; to keep local time, name it: --timezone, such as Europe/Berlin."
    )
    return times, [said] if several else []


def _offset(value: str) -> str:
    found = OFFSET.search(value)
    text = found[1].upper() if found else ""
    return "+00:00" if text == "Z" else text


def _day_and_month(values: list[str], day_first: bool | None) -> Times:
    parts = [TWO_WAYS.match(value) for value in values]
    if None in parts:
        value = values[parts.index(None)]
        raise UnreadableTimeError(value, f"a time is not written like {values[0]!r}", WRITE_ISO)
    first = [int(part[1]) for part in parts if part]
    second = [int(part[3]) for part in parts if part]
    separator = parts[0][2] if parts[0] else "/"
    if day_first is None:
        day_first = _is_day_first(first, second, separator, values)
    else:
        _require_order(second if day_first else first, day_first, values)
    year = "%y" if parts[0] and len(parts[0][4]) == 2 else "%Y"
    form = separator.join(["%d", "%m", year] if day_first else ["%m", "%d", year])
    if clock := next((part[5] for part in parts if part and part[5]), None):
        form += " " + _clock(clock, values)
    times = pd.to_datetime(pd.Index(values), format=form, errors="coerce")
    order = "day first" if day_first else "month first"
    said = f"Dates such as {values[0]!r} were read {order}."
    times, notices = _past_century(_complete(times, values), form)
    return Times(times, [said, *notices], day_first)


def _require_order(months: list[int], day_first: bool, values: list[str]) -> None:
    """Refuse a date that cannot be read in the order of before."""
    if max(months) > 12:
        odd = next(i for i, month in enumerate(months) if month > 12)
        order = "day first" if day_first else "month first"
        raise UnreadableTimeError(
            values[odd],
            f"a date is not {order}, as this file was read before",
            "Mend it, or run 'forecast fetch' on it to take it as it is.",
        )


def _is_day_first(first: list[int], second: list[int], separator: str, values: list[str]) -> bool:
    """Tell which of the two numbers is the day, from all values together."""
    if max(first) > 12 and max(second) > 12:
        month_first = second[0] > 12
        odd = next(i for i, number in enumerate(first if month_first else second) if number > 12)
        raise UnreadableTimeError(
            values[odd], "some dates have the day first and others the month first", WRITE_DATES
        )
    if max(first) > 12 or max(second) > 12:
        return max(first) > 12
    if separator == ".":
        return True  # nobody writes month.day.year
    if len(set(first)) == 1 and len(set(second)) > 2 and first[0] == 1:
        return True  # the first of every month
    if len(set(second)) == 1 and len(set(first)) > 2 and second[0] == 1:
        return False
    raise UnreadableTimeError(values[0], "a date can be read day first or month first", WRITE_DATES)


def _clock(text: str, values: list[str]) -> str:
    for form in ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p"):
        if not pd.isna(pd.to_datetime([text], format=form, errors="coerce")[0]):
            return form
    raise UnreadableTimeError(values[0], "a time of day cannot be read", WRITE_ISO)


def _other(values: list[str], zone: str | None) -> tuple[pd.DatetimeIndex, list[str]]:
    if QUARTER.fullmatch(values[0]):
        return _quarters(values)
    if WEEK.fullmatch(values[0]):
        return _weeks(values)
    form = pd.tseries.api.guess_datetime_format(values[0]) or _month_form(values[0])
    if form is None:
        raise UnreadableTimeError(values[0], "a time cannot be read", WRITE_ISO)
    if "%B" in form or "%b" in form:
        form = _month_names(values, form)
    form = _order(values, form)
    times, notices = _zoned(values, zone, form)
    times, more = _past_century(times, form)
    return times, [f"Times such as {values[0]!r} were read as {form}.", *notices, *more]


def _month_names(values: list[str], form: str) -> str:
    """Tell by all values whether months are written out: the first may be May, which is both."""
    forms = (form, form.replace("%B", "%b"), form.replace("%b", "%B"))
    return min(forms, key=lambda each: _unread(values, each))


def _order(values: list[str], form: str) -> str:
    """Tell by all values whether day or month comes first, where a clock stands before both."""
    if not re.search("%d.%m.%[yY]|%m.%d.%[yY]", form):
        return form
    first, second = ("%d", "%m") if form.index("%d") < form.index("%m") else ("%m", "%d")
    turned = form.replace(first, "%?").replace(second, first).replace("%?", second)
    fits = [each for each in (form, turned) if not _unread(values, each)]
    if len(fits) == 2:
        raise UnreadableTimeError(
            values[0], "a date can be read day first or month first", WRITE_DATES
        )
    return fits[0] if fits else form


def _unread(values: list[str], form: str) -> int:
    """Count the values that are not of a form."""
    times = pd.to_datetime(pd.Index(values), format=form, errors="coerce", utc=True)
    return int(np.count_nonzero(times.isna()))


def _past_century(times: pd.DatetimeIndex, form: str) -> tuple[pd.DatetimeIndex, list[str]]:
    """Put two-digit years that lie ahead a century back, where that makes one run of the times.

    All of them go back when even the first is more than a year ahead: plans alone are no series.
    """
    now = pd.Timestamp.now(times.tz)
    ahead = np.asarray(times > now)
    if "%y" not in form or not ahead.any():
        return times, []
    earlier = times.where(~ahead, times - pd.DateOffset(years=100))
    far = times.min() > now + pd.DateOffset(years=1)
    if not far and earlier.max() - earlier.min() >= times.max() - times.min():
        return times, []
    return earlier, [f"Years after {now:%Y} were read as those of a century before."]


def _month_form(value: str) -> str | None:
    forms = ("%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%b %y", "%Y %b", "%Y-%b", "%m/%Y")
    index = pd.Index([value])
    return next(
        (f for f in forms if not pd.to_datetime(index, format=f, errors="coerce").hasnans), None
    )


def _quarters(values: list[str]) -> tuple[pd.DatetimeIndex, list[str]]:
    found = [QUARTER.fullmatch(value) for value in values]
    months = [
        f"{part[1] or part[4]}-{int(part[2] or part[3]) * 3 - 2:02}" if part else ""
        for part in found
    ]
    times = pd.to_datetime(pd.Index(months), format="%Y-%m", errors="coerce")
    return _complete(times, values), ["Quarters were read as their first day."]


def _weeks(values: list[str]) -> tuple[pd.DatetimeIndex, list[str]]:
    found = [WEEK.fullmatch(value) for value in values]
    mondays = [f"{part[1]}-{part[2]}-1" if part else "" for part in found]
    times = pd.to_datetime(pd.Index(mondays), format="%G-%V-%u", errors="coerce")
    return _complete(times, values), ["Weeks were read as their Monday (ISO 8601)."]


def _complete(times: pd.DatetimeIndex, values: list[str]) -> pd.DatetimeIndex:
    missing = times.isna()
    if missing.any():
        value = values[int(np.argmax(missing))]
        shown = "a time cannot be read"
        if value != values[0]:
            shown += f" in the same way as {values[0]!r}"
        raise UnreadableTimeError(value, shown, WRITE_ISO)
    return times


def in_zone(frame: pd.DataFrame, zone: str) -> pd.Series[Any]:
    """Return the times of a long frame in a zone; those without an offset are its wall clock.

    When clocks are set back an hour occurs twice: of two equal times of a series the first is
    taken as summer time and the second as winter time; the other way round where the newest come first.
    A day that begins without a midnight begins when its clock does.

    Raises:
        InvalidInputError: Times that the zone's clock never showed, or integers.
    """
    ds = frame["ds"]
    if not pd.api.types.is_datetime64_any_dtype(ds.dtype):
        raise InvalidInputError(
            f"Integers such as {ds.iloc[0]} have no time zone.", "Leave out --timezone."
        )
    if ds.dt.tz is not None:
        return ds.dt.tz_convert(zone)
    series = frame.groupby("unique_id", observed=True)["ds"]
    falls = series.transform("first") > series.transform("last")
    earlier, later = (
        frame.duplicated(["unique_id", "ds"], keep=keep) for keep in ("last", "first")
    )
    days = (ds == ds.dt.normalize()).all()
    zoned = ds.dt.tz_localize(
        zone,
        ambiguous=~np.where(falls, earlier, later),
        nonexistent="shift_forward" if days else "NaT",
    )
    if (never := zoned.isna()).any():
        raise InvalidInputError(
            f"The clocks of {zone} never showed {ds[never].iloc[0]}: they were set forward.",
            f"Check --timezone; {int(never.sum())} of the {len(ds)} times are like it.",
        )
    return zoned
