"""The index of the stored series: one JSON file that says where each lies and what it is like.

Reading it imports neither pandas nor pydantic: listing what is stored starts as fast as click.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forecaster.errors import DamagedError, InvalidInputError

FORMAT = 1
NOTICES = "forecaster.notices"  # key of what the store says of a frame, in the frame's `attrs`
PART = re.compile(r"[a-z0-9-]+\.parquet")
MOST_ROWS = 2**48
DEFECTS = {  # what `problems` may name
    "closures",
    "ahead",
    "constant",
    "duplicates",
    "infinite_values",
    "missing_timestamps",
    "missing_values",
}


@dataclass(frozen=True)
class Entry:
    """What the index says of one series.

    Attributes:
        part: Name of the file under `parts/` that holds it.
        start: Its first row in that file.
        rows: How many rows it has.
        first: First timestamp, ISO 8601 or an integer.
        last: Last timestamp.
        time: `naive`, `integer`, or the time zone's name.
        frequency: pandas alias, None when there is none to tell.
        hash: Digest of its numbers, for manifests and to notice damage.
        covariates: Names of the columns besides `y`.
        source: Where it came from, as the fetch described it.
        fetched_at: UTC, ISO 8601.
        problems: `{kind, count, first}` for each defect found when it was stored.
    """

    part: str
    start: int
    rows: int
    first: str | int
    last: str | int
    time: str
    frequency: str | None
    hash: str
    covariates: list[str]
    source: dict[str, Any]
    fetched_at: str
    problems: list[dict[str, Any]] = field(default_factory=list)

    @property
    def gaps(self) -> int:
        """Timestamps missing between the first and the last; 0 where no frequency can be told."""
        return sum(int(p["count"]) for p in self.problems if p["kind"] == "missing_timestamps")


TYPES: dict[str, tuple[type, ...]] = {
    "part": (str,),
    "start": (int,),
    "rows": (int,),
    "first": (str, int),
    "last": (str, int),
    "time": (str,),
    "frequency": (str, type(None)),
    "hash": (str,),
    "covariates": (list,),
    "source": (dict,),
    "fetched_at": (str,),
    "problems": (list,),
}


def decode(text: bytes, path: Path) -> dict[str, Entry]:
    """Return what an index says of each series.

    Args:
        text: The content of the file.
        path: The file, for messages.

    Raises:
        DamagedError: It is not what `encode` writes.
        InvalidInputError: A newer version of the program wrote it.
    """
    try:
        content = json.loads(text)
        # A newer format may have other fields; it is refused below, in words.
        newer = content["format"] > FORMAT
        entries = {} if newer else {uid: _entry(uid, e) for uid, e in content["series"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise DamagedError(
            f"The index of the stored series, '{path}', is damaged: {reason}.",
            "The next 'forecast retrain' mends it from its copy; if that is damaged too, restore it "
            "from a backup, or delete it and fetch the series again.",
        ) from error
    if newer:
        raise InvalidInputError(
            f"'{path}' has the newer format {content['format']}; this version of forecast reads "
            f"format {FORMAT}.",
            "Upgrade forecast.",
        )
    return entries


def encode(entries: Mapping[str, Entry]) -> bytes:
    """Return the content of an index file."""
    series = {uid: vars(entries[uid]) for uid in sorted(entries)}
    content = {"format": FORMAT, "series": series}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def by_part(entries: Mapping[str, Entry]) -> dict[str, dict[str, Entry]]:
    """Group series by the file that holds them."""
    parts: dict[str, dict[str, Entry]] = {}
    for uid, entry in entries.items():
        parts.setdefault(entry.part, {})[uid] = entry
    return parts


def _entry(uid: str, content: Any) -> Entry:
    if not isinstance(content, dict):
        raise TypeError(f"the entry of {uid!r} is {_short(content)}")
    entry = Entry(**content)
    for name, types in TYPES.items():
        value = getattr(entry, name)
        if type(value) not in types:  # a truth is an int to isinstance
            raise TypeError(f"{name} of {uid!r} is {_short(value)}")
    if not PART.fullmatch(entry.part):
        raise ValueError(f"part of {uid!r} is {_short(entry.part)}")
    if not (0 <= entry.start <= MOST_ROWS and 1 <= entry.rows <= MOST_ROWS):
        raise ValueError(f"{uid!r} has {entry.rows} rows from row {entry.start}")
    if not all(type(name) is str for name in entry.covariates):
        raise TypeError(f"covariates of {uid!r} are {_short(entry.covariates)}")
    for problem in entry.problems:
        if problem.keys() != {"kind", "count", "first"} or problem["kind"] not in DEFECTS:
            raise ValueError(f"a problem of {uid!r} is {_short(problem)}")
    return entry


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
