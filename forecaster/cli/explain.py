"""`forecast explain`: what the network of a version looks at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from forecaster.cli.reading import file_options

if TYPE_CHECKING:
    from forecaster.sources.layout import Columns


@click.command()
@click.argument("ids", nargs=-1)
@click.option("--name", default="default", show_default=True, help="Name of the model.")
@click.option(
    "--version",
    metavar="VERSION",
    default="champion",
    show_default=True,
    help="Version of the model, as for `forecast models`.",
)
@file_options("Explain by")
@click.option(
    "--block",
    type=click.IntRange(1),
    metavar="N",
    help="Lags shuffled together; else a segment, or a season.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    metavar="N",
    default=5,
    show_default=True,
    help="Times that each part is shuffled.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the shuffling."
)
@click.option("--output", metavar="FILE", help="CSV, or Parquet by suffix.")
@click.option("--plot", metavar="FILE", help="Also draw bars as PNG.")
def explain(
    ids: tuple[str, ...],
    name: str,
    version: str,
    file: str | None,
    columns: Columns,
    block: int | None,
    repeats: int,
    seed: int,
    output: str | None,
    plot: str | None,
) -> int:
    """Say which lags and columns the network looks at (on all series, or IDS).

    On windows that the judged network was not trained on, one part of its input at a time is
    shuffled among the windows of a series: the more the error rises, the more the forecast owes to
    that part. Inputs that say the same share their importance. Of a series that the model has never
    seen, all windows after the first count as such.

    \b
    Example:
      forecast explain --name air --plot importance.png
      forecast explain --name air --block 1 --output importance.csv
      forecast explain --name air --data new.csv
    """
    from forecaster.cli.inspection import importance_text
    from forecaster.cli.output import emit, notice
    from forecaster.cli.session import current
    from forecaster.inspecting import explain as run

    result = run(
        current().workspace(),
        ids,
        name,
        version=version,
        file=file,
        columns=columns,
        block=block,
        repeats=repeats,
        seed=seed,
        output=Path(output) if output else None,
        plot=Path(plot) if plot else None,
    )
    for line in result.notices:
        notice(line)
    emit(result.to_dict(), importance_text(result))
    return result.exit_code
