"""`forecast score`: how published forecasts did, now that values have arrived."""

from __future__ import annotations

from pathlib import Path

import click

from forecaster.cli.waiting import DURATION


@click.command()
@click.option("--name", help="Name of the model; else all of them.")
@click.option(
    "--published-within",
    "within",
    type=DURATION,
    metavar="DURATION",
    help="Only forecasts published in this time, such as 90d.",
)
@click.option("--output", metavar="FILE", help="The scores, as CSV or .parquet.")
def score(name: str | None, within: float | None, output: str | None) -> None:
    """Score published forecasts by the values that have arrived since.

    Errors by model, version, step ahead and time, beside those of baselines that forecast from the
    same rows, and how many values their intervals held. A forecast that was published again counts
    once, as it was published first.

    The file of --output has a row for each model as a whole, and for each of its versions, series,
    steps and times: name, by, part, points, forecasts, cutoffs, mae, bias, smape, mase,
    best_baseline, skill, the MASE of the baselines, and the coverage of the intervals.

    \b
    Example:
      forecast fetch --again && forecast score --name air
    """
    if output == "-":
        raise click.BadParameter("name a file: stdout has the tables.", param_hint="--output")
    from forecaster.archive import Archive
    from forecaster.cli.output import emit, notice
    from forecaster.cli.scores import scored_text
    from forecaster.cli.session import current
    from forecaster.exporting import export
    from forecaster.jobs import require_output
    from forecaster.scoring import score as run
    from forecaster.store import Store

    workspace, path = current().workspace(), Path(output) if output else None
    require_output(workspace, path)
    scored = run(Archive(workspace.forecasts), Store(workspace.data), name, within)
    if path:
        export(scored.to_frame(), path)
    for line in scored.notices:
        notice(line)
    emit(scored.to_dict() | {"output": path}, scored_text(scored, path))
