"""`forecast backtest`: judge settings over a rolling origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from forecaster.cli.options import Command, config_options


@click.command(cls=Command)
@click.argument("ids", nargs=-1)
@click.option("--output", metavar="FILE", help="Every forecast, as CSV or .parquet.")
@config_options(
    *("data", "scaling", "network", "training", "evaluation", "bounds"),
    *("level", "adaptive_intervals"),
)
def backtest(ids: tuple[str, ...], output: str | None, **flags: Any) -> int:
    """Forecast the stored series (all, or IDS) from past cutoffs and compare with what came.

    Nothing is put into service. The file of --output has one row for each step forecast
    (unique_id, ds, cutoff, y, the model, the baselines), so that anyone can score it again. With a
    fallback, its column `model` says what forecast the row.

    \b
    Example:
      forecast backtest --horizon 12 --folds 4 --refit each --output folds.parquet
    """
    if output == "-":
        raise click.BadParameter("name a file: stdout has the scores.", param_hint="--output")
    from forecaster.cli.output import emit, notice, progress, show
    from forecaster.cli.session import current
    from forecaster.cli.tables import backtest_text, epochs, windows
    from forecaster.jobs import backtest as run
    from forecaster.judging import require_skill

    workspace = current().workspace()
    with progress("Backtest", total=None) as advance:
        path = Path(output) if output else None
        result = run(workspace, ids, flags, path, epochs(advance), windows(advance))
    for line in result.notices:
        notice(line)
    if result.refused:
        show(backtest_text(result))  # under --json the error is the document
        require_skill(result.judgement)
    emit(result.to_dict(), backtest_text(result))
    return result.exit_code
