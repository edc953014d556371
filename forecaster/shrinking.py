"""How much of what a network learnt is kept: the share that validation likes best."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecaster import backend, metrics
from forecaster.arrays import Ints
from forecaster.config import Config
from forecaster.networks.windowed import VAL_BATCH, Windowed
from forecaster.windows import spans, spread

keras = backend.import_keras()

SHARE_WINDOWS = 4 * VAL_BATCH

Weights = dict[str, list[Any]]


def _linear(network: Any) -> dict[str, Any]:
    """Return the layers in whose weights a forecast is linear: the head, and a learnt skip.

    Not so with a recurrent decoder, which is fed what its head makes.
    """
    return {
        layer.name: layer
        for layer in network.layers
        if layer.name in {"head", "skip"} and layer.get_weights()
    }


def linear_weights(network: Any) -> Weights:
    """Return the weights in which a forecast is linear, by layer."""
    return {name: layer.get_weights() for name, layer in _linear(network).items()}


def best_share(windowed: Windowed, config: Config, start: Weights, val: Ints) -> float:
    """Return the share of what was learnt that validation likes best, the smaller of equals.

    Nothing is kept when validation has spans enough to tell luck from gain, and calls it luck. It
    only ever sees the windows that early stopping has seen.
    """
    some = spread(val, max(1, SHARE_WINDOWS // windowed.together))  # a time has so many windows
    learnt = linear_weights(windowed.network)

    recurrent = config.network.decoder == "recurrent"

    def forecasts(share: float) -> Any:
        keep(windowed.network, start, learnt, share)
        return (_traced if recurrent else _forecasts)(windowed, some)

    if recurrent:  # what the head makes is fed back: the forecast is not linear in it
        tried = (forecasts(share) for share in metrics.SHARES)
    else:
        none, whole = forecasts(0.0), forecasts(1.0)
        shift = whole - none  # what was learnt, for the point and as much for all
        tried = (whole - (1 - share) * shift for share in metrics.SHARES)
    losses = np.array(
        [keras.ops.convert_to_numpy(windowed.losses_of(some, each)) for each in tried]
    )
    apart = spans(some, windowed.held.starts, int(config.network.horizon or 1))
    return metrics.best_share(losses, apart)


def _forecasts(windowed: Windowed, cutoffs: Ints) -> Any:
    """Forecast windows without tracing a function for it."""
    parts = np.array_split(cutoffs, -(-len(cutoffs) // windowed.at_once))
    return np.concatenate([keras.ops.convert_to_numpy(windowed(part)) for part in parts])


def _traced(windowed: Windowed, cutoffs: Ints) -> Any:
    """Forecast windows by a traced function, which pays for many steps forecast many times."""
    return windowed.predict(cutoffs, batch_size=windowed.at_once, verbose=0)


def keep(network: Any, start: Weights, learnt: Weights, share: float) -> None:
    """Keep a share of what the point forecast learnt; the quantiles keep their distance to it.

    The chance of a direction stays as it is: `chances` pulls it towards its own starting point.
    """
    outputs = network.output_shape[-1]
    chances = int(any(layer.name == "chance" for layer in network.layers))
    for name, layer in _linear(network).items():
        weights = []
        for first, last in zip(start[name], learnt[name], strict=True):
            gap = last - first
            if name == "head":  # its last axis is (step, output): the point is every first output
                points = gap.reshape(*gap.shape[:-1], -1, outputs)[..., :1]
                moved = np.repeat(points, outputs, axis=-1)
                moved[..., outputs - chances :] = 0
                gap = moved.reshape(gap.shape)
            weights.append(last - (1 - share) * gap)
        layer.set_weights(weights)
