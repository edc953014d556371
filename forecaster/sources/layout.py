"""Which column of a file is what: as the user says, else by its name, else by what it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from shlex import quote

from forecaster.errors import InvalidInputError

IDS = ("unique_id", "item_id", "segment", "symbol", "series", "ticker", "store", "id")
TIMES = (
    *("ds", "date", "timestamp", "time", "datetime", "month", "week", "quarter", "year", "step"),
    "day",  # the last: beside a month it is a number from 1 to 31
)
TARGETS = ("y", "target", "close", "value", "adjusted")


@dataclass(frozen=True)
class Columns:
    """What a user says of the columns of a file; what is None is guessed.

    Attributes:
        id: Column that names the series.
        time: Column of the timestamps.
        target: Column of the values.
        wide: The file has one column a series beside the times.
        unique_id: Name of the series when no column names it; the file's stem when None.
        timezone: Where the clock stood that the times were read from; the series is stored in it.
        day_first: Whether dates such as 1/2/2024 have the day first: as they were read before.

    Raises:
        InvalidInputError: A wide file names its series by its columns; an unknown time zone.
    """

    id: str | None = None
    time: str | None = None
    target: str | None = None
    wide: bool = False
    unique_id: str | None = None
    timezone: str | None = None
    day_first: bool | None = None

    def __post_init__(self) -> None:
        if self.wide and (self.id or self.target or self.unique_id):
            raise InvalidInputError(
                "A wide file names its series by its columns.",
                "Leave out --id, --target and --unique-id.",
            )
        if self.timezone is not None:
            _require_zone(self.timezone)


def _require_zone(name: str) -> None:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:  # KeyError: it is not found
        raise InvalidInputError(
            f"There is no time zone {name!r} (--timezone).",
            "Use a name such as Europe/Berlin, America/New_York or UTC.",
        ) from error


GUESSED = Columns()


@dataclass(frozen=True)
class Layout:
    """Which column is what.

    Attributes:
        series: Column of the ids; None when the file is one series.
        time: Column of the timestamps.
        targets: Column of the values; in a wide file one for each series.
        guessed: Whether the ids' column was guessed by its name.
        notices: What was chosen by what the columns hold, in words.
    """

    series: str | None
    time: str
    targets: tuple[str, ...]
    guessed: bool = False
    notices: tuple[str, ...] = ()


def find_layout(
    names: Sequence[str], numeric: Callable[[], list[str]], label: str, said: Columns
) -> Layout:
    """Settle which column is what.

    Args:
        names: Of the file's columns.
        numeric: Gives the names of those that hold numbers only; asked when names do not tell.
        label: The file, as errors name it.
        said: By the user.

    Raises:
        InvalidInputError: A column is not there, or none can be told to be the time or the target.
    """
    found = f"'{label}' has the columns {', '.join(names)}"
    for option, name in (("--id", said.id), ("--time", said.time), ("--target", said.target)):
        if name is not None and name not in names:
            raise InvalidInputError(
                f"There is no column {name!r} ({option}): {found}.", "Name one of them."
            )
    time = said.time or _time(names, found)
    others = [name for name in names if name != time]
    if said.wide:
        if not others:
            raise InvalidInputError(
                f"A wide file needs a column a series beside the time: {found}."
            )
        return Layout(None, time, tuple(others))
    series = said.id or _known([name for name in others if name != said.target], IDS)
    others = [name for name in others if name != series]
    notices: tuple[str, ...] = ()
    value = said.target or _known(others, TARGETS)
    if value is None:
        value, notices = _by_content(others, numeric, found)
    if len({time, series, value}) < 3:
        raise InvalidInputError(
            f"One column cannot be two things: id {series!r}, time {time!r}, target {value!r}.",
            "Name three different columns with --id, --time and --target.",
        )
    return Layout(series, time, (value,), guessed=said.id is None, notices=notices)


def _known(names: Sequence[str], known: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in known if name in lower), None)


def _time(names: Sequence[str], found: str) -> str:
    if time := _known(names, TIMES):
        return time
    hint = f"Name it with --time. Known names are {', '.join(TIMES)}."
    if any(name.replace(".", "", 1).isdigit() for name in names):
        hint = f"The first line must hold the column names. {hint}"
    raise InvalidInputError(f"A column of times is needed: {found}.", hint)


def _by_content(
    others: list[str], numeric: Callable[[], list[str]], found: str
) -> tuple[str, tuple[str, ...]]:
    """Return the only column that can be the target, and how it was found."""
    if len(others) == 1:
        return others[0], ()
    of_numbers = set(numeric())
    candidates = [name for name in others if name in of_numbers]
    if len(candidates) == 1:
        only = candidates[0]
        return only, (f"Took {only!r} as the target: no other column beside the time has numbers.",)
    if not candidates:
        raise InvalidInputError(
            f"A column of values is needed: {found}, none of numbers beside the time.",
            "Name it with --target; its cells must be numbers such as 1234.5.",
        )
    raise InvalidInputError(
        f"A column of values is needed: {found}; {', '.join(candidates)} have numbers.",
        f"Say which one it is, such as --target {quote(candidates[0])}, or pass --wide when each "
        "column is a series.",
    )
