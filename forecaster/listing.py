"""What the store holds, for people: lists, descriptions, defects, exports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forecaster.errors import NotFoundError
from forecaster.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from forecaster.index import Entry
    from forecaster.store import Store

LAST_ROWS = 5
TIMES = {"integer": "integers", "naive": "without a zone"}
FEW = 5  # rows that do not tell a frequency for certain

# What a defect is called, and whether training refuses it by default.
WORDS = {
    "damaged": ("the stored file is damaged", True),
    "duplicates": ("{count} duplicated timestamp{s}, the first at {first}", True),
    "infinite_values": ("{count} infinite value{s}, the first at {first}", True),
    "missing_values": ("{count} missing value{s} (NaN), the first at {first}", False),
    "ahead": (
        "{count} row{s} after the last value, from {first} on: known ahead (--future)?",
        False,
    ),
    "missing_timestamps": ("{count} missing timestamp{s}, the first after {first}", False),
    "closures": ("{count} step{s} without a row, the first after {first}: closing times?", False),
    "constant": ("all {count} values are the same", False),
    "irregular": ("the timestamps have no regular step", False),
    "too_short": ("{count} row{s}, fewer than two horizons ({first} rows)", False),
}


@dataclass(frozen=True)
class Problem:
    """One defect of one series; `error` when training refuses it by default."""

    unique_id: str
    kind: str
    error: bool
    text: str


@dataclass(frozen=True)
class Description:
    """One series: what the index says, how its values are spread, its defects and last rows."""

    unique_id: str
    entry: Entry
    values: dict[str, float]
    empty: dict[str, int]
    problems: list[Problem]
    last_rows: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {
            "unique_id": self.unique_id,
            **vars(self.entry),
            "values": self.values,
            "empty": self.empty,
            "problems": [vars(problem) for problem in self.problems],
            "last_rows": self.last_rows.to_dict("records"),
        }


def source_text(entry: Entry) -> str:
    """Say in a few words where a series came from."""
    source = entry.source
    kind = str(source.get("kind", "?"))
    named = source.get("name") or source.get("path") or source.get("url")
    if named:
        return f"{kind} {str(named).rpartition('/')[2] or named}"
    if kind == "yahoo":
        return f"yahoo {source.get('interval')} {source.get('price')}"
    return kind


def describe(store: Store, unique_id: str) -> Description:
    """Describe one series.

    Raises:
        NotFoundError: It is not stored; near matches are named.
        DamagedError: Its file cannot be read.
    """
    entry = store.entry(unique_id)
    frame = store.read([unique_id]).drop(columns="unique_id")
    y = frame["y"]
    values = {
        "min": y.min(),
        "mean": y.mean(),
        "median": y.median(),
        "max": y.max(),
        "standard_deviation": y.std(),
        "last": y[y.last_valid_index()] if y.notna().any() else float("nan"),
    }
    return Description(
        unique_id,
        entry,
        {name: float(value) for name, value in values.items()},
        {str(name): int(count) for name, count in frame.isna().sum().items()},
        problems_of(unique_id, entry),
        frame.tail(LAST_ROWS).reset_index(drop=True),
    )


def check(store: Store, ids: Sequence[str] = ()) -> list[Problem]:
    """Return every defect of some series (all when none is named), errors first in each.

    Last come the series that cannot be trained together with the others.

    Everything is read and compared with the digests taken when it was stored.

    Raises:
        NotFoundError: A series is not stored.
    """
    for uid in ids:
        store.entry(uid)
    entries = store.entries()
    if not entries:
        raise NotFoundError(f"No series is stored in '{store.folder}'.", "Fetch one first.")
    damaged = store.damaged()
    found = []
    for uid in sorted(ids) or entries:
        if uid in damaged:
            found.append(Problem(uid, "damaged", True, damaged[uid]))
        found.extend(problems_of(uid, entries[uid]))
    return found + _apart({uid: entries[uid] for uid in ids or entries})


def _apart(entries: Mapping[str, Entry]) -> list[Problem]:
    """Name the series that cannot be trained with the others: their times or frequency differ.

    Of those of few rows the frequency does not count: training lets the longer ones decide for them.
    """
    times = {uid: TIMES.get(entry.time, "of a zone") for uid, entry in sorted(entries.items())}
    frequencies = {
        uid: str(entry.frequency)
        for uid, entry in sorted(entries.items())
        if entry.frequency is not None and entry.rows > FEW
    }
    return [*_unlike(times, "times are", "those"), *_unlike(frequencies, "frequency is", "that")]


def _unlike(kinds: Mapping[str, str], what: str, that: str) -> list[Problem]:
    """Name the series that are not of the usual kind."""
    ((usual, count),) = Counter(kinds.values()).most_common(1) or [("", 0)]
    return [
        Problem(
            uid,
            "frequency",
            False,
            f"its {what} {kind}, {that} of {counted(count, 'other')} {usual}: `train` refuses "
            "them together; name the series of one kind",
        )
        for uid, kind in kinds.items()
        if kind != usual
    ]


def problems_of(unique_id: str, entry: Entry) -> list[Problem]:
    """Put the defects that were found when a series was stored into words."""
    from forecaster.frequencies import default_horizon

    defects = list(entry.problems)
    needed = 2 * default_horizon(entry.frequency)
    if entry.time != "integer" and entry.frequency is None and entry.rows > 2:
        defects.append({"kind": "irregular", "count": None, "first": None})
    elif entry.rows < needed:
        defects.append({"kind": "too_short", "count": entry.rows, "first": needed})
    problems = []
    for defect in defects:
        text, error = WORDS[defect["kind"]]
        count = defect["count"]
        said = text.format(count=count, first=defect["first"], s="" if count == 1 else "s")
        problems.append(Problem(unique_id, defect["kind"], error, said))
    return sorted(problems, key=lambda problem: not problem.error)
