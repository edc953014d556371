"""Stored series and the outcomes of a fetch as text; the options that describe a file."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from forecaster.cli.output import table
from forecaster.words import counted

if TYPE_CHECKING:
    from forecaster.fetching import FetchReport, Outcome
    from forecaster.listing import Description, Problem
    from forecaster.sources.samples import Sample
    from forecaster.store import Store

COLUMN_OPTIONS: dict[str, dict[str, Any]] = {  # by the field of `Columns`
    "id": {"metavar": "COLUMN", "help": "Of the file: column of the series' names; guessed."},
    "time": {"metavar": "COLUMN", "help": "Of the file: column of the times; guessed."},
    "target": {"metavar": "COLUMN", "help": "Of the file: column of the values; guessed."},
    "wide": {"is_flag": True, "help": "Of the file: one column a series beside the times."},
    "unique_id": {
        "metavar": "NAME",
        "help": "Of the file: name of its only series; else the file's name.",
    },
    "timezone": {
        "metavar": "ZONE",
        "help": "Of the file: where its clock stood, such as Europe/Berlin; else as written.",
    },
}
SHOWN = 20  # of many series, the first ones stand for all


def file_options(verb: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command `--data FILE` and the options that describe the file.

    Args:
        verb: What the command does with the series of the file, for its help.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def checked(**arguments: Any) -> Any:
            from forecaster.sources.layout import GUESSED

            if arguments["file"] is None and arguments["columns"] != GUESSED:
                raise click.UsageError("The options of the file describe the FILE of --data.")
            return command(**arguments)

        of_file = f"{verb} the series of this file instead."
        return click.option("--data", "file", metavar="FILE", help=of_file)(column_options(checked))

    return decorate


def column_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that describe a file; it receives one `Columns` of them."""

    @wraps(command)
    def collected(**arguments: Any) -> Any:
        from forecaster.sources.layout import Columns

        said = {name: arguments.pop(name) for name in COLUMN_OPTIONS}
        return command(columns=Columns(**said), **arguments)

    for name, settings in reversed(COLUMN_OPTIONS.items()):
        collected = click.option(f"--{name.replace('_', '-')}", name, **settings)(collected)
    return collected


def shown(name: str) -> str:
    """Make a name that is no plain text visible: control characters, blanks at its ends.

    >>> shown("AAPL"), shown("a\\tb")
    ('AAPL', "'a\\\\tb'")
    """
    return name if name.isprintable() and name == name.strip() else repr(name)


def series_list(store: Store) -> tuple[list[dict[str, Any]], str]:
    """Return the stored series, as a document and as a table."""
    from forecaster.listing import source_text

    entries = store.entries()
    document = [
        {
            "unique_id": uid,
            "rows": entry.rows,
            "frequency": entry.frequency,
            "first": entry.first,
            "last": entry.last,
            "source": entry.source,
            "fetched_at": entry.fetched_at,
            "problems": entry.problems,
        }
        for uid, entry in entries.items()
    ]
    if not entries:
        return document, "No series is stored. Start with: forecast fetch --sample air-passengers"
    rows = [
        (shown(uid), e.rows, e.frequency, str(e.first), str(e.last), source_text(e))
        for uid, e in entries.items()
    ]
    return document, table(rows, ("series", "rows", "frequency", "first", "last", "source"))


def sample_list(samples: list[Sample]) -> tuple[list[dict[str, Any]], str]:
    """Return the bundled data sets, as a document and as a table."""
    rows = [(s.name, s.series, s.rows, s.frequency, s.title) for s in samples]
    headers = ("sample", "series", "rows", "frequency", "what it is")
    return [vars(sample) for sample in samples], table(rows, headers)


def description_text(described: Description) -> str:
    """Say what one series is like."""
    from forecaster.listing import source_text

    entry = described.entry
    lines = [
        f"{shown(described.unique_id)}: {counted(entry.rows, 'row')}, {entry.first} to {entry.last}, "
        f"frequency {entry.frequency or '-'}, time {entry.time}",
        f"Source: {source_text(entry)}, stored {entry.fetched_at}",
        "Values: " + ", ".join(f"{k} {v:.6g}" for k, v in described.values.items()),
        "Missing values: " + ", ".join(f"{k} {n}" for k, n in described.empty.items() if k != "ds"),
    ]
    if entry.covariates:
        lines.append(f"Covariates: {', '.join(entry.covariates)}")
    lines += [f"{_level(problem)}: {problem.text}" for problem in described.problems]
    last = described.last_rows
    rows = [[_plain(value) for value in row] for row in last.itertuples(index=False)]
    return "\n".join([*lines, "Last rows:", table(rows, [str(name) for name in last.columns])])


def check_result(problems: list[Problem]) -> tuple[dict[str, Any], str]:
    """Return the defects, as a document and one a line."""
    errors = sum(problem.error for problem in problems)
    warnings = len(problems) - errors
    counts = {"errors": errors, "warnings": warnings}
    document = {**counts, "problems": [vars(problem) for problem in problems]}
    lines = [f"{_level(p)}: {shown(p.unique_id)}: {p.text}" for p in problems]
    total = f"{counted(errors, 'error')}, {counted(warnings, 'warning')}."
    total = total if problems else "No problems."
    return document, "\n".join([*lines, total])


def fetch_text(report: FetchReport) -> str:
    """Say what became of each series: one line each, or of many the first ones in a table."""
    outcomes = report.outcomes
    if len(outcomes) <= SHOWN:
        return "\n".join(outcome_line(outcome) for outcome in outcomes)
    rows = [
        (shown(o.unique_id), o.action, o.entry.rows, str(o.entry.first), str(o.entry.last))
        for o in outcomes
        if o.entry and not o.error
    ]
    counts = ", ".join(f"{count} {action}" for action, count in report.to_dict()["counts"].items())
    total = sum(outcome.entry.rows for outcome in outcomes if outcome.entry)
    gaps = [outcome.entry.gaps for outcome in outcomes if outcome.entry and outcome.entry.gaps]
    lines = [f"{len(outcomes)} series, {counted(total, 'row')}: {counts}."]
    if gaps:
        missing = counted(sum(gaps), "missing timestamp")
        lines.append(f"Gaps: {missing} in {len(gaps)} of them; 'forecast data check' names them.")
    if rows:
        lines.append(table(rows[:SHOWN], ("series", "outcome", "rows", "first", "last")))
    if len(rows) > SHOWN:
        lines.append(f"... and {len(rows) - SHOWN} more: forecast data list")
    return "\n".join([*lines, *(outcome_line(outcome) for outcome in report.failed)])


def outcome_line(outcome: Outcome) -> str:
    """Say what became of one series.

    A failure says so here in short; why and what to do stands on stderr with the notices.
    """
    name, entry = shown(outcome.unique_id), outcome.entry
    kept = (
        f"{counted(entry.rows, 'row')}, {entry.first} to {entry.last}"
        if entry
        else "nothing stored"
    )
    if entry and entry.gaps:
        kept += f", {counted(entry.gaps, 'missing timestamp')} between"
    if outcome.error:
        return f"{name}: failed; {'still stored: ' if entry else ''}{kept}"
    added = f" (+{outcome.rows_added})" if outcome.action == "appended" else ""
    return f"{name}: {outcome.action}{added}, {kept}"


def _level(problem: Problem) -> str:
    return "error" if problem.error else "warning"


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return (
            value.isoformat()
            if value.tzinfo or value.time().isoformat() != "00:00:00"
            else str(value.date())
        )
    return f"{value:.6g}" if isinstance(value, float) else value
