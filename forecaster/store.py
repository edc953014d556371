"""The folder of stored series: parts (Parquet) and one index (JSON).

Each `put` writes one part that holds any number of series and then replaces `index.json`; that
replace is the commit. A crash before it leaves the old data in force, and the orphan part is
deleted at the next write. A copy of the index, written after each commit, mends one that was damaged
later. An id lives inside the files only, never in a file's name, so any text
may be an id. Listing what is stored reads the index alone: neither pandas nor pyarrow is imported.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecaster.atomic import replace_file, sweep
from forecaster.errors import DamagedError, ForecasterError, InvalidInputError, NotFoundError
from forecaster.index import NOTICES, Entry, by_part, decode, encode
from forecaster.locking import TIMEOUT, writing
from forecaster.words import listed

if TYPE_CHECKING:
    import pandas as pd

    from forecaster.parts import Part


class Store:
    """The stored series of one workspace.

    Args:
        folder: The data folder; made at the first write.
        lock_timeout: Seconds to wait for another writer.
    """

    def __init__(self, folder: Path, *, lock_timeout: float = TIMEOUT) -> None:
        self.folder = Path(folder)
        self.parts = self.folder / "parts"
        self.index = self.folder / "index.json"
        self.copy = self.folder / "index.copy.json"
        self.lock_timeout = lock_timeout
        self._seen: tuple[object, dict[str, Entry]] = (None, {})

    def ids(self) -> list[str]:
        """Return the ids of the stored series, sorted."""
        return list(self.entries())

    def entries(self) -> dict[str, Entry]:
        """Return what is stored, by id, sorted.

        Raises:
            DamagedError: The index cannot be read as such.
        """
        try:
            status = self.index.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp != self._seen[0]:  # thousands of symbols ask in turn: parse once a commit
                self._seen = (stamp, decode(self.index.read_bytes(), self.index))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unreadable(self.index, error) from error
        return dict(self._seen[1])

    def entry(self, unique_id: str) -> Entry:
        """Return what is known of one series.

        Raises:
            NotFoundError: It is not stored; near matches are named.
        """
        entries = self.entries()
        _require([unique_id], entries, self.folder)
        return entries[unique_id]

    def read(self, ids: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the long frame of some series (all when None), sorted by unique_id and ds.

        Columns that only some of the series have are empty in the others. Times of several zones
        come back in UTC, said in `frame.attrs[NOTICES]`.

        Raises:
            NotFoundError: A series is not stored; near matches are named.
            InvalidInputError: The series have different kinds of time (integers, dates, zones).
            DamagedError: A part is missing, unreadable, or is not what was stored.
        """
        from forecaster.parts import VanishedError, gathered, load, long_frame

        seen: dict[str, Entry] | None = None
        while True:
            entries = self._wanted(ids)
            moved = _check_times(entries)
            try:
                pieces = [load(self.parts / part, some) for part, some in by_part(entries).items()]
            except VanishedError:
                # A writer replaced the part after the index was read: the new index knows better.
                if entries == seen:
                    raise
                seen = entries
            except OSError as error:
                raise _unreadable(self.parts, error) from error
            else:
                frame = long_frame(gathered(pieces)[0])
                frame.attrs[NOTICES] = moved
                return frame

    def _wanted(self, ids: Sequence[str] | None) -> dict[str, Entry]:
        entries = self.entries()
        if ids is None and not entries:
            raise NotFoundError(f"No series is stored in '{self.folder}'.", "Fetch one first.")
        if ids is None:
            return entries
        _require(ids, entries, self.folder)
        return {uid: entries[uid] for uid in sorted(set(ids))}

    def damaged(self) -> dict[str, str]:
        """Read everything and return, by id, what is wrong with the series that cannot be read."""
        from forecaster.parts import damages

        found: dict[str, str] = {}
        for part, members in by_part(self.entries()).items():
            found |= damages(self.parts / part, members)
        return found

    def mend(self) -> str:
        """Put the copy in the place of an index that is damaged; say so, or nothing when it is whole.

        Raises:
            DamagedError: The index is damaged, and there is no whole copy.
            TemporaryError: Another writer kept the lock for too long.
        """
        try:
            self.entries()
        except DamagedError as damage:
            with writing(self.folder, timeout=self.lock_timeout):
                try:
                    content = self.copy.read_bytes()
                    decode(content, self.copy)
                except (FileNotFoundError, DamagedError):
                    raise damage from None
                replace_file(self.index, lambda file: file.write(content))
            return f"'{self.index}' was damaged; '{self.copy.name}' was put in its place."
        return ""

    def put(self, frame: pd.DataFrame, source: Mapping[str, Any]) -> dict[str, Entry]:
        """Store every series of a long frame, each in place of what was stored under its id.

        All of them appear at once, or none.

        Args:
            frame: `unique_id`, `ds`, `y` and any covariate columns, in any order of rows.
            source: Where the rows came from; `kind` names it in listings.

        Raises:
            InvalidInputError: An empty id, no rows, or a column that cannot be stored.
            TemporaryError: Another writer kept the lock for too long.
            ForecasterError: The folder cannot be written; the old data stays as it was.
        """
        from forecaster.parts import Part

        part = Part.of(frame)
        encoded, described = part.encoded(), part.profiles()  # before the lock: others may write
        common: dict[str, Any] = {
            "time": part.time,
            "covariates": part.covariates,
            "source": dict(source),
            "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with self._writing() as entries:
            name = self._write(part, encoded, str(source.get("kind", "")))
            stored = {
                uid: Entry(
                    part=name,
                    start=int(part.offsets[i]),
                    hash=part.hashes[i],
                    **common,
                    **vars(described[i]),
                )
                for i, uid in enumerate(part.ids)
            }
            entries.update(stored)
        return stored

    def drop(self, ids: Sequence[str]) -> None:
        """Forget some series.

        Raises:
            NotFoundError: A series is not stored; nothing is forgotten then.
        """
        with self._writing() as entries:
            _require(ids, entries, self.folder)
            for uid in set(ids):
                del entries[uid]

    @contextmanager
    def _writing(self) -> Iterator[dict[str, Entry]]:
        """Hold the lock, hand out the entries to change, and commit them."""
        with writing(self.folder, timeout=self.lock_timeout):
            self.parts.mkdir(exist_ok=True)
            entries = self.entries()
            before = dict(entries)
            self._clean(before)
            yield entries
            self._compact(before, entries)
            content = encode(entries)
            replace_file(self.index, lambda file: file.write(content))
            with suppress(OSError):  # all is committed
                replace_file(self.copy, lambda file: file.write(content))
            self._clean(entries)

    def _write(self, part: Part, encoded: memoryview, kind: str) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-")[:24] or "series"
        name = f"{slug}-{part.digest}.parquet"
        replace_file(self.parts / name, lambda file: file.write(encoded))
        return name

    def _compact(self, before: dict[str, Entry], after: dict[str, Entry]) -> None:
        """Rewrite the parts that have fewer live rows than dead ones."""
        from forecaster.parts import Part, gathered, load, stored_rows

        live = by_part(after)
        touched = {e.part for uid, e in before.items() if after.get(uid) is not e} & live.keys()
        for name in sorted(touched):
            path = self.parts / name
            rows = sum(entry.rows for entry in live[name].values())
            try:
                if 2 * rows >= stored_rows(path):
                    continue
                piece = load(path, live[name])
            except DamagedError:
                continue  # left as it is, for `damaged` to tell
            part = Part(*gathered([piece]))
            fresh = self._write(part, part.encoded(), name.rpartition("-")[0])
            for i, uid in enumerate(part.ids):
                after[uid] = replace(after[uid], part=fresh, start=int(part.offsets[i]))

    def _clean(self, entries: dict[str, Entry]) -> None:
        """Delete what no entry names: superseded parts, and what a crash left behind."""
        named = {entry.part for entry in entries.values()}
        for path in self.parts.glob("*.parquet"):
            if path.name not in named:
                path.unlink(missing_ok=True)
        sweep(self.parts)
        sweep(self.folder)


def _require(ids: Sequence[str], entries: Mapping[str, Entry], folder: Path) -> None:
    missing = [uid for uid in ids if uid not in entries]
    if not ids:
        raise NotFoundError("No series was named.", "Name one or more.")
    if not missing:
        return
    folded = {uid.casefold(): uid for uid in entries}
    near = [folded[missing[0].casefold()]] if missing[0].casefold() in folded else []
    near = near or difflib.get_close_matches(missing[0], entries, n=3)
    others = f" (nor {len(missing) - 1} more: {', '.join(missing[1:4])})" if missing[1:] else ""
    hint = "None is stored there: forecast fetch."
    if near:
        hint = f"Did you mean {' or '.join(map(repr, near))}?"
    elif entries:
        hint = f"Stored there: {listed(list(entries))}; all of them: forecast data list."
    raise NotFoundError(f"The series {missing[0]!r} is not stored in '{folder}'{others}.", hint)


def _check_times(entries: Mapping[str, Entry]) -> list[str]:
    """Refuse series whose times cannot stand in one column; say when zones become UTC."""
    example: dict[str, str] = {}
    for uid, entry in entries.items():
        example.setdefault(entry.time, uid)
    zones = sorted(example.keys() - {"naive", "integer"})
    kinds = len(example.keys() & {"naive", "integer"}) + bool(zones)
    if kinds > 1:
        found = ", ".join(f"{time} (such as {uid!r})" for time, uid in sorted(example.items()))
        raise InvalidInputError(
            f"The series have different kinds of time: {found}.",
            "Name series of one kind.",
        )
    if len(zones) < 2:
        return []
    return [
        f"Times in {', '.join(zones)} were converted to UTC, and forecasts will be in UTC; to keep local "
        "time, name the series of one zone."
    ]


def _unreadable(path: Path, error: OSError) -> ForecasterError:
    return ForecasterError(
        f"Cannot read '{error.filename or path}': {error.strerror or error}.",
        "Check the permissions and the disk.",
    )
