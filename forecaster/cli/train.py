"""`forecast train`: fit one model on stored series and judge it on the rows held out."""

from __future__ import annotations

from typing import Any

import click

from forecaster.cli.options import Command, config_options


@click.command(cls=Command)
@click.argument("ids", nargs=-1)
@click.option("--name", default="default", show_default=True, help="Name of the model.")
@click.option(
    "--warm-start",
    metavar="VERSION",
    help="Continue from the weights and scalers of a version of the model; `champion` is the one in "
    "service.",
)
@config_options(
    *("data", "scaling", "network", "training", "evaluation", "bounds", "adaptive_intervals"),
    without=("refit",),
)
def train(ids: tuple[str, ...], name: str, warm_start: str | None, **flags: Any) -> int:
    """Train a model on the stored series (all, or IDS) and judge it on held-out folds.

    The new version is put into service, unless the one there knows later rows of its series. Its
    scores stand beside those of simple forecasts on the same folds, with a verdict in words. With
    --require-skill it is put into service only when the verdict is that it has skill; else nothing
    changes and the exit code is 6. With --warm-start the settings of the network and its scalers
    are the version's; those of [training] may differ.

    \b
    Example:
      forecast train --name air --horizon 12
      forecast train AAPL MSFT --name tech --cell lstm --layers 64,64 --time-budget 10m
      forecast train --name air --warm-start champion --epochs 5
    """
    from forecaster.cli.output import emit, notice, progress, show
    from forecaster.cli.session import current
    from forecaster.cli.tables import backtest_text, epochs, training_text, windows
    from forecaster.jobs import BacktestResult
    from forecaster.jobs import train as run

    workspace, refused = current().workspace(), list[BacktestResult]()
    try:
        with progress("Training", total=None) as advance:
            told = epochs(advance), windows(advance)
            result = run(workspace, ids, name, flags, *told, warm_start, notice, refused.append)
    finally:
        for each in refused:
            for line in each.notices:
                notice(line)
            show(backtest_text(each))  # under --json the error is the document
    for line in result.notices:
        notice(line)
    emit(result.to_dict(), f"{training_text(result)}\n\n{backtest_text(result)}")
    return result.exit_code
