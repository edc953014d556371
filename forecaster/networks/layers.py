"""Layers that Keras has not: window normalisation and the parts of the parallel decoder.

Everything is written in `keras.ops`, so that each backend of Keras runs it.
"""

from __future__ import annotations

from typing import Any

from forecaster.backend import import_keras

keras = import_keras()
ops = keras.ops
Layer: Any = keras.layers.Layer

EPSILON = 1e-5
LEAST_SPREAD = 0.02  # added to that of every window: series have a deviation of about 1


class ReversibleNormalisation(Layer):  # type: ignore[misc]
    """Reversible instance normalisation of the target (RevIN, Kim et al., ICLR 2022).

    The target of each window is standardised by its own mean and deviation, then scaled and
    shifted by one learnt pair; `inverse` undoes both on the forecast.

    Call arguments:
        values: Target `(window, lookback, 1)`, or with `inverse` a forecast
            `(window, horizon, output)`.
        target: The target of the context `(window, lookback, 1)`, whose statistics are used.
        inverse: Whether to undo the normalisation.
    """

    def build(self, *_: Any) -> None:
        self.gain = self.add_weight(shape=(1,), initializer="ones", name="gain")
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def call(self, values: Any, target: Any, inverse: bool = False) -> Any:
        mean = ops.mean(target, axis=1, keepdims=True)  # (window, 1, 1)
        spread = ops.sqrt(ops.var(target, axis=1, keepdims=True) + EPSILON)
        if not inverse:
            return (values - mean) / spread * self.gain + self.bias
        return (values - self.bias) / (self.gain + EPSILON) * spread - ops.negative(mean)


