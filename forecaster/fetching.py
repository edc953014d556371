"""From a source to the store: files, samples and symbols, with the outcome of each series."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from forecaster.atomic import at_home, is_stream
from forecaster.errors import (
    DamagedError,
    ForecasterError,
    InvalidInputError,
    NotFoundError,
    PartialError,
)
from forecaster.words import counted, listed

if TYPE_CHECKING:
    import pandas as pd

    from forecaster.index import Entry
    from forecaster.sources.layout import Columns
    from forecaster.sources.yahoo import SymbolResult
    from forecaster.store import Store

Action = Literal["new", "appended", "replaced", "unchanged", "stored", "failed"]

BATCH = 20  # symbols in a commit: a run that is cut off loses at most these


@dataclass(frozen=True)
class Outcome:
    """What became of one series.

    Attributes:
        unique_id: Its id.
        action: `new`, `appended`, `replaced`, `unchanged`, `stored` (offline) or `failed`.
        entry: What the store says of it now; None when it has none.
        rows_added: How many rows more than before.
        error: Why it failed.
    """

    unique_id: str
    action: Action
    entry: Entry | None = None
    rows_added: int = 0
    error: ForecasterError | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        plain: dict[str, Any] = {"unique_id": self.unique_id, "action": self.action}
        if self.entry:
            facts = vars(self.entry)
            kept = ("rows", "first", "last", "time", "frequency", "source", "problems")
            plain |= {"rows_added": self.rows_added} | {name: facts[name] for name in kept}
        if self.error:
            said = {"message": self.error.message, "hint": self.error.hint}
            plain["error"] = {"code": self.error.exit_code} | said
        return plain


@dataclass
class FetchReport:
    """The outcomes of one fetch, and what to tell the user beside them."""

    outcomes: list[Outcome] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Outcome]:
        """The series that failed."""
        return [outcome for outcome in self.outcomes if outcome.error]

    @property
    def exit_code(self) -> int:
        """0; 7 when some series failed; when all did, their common code, else 1."""
        codes = {outcome.error.exit_code for outcome in self.outcomes if outcome.error}
        if not codes:
            return 0
        if len(self.failed) < len(self.outcomes):
            return PartialError.exit_code
        return codes.pop() if len(codes) == 1 else ForecasterError.exit_code

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        counts: dict[str, int] = {}
        for outcome in self.outcomes:
            counts[outcome.action] = counts.get(outcome.action, 0) + 1
        document: dict[str, Any] = {
            "series": [outcome.to_dict() for outcome in self.outcomes],
            "counts": counts,
            "notices": self.notices,
        }
        if len(self.failed) == len(self.outcomes) and self.failed:
            error = self.failed[0].error
            message = f"No series was fetched: {error.message}" if error else ""
            hint = error.hint if error else ""
            document["error"] = {"code": self.exit_code, "message": message, "hint": hint}
        return document


def fetch_file(
    store: Store, source: str | Path, columns: Columns, *, again: Sequence[str] | None = None
) -> FetchReport:
    """Read a file, an address or standard input (`-`) and store every series of it.

    Args:
        store: Where the series go.
        source: The file.
        columns: How it is read.
        again: Stored series that it was fetched for before, which keep the rows that it does not
            reach back to. Others are left out; one of which it is no continuation fails and stays.

    Raises:
        ForecasterError: As `sources.files.read_file` and `Store.put`; nothing is stored then.
    """
    from forecaster.sources.files import read_coded

    frame, notices, read = read_coded(source, columns)
    rest = FetchReport()
    if again is not None:
        frame, rest = _renewed(store, frame, again, str(source))
    report = _put(store, frame, _described(str(source), read)) if len(frame) else FetchReport()
    report.outcomes += rest.outcomes
    report.notices[:0] = [*notices, *rest.notices]
    return report


def _renewed(
    store: Store, frame: pd.DataFrame, again: Sequence[str], source: str
) -> tuple[pd.DataFrame, FetchReport]:
    """Return the rows of a file to store, with the series that stay as they are and what to say."""
    import pandas as pd

    from forecaster.renewing import renew

    report, entries = FetchReport(), store.entries()
    there = set(frame["unique_id"])
    if new := sorted(there - {*again, *entries}):
        report.notices.append(
            f"'{source}' also has {listed(new)}: 'forecast fetch' it to store them."
        )
    stored = pd.DataFrame(columns=["unique_id", "ds", "y"])
    if wanted := [uid for uid in again if uid in there and uid in entries]:
        with suppress(DamagedError):  # it takes the place of what is damaged
            stored = store.read(wanted)
    found = renew(frame[frame["unique_id"].isin(again)], stored, datetime.now(UTC))
    if found.kept:
        report.notices.append(
            f"'{source}' begins later than what is stored of {listed(list(found.kept))}: "
            "the earlier rows are kept."
        )
    for uid, why in found.refused.items():
        error = InvalidInputError(
            f"'{source}' {why}.",
            "Mend it, or run 'forecast fetch' on it to take it as it is.",
        )
        report.outcomes.append(Outcome(uid, "failed", entries.get(uid), error=error))
    return found.frame, report


def fetch_sample(store: Store, name: str, *, again: Sequence[str] | None = None) -> FetchReport:
    """Store a bundled data set, or those of its series that are fetched again.

    Raises:
        NotFoundError: There is none of that name.
    """
    from forecaster.sources.samples import load_sample

    frame = load_sample(name)
    if again is not None:
        frame = frame[frame["unique_id"].isin(again)]
    return _put(store, frame, {"kind": "sample", "name": name})


def stored_symbols(store: Store, symbols: Sequence[str]) -> FetchReport:
    """Say what the store has for some symbols; nothing is fetched."""
    entries = store.entries()
    report = FetchReport()
    for symbol in _spelled(symbols):
        entry = entries.get(symbol)
        error = None
        if entry is None:
            error = NotFoundError(f"{symbol!r} is not stored.", "Fetch it without --offline.")
        report.outcomes.append(Outcome(symbol, "stored" if entry else "failed", entry, error=error))
    return report


def fetch_symbols(
    store: Store,
    symbols: Sequence[str],
    *,
    start: str | None = None,
    end: str | None = None,
    interval: str = "1d",
    price: str = "adjusted",
    workers: int = 4,
    on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
) -> FetchReport:
    """Fetch symbols from Yahoo, continue what is stored, and commit in small batches.

    What was fetched is committed also when the run is interrupted; a symbol that fails leaves its
    stored series as it was.

    Args:
        store: Where the series are and go.
        symbols: As Yahoo writes them.
        start: First day, ISO.
        end: Day after the last one, ISO.
        interval: `1d`, `1h`, `1wk` ...
        price: Which price is `y`: `adjusted` or `close`.
        workers: How many symbols are asked for at the same time.
        on_outcome: Called after each symbol, in the order of completion.

    Returns:
        One outcome a symbol, in the order they were named.

    Raises:
        InvalidInputError: The choices themselves cannot be used.
        ForecasterError: The store cannot be written.
    """
    from forecaster.sources import yahoo

    results = yahoo.fetch_symbols(
        symbols,
        start=start,
        end=end,
        interval=interval,
        price=price,
        stored=lambda symbol: _stored(store, symbol),
        workers=workers,
    )
    source = {"kind": "yahoo", "interval": interval, "price": price}
    outcomes: dict[str, Outcome] = {}
    report = FetchReport()
    with _batches(store, source, outcomes, report.notices) as add:
        for result in results:
            report.notices.extend(result.notices)
            on_outcome(add(result))
    report.outcomes = [outcomes[symbol] for symbol in _spelled(symbols)]
    return report


@contextmanager
def _batches(
    store: Store, source: dict[str, Any], outcomes: dict[str, Outcome], notices: list[str]
) -> Iterator[Callable[[SymbolResult], Outcome]]:
    """Collect results and commit them some at a time, the last ones even after Ctrl-C."""
    waiting: list[SymbolResult] = []
    before = store.entries()

    def commit() -> None:
        for frame in _stackable(waiting):
            entries = store.put(frame, source)
            for uid, entry in entries.items():
                outcomes[uid] = _with_entry(outcomes[uid], entry, before.get(uid))
            notices.extend(_moved(entries, before))
        waiting.clear()

    def add(result: SymbolResult) -> Outcome:
        symbol = result.symbol
        stored = before.get(symbol)
        outcome = Outcome(symbol, result.action, stored, result.rows_added, result.error)
        outcomes[symbol] = outcome
        if result.frame is not None and result.action != "unchanged":
            waiting.append(result)
            if len(waiting) >= BATCH:
                commit()
        return outcome

    try:
        yield add
    finally:
        commit()


def _stackable(results: list[SymbolResult]) -> Iterator[pd.DataFrame]:
    """Stack frames whose times fit into one column: exchanges have their own zones."""
    import pandas as pd

    by_time: dict[str, list[pd.DataFrame]] = {}
    for result in results:
        if result.frame is not None:
            by_time.setdefault(str(result.frame["ds"].dtype), []).append(result.frame)
    for frames in by_time.values():
        yield pd.concat(frames, ignore_index=True)


def _with_entry(outcome: Outcome, entry: Entry, before: Entry | None) -> Outcome:
    action = "replaced" if outcome.action == "new" and before else outcome.action
    return Outcome(outcome.unique_id, action, entry, outcome.rows_added)


def _moved(entries: Mapping[str, Entry], before: Mapping[str, Entry]) -> list[str]:
    """Say which series now come from somewhere else: two of one name are easily confused."""
    moved: dict[tuple[str, str], list[str]] = {}
    for uid in sorted(entries.keys() & before.keys()):
        if entries[uid].hash != before[uid].hash:
            pairs = zip(_origin(before[uid]), _origin(entries[uid]), strict=True)
            differ = [(old, new) for old, new in pairs if old and new and old != new]
            for pair in differ[:1]:
                moved.setdefault(pair, []).append(uid)
    lines = []
    for (old, new), ids in moved.items():
        names = ids[0] if len(ids) == 1 else listed(ids)
        had, has = (sum(each[uid].rows for uid in ids) for each in (before, entries))
        lines.append(f"{names}: {counted(had, 'row')} from {old} replaced by {has:,} from {new}.")
    return lines


def _origin(entry: Entry) -> tuple[str, str, str]:
    """Return the kind of a source, where it is, and its column, each empty where it is not known."""
    source = entry.source
    place = next((str(source[key]) for key in ("path", "url") if key in source), "")
    target = source.get("columns", {}).get("target")
    return str(source.get("kind")), place, f"column {target!r}" if target else ""


def _stored(store: Store, symbol: str) -> pd.DataFrame | None:
    """Return the stored series that Yahoo's may continue; None when there is none of Yahoo's."""
    entry = store.entries().get(symbol)
    if entry is None or entry.source.get("kind") != "yahoo":
        return None
    return store.read([symbol])


def _put(store: Store, frame: pd.DataFrame, source: dict[str, Any]) -> FetchReport:
    before = store.entries()
    report = FetchReport()
    entries = store.put(frame, source)
    report.notices.extend(_moved(entries, before))
    for uid, entry in entries.items():
        old = before.get(uid)
        action: Action = "new" if old is None else "replaced"
        if old and old.hash == entry.hash:
            action = "unchanged"
        added = entry.rows - old.rows if old and action == "replaced" else entry.rows
        report.outcomes.append(
            Outcome(uid, action, entry, 0 if action == "unchanged" else max(added, 0))
        )
    return report


def _spelled(symbols: Sequence[str]) -> list[str]:
    """Spell symbols as they are stored, each once."""
    return list(dict.fromkeys(symbol.strip().upper() for symbol in symbols))


def _described(source: str, columns: Columns) -> dict[str, Any]:
    """Describe where a file came from and how it was read, without what may be secret in an address."""
    if source == "-":
        return {"kind": "stdin"}
    from forecaster.sources.layout import GUESSED

    said = {key: value for key, value in vars(columns).items() if value != getattr(GUESSED, key)}
    read = {"columns": said} if said else {}
    if "://" in source:
        from forecaster.sources.downloads import public

        shown = public(source)
        cut = {} if shown == source else {"partial": True}
        return {"kind": "url", "url": shown, **cut, **read}
    if is_stream(at_home(source)):  # cannot be read again
        return {"kind": "stdin"}
    path = at_home(source).resolve()
    return {"kind": "file", "path": str(path), **read}
