"""`forecast predict`: forecast with the version in service and export the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forecaster.cli.options import Command, config_options
from forecaster.cli.reading import file_options

if TYPE_CHECKING:
    from forecaster.sources.layout import Columns


@click.command(cls=Command)
@click.argument("ids", nargs=-1)
@click.option("--name", default="default", show_default=True, help="Name of the model.")
@click.option("--horizon", type=click.IntRange(1), metavar="N", help="Steps; else as trained.")
@file_options("Forecast")
@click.option("--output", metavar="FILE", help="CSV, or Parquet by suffix; `-` is stdout.")
@click.option("--plot", metavar="FILE", help="Also draw the forecasts as PNG.")
@config_options(
    "data",
    "bounds",
    "prediction",
    without=(
        *("covariates", "future", "static", "available_after", "holidays"),
        *("frequency", "season_length"),
    ),
)
def predict(
    ids: tuple[str, ...],
    name: str,
    horizon: int | None,
    file: str | None,
    columns: Columns,
    output: str | None,
    plot: str | None,
    **flags: Any,
) -> int:
    """Forecast the series that a model was trained on (all, or IDS) from their last row.

    The table has unique_id, ds, cutoff, the forecast, its intervals and the model's version. It
    goes to stdout when no --output is given. Rows after the last value, stored or in the FILE of
    --data, hold what the model takes as known ahead (--future of train).

    \b
    Example:
      forecast predict --name air --output air.csv
      forecast predict --name air --data new.csv --horizon 24 --level 50,90
    """
    from forecaster.cli.output import emit, notice
    from forecaster.cli.session import current
    from forecaster.cli.tables import prediction_text
    from forecaster.jobs import predict as run

    result = run(
        current().workspace(),
        ids,
        name,
        flags,
        horizon=horizon,
        file=file,
        columns=columns,
        output=None if output in (None, "-") else Path(str(output)),
        plot=Path(plot) if plot else None,
    )
    for line in result.notices:
        notice(line)
    emit(result.to_dict(), prediction_text(result))
    return result.exit_code
