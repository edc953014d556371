"""`forecast anomalies`: values that the version in service did not expect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forecaster.cli.options import Command, config_options
from forecaster.cli.reading import file_options
from forecaster.cli.waiting import Share

if TYPE_CHECKING:
    from forecaster.sources.layout import Columns


@click.command(cls=Command)
@click.argument("ids", nargs=-1)
@click.option("--name", default="default", show_default=True, help="Name of the model.")
@click.option(
    "--version",
    metavar="VERSION",
    default="champion",
    show_default=True,
    help="Version of the model, as for `forecast models`.",
)
@file_options("Judge")
@click.option(
    "--false-alarms",
    "rate",
    type=Share(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="Share of normal rows that may be flagged.",
)
@click.option(
    "--since",
    metavar="TIME",
    help="Judge rows from this time on; those held out before calibrate. Else from the first row "
    "that neither trained nor validated.",
)
@click.option("--all", "everything", is_flag=True, help="Write every row judged, and missing ones.")
@click.option("--output", metavar="FILE", help="CSV, or Parquet by suffix; `-` is stdout.")
@click.option("--plot", metavar="FILE", help="Also draw values, intervals and anomalies as PNG.")
@config_options(
    "data",
    "bounds",
    without=(
        *("covariates", "future", "static", "available_after", "holidays"),
        *("frequency", "season_length"),
    ),
)
def anomalies(
    ids: tuple[str, ...],
    name: str,
    version: str,
    file: str | None,
    columns: Columns,
    rate: float,
    since: str | None,
    everything: bool,
    output: str | None,
    plot: str | None,
    **flags: Any,
) -> int:
    """Find values outside the calibrated interval of their one-step forecast (all series, or IDS).

    Rows that the judged network has not seen are judged: those that tested it, and newer ones. The
    share of false alarms holds for normal rows like those that calibrate. score is 1 at the bound of
    the interval, 2 twice as far from what was expected; severity is minor up to 1.5, major up to 3,
    critical above.

    \b
    Example:
      forecast anomalies --name air --output odd.csv --plot odd.png
      forecast anomalies --name air --since 2026-11-01 --false-alarms 0.001
    """
    from forecaster.cli.inspection import anomalies_text, chance_text
    from forecaster.cli.output import emit, notice
    from forecaster.cli.session import current
    from forecaster.inspecting import find_anomalies

    result = find_anomalies(
        current().workspace(),
        ids,
        name,
        flags,
        version=version,
        file=file,
        columns=columns,
        rate=rate,
        since=since,
        everything=everything,
        output=None if output in (None, "-") else Path(str(output)),
        plot=Path(plot) if plot else None,
    )
    for line in (*result.notices, chance_text(result)):
        notice(line)
    emit(result.to_dict(), anomalies_text(result))
    return result.exit_code
