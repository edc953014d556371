"""Rolling origin: fit on the past, forecast from each cutoff, compare with what came."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from forecaster import judging, splits
from forecaster.accuracy import scales_of
from forecaster.adaptive import adapted
from forecaster.arrays import Ints
from forecaster.bounds import Bounds
from forecaster.chances import Chance, ups
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.judging import Folds, Judgement
from forecaster.model import Fit, Model
from forecaster.series import Panel
from forecaster.statistical import OnWindow, silent
from forecaster.windows import rows_after


@dataclass(frozen=True)
class Backtest:
    """What a rolling-origin evaluation found.

    Attributes:
        folds: Every forecast beside the truth.
        judgement: Scores and verdict.
        models: The models fitted, oldest first: one, or one for each fold.
    """

    folds: Folds
    judgement: Judgement
    models: tuple[Model, ...]


class Rolled(NamedTuple):
    """Forecasts over a rolling origin.

    Attributes:
        folds: The model's forecasts beside the truth.
        models: The models fitted, oldest first.
        cutoffs: Row of the last observed value of each window `(window,)`.
    """

    folds: Folds
    models: tuple[Model, ...]
    cutoffs: Ints


def backtest(panel: Panel, config: Config, fit: Fit, on_window: OnWindow = silent) -> Backtest:
    """Fit and forecast over the folds of a resolved configuration, and judge that.

    Args:
        panel: Regular series.
        config: Resolved settings; `refit` tells whether each fold trains anew.
        fit: `training.fit`, or the same with progress shown.
        on_window: Called after each window that Theta or ETS is fitted to.

    Raises:
        InvalidInputError: No series is long enough for a training window and a fold.
    """
    rolled = roll(panel, config, fit)
    folds = beside_baselines(rolled, panel, config, on_window)
    return Backtest(folds, judging.judge(folds), rolled.models)


def roll(panel: Panel, config: Config, fit: Fit) -> Rolled:
    """Fit and forecast over the folds of a resolved configuration.

    Raises:
        InvalidInputError: No series is long enough for a training window and a fold.
    """
    models, pieces, cutoffs = [], [], []
    for first, folds in fits_of(config):
        parts = splits.of_config(panel, config, first)
        model = fit(panel, config, parts)
        models.append(model)
        cutoffs.append(_cutoffs(model, panel, config, parts, folds))
        pieces.append(forecast_windows(model, panel, config, parts, first, cutoffs[-1]))
    return Rolled(judging.joined(pieces), tuple(models), np.concatenate(cutoffs))


def beside_baselines(
    rolled: Rolled, panel: Panel, config: Config, on_window: OnWindow = silent
) -> Folds:
    """Return the folds with the forecasts of every baseline, which keep the bounds too."""
    season = int(config.data.season_length or 1)
    longer = int(config.network.skip_lag or 1)
    folds = judging.with_baselines(rolled.folds, panel, rolled.cutoffs, season, longer, on_window)
    within = Bounds.of(config.bounds, panel.ids)  # known to all
    kept = {name: within.points(values, folds.series) for name, values in folds.forecasts.items()}
    return replace(folds, forecasts=kept)


def fits_of(config: Config) -> list[tuple[int, int]]:
    """List what is fitted anew: the first fold of each fit, and how many it forecasts.

    >>> fits_of(Config.of(folds=3)), fits_of(Config.of(folds=3, refit="each"))
    ([(0, 3)], [(0, 1), (1, 1), (2, 1)])
    """
    count = int(config.evaluation.folds or 1)
    if config.evaluation.refit == "never":
        return [(0, count)]
    return [(number, 1) for number in range(count)]


def _cutoffs(model: Model, panel: Panel, config: Config, parts: splits.Split, folds: int) -> Ints:
    """List the test windows of one fit `(window,)`."""
    step = int(config.evaluation.step_size or 1)
    cutoffs = splits.test_cutoffs(panel, parts, config.context_rows, model.horizon, step, folds)
    if len(cutoffs):
        return cutoffs
    raise InvalidInputError(
        f"No series has a fold: {config.context_rows} rows (min_context) are needed before the "
        f"{int((parts.lengths - parts.test_start).max())} rows held out.",
        "Fetch more history, or lower --min-context, --folds or --test-size.",
    )


def forecast_windows(
    model: Model, panel: Panel, config: Config, parts: splits.Split, first: int, cutoffs: Ints
) -> Folds:
    """Forecast the windows of one fit; the baselines come once all fits are together.

    Args:
        model: Fitted on the rows before them.
        panel: Regular series.
        config: Resolved settings; `step_size` numbers the folds.
        parts: What was train, validation and test.
        first: Number of the first fold.
        cutoffs: Row of the last observed value of each window `(window,)`.
    """
    step = int(config.evaluation.step_size or 1)
    forecast = model.forecast(panel, cutoffs)
    if config.prediction.adaptive_intervals:
        forecast = adapted(model, forecast, panel, cutoffs, parts.val_stop)
    series, rows = forecast.series, rows_after(cutoffs, model.horizon)
    name = config.network.cell
    return Folds(
        name=name,
        ids=panel.ids,
        series=series,
        fold=first + (cutoffs - panel.offsets[series] - parts.test_start[series] + 1) // step,
        cutoff=panel.ds[cutoffs],
        ds=panel.ds[rows.ravel()],
        y=panel.y[rows],
        last=panel.y[cutoffs],
        forecasts={name: forecast.values},
        bounds={level: forecast.bounds(level) for level in config.prediction.level},
        scale=scales_of(panel.head(parts.val_stop), config),
        step_size=step,
        sources=None if model.fallback is None else forecast.named_sources(name),
        chance=None
        if forecast.up is None or model.chances is None
        else Chance(
            ups(panel.y, panel.offsets)[rows],
            forecast.up,
            np.full(len(cutoffs), model.chances.base_rate),
        ),
    )
