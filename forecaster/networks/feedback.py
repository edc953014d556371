"""The recurrent decoder: each step of the forecast is made from the one before it.

An encoder-decoder (Sutskever et al. 2014, arXiv 1409.3215; Cho et al. 2014, arXiv 1406.1078): the
decoder starts in the encoder's final state, takes its own last output and what is known ahead, and
rolls over the horizon. Training may show it the truth instead of its own output: always (teacher
forcing, Williams & Zipser 1989), or by the toss of a coin at every step (scheduled sampling, Bengio
et al. 2015, arXiv 1506.03099, with a fixed share).
"""

from __future__ import annotations

from typing import Any

from forecaster.backend import import_keras

keras = import_keras()
ops = keras.ops
Layer: Any = keras.layers.Layer


class FeedbackCell(Layer):  # type: ignore[misc]
    """A recurrent cell whose input is its own last output, unless the truth is shown.

    Its states are those of the cell, then the segment seen last `(window, width)`.

    Args:
        cell: A Keras cell.
        head: From its output to `(window, width * output)`; the first output of each value is the
            point, which is fed back.
        width: Values made at once: the steps of a segment, each of all series of a joint network.

    Call arguments:
        inputs: `(window, feature)`: what the forecast is added to (`width`), the truth (`width`),
            1 where the next step sees that truth, and what is known ahead.
        states: See above.
    """

    def __init__(self, cell: Any, head: Any, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell, self.head, self.width = cell, head, width
        sizes = cell.state_size
        self.state_size = [*(sizes if isinstance(sizes, (list, tuple)) else [sizes]), width]
        self.output_size = cell.output_size

    def build(self, *_: Any) -> None:
        """Both parts are built by the decoder."""

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        width = self.width
        start, truth = inputs[:, :width], inputs[:, width : 2 * width]
        shown, known = inputs[:, 2 * width : 2 * width + 1], inputs[:, 2 * width + 1 :]
        *state, last = states
        seen = ops.concatenate([last, known], axis=1)
        output, state = self.cell(seen, list(state), training=training)
        own = start + self.head(output)[:, :: self.head.units // width]
        return output, [*state, ops.where(shown > 0, truth, own)]


class RecurrentDecoder(Layer):  # type: ignore[misc]
    """Rolls a recurrent layer over the segments of the horizon, from a state.

    Args:
        recurrent: Keras layer that returns its sequence and its states.
        head: See `FeedbackCell`.
        width: See `FeedbackCell`; 1 is the textbook.
        positions: Number of future segments.
        known: Features known ahead of each segment.
        teacher_forcing: Share of the steps that see the truth in training.

    Call arguments:
        state: Parts of the state to start from, each `(window, unit)`.
        last: The last values seen `(window, width)`.
        start: What the forecast is added to `(window, horizon, series)`, or None.
        future: What is known ahead `(window, position, known)`, or None.
        truth: `(window, horizon, series)`, or None; only looked at in training.

    Output shape:
        `(window, position, unit)`, from which the head makes the forecast.
    """

    def __init__(
        self,
        recurrent: Any,
        head: Any,
        width: int,
        positions: int,
        known: int = 0,
        teacher_forcing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.recurrent, self.head = recurrent, head
        self.width, self.positions, self.known = width, positions, known
        self.teacher_forcing = teacher_forcing
        cell = FeedbackCell(recurrent.cell, head, width)
        self.loop = keras.layers.RNN(cell, return_sequences=True)
        self.seeds = keras.random.SeedGenerator()

    def build(self, *_: Any) -> None:
        self.recurrent.build((None, self.positions, self.width + self.known))
        self.head.build((None, self.recurrent.units))

    def call(
        self,
        state: Any,
        last: Any,
        start: Any = None,
        future: Any = None,
        truth: Any = None,
        training: bool = False,
    ) -> Any:
        nothing = ops.zeros((ops.shape(last)[0], self.positions, 1), dtype=last.dtype)
        share = self.teacher_forcing if training and truth is not None else 0.0
        shown = nothing
        if 0 < share < 1:
            tossed = keras.random.uniform(ops.shape(nothing), seed=self.seeds)
            shown = ops.cast(tossed < share, last.dtype)
        start, truth = (self._segments(values, nothing) for values in (start, truth))
        known = [] if future is None else [future]
        if share == 1:  # every input is known before: the layer runs as one
            before = ops.concatenate([last[:, None], truth[:, :-1]], axis=1)
            sequence = ops.concatenate([before, *known], axis=2)
            rolled, *_ = self.recurrent(sequence, initial_state=list(state), training=training)
            return rolled
        cell = self.recurrent.cell
        if self.recurrent.recurrent_dropout:  # one mask for all steps, made before the loop
            cell.get_recurrent_dropout_mask(state[0])
        sequence = ops.concatenate([start, truth, shown, *known], axis=2)
        rolled = self.loop(sequence, initial_state=[*state, last], training=training)
        cell.reset_recurrent_dropout_mask()
        return rolled

    def _segments(self, values: Any, nothing: Any) -> Any:
        """Fold steps into segments `(window, position, width)`; zeros for None."""
        if values is None:
            return ops.tile(nothing, (1, 1, self.width))
        return ops.reshape(values, (-1, self.positions, self.width))
