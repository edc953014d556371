"""Losses by their name in the configuration, each `(window, horizon)`, before any average.

They are taken on the network's inputs, where every series has about the same size; two of them
look at the sizes that the inputs were made from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from forecaster.backend import import_keras

keras = import_keras()
ops = keras.ops

DIRECTION_WEIGHT = 1.0  # of the log-loss of the direction, beside the loss of the point
HUBER_DELTA = 1.0  # inputs have a deviation of about 1: errors beyond it count linearly
SMALLEST = 1e-6


class Sizes(NamedTuple):
    """What inputs were made from, for each window `(window, 1)`.

    Attributes:
        scale: `input * scale + center` is the level, in any unit.
        center: See scale.
        log: 1 where levels are logarithms of the values, else 0.
        unit: Mean absolute change from row to row, in inputs.
    """

    scale: Any
    center: Any
    log: Any
    unit: Any


def mae(y: Any, forecast: Any, _: Sizes) -> Any:
    """Absolute error."""
    return ops.abs(y - forecast)


def mse(y: Any, forecast: Any, _: Sizes) -> Any:
    """Squared error."""
    return ops.square(y - forecast)


def huber(y: Any, forecast: Any, _: Sizes) -> Any:
    """Squared error of small errors, absolute error of large ones (Huber 1964)."""
    error = ops.abs(y - forecast)
    inside = ops.minimum(error, HUBER_DELTA)
    return inside * (error - inside / 2)


def mase(y: Any, forecast: Any, sizes: Sizes) -> Any:
    """Absolute error in units of the series' change from row to row: MASE with a season of 1."""
    return ops.abs(y - forecast) / sizes.unit


def smape(y: Any, forecast: Any, sizes: Sizes) -> Any:
    """Absolute error over the mean size of truth and forecast, in the units of the data.

    Of logarithms a and b it is 2 tanh(|a - b| / 2), which neither overflows nor divides by zero.
    """
    levels, other = (values * sizes.scale + sizes.center for values in (y, forecast))
    gap = ops.abs(levels - other)
    size = ops.maximum((ops.abs(levels) + ops.abs(other)) / 2, SMALLEST)
    return ops.where(sizes.log > 0, 2 * ops.tanh(gap / 2), gap / size)


def pinball(y: Any, forecasts: Any, quantiles: tuple[float, ...]) -> Any:
    """Quantile loss, doubled so that at 0.5 it is the absolute error (Koenker & Bassett 1978).

    Args:
        y: `(window, horizon)`.
        forecasts: `(window, horizon, quantile)`.
        quantiles: Between 0 and 1, in the order of the last axis.

    Returns:
        `(window, horizon, quantile)`.
    """
    gap = ops.expand_dims(y, 2) - forecasts
    share = ops.convert_to_tensor(quantiles, dtype=gap.dtype)
    return 2 * ops.maximum(share * gap, (share - 1) * gap)


def log_loss(up: Any, chance: Any) -> Any:
    """Negative logarithm of the chance of what came (Good 1952), elementwise.

    Args:
        up: 1 where it came, else 0.
        chance: Between 0 and 1; kept from both by `SMALLEST`.
    """
    chance = ops.clip(ops.cast(chance, up.dtype), SMALLEST, 1 - SMALLEST)
    return -(up * ops.log(chance) + (1 - up) * ops.log(1 - chance))


LOSSES: dict[str, Callable[[Any, Any, Sizes], Any]] = {
    "mae": mae,
    "mse": mse,
    "huber": huber,
    "mase": mase,
    "smape": smape,
}
