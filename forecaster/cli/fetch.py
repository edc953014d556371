"""`forecast fetch`: series from Yahoo, a file, an address or the package into the store."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from forecaster.cli.reading import COLUMN_OPTIONS, column_options

if TYPE_CHECKING:
    from forecaster.fetching import FetchReport, Outcome
    from forecaster.sources.layout import Columns
    from forecaster.store import Store

INTERVALS = ("1m", "2m", "5m", "15m", "30m", "60m", "90m", "1h", "1d", "1wk", "1mo", "3mo")
FILES = (".csv", ".csv.gz", ".parquet")  # no symbol ends so
# which options belong to which source
YAHOO = ("start", "end", "interval", "price", "workers", "offline")
FILE = tuple(COLUMN_OPTIONS)


@click.command()
@click.argument("symbols", nargs=-1)
@click.option("--start", metavar="DATE", help="First day; else as early as Yahoo goes.")
@click.option("--end", metavar="DATE", help="Day after the last one; else up to now.")
@click.option(
    "--interval", type=click.Choice(INTERVALS), default="1d", show_default=True, help="Bar length."
)
@click.option(
    "--price",
    type=click.Choice(("adjusted", "close")),
    default="adjusted",
    show_default=True,
    help="Which price is y: adjusted for dividends and splits, or the close.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 32),
    default=4,
    show_default=True,
    help="Symbols asked for at the same time.",
)
@click.option("--offline", is_flag=True, help="No network: say what is stored of SYMBOLS.")
@click.option("--csv", "file", metavar="FILE", help="CSV or Parquet: a path, an URL, or `-`.")
@column_options
@click.option(
    "--again", is_flag=True, help="Stored series (SYMBOLS, else all) from where they came."
)
@click.option("--sample", metavar="NAME", help="A data set of the package.")
@click.option("--list-samples", is_flag=True, help="List the data sets of the package.")
def fetch(
    symbols: tuple[str, ...],
    file: str | None,
    columns: Columns,
    again: bool,
    sample: str | None,
    list_samples: bool,
    **options: Any,
) -> int:
    """Fetch series from Yahoo (SYMBOLS), a file, a URL or a sample, and store them.

    A stored symbol is continued: only what is new is asked for. A symbol that fails leaves what
    was stored as it was.

    \b
    Example:
      forecast fetch AAPL MSFT --start 2015-01-01
      forecast fetch --csv sales.csv --time sold --target units
      forecast fetch --sample air-passengers
      forecast fetch --again
    """
    from forecaster.cli.output import emit, notice
    from forecaster.cli.reading import fetch_text, sample_list
    from forecaster.cli.session import current

    named = bool(symbols) and not again
    _check_choice(symbols=named, csv=file, again=again, sample=sample, list_samples=list_samples)
    if named:
        _check_symbols(symbols)
    if list_samples:
        from forecaster.sources.samples import list_samples as bundled

        emit(*sample_list(bundled()))
        return 0
    report = _again(symbols) if again else _fetched(symbols, file, columns, sample, options)
    for line in report.notices:
        notice(line)
    for outcome in report.failed if not current().json else ():
        click.echo(f"Error: {outcome.unique_id}: {outcome.error}", err=True)
    emit(report.to_dict(), fetch_text(report))
    return report.exit_code


def _again(ids: tuple[str, ...]) -> FetchReport:
    from forecaster.cli.session import current
    from forecaster.errors import NotFoundError
    from forecaster.refreshing import refresh
    from forecaster.store import Store

    store = Store(current().workspace().data)
    for uid in ids:
        store.entry(uid)
    if not (wanted := ids or tuple(store.ids())):
        raise NotFoundError("No series is stored that could be fetched again.", "Fetch one first.")
    return refresh(store, wanted)


def _fetched(
    symbols: tuple[str, ...],
    file: str | None,
    columns: Columns,
    sample: str | None,
    options: dict[str, Any],
) -> FetchReport:
    from forecaster.cli.session import current
    from forecaster.fetching import fetch_file, fetch_sample
    from forecaster.store import Store

    store = Store(current().workspace().data)
    if file is not None:
        return fetch_file(store, file, columns)
    if sample is not None:
        return fetch_sample(store, sample)
    return _fetch_symbols(store, symbols, options)


def _check_choice(**chosen: object) -> None:
    """Refuse no source, two sources, and options that the source does not read."""
    ctx = click.get_current_context()
    sources = [name for name, value in chosen.items() if value]
    if len(sources) != 1:
        found = " and ".join(_flag(name) for name in sources) or "none"
        raise click.UsageError(
            f"Needs exactly one of SYMBOLS, --csv, --again, --sample and --list-samples; found {found}.",
            ctx,
        )
    readable = {"symbols": YAHOO, "csv": FILE}.get(sources[0], ())
    for name in {*YAHOO, *FILE}.difference(readable):
        if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            flags = {parameter.name: parameter.opts[0] for parameter in ctx.command.params}
            raise click.UsageError(f"{flags[name]} says nothing to {_flag(sources[0])}.", ctx)


def _check_symbols(symbols: tuple[str, ...]) -> None:
    """Refuse a file where symbols belong: Yahoo would be asked for its name."""
    for name in symbols:
        path = Path(name)
        # A file "AAPL" without a suffix must not stand in the way of the symbol.
        if name.lower().endswith(FILES) or (path.is_file() and (path.suffix or path.parent.name)):
            raise click.UsageError(
                f"{name!r} is a file, not a symbol. Say: forecast fetch --csv {quote(name)}."
            )


def _flag(name: str) -> str:
    return "SYMBOLS" if name == "symbols" else f"--{name.replace('_', '-')}"


def _fetch_symbols(store: Store, symbols: tuple[str, ...], options: dict[str, Any]) -> FetchReport:
    from forecaster.cli.output import progress
    from forecaster.cli.session import current
    from forecaster.fetching import fetch_symbols, stored_symbols

    if options.pop("offline"):
        return stored_symbols(store, symbols)
    done = 0
    with progress("Fetching", total=len(symbols)) as advance:

        def on_outcome(outcome: Outcome) -> None:
            nonlocal done
            done += 1
            current().interrupted = f"{done} of {len(symbols)} symbols were fetched and stored"
            advance(1, outcome.unique_id)

        return fetch_symbols(store, symbols, on_outcome=on_outcome, **options)
