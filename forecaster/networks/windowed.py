"""A network that trains on window numbers: contexts and targets are gathered inside the step.

The rows of a panel are held once, on the device; a batch is a handful of integers. Memory grows
with the rows, not with rows x lookback.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from forecaster.arrays import Floats
from forecaster.backend import import_keras
from forecaster.losses import LOSSES

keras = import_keras()
ops = keras.ops
KerasModel: Any = keras.Model


class Windowed(KerasModel):  # type: ignore[misc]
    """Wraps a network so that `fit` takes cutoffs.

    Args:
        network: From contexts, and known-ahead features when there are any, to forecasts.
        features: Rows `(row, feature)`; the first column is the target.
        known: Known-ahead columns of the same rows `(row, future feature)`, or None.
        loss: Name of a loss.

    Call arguments:
        cutoffs: Row of the last observed value of each window `(window,)`.

    Output shape:
        `(window, horizon)`.
    """

    def __init__(self, network: Any, features: Floats, known: Floats | None, loss: str) -> None:
        super().__init__(name="windowed")
        self.network = network
        self.window_loss = LOSSES[loss]
        lookback, horizon = network.inputs[0].shape[1], network.outputs[0].shape[1]
        self.before = np.arange(1 - lookback, 1, dtype=np.int32)
        self.after = np.arange(1, horizon + 1, dtype=np.int32)
        self.features = ops.convert_to_tensor(features)
        self.targets = ops.convert_to_tensor(np.ascontiguousarray(features[:, 0]))
        self.known = None if known is None else ops.convert_to_tensor(known)

    def call(self, cutoffs: Any, training: bool = False) -> Any:
        inputs = [ops.take(self.features, cutoffs[:, None] + self.before, axis=0)]
        if self.known is not None:
            inputs.append(ops.take(self.known, cutoffs[:, None] + self.after, axis=0))
        return self.network(inputs if len(inputs) > 1 else inputs[0], training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Gather the targets of the cutoffs `x` and average their loss; there is no `y`."""
        del y, sample_weight, training
        targets = ops.take(self.targets, x[:, None] + self.after, axis=0)
        return ops.mean(self.window_loss(targets, y_pred))