class SpreadNormalisation(Layer):  # type: ignore[misc]
    """Level and noise of each window taken away: the last season's mean, the mean change by season.

    Networks then see quiet and restless series alike, whatever each has been before the window.

    Args:
        lag: Steps in a season, fewer than a context has.

    Call arguments:
        values: Target `(window, lookback, 1)`, or with `inverse` a forecast
            `(window, horizon, output)`.
        target: The target of the context `(window, lookback, 1)`, whose level and change are used.
        inverse: Whether to undo the normalisation.
    """

    def __init__(self, lag: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lag = lag

    def call(self, values: Any, target: Any, inverse: bool = False) -> Any:
        level = ops.mean(target[:, -self.lag :], axis=1, keepdims=True)  # (window, 1, 1)
        changes = ops.abs(target[:, self.lag :] - target[:, : -self.lag])
        spread = ops.mean(changes, axis=1, keepdims=True) + LEAST_SPREAD
        if not inverse:
            return (values - level) / spread
        return values * spread - ops.negative(level)


class Plus(Layer):  # type: ignore[misc]
    """Add a value of each window to all its outputs.

    Keras' own addition on TensorFlow takes `(window, 1, 1)` for a bias, and adds it along the wrong
    axis, when the number of windows happens to be the number of outputs; subtraction does not.

    Call arguments:
        forecast: `(window, horizon, output)`.
        value: Anything that broadcasts to it.
    """

    def call(self, forecast: Any, value: Any) -> Any:
        return forecast - ops.negative(value)


class PositionInputs(Layer):  # type: ignore[misc]
    """One learnt vector for each future segment (SegRNN, Lin et al., arXiv 2308.11200, sec. 3.3).

    Args:
        positions: Number of future segments.
        units: Size of each vector.

    Call arguments:
        state: Any tensor `(window, ...)`; only its number of windows is used.

    Output shape:
        `(window * position, 1, units)`.
    """

    def __init__(self, positions: int, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positions = positions
        self.units = units

    def build(self, *_: Any) -> None:
        self.table = self.add_weight(
            shape=(self.positions, self.units), initializer="random_normal", name="table"
        )

    def call(self, state: Any) -> Any:
        tiled = ops.tile(self.table, (ops.shape(state)[0], 1))  # (window * position, units)
        return ops.expand_dims(tiled, 1)

    def compute_output_shape(self, _: Any) -> tuple[int | None, int, int]:
        return (None, 1, self.units)


class RepeatWindows(Layer):  # type: ignore[misc]
    """Repeat each window's state once for each future segment.

    Args:
        positions: Number of future segments.
        units: Size of the state.

    Output shape:
        `(window * position, unit)` from `(window, unit)`.
    """

    def __init__(self, positions: int, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positions = positions
        self.units = units

    def call(self, state: Any) -> Any:
        return ops.reshape(ops.tile(state, (1, self.positions)), (-1, self.units))

    def compute_output_shape(self, _: Any) -> tuple[int | None, int]:
        return (None, self.units)


class KnownAhead(Layer):  # type: ignore[misc]
    """What is known ahead of the steps of each future segment, as one vector.

    Args:
        positions: Number of future segments.
        width: Steps of a segment, times features.

    Output shape:
        `(window * position, 1, width)` from `(window, horizon, feature)`.
    """

    def __init__(self, positions: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positions = positions
        self.width = width

    def call(self, future: Any) -> Any:
        return ops.reshape(future, (-1, 1, self.width))

    def compute_output_shape(self, _: Any) -> tuple[int | None, int, int]:
        return (None, 1, self.width)


class SeriesVectors(Layer):  # type: ignore[misc]
    """One learnt vector for each series, zeros for a series it does not know.

    Args:
        series: Number of series known.
        units: Size of each vector.

    Call arguments:
        place: Place of each window's series, -1 for one not known `(window, 1)`.

    Output shape:
        `(window, unit)`.
    """

    def __init__(self, series: int, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.series = series
        self.units = units

    def build(self, *_: Any) -> None:
        self.table = self.add_weight(
            shape=(self.series, self.units), initializer="random_normal", name="table"
        )

    def call(self, place: Any) -> Any:
        vectors = ops.take(self.table, ops.maximum(place[:, 0], 0), axis=0)
        return vectors * ops.cast(place >= 0, vectors.dtype)

    def compute_output_shape(self, _: Any) -> tuple[int | None, int]:
        return (None, self.units)


class Regroup(Layer):  # type: ignore[misc]
    """Reshape with the window axis free, so that steps can move into or out of it.

    Args:
        shape: The axes after the first.
    """

    def __init__(self, shape: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = shape

    def call(self, values: Any) -> Any:
        return ops.reshape(values, (-1, *self.shape))

    def compute_output_shape(self, _: Any) -> tuple[int | None, ...]:
        return (None, *self.shape)


class KnownFirst(Layer):  # type: ignore[misc]
    """Move the steps that a series has to the front of its window, and mark them.

    A context ends with what is known. Recurrent operators of ONNX, and cuDNN's, take sequences that
    are padded at their end.

    Args:
        segment: Rows in a step; a step that is partly known counts as unknown.

    Call arguments:
        sequence: `(window, step, feature)`; the last steps are known.
        length: Rows of each window that are known `(window, 1)`.

    Output shape:
        `(window, step, feature)`, known steps first, in their order; and their mask
        `(window, step)`.
    """

    def __init__(self, segment: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.segment = segment

    def call(self, sequence: Any, length: Any) -> tuple[Any, Any]:
        known, steps = length // self.segment, sequence.shape[1]
        place = ops.arange(steps, dtype="int32")
        moved = ops.mod(place - known, steps)  # (window, step)
        return ops.take_along_axis(sequence, moved[:, :, None], axis=1), place < known


class Slice(Layer):  # type: ignore[misc]
    """Take steps `start:stop` of axis 1, or features of axis 2.

    Args:
        axis: 1 for steps, 2 for features.
        start: First index, negative from the end.
        stop: Index after the last; None for the end.
    """

    def __init__(self, axis: int, start: int, stop: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis, self.start, self.stop = axis, start, stop

    def call(self, values: Any) -> Any:
        part = slice(self.start, self.stop)
        return values[:, part] if self.axis == 1 else values[:, :, part]


class TakeSteps(Layer):  # type: ignore[misc]
    """Pick steps of a context by number.

    Args:
        steps: Places on axis 1.

    Output shape:
        `(window, step, feature)`.
    """

    def __init__(self, steps: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = steps

    def call(self, values: Any) -> Any:
        return ops.take(values, list(self.steps), axis=1)
