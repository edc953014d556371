"""The program on a benchmark, through its public interface."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from forecaster import Forecaster, backtest
from problems import Bounds, Floats, Forecasts, Problem

if TYPE_CHECKING:
    from forecaster.training import Progress


def forecast(problem: Problem, **settings: Any) -> Forecasts:
    """Let the program forecast the rows held out of a problem.

    Competitions are trained and predicted as a user would: the program sees nothing of the rows
    held out. Elsewhere its backtest forecasts every window after one fit.
    """
    settings = {"horizon": problem.horizon, **problem.settings, **settings}
    if problem.kind == "competition":
        return _predicted(problem, settings)
    return _backtested(problem, settings)


def _backtested(problem: Problem, settings: dict[str, Any]) -> Forecasts:
    found = backtest(problem.frame(), on_epoch=tell, test_size=problem.test_size, **settings)
    folds = found.folds
    place = {uid: number for number, uid in enumerate(problem.series)}
    series = np.array([place[uid] for uid in folds.ids])[folds.series]

    def arranged(values: Floats) -> Floats:
        """From the order of the folds to `(series, window, horizon)`."""
        array = np.full(problem.truth.shape, np.nan)
        array[series, folds.fold] = values
        return array

    if not np.allclose(arranged(folds.y), problem.truth):
        raise SystemExit(f"{problem.name}: the program's folds are not the benchmark's windows.")
    return Forecasts(
        arranged(folds.forecasts[folds.name]),
        {level: (arranged(low), arranged(high)) for level, (low, high) in folds.bounds.items()},
        {"p": found.judgement.p_value, "verdict": found.judgement.verdict},
    )


def _predicted(problem: Problem, settings: dict[str, Any]) -> Forecasts:
    fitted = Forecaster(**settings).fit(problem.frame(held_out=problem.test_size), tell)
    table = fitted.predict()
    name = fitted.config.network.cell
    steps = table.groupby("unique_id", sort=False).cumcount()
    skipped = len(problem.series) - table["unique_id"].nunique()

    def arranged(column: str) -> Floats:
        """From a column to `(series, window, horizon)`; NaN for series that were skipped."""
        wide = table.assign(step=steps).pivot_table(
            index="unique_id", columns="step", values=column
        )
        return wide.reindex(list(problem.series)).to_numpy(float)[:, None, :]

    values = arranged(name)
    stand_in = problem.seasonal_naive(problem.season)  # the protocol counts skipped series too
    values = np.where(np.isnan(values), stand_in, values)
    bounds: Bounds = {
        level: (arranged(f"{name}-lo-{level:g}"), arranged(f"{name}-hi-{level:g}"))
        for level in fitted.config.prediction.level
    }
    verdict = fitted.about["judgement"]["verdict"]
    return Forecasts(values, bounds, {"skipped": skipped, "verdict": verdict})


def tell(progress: Progress) -> None:
    """Say what an epoch came to."""
    print(
        f"  network {progress.network}, epoch {progress.epoch}: loss {progress.loss:.4f}, "
        f"validation {progress.val_loss if progress.val_loss is None else f'{progress.val_loss:.4f}'}",
        file=sys.stderr,
        flush=True,
    )
