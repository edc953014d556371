"""`forecast score`: how published forecasts did, now that values have arrived."""

from __future__ import annotations

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
def score(name: str | None, within: float | None) -> None:
    """Score published forecasts by the values that have arrived since.

    Errors by model, version, step ahead and time, beside those of baselines that forecast from the
    same rows, and how many values their intervals held. A forecast that was published again counts
    once, as it was published first.

    \b
    Example:
      forecast fetch --again && forecast score --name air
    """
    from forecaster.archive import Archive
    from forecaster.cli.output import emit, notice
    from forecaster.cli.scores import scored_text
    from forecaster.cli.session import current
    from forecaster.scoring import score as run
    from forecaster.store import Store

    workspace = current().workspace()
    scored = run(Archive(workspace.forecasts), Store(workspace.data), name, within)
    for line in scored.notices:
        notice(line)
    emit(scored.to_dict(), scored_text(scored))
