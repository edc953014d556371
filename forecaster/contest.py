"""Candidates trained on the same rows, with the same seeds and budget, and judged on the same folds.

Each is judged as a backtest judges it. Nothing is chosen by what is found on the folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from forecaster import backend, backtesting, judging, metrics, preparing, presets
from forecaster.arrays import Floats
from forecaster.backtesting import Rolled
from forecaster.checks import check
from forecaster.config import Config
from forecaster.errors import ForecasterError, InvalidInputError
from forecaster.judging import Folds
from forecaster.runtime import seconds_per_window
from forecaster.series import Panel

if TYPE_CHECKING:
    from forecaster.planning import OnEpoch, OnRun

COSTS = ("parameters", "lookback", "epochs", "training_seconds", "inference_seconds")
SCORES = ("mse", "mae", "mase", "direction")


@dataclass(frozen=True)
class Run:
    """One candidate trained with one seed.

    Attributes:
        candidate: Its name.
        seed: Of its first network.
        figures: What it cost (`COSTS`) and how good it is (`SCORES`).
        losses: Scaled absolute error over time `(time,)`.
    """

    candidate: str
    seed: int
    figures: dict[str, float]
    losses: Floats


class Contest:
    """Candidates on their way through training.

    Args:
        panel: Regular series; those too short for any of the candidates are skipped for all.
        asked: Settings of each candidate by name.

    Attributes:
        configs: Resolved settings of the candidates that suit the data; the smallest number of
            epochs that one of them asks for is that of all.
        failed: Why the others do not, and what went wrong in training.
        panel: What all are trained and judged on.
        seeds: Those that every candidate was trained with.
        interrupted: Whether training was stopped before its end.

    Raises:
        ForecasterError: No candidate suits the data: the reason of the first.
    """

    def __init__(self, panel: Panel, asked: Mapping[str, Config]) -> None:
        self.failed: dict[str, ForecasterError] = {}
        resolved: dict[str, Config] = {}
        for name, config in asked.items():
            try:
                found = presets.resolve(config, panel)
                preparing.all_tested(panel, found)
            except InvalidInputError as error:
                self.failed[name] = error
            else:
                resolved[name] = found
        if not resolved:
            raise next(iter(self.failed.values()))
        budget = min(int(config.training.epochs or 1) for config in resolved.values())
        self.configs = {name: config.replace(epochs=budget) for name, config in resolved.items()}
        widest = max(resolved, key=lambda name: resolved[name].context_rows)
        panel = preparing.all_tested(panel, resolved[widest])
        self.panel = preparing.with_notices(panel, asked[widest], resolved[widest])
        self.seeds: list[int] = []
        self._rolled: Rolled | None = None
        self.interrupted = False
        self._runs: list[Run] = []

    @property
    def runs(self) -> list[Run]:
        """The runs of the candidates that did not fail, with the seeds that all were trained with."""
        return [
            run for run in self._runs if run.seed in self.seeds and run.candidate not in self.failed
        ]

    def train(self, seeds: int, on_run: OnRun) -> Rolled:
        """Train every candidate with one seed, then every one with the next.

        Stopped by KeyboardInterrupt it keeps the seeds that all were trained with; of the first
        seed whatever there is.

        Args:
            seeds: How many; those of the networks of ensembles are all different.
            on_run: Told what is trained next.

        Returns:
            The folds of the first run, which are those of all.

        Raises:
            ForecasterError: All candidates failed: the reason of the first.
            KeyboardInterrupt: Nothing is trained yet.
        """
        specs = [config.training for config in self.configs.values()]
        apart = max(int(spec.ensemble or 1) for spec in specs)
        try:
            for number in range(seeds):
                self.seeds.append(specs[0].seed_after(number * apart))
                for name in [name for name in self.configs if name not in self.failed]:
                    self._train_one(name, on_run(f"{name}, seed {number + 1} of {seeds}"))
        except KeyboardInterrupt:
            if not self._runs:
                raise
            self._stop()
        if self._rolled is None or not self.runs:
            raise next(iter(self.failed.values()))
        return self._rolled

    def _train_one(self, name: str, on_epoch: OnEpoch) -> None:
        from forecaster import compiling, training  # here: they import Keras

        compiling.forget()  # else a later one of the same shape would have more of the time
        config = self.configs[name].replace(seed=self.seeds[-1])
        share = 1 / len(backtesting.fits_of(config))
        fit = partial(training.fit, on_epoch=on_epoch, share=share)
        try:
            rolled = backtesting.roll(self.panel, config, fit)
            forecast = rolled.folds.forecasts[rolled.folds.name]
            _require_finite(forecast)
        except ForecasterError as error:  # it diverged: the others may not
            self.failed[name] = error
            return
        except Exception as error:
            if not backend.is_out_of_memory(error):
                raise
            self.failed[name] = ForecasterError(
                "Out of memory.", "Lower --batch-size, --layers or --lookback."
            )
            return
        if self._rolled is None:
            self._rolled = rolled
            said = (*self.panel.notices, *rolled.models[-1].notices(self.panel))
            self.panel = replace(self.panel, notices=said)
        figures = costs(rolled) | scores(rolled.folds, forecast)
        losses = judging.losses_over_time(rolled.folds, forecast)
        self._runs.append(Run(name, self.seeds[-1], figures, losses))

    def _stop(self) -> None:
        self.interrupted = True
        if len(self.seeds) > 1:
            self.seeds.pop()
        trained = {run.candidate for run in self._runs}
        for name in self.configs:
            if name not in trained and name not in self.failed:
                self.failed[name] = ForecasterError(
                    "It was not reached before the run was stopped."
                )


def _require_finite(forecast: Floats) -> None:
    if not np.isfinite(forecast).all():
        raise ForecasterError(
            "Some of its forecasts are not finite.", "Lower --learning-rate, or --transform none."
        )


def costs(rolled: Rolled) -> dict[str, float]:
    """Return what a candidate costs: see `COSTS`."""
    trained = [model.trained for model in rolled.models]
    members = [member.epochs for fit in trained for member in fit.members]
    latest = rolled.models[-1]
    return {
        "parameters": trained[-1].parameters,
        "lookback": latest.lookback,
        "epochs": sum(members) / len(members),
        "training_seconds": sum(fit.seconds for fit in trained),
        "inference_seconds": seconds_per_window(latest.network),
    }


def scores(folds: Folds, forecast: Floats) -> dict[str, float]:
    """Return how good a forecast of some folds is: see `SCORES`.

    Args:
        folds: What was to be forecast.
        forecast: `(window, horizon)`.
    """
    scale = folds.scale[folds.series]
    return {
        "mse": metrics.mse(folds.y, forecast),
        "mae": metrics.mae(folds.y, forecast),
        "mase": folds.mase(forecast),
        "direction": check(folds.y, {"it": forecast}, folds.last, scale, 1).direction.accuracy,
    }
