"""`forecast predict`: forecast with the version in service and export the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from forecaster.cli.options import Command, config_options


@click.command(cls=Command)
@click.argument("ids", nargs=-1)
@click.option("--name", default="default", show_default=True, help="Name of the model.")
@click.option("--horizon", type=click.IntRange(1), metavar="N", help="Steps; else as trained.")
@click.option("--data", "file", metavar="FILE", help="Forecast the series of this file instead.")
@click.option("--id", "id_column", metavar="COLUMN", help="Of --data: the series' names.")
@click.option("--time", "time_column", metavar="COLUMN", help="Of --data: the times.")
@click.option("--target", metavar="COLUMN", help="Of --data: the values.")
@click.option("--wide", is_flag=True, help="Of --data: each column is a series.")
@click.option("--output", metavar="FILE", help="CSV, or Parquet by suffix; `-` is stdout.")
@click.option("--plot", metavar="FILE", help="Also draw the forecasts as PNG.")
@config_options("data", "prediction", without=("covariates", "frequency", "season_length"))
def predict(
    ids: tuple[str, ...],
    name: str,
    horizon: int | None,
    file: str | None,
    id_column: str | None,
    time_column: str | None,
    target: str | None,
    wide: bool,
    output: str | None,
    plot: str | None,
    **flags: Any,
) -> int:
    """Forecast the series that a model was trained on (all, or IDS) from their last row.

    The table has unique_id, ds, cutoff, the forecast, its intervals and the model's version. It
    goes to stdout when no --output is given.

    \b
    Example:
      forecast predict --name air --output air.csv
      forecast predict --name air --data new.csv --horizon 24 --level 50,90
    """
    from forecaster.cli.output import emit, notice
    from forecaster.cli.session import current
    from forecaster.cli.tables import prediction_text
    from forecaster.jobs import predict as run

    columns = {"id_column": id_column, "time_column": time_column, "target": target, "wide": wide}
    if file is None and any(columns.values()):
        raise click.UsageError("--id, --time, --target and --wide describe the file of --data.")
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
