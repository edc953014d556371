"""How near a model's forecasts of some windows come to what was seen."""

from __future__ import annotations

from typing import NamedTuple

from forecaster import metrics
from forecaster.arrays import Floats, Ints
from forecaster.config import Config
from forecaster.model import Model
from forecaster.series import Panel
from forecaster.windows import rows_after


class Errors(NamedTuple):
    """Mean errors of some windows.

    Attributes:
        mae: In the units of the data.
        mase: In units of MASE; NaN when no series of them has a scale.
    """

    mae: float
    mase: float


def scales_of(train: Panel, config: Config) -> Floats:
    """Return the denominators of MASE, NaN for a series that never changes `(series,)`.

    Args:
        train: The rows that they are taken from, before any that is forecast.
        config: Resolved settings.
    """
    return metrics.mase_scales(train.y, train.offsets, int(config.data.season_length or 1))


def errors(model: Model, panel: Panel, cutoffs: Ints, scales: Floats) -> Errors:
    """Forecast windows and compare them with what came.

    Args:
        model: It has not been trained on what it forecasts.
        panel: Regular series.
        cutoffs: Row of the last observed value of each window `(window,)`.
        scales: Of each series (`scales_of`) `(series,)`.
    """
    forecast = model.forecast(panel, cutoffs)
    truth, values = panel.y[rows_after(cutoffs, model.horizon)], forecast.values
    scaled = metrics.mase(truth, values, scales[forecast.series])
    return Errors(metrics.mae(truth, values), scaled)
