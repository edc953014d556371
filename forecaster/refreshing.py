"""Fetching stored series again, each from where its entry in the index says that it came."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecaster import fetching
from forecaster.errors import DamagedError, ForecasterError, InvalidInputError, NotFoundError
from forecaster.fetching import FetchReport, Outcome
from forecaster.store import Store
from forecaster.words import listed

if TYPE_CHECKING:
    from forecaster.index import Entry
    from forecaster.workspace import Workspace

WHY_NOT = {  # of kinds of sources that cannot be asked again
    "stdin": "standard input cannot be read again",
    "url": "its address had a part that may be secret, which is not kept",
}


@dataclass
class Refreshed(FetchReport):
    """The outcomes of fetching again.

    Attributes:
        kept: Series that were left as they are, because their source cannot be asked again.
    """

    kept: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of the series asked for that came; 1 when none was asked for."""
        asked = len(self.outcomes)
        return 1 - len(self.failed) / asked if asked else 1.0


def refresh(store: Store, ids: Sequence[str]) -> Refreshed:
    """Fetch stored series again; one that fails, cannot be asked for, or lost rows stays as it is.

    Raises:
        DamagedError: The index of the store cannot be read.
    """
    entries = store.entries()
    report = Refreshed()
    by_source: dict[str, list[str]] = {}
    for uid in ids:
        by_source.setdefault(json.dumps(entries[uid].source, sort_keys=True), []).append(uid)
    for text, members in by_source.items():
        source = json.loads(text)
        if why := _why_not(source):
            report.kept += members
            report.notices.append(f"Not fetched again: {listed(members)}, because {why}.")
            continue
        try:
            found = _again(store, source, members)
        except ForecasterError as error:
            report.outcomes += [_failed(uid, entries[uid], error) for uid in members]
            continue
        report.notices += found.notices
        outcomes = {outcome.unique_id: outcome for outcome in found.outcomes}
        report.outcomes += [
            outcomes.get(uid) or _failed(uid, entries[uid], _gone(source)) for uid in members
        ]
    return report


def require_no_input(workspace: Workspace, output: Path | None) -> None:
    """Refuse to write a table over what is read: the file of a stored series, the store, the models.

    Raises:
        InvalidInputError: It is one.
    """
    if output is None:
        return
    if any(output.resolve().is_relative_to(folder.resolve()) for folder in workspace.own):
        raise InvalidInputError(
            f"'{output}' lies where forecast keeps its own data, which would be damaged.",
            "Name another --output.",
        )
    entries: dict[str, Entry] = {}
    with suppress(DamagedError):  # told by what needs it; `predict --data` does not
        entries = Store(workspace.data).entries()
    for uid, entry in entries.items():
        path = entry.source.get("path")
        if path and Path(path).resolve() == output.resolve():
            raise InvalidInputError(
                f"'{output}' is the file that the series {uid!r} is fetched from, and would be "
                "overwritten.",
                "Name another --output.",
            )


def _why_not(source: dict[str, Any]) -> str:
    """Say why a source cannot be asked again; empty when it can."""
    kind = str(source.get("kind"))
    if kind in {"yahoo", "file", "sample"} or (kind == "url" and not source.get("partial")):
        return ""
    return WHY_NOT.get(kind, f"they came from {kind!r}, which cannot be asked again")


def _again(store: Store, source: dict[str, Any], ids: Sequence[str]) -> FetchReport:
    if source["kind"] == "yahoo":
        asked = {key: source[key] for key in ("interval", "price") if key in source}
        return fetching.fetch_symbols(store, ids, **asked)
    if source["kind"] == "sample":
        return fetching.fetch_sample(store, str(source["name"]), again=ids)
    from forecaster.sources.layout import Columns

    if source["kind"] == "file" and Path(source["path"]).is_fifo():
        raise InvalidInputError(
            f"'{source['path']}' is a pipe, which may never end.", "Put a file in its place."
        )
    place = source["path"] if source["kind"] == "file" else source["url"]
    return fetching.fetch_file(store, place, Columns(**source.get("columns", {})), again=ids)


def _failed(uid: str, entry: Entry, error: ForecasterError) -> Outcome:
    return Outcome(uid, "failed", entry, error=error)


def _gone(source: dict[str, Any]) -> ForecasterError:
    return NotFoundError(
        f"'{source.get('path') or source.get('url') or source['kind']}' does not have it any more.",
        "Mend the source, or forget the series with 'forecast data drop'.",
    )
