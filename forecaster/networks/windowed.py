"""A network that trains on window numbers: contexts and targets are gathered inside the step.

The rows of a panel are held once, on the device; a batch is a handful of integers. Memory grows
with the rows, not with rows x lookback.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from forecaster.arrays import Floats, Ints
from forecaster.backend import import_keras
from forecaster.config import Config
from forecaster.losses import LOSSES, Sizes, pinball

keras = import_keras()
ops = keras.ops
KerasModel: Any = keras.Model
KerasDataset: Any = keras.utils.PyDataset

VAL_BATCH = 1024  # windows that are forecast at once


@dataclass(frozen=True)
class Rows:
    """What a network is trained on.

    Attributes:
        features: `(row, feature)`; the first column is the target.
        known: Known-ahead columns of the same rows `(row, future feature)`, or None.
        static: Features of each series `(series, static feature)`, or None.
        series: Place of each row's series `(row,)`.
        starts: Row at which each series begins `(series,)`.
        sizes: What the inputs of each series were made from, each `(series,)`.
    """

    features: Floats
    known: Floats | None
    static: Floats | None
    series: Ints
    starts: Ints
    sizes: Sizes


class Windowed(KerasModel):  # type: ignore[misc]
    """Wraps a network so that `fit` takes cutoffs.

    Args:
        network: From contexts, and whatever else it takes, to forecasts; see `builder.build`.
        rows: What it is trained on.
        config: Says which loss and which quantiles.

    Call arguments:
        cutoffs: Row of the last observed value of each window `(window,)`.

    Output shape:
        `(window, horizon, 1 + quantile)`.
    """

    def __init__(self, network: Any, rows: Rows, config: Config) -> None:
        super().__init__(name="windowed")
        self.network = network
        self.window_loss = LOSSES[config.training.loss]
        self.quantiles = tuple(config.network.quantiles or ())
        lookback, horizon = int(config.network.lookback or 0), int(config.network.horizon or 0)
        self.before = np.arange(1 - lookback, 1, dtype=np.int32)
        self.season = config.context_season
        self.after = np.arange(1, horizon + 1, dtype=np.int32)
        self.features = ops.convert_to_tensor(rows.features)
        self.targets = ops.convert_to_tensor(np.ascontiguousarray(rows.features[:, 0]))
        self.known = None if rows.known is None else ops.convert_to_tensor(rows.known)
        self.static = None if rows.static is None else ops.convert_to_tensor(rows.static)
        self.series = ops.convert_to_tensor(rows.series.astype(np.int32))
        self.starts = ops.convert_to_tensor(rows.starts.astype(np.int32))
        self.sizes = Sizes(*(ops.convert_to_tensor(part.astype(np.float32)) for part in rows.sizes))

    def call(self, cutoffs: Any, training: bool = False) -> Any:
        gather = {
            "context": lambda: ops.take(self.features, self._rows_before(cutoffs), axis=0),
            "future": lambda: ops.take(self.known, cutoffs[:, None] + self.after, axis=0),
            "series": lambda: ops.take(self.series, cutoffs, axis=0)[:, None],
            "static": lambda: ops.take(self.static, ops.take(self.series, cutoffs, axis=0), axis=0),
        }
        inputs = [gather[tensor.name]() for tensor in self.network.inputs]
        return self.network(inputs if len(inputs) > 1 else inputs[0], training=training)

    def spans(self, cutoffs: Ints, horizon: int) -> Ints:
        """Number the spans of a horizon, back from the last cutoff of each series `(window,)`."""
        starts = np.asarray(ops.convert_to_numpy(self.starts))
        series = np.searchsorted(starts, cutoffs, side="right") - 1
        last = np.zeros(len(starts), dtype=cutoffs.dtype)
        np.maximum.at(last, series, cutoffs)
        return (last[series] - cutoffs) // horizon

    def _rows_before(self, cutoffs: Any) -> Any:
        """Do in a tensor what `windows.rows_before` does."""
        rows = cutoffs[:, None] + self.before
        first = ops.take(self.starts, ops.take(self.series, cutoffs, axis=0), axis=0)[:, None]
        return ops.where(rows < first, first + ops.mod(rows - first, self.season), rows)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Average the losses of the cutoffs `x`; there is no `y`."""
        del y, sample_weight, training
        return ops.mean(self.losses(x, y_pred))

    def losses(self, cutoffs: Any, forecast: Any) -> Any:
        """Gather the targets of cutoffs and return the loss of each window `(window,)`."""
        targets = ops.take(self.targets, cutoffs[:, None] + self.after, axis=0)
        series = ops.take(self.series, cutoffs, axis=0)
        sizes = Sizes(*(ops.take(part, series, axis=0)[:, None] for part in self.sizes))
        loss = ops.mean(self.window_loss(targets, forecast[:, :, 0], sizes), axis=1)
        if not self.quantiles:
            return loss
        of_quantiles = pinball(targets, forecast[:, :, 1:], self.quantiles)
        return loss + ops.mean(of_quantiles, axis=(1, 2))


class Shuffled(KerasDataset):  # type: ignore[misc]
    """Cutoffs in batches of one size, in a new order each epoch.

    Args:
        cutoffs: `(window,)`.
        batch: Windows in a batch; a last batch is filled up with windows of the same epoch.
        most: Windows in an epoch at most; the next epoch goes on where this one stopped.
        seed: Of the order.
    """

    def __init__(self, cutoffs: Ints, batch: int, most: int, seed: int) -> None:
        super().__init__()
        self.cutoffs, self.batch = cutoffs, batch
        self.steps = -(-min(len(cutoffs), most) // batch)
        self.random = np.random.default_rng(seed)
        self.order = self.random.permutation(cutoffs)
        self.begin = 0

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[Ints]:
        first = self.begin + step * self.batch
        return (self.order.take(range(first, first + self.batch), mode="wrap"),)

    def on_epoch_end(self) -> None:
        self.begin += self.steps * self.batch
        if self.begin >= len(self.order):
            self.order, self.begin = self.random.permutation(self.cutoffs), 0
