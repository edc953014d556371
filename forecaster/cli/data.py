"""`forecast data`: what is stored, what is wrong with it, and the way out."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def data() -> None:
    """List, show, check, export and drop the stored series.

    \b
    Example:
      forecast data list
      forecast data show AAPL
    """


@data.command("list")
def list_series() -> None:
    """List the stored series with their rows, range and source.

    \b
    Example:
      forecast data list
    """
    from forecaster.cli.output import emit
    from forecaster.cli.reading import series_list
    from forecaster.cli.session import current
    from forecaster.store import Store

    emit(*series_list(Store(current().workspace().data)))


@data.command()
@click.argument("unique_id", metavar="ID")
def show(unique_id: str) -> None:
    """Describe one series: values, gaps, missing values, last rows.

    \b
    Example:
      forecast data show AAPL
    """
    from forecaster.cli.output import emit
    from forecaster.cli.reading import description_text
    from forecaster.cli.session import current
    from forecaster.listing import describe
    from forecaster.store import Store

    described = describe(Store(current().workspace().data), unique_id)
    emit(described.to_dict(), description_text(described))


@data.command()
@click.argument("ids", nargs=-1)
def check(ids: tuple[str, ...]) -> int:
    """Name every defect of the stored series (all, or IDS), one a line.

    Errors are what training refuses unless told otherwise (exit code 5); warnings are what it
    mends and says so.

    \b
    Example:
      forecast data check
    """
    from forecaster.cli.output import emit
    from forecaster.cli.reading import check_result
    from forecaster.cli.session import current
    from forecaster.errors import InvalidInputError
    from forecaster.listing import check as run
    from forecaster.store import Store

    problems = run(Store(current().workspace().data), ids)
    emit(*check_result(problems))
    return InvalidInputError.exit_code if any(problem.error for problem in problems) else 0


@data.command()
@click.argument("ids", nargs=-1)
@click.option(
    "--output",
    metavar="FILE",
    default="-",
    show_default=True,
    help="CSV, or Parquet by suffix; `-` is stdout.",
)
def export(ids: tuple[str, ...], output: str) -> None:
    """Write stored series (all, or IDS) as one long table.

    \b
    Example:
      forecast data export AAPL MSFT --output prices.csv
    """
    from forecaster.cli.output import emit
    from forecaster.cli.session import current
    from forecaster.exporting import export as run
    from forecaster.exporting import to_csv
    from forecaster.jobs import require_output
    from forecaster.store import Store
    from forecaster.words import counted

    workspace = current().workspace()
    path = None if output == "-" else Path(output)
    require_output(workspace, path)
    frame = Store(workspace.data).read(ids or None)
    if path is None:
        emit({"rows": frame.to_dict("records")}, to_csv(frame).rstrip("\n"))
        return
    run(frame, path)
    emit({"output": output, "rows": len(frame)}, f"Wrote {counted(len(frame), 'row')} to {output}.")


@data.command()
@click.argument("ids", nargs=-1, required=True)
def drop(ids: tuple[str, ...]) -> None:
    """Delete stored series; models trained on them stay.

    \b
    Example:
      forecast data drop AAPL
    """
    from forecaster.cli.output import emit
    from forecaster.cli.session import current
    from forecaster.store import Store

    Store(current().workspace().data).drop(ids)
    emit({"dropped": ids}, f"Dropped: {', '.join(ids)}.")
