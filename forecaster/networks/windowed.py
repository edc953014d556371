"""A network that trains on window numbers: contexts and targets are gathered inside the step.

The rows of a panel are held once, on the device; a batch is a handful of integers. Memory grows
with the rows, not with rows x lookback. Other rows can be put in their place without compiling anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecaster.arrays import Floats, Ints
from forecaster.backend import import_keras
from forecaster.config import Config
from forecaster.losses import DIRECTION_WEIGHT, LOSSES, Sizes, log_loss, pinball

keras = import_keras()
ops = keras.ops
KerasModel: Any = keras.Model
KerasDataset: Any = keras.utils.PyDataset

VAL_BATCH = 1024  # windows that are forecast at once
LEAST_ROOM, BLOCK = 1024, 2**20  # rows
INTEGER = keras.backend.standardize_dtype("int")  # as the backend counts
DTYPES = {"f": "float32", "b": "float32", "i": INTEGER}  # by the kind of what is held
EMPTY = {"f": np.nan, "i": 0}  # for rows that are not there


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
        taught: A teacher's outputs of windows `(window, horizon, output)`, or None.
        lessons: Place of each row's window among those, as a cutoff `(row,)`, or None.
        up: 1 for a row above the one before, else 0 `(row,)`; None when no chance is forecast.
    """

    features: Floats
    known: Floats | None
    static: Floats | None
    series: Ints
    starts: Ints
    sizes: Sizes
    taught: Floats | None = None
    lessons: Ints | None = None
    up: Floats | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Room for rows, features, known, static; windows taught; whether up; series.

        The room is a power of two, and of many rows a number of blocks, so that little is wasted.
        Two panels of one shape can be held in each other's place.
        """
        widths = (0 if part is None else part.shape[1] for part in (self.known, self.static))
        rows = len(self.features)
        room = min(1 << (rows - 1).bit_length(), -(-rows // BLOCK) * BLOCK)
        taught, up = 0 if self.taught is None else len(self.taught), int(self.up is not None)
        return max(LEAST_ROOM, room), self.features.shape[1], *widths, taught, up, len(self.starts)


class Held:
    """Rows on the device, with room for more: others of their shape can take their place.

    Args:
        rows: The first.
        device: What was asked for.

    Attributes:
        shape: See `Rows.shape`.
    """

    def __init__(self, rows: Rows, device: str = "auto") -> None:
        self.shape, self.device = rows.shape, device
        self._variables = {
            name: keras.Variable(array, trainable=False, dtype=DTYPES[array.dtype.kind])
            for name, array in self._arrays(rows)
        }

    def put(self, rows: Rows) -> None:
        """Put rows of the same shape in place of those held."""
        for name, array in self._arrays(rows):
            self._variables[name].assign(array)

    def take(self, name: str, places: Any) -> Any:
        """Gather what lies at some places, whole numbers of any shape."""
        return ops.take(self._variables[name], places, axis=0)

    def holds(self, name: str) -> bool:
        """Tell whether the rows have something."""
        return name in self._variables

    @property
    def starts(self) -> Ints:
        """Row at which each series begins `(series,)`."""
        return np.asarray(ops.convert_to_numpy(self._variables["starts"]))

    def _arrays(self, rows: Rows) -> Iterator[tuple[str, np.ndarray]]:
        """Yield what is held by name, what goes by row filled up to the room there is.

        A copy that is filled up is gone before the next one is made.
        """
        by_row = {
            "features": rows.features,
            "targets": rows.features[:, 0],
            "known": rows.known,
            "row_series": rows.series,
            "lessons": rows.lessons,
            "up": rows.up,
        }
        empty = self.shape[0] - len(rows.features)
        for name, part in by_row.items():
            if part is not None:
                more = [(0, empty), *[(0, 0)] * (part.ndim - 1)]
                yield name, np.pad(part, more, constant_values=EMPTY[part.dtype.kind])
        by_series = {"static": rows.static, "starts": rows.starts, **rows.sizes._asdict()}
        by_series["taught"] = rows.taught
        yield from ((name, part) for name, part in by_series.items() if part is not None)


class Windowed(KerasModel):  # type: ignore[misc]
    """Wraps a network so that `fit` takes cutoffs.

    Args:
        network: From contexts, and whatever else it takes, to forecasts; see `builder.build`.
        held: The rows that it is trained on.
        config: Says which loss and which quantiles.

    Call arguments:
        cutoffs: Row of the last observed value of each window `(window,)`; of a joint network that
            of the first series, which stands for all.

    Output shape:
        `(window, horizon, output)`; of a joint network `(window * series, ...)`.
    """

    def __init__(self, network: Any, held: Held, config: Config) -> None:
        super().__init__(name="windowed")
        self.network = network
        self.window_loss = LOSSES[config.training.loss]
        self.quantiles = tuple(config.network.quantiles or ())
        lookback, horizon = int(config.network.lookback or 0), int(config.network.horizon or 0)
        self.before = np.arange(1 - lookback, 1, dtype=INTEGER)
        self.season = config.context_season
        self.after = np.arange(1, horizon + 1, dtype=INTEGER)
        self.held = held
        self.together = held.shape[-1] if config.network.joint else 1
        self.at_once = max(1, VAL_BATCH // self.together)
        self.direction = config.network.direction

    def call(self, cutoffs: Any, training: bool = False) -> Any:
        cutoffs = self._of_all(cutoffs)
        gather = {
            "context": lambda: self.held.take("features", self._rows_before(cutoffs)),
            "future": lambda: self.held.take("known", self._rows_after(cutoffs)),
            "length": lambda: ops.cast(self._length(cutoffs)[:, None], "int32"),
            "series": lambda: self.held.take("row_series", cutoffs)[:, None],
            "static": lambda: self.held.take("static", self.held.take("row_series", cutoffs)),
            "truth": lambda: self.held.take("targets", self._rows_after(cutoffs))[..., None],
        }
        inputs = [gather[tensor.name]() for tensor in self.network.inputs]
        return self.network(inputs if len(inputs) > 1 else inputs[0], training=training)

    def _of_all(self, cutoffs: Any) -> Any:
        """Do in a tensor what `joint.of_all` does: `(window * series,)`."""
        cutoffs = ops.cast(cutoffs, INTEGER)
        if self.together == 1:
            return cutoffs
        starts = self.held.take("starts", np.arange(self.together))
        return ops.reshape(cutoffs[:, None] + (starts - starts[0]), (-1,))

    def _rows_before(self, cutoffs: Any) -> Any:
        """Do in a tensor what `windows.rows_before` does."""
        rows = ops.add(cutoffs[:, None], self.before)
        first = self._first_row(cutoffs)[:, None]
        return ops.where(rows < first, first + ops.mod(rows - first, self.season), rows)

    def _rows_after(self, cutoffs: Any) -> Any:
        """Return the rows that are forecast `(window, horizon)`.

        On a GPU a tensor of torch takes no array of NumPy beside it; `ops` puts one there.
        """
        return ops.add(cutoffs[:, None], self.after)

    def _length(self, cutoffs: Any) -> Any:
        """Do in a tensor what `windows.rows_known` does."""
        return ops.minimum(cutoffs - self._first_row(cutoffs) + 1, len(self.before))

    def _first_row(self, cutoffs: Any) -> Any:
        """Return the row at which the series of each window begins `(window,)`."""
        return self.held.take("starts", self.held.take("row_series", cutoffs))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Average the losses of the cutoffs `x`; there is no `y`. Penalties count in training only.

        There a teacher's outputs count as much as the truth (distillation: Hinton et al. 2015, arXiv
        1503.02531, sec. 2, whose soft targets are here point and quantiles).
        """
        del y, sample_weight
        loss = ops.mean(self.losses_of(x, y_pred))
        if not training:
            return loss
        if self.held.holds("taught"):
            taught = self.held.take("taught", self.held.take("lessons", self._of_all(x)))
            loss = (loss + ops.mean(ops.abs(ops.cast(y_pred, taught.dtype) - taught))) / 2
        return sum(self.network.losses, start=loss)

    def losses_of(self, cutoffs: Any, forecast: Any) -> Any:
        """Gather the targets of cutoffs and return the loss of each window `(window,)`.

        That of a joint network is the mean over the series.
        """
        cutoffs = self._of_all(cutoffs)
        targets = self.held.take("targets", self._rows_after(cutoffs))
        forecast = ops.cast(forecast, targets.dtype)  # where layers compute in half precision
        series = self.held.take("row_series", cutoffs)
        sizes = Sizes(*(self.held.take(name, series)[:, None] for name in Sizes._fields))
        loss = ops.mean(self.window_loss(targets, forecast[:, :, 0], sizes), axis=1)
        if self.quantiles:
            quantiles = forecast[:, :, 1 : 1 + len(self.quantiles)]
            loss = loss + ops.mean(pinball(targets, quantiles, self.quantiles), axis=(1, 2))
        if self.direction:
            up = self.held.take("up", self._rows_after(cutoffs))
            of_up = ops.mean(log_loss(up, forecast[:, :, -1]), axis=1)
            loss = loss + DIRECTION_WEIGHT * of_up
        return ops.mean(ops.reshape(loss, (-1, self.together)), axis=1)


class Shuffled(KerasDataset):  # type: ignore[misc]
    """Cutoffs in batches of one size, in a new order each epoch.

    Args:
        cutoffs: `(window,)`.
        batch: Windows in a batch; a last batch is filled up from the beginning of the same order.
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


def untuned(batches: Shuffled) -> Any:
    """Return batches for Keras, with TensorFlow as a dataset that is not tuned while it runs.

    The tuner of tf.data, which Keras leaves on, can take a second to stop at the end of an epoch.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def epoch() -> Iterator[tuple[Ints]]:
        parts = [batches[step] for step in range(len(batches))]
        batches.on_epoch_end()
        yield from parts

    options = tf.data.Options()
    options.autotune.enabled = False
    signature = (tf.TensorSpec((batches.batch,), tf.int64),)
    dataset = tf.data.Dataset.from_generator(epoch, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    return dataset.prefetch(2).with_options(options)
