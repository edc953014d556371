"""`forecast tune`: search settings on folds before the test rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from forecaster.cli.options import Command, config_options
from forecaster.cli.waiting import DURATION

NOT_SCORED = ("refit", "require_skill", "fallback", "refit_all")  # no trial depends on them


@click.command(cls=Command)
@click.argument("ids", nargs=-1)
@click.option(
    "--search",
    "words",
    multiple=True,
    metavar="NAME[=VALUES]",
    help="Search only this setting, among V,V,... or LOW..HIGH or its usual values; once for each. "
    "depth and units stand for layers.  [default: all usual ones that no flag fixes]",
)
@click.option(
    "--trials",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="N",
    help="Trials of the study in all, those of earlier runs and other processes included.",
)
@click.option(
    "--timeout", type=DURATION, metavar="DURATION", help="End after this time, such as 30m or 2h."
)
@click.option(
    "--inner-folds",
    type=click.IntRange(min=1),
    metavar="N",
    help="Folds before the test rows that trials are scored on; else up to 3, by rows.",
)
@click.option(
    "--storage",
    metavar="URL",
    help="sqlite:///FILE that keeps the study: run again to go on, or in several processes at once.",
)
@click.option("--study", metavar="NAME", help="Name of the study in --storage.  [default: study]")
@click.option("--output", metavar="FILE", help="Every trial, as CSV or .parquet.")
@click.option("--plot", metavar="FILE", help="History and importances, as .png, .svg or .pdf.")
@click.option("--write", is_flag=True, help="Write the best configuration into forecast.toml.")
@click.option(
    "--train", is_flag=True, help="Train the best configuration, as forecast train would."
)
@click.option("--name", help="Name of the model that --train trains.  [default: default]")
@config_options(
    "data", "scaling", "network", "training", "evaluation", "bounds", without=NOT_SCORED
)
def tune(
    ids: tuple[str, ...],
    words: tuple[str, ...],
    trials: int,
    timeout: float | None,
    inner_folds: int | None,
    storage: str | None,
    study: str | None,
    output: str | None,
    plot: str | None,
    write: bool,
    train: bool,
    name: str | None,
    **flags: Any,
) -> int:
    """Search settings for the stored series (all, or IDS) on folds before the test rows.

    The first trial is the default; a sampler (TPE) chooses the others by what did well, and those
    that look hopeless are stopped early. A setting that a flag or the environment gives is not
    searched; one that forecast.toml gives is where the search begins. Trials never see the rows
    that train and backtest judge on, so that the verdict on the best is honest.

    \b
    Example:
      forecast tune --horizon 12 --trials 20 --write
      forecast tune --search cell=rnn,lstm,gru --search learning_rate=1e-4..1e-2 --timeout 30m
      forecast tune --storage sqlite:///tuning.db --train --name air
    """
    if output == "-":
        raise click.BadParameter("name a file: stdout has the report.", param_hint="--output")
    if study is not None and storage is None:
        raise click.UsageError("--study names a study in --storage, which is not given.")
    if name is not None and not train:
        raise click.UsageError("--name is the model's that --train trains, which is not given.")
    from forecaster.cli.output import emit, notice, progress
    from forecaster.cli.session import current
    from forecaster.cli.studies import steps, tune_text
    from forecaster.tuning.job import Wanted
    from forecaster.tuning.job import tune as run

    wanted = Wanted(
        search=words,
        trials=trials,
        timeout=timeout,
        inner_folds=inner_folds,
        storage=storage,
        study=study or "study",
        output=Path(output) if output else None,
        plot=Path(plot) if plot else None,
        write=write,
        train=(name or "default") if train else None,
    )
    if storage is not None:
        current().interrupted = f"the trials that had ended are in {storage}"
    with progress("Tuning", total=None) as advance:
        result = run(current().workspace(), ids, wanted, flags, steps(advance), notice)
    for line in result.notices:
        notice(line)
    emit(result.to_dict(), tune_text(result))
    return result.exit_code
