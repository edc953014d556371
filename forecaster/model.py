"""A trained model: what a version stores, and the one way to forecast with it.

Training calibrates with it, the backtest judges it and `predict` publishes it, so all three see the
same numbers. It needs neither TensorFlow nor Keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from forecaster.arrays import Floats, Ints
from forecaster.calendars import calendar_features
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.intervals import Conformal, calibrate
from forecaster.runtime import Network
from forecaster.scaling import Scaling
from forecaster.series import Panel
from forecaster.windows import rows_after, rows_before

WINDOWS_AT_ONCE = 4096  # contexts gathered together: bounds memory, whatever the number of cutoffs


@dataclass(frozen=True)
class Trained:
    """The record of a fit, kept in the manifest."""

    windows: int
    val_windows: int
    parameters: int
    epochs: int
    best_epoch: int
    best_val_loss: float | None
    seconds: float
    compiled: bool
    stopped_by: str
    device: str
    history: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Forecast:
    """Forecasts of some windows, on every scale.

    Attributes:
        series: Place of each window's series in the panel `(window,)`.
        levels: Forecast levels `(window, horizon)`.
        scaling: State aligned with the panel.
        conformal: Calibrated scores.
    """

    series: Ints
    levels: Floats
    scaling: Scaling
    conformal: Conformal

    @property
    def values(self) -> Floats:
        """Point forecasts in the units of the data `(window, horizon)`."""
        return self.scaling.levels_to_values(self.levels, self.series)

    def bounds(self, level: float) -> tuple[Floats, Floats]:
        """Lower and upper bound at a level in percent, each `(window, horizon)`."""
        widths = self.conformal.half_widths(level, self.levels.shape[1])
        reach = self.scaling.error_unit[self.series, None] * widths[None, :]
        low, high = (
            self.scaling.levels_to_values(self.levels + sign * reach, self.series)
            for sign in (-1, 1)
        )
        return low, high


@dataclass(frozen=True)
class Model:
    """Everything that forecasting needs.

    Attributes:
        config: Resolved settings.
        scaling: State fitted on the train rows.
        conformal: Scores of the validation windows.
        graph: The network as ONNX.
        weights: The network's weights as Keras' HDF5 file.
        trained: The record of the fit.
    """

    config: Config
    scaling: Scaling
    conformal: Conformal
    graph: bytes
    weights: bytes
    trained: Trained

    @cached_property
    def network(self) -> Network:
        """The network in ONNX Runtime."""
        return Network(self.graph)

    @property
    def lookback(self) -> int:
        """Rows that a context needs."""
        return int(self.config.network.lookback or 0)

    @property
    def horizon(self) -> int:
        """Steps that the network was trained to forecast."""
        return int(self.config.network.horizon or 0)

    def forecast(
        self, panel: Panel, cutoffs: Ints, horizon: int | None = None, known: Floats | None = None
    ) -> Forecast:
        """Forecast from any cutoffs of a panel.

        A series that has never changed, in training or since, is forecast to stay as it is.

        Args:
            panel: Regular series, with the covariates the model was trained with.
            cutoffs: Row of the last observed value of each window `(window,)`; rows after it are
                not read.
            horizon: Steps wanted; past the trained ones the forecast is rolled forward, with the
                last covariates held.
            known: Known-ahead features of the steps `(window, horizon, feature)`; needed when the
                model takes any.

        Raises:
            InvalidInputError: A covariate is missing, or values do not fit the transform.
        """
        self._require_covariates(panel)
        horizon = self.horizon if horizon is None else horizon
        scaling = self.scaling.align(panel, self.config.scaling)
        series = np.searchsorted(panel.offsets, cutoffs, side="right") - 1
        features = input_features(panel, scaling, self.config)
        outputs = np.empty((len(cutoffs), horizon), dtype=np.float32)
        for part in _parts(len(cutoffs)):
            context = features[rows_before(cutoffs[part], self.lookback)]
            outputs[part] = self._rolled(context, None if known is None else known[part], horizon)
        seen = scaling.levels(panel)
        levels = scaling.outputs_to_levels(outputs, seen[cutoffs], series)
        still = scaling.never_changed(seen, panel.offsets, cutoffs, series)
        levels[still] = seen[cutoffs[still], None]  # a network is near a constant, never at it
        return Forecast(series, levels, scaling, self.conformal)

    def _rolled(self, context: Floats, known: Floats | None, horizon: int) -> Floats:
        """Forecast in blocks of the trained horizon, each block the next one's latest context."""
        blocks = []
        for begin in range(0, horizon, self.horizon):
            future = None if known is None else known[:, begin : begin + self.horizon]
            short = self.horizon - (future.shape[1] if future is not None else self.horizon)
            if future is not None and short:  # the last block is cut below: fill what is not used
                future = np.pad(future, ((0, 0), (0, short), (0, 0)), mode="edge")
            block = self.network(context, future)
            blocks.append(block)
            if begin + self.horizon < horizon:
                context = _advance(context, block, future)
        return np.concatenate(blocks, axis=1)[:, :horizon]

    def _require_covariates(self, panel: Panel) -> None:
        needed = tuple(self.config.data.covariates)
        if panel.covariate_names != needed:
            raise InvalidInputError(
                f"The model was trained with the covariates {', '.join(needed) or '(none)'} "
                f"but the data has {', '.join(panel.covariate_names) or '(none)'}.",
                "Give data with the same columns.",
            )

    def calibrated(self, panel: Panel, cutoffs: Ints) -> Model:
        """Return the model with intervals calibrated on windows it was not trained on."""
        if not len(cutoffs):
            return self
        known = known_in_panel(panel, cutoffs, self.config)
        forecast = self.forecast(panel, cutoffs, known=known)
        truth = forecast.scaling.levels(panel)[rows_after(cutoffs, self.horizon)]
        errors = (truth - forecast.levels) / forecast.scaling.error_unit[forecast.series, None]
        return replace(self, conformal=calibrate(errors))

    def record(self) -> dict[str, Any]:
        """Return the record of the fit for the manifest."""
        return asdict(self.trained)


def input_features(panel: Panel, scaling: Scaling, config: Config) -> Floats:
    """Return what a context shows of each row `(row, feature)`: target, covariates, calendar."""
    inputs = scaling.inputs(panel)
    known = known_ahead(panel.ds, panel.frequency, config)
    return inputs if known is None else np.hstack([inputs, known])


def known_ahead(ds: pd.Index, frequency: str | None, config: Config) -> Floats | None:
    """Return what is known of each time in advance `(row, feature)`; None when that is nothing."""
    if not config.network.calendar_features:
        return None
    features, names = calendar_features(ds, frequency)
    return features if names else None


def known_in_panel(panel: Panel, cutoffs: Ints, config: Config) -> Floats | None:
    """Return the known-ahead features of steps that the panel holds `(window, horizon, feature)`."""
    known = known_ahead(panel.ds, panel.frequency, config)
    return None if known is None else known[rows_after(cutoffs, int(config.network.horizon or 0))]


def _advance(context: Floats, block: Floats, future: Floats | None) -> Floats:
    """Append forecast steps to contexts: targets forecast, covariates held, calendar known."""
    steps = np.repeat(context[:, -1:], block.shape[1], axis=1)  # (window, horizon, feature)
    steps[:, :, 0] = block
    if future is not None:
        steps[:, :, -future.shape[2] :] = future
    return np.concatenate([context, steps], axis=1)[:, -context.shape[1] :]


def _parts(count: int) -> Iterator[slice]:
    for begin in range(0, count, WINDOWS_AT_ONCE):
        yield slice(begin, begin + WINDOWS_AT_ONCE)
