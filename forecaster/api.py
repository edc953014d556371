"""The whole job in Python: `Forecaster` and `backtest`, over long frames.

The command line is a thin layer over this module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from forecaster import presets, series, splits
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.model import Model
from forecaster.predicting import Prediction, predict

if TYPE_CHECKING:
    from forecaster.backtesting import Backtest
    from forecaster.series import Panel
    from forecaster.training import Progress


def _silent(progress: Progress) -> None:
    """Show nothing."""
    del progress


class Forecaster:
    """A recurrent network that is fitted on a long frame and forecasts it.

    Args:
        **settings: Any setting of `Config` by its name: `preset`, `cell`, `layers`, `lookback`,
            `horizon`, `epochs`, `seed` ...

    Attributes:
        config: The settings; after `fit` all of them resolved.

    Raises:
        InvalidInputError: An unknown setting or a value that is not allowed.
    """

    def __init__(self, **settings: Any) -> None:
        self.config = Config.of(**settings)
        self._model: Model | None = None
        self._evaluated: Evaluated | None = None

    @classmethod
    def of(cls, config: Config) -> Forecaster:
        """Make a forecaster of settings that are already checked."""
        forecaster = cls()
        forecaster.config = config
        return forecaster

    @property
    def model(self) -> Model:
        """The trained model.

        Raises:
            InvalidInputError: Neither `fit` nor `load` was called.
        """
        if self._model is None:
            raise InvalidInputError("There is no trained model yet.", "Call fit(frame) first.")
        return self._model

    def fit(self, frame: pd.DataFrame, on_epoch: Callable[[Progress], None] = _silent) -> Self:
        """Train on a long frame and judge the model on its last folds, which it has not seen.

        Args:
            frame: Columns `unique_id, ds, y` and any covariates.
            on_epoch: Called after each epoch.

        Raises:
            InvalidInputError: Data or settings that cannot be used.
        """
        self._evaluated = evaluate(frame, self.config.replace(refit="never"), on_epoch)
        self.config = self._evaluated.config
        self._model = self._evaluated.backtest.models[-1]
        if self.config.training.refit_all:
            self._model = _refitted(self._evaluated, self._model, on_epoch)
        return self

    @property
    def evaluated(self) -> Evaluated:
        """The series of `fit` and how the model did on their held-out folds.

        Raises:
            InvalidInputError: `fit` was not called.
        """
        if self._evaluated is None:
            raise InvalidInputError("Nothing was judged yet.", "Call fit(frame) first.")
        return self._evaluated

    def predict(
        self,
        horizon: int | None = None,
        *,
        frame: pd.DataFrame | None = None,
        level: tuple[float, ...] | None = None,
    ) -> pd.DataFrame:
        """Forecast from the last row of each series.

        Args:
            horizon: Steps; the trained ones when None.
            frame: Series to forecast, known or new; those of `fit` when None.
            level: Interval levels in percent.

        Returns:
            `unique_id, ds, cutoff, <cell>, <cell>-lo-80, ...`.
        """
        return self.prediction(horizon, frame=frame, level=level).frame.drop(
            columns="model_version"
        )

    def prediction(
        self,
        horizon: int | None = None,
        *,
        frame: pd.DataFrame | None = None,
        level: tuple[float, ...] | None = None,
        version: str = "",
        max_age: float | None = None,
    ) -> Prediction:
        """Forecast as `predict` does, with notices and the series that were skipped."""
        if frame is not None:
            panel = series.prepare(frame, self.config.data)
        elif self._evaluated is not None:
            panel = self._evaluated.panel
        else:
            raise InvalidInputError(
                "A loaded model holds no series.", "Give them: predict(frame=...)."
            )
        wanted = self.config.prediction.level if level is None else level
        return predict(
            self.model, panel, horizon=horizon, level=wanted, version=version, max_age=max_age
        )

    def save(self, path: str | Path) -> None:
        """Write the model as a folder, which must not exist yet."""
        from forecaster import artifacts

        artifacts.save(self.model, Path(path), about(self))

    @classmethod
    def load(cls, path: str | Path) -> Forecaster:
        """Read a saved model, checked against damage.

        Raises:
            NotFoundError: There is no such folder.
            DamagedError: It is not what was written.
        """
        from forecaster import artifacts

        model = artifacts.load(Path(path))
        forecaster = cls.of(model.config)
        forecaster._model = model
        return forecaster


@dataclass(frozen=True)
class Evaluated:
    """Series made regular, the settings resolved for them, and what the backtest found."""

    panel: Panel
    config: Config
    backtest: Backtest


def backtest(
    frame: pd.DataFrame, *, on_epoch: Callable[[Progress], None] = _silent, **settings: Any
) -> Backtest:
    """Judge settings over a rolling origin.

    Args:
        frame: Columns `unique_id, ds, y` and any covariates.
        on_epoch: Called after each epoch of each fit.
        **settings: As for `Forecaster`; `folds`, `test_size`, `step_size`, `gap` and `refit` say
            how it is judged.

    Returns:
        Folds (`.folds.to_frame()` has every forecast), scores and verdict (`.judgement`).
    """
    return evaluate(frame, Config.of(**settings), on_epoch).backtest


def evaluate(
    frame: pd.DataFrame, config: Config, on_epoch: Callable[[Progress], None] = _silent
) -> Evaluated:
    """Make a long frame regular, resolve the settings for it, and judge them on its last folds.

    Series too short for one window are skipped and listed, or refused, as the settings say.
    """
    from forecaster import training
    from forecaster.backtesting import backtest as run

    panel = series.prepare(frame, config.data)
    resolved = presets.resolve(config, panel)
    needed = int(resolved.network.lookback or 0) + int(resolved.network.horizon or 0)
    panel = _long_enough(panel, needed, config.data.too_short)
    fit = partial(training.fit, on_epoch=on_epoch)
    return Evaluated(panel, resolved, run(panel, resolved, fit))


def _refitted(evaluated: Evaluated, judged: Model, on_epoch: Callable[[Progress], None]) -> Model:
    """Train again on all rows; calibrate on every window that the judged model has not seen."""
    from forecaster import training

    panel, config = evaluated.panel, evaluated.config
    parts = splits.of_config(panel, config)
    unseen = splits.held_out_cutoffs(panel, parts, judged.lookback, judged.horizon)
    return training.refit(panel, judged.calibrated(panel, unseen), on_epoch)


def _long_enough(panel: Panel, needed: int, policy: str) -> Panel:
    """Leave out, or refuse, the series that have no room for one window."""
    skipped = {
        panel.ids[row]: f"needs at least {needed} rows (lookback + horizon) but has "
        f"{panel.lengths[row]}"
        for row in np.flatnonzero(panel.lengths < needed)
    }
    if not skipped or len(skipped) == len(panel.ids):
        return panel  # when all are too short, the split says what is needed
    if policy == "error":
        name, reason = next(iter(skipped.items()))
        raise InvalidInputError(
            f"Series {name!r} {reason}.", "Lower --lookback or --horizon, or skip it."
        )
    kept = panel.select([name for name in panel.ids if name not in skipped])
    return replace(kept, skipped=panel.skipped | skipped)


def _digest(panel: Panel) -> str:
    """Return a digest of the series as they were trained on."""
    digest = hashlib.sha256("\0".join(panel.ids).encode())
    times = panel.ds.asi8 if isinstance(panel.ds, pd.DatetimeIndex) else panel.ds.to_numpy()
    for array in (panel.offsets, times, panel.y, panel.covariates):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def about(forecaster: Forecaster) -> dict[str, Any]:
    """Return what a manifest says of the data and the judgement."""
    panel, fitted = forecaster.evaluated.panel, forecaster.evaluated.panel
    if not forecaster.config.training.refit_all:
        fitted = panel.head(splits.of_config(panel, forecaster.config).train_stop)
    return {
        "data": {
            "series": len(panel.ids),
            "rows": len(panel.y),
            "hash": _digest(panel),
            "first": str(panel.ds.min()),
            "last": str(panel.ds.max()),
            "frequency": panel.frequency,
        },
        "fitted": {"first": str(fitted.ds.min()), "last": str(fitted.ds.max())},
        "judgement": forecaster.evaluated.backtest.judgement.to_dict(),
    }
