"""The three recurrences in TensorFlow, with their gradients written out.

Left to itself, TensorFlow keeps every intermediate result of every step and goes back through each
operation. Here backpropagation through time (Werbos 1990, doi 10.1109/5.58337) keeps the states and
the gates only, and adds up the gradients of the weights on the way back.

A column is a window: what belongs to one unit lies side by side, and so do the units of a gate. All
that is not a matrix product then runs through memory in order, many windows in one instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

GATES = ((0.5, 0.5, 1.0, 0.5), (0.5, 0.5, 0.0, 0.5))  # factor and shift of each gate of the LSTM
Step = Any  # a tensor `(row, window)`
Steps = Any  # a tensor `(step, row, window)`


class Recurrence(NamedTuple):
    """One step of a cell, forward and back.

    Attributes:
        joined: Whether what comes of the input and of the state is only ever added up: then one matrix
            product, of both, gives the sum.
        ahead: Whether the way back fetches what a step needs one step ahead. XLA does not make vector
            instructions of operations that pick a step out of several arrays at once, as the LSTM's
            do; the GRU's have fewer, and copying would cost more than it saves.
        kept: What the way back needs beside the states: the rows of each, in units.
        forward: From the states before, and what comes of the input and of the state, each
            `(gate * unit, window)`, or their sum, to the states after, the output first, and what is
            kept.
        backward: From the states before and after, what was kept, and the gradients of the states
            after, to those of what came of the input and of the state, or of their sum, and to those
            that reach the states before past the recurrent matrix.
    """

    joined: bool
    ahead: bool
    kept: tuple[int, ...]
    forward: Callable[..., tuple[tuple[Step, ...], tuple[Step, ...]]]
    backward: Callable[..., tuple[tuple[Step, ...], tuple[Step, ...]]]

    def grouped(self, of_input: Any, of_state: Any) -> list[Any]:
        """Return what belongs to the input and to the state, as rows of one where they are joined."""
        return [tf.concat([of_input, of_state], axis=0)] if self.joined else [of_input, of_state]

    def apart(self, groups: Sequence[Any], features: int) -> Sequence[Any]:
        """Undo `grouped`."""
        return (groups[0][:features], groups[0][features:]) if self.joined else groups


def run(
    name: str,
    sequences: Any,
    first: Sequence[Any],
    kernel: Any,
    recurrent: Any,
    bias: Any,
) -> tuple[Any, list[Any]]:
    """Run a cell over all steps, the gates of its weights side by side as Keras has them.

    Args:
        name: In `RECURRENCES`.
        sequences: `(window, step, feature)`; the number of steps is known.
        first: States to start in, each `(window, unit)`.
        kernel: `(feature, gate * unit)`.
        recurrent: `(unit, gate * unit)`.
        bias: `(gate * unit,)`, or one for what comes of the input and one for what comes of the
            state `(2, gate * unit)`.

    Returns:
        The outputs `(window, step, unit)`, and the final states.
    """
    kernel, recurrent, bias = map(tf.convert_to_tensor, (kernel, recurrent, bias))
    if bias.shape.ndims == 1:
        bias = tf.stack([bias, tf.zeros_like(bias)])
    inputs = tf.transpose(sequences, (1, 2, 0))
    states = [tf.transpose(state) for state in first]
    outputs, *states = _runner(RECURRENCES[name])(inputs, kernel, recurrent, bias, *states)
    return tf.transpose(outputs, (2, 0, 1)), [tf.transpose(state) for state in states]


def _runner(recurrence: Recurrence) -> Callable[..., Any]:
    """Return the function of inputs, weights and first states, with its gradient."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def of(inputs: Steps, kernel: Any, recurrent: Any, bias: Any, *first: Step) -> Any:
        weights = (kernel, recurrent, bias)
        last, after, kept = _forward(recurrence, inputs, weights, first)

        def gradient(d_outputs: Steps, *d_last: Step) -> list[Any]:
            before = [
                tf.concat([one[None], states[:-1]], axis=0)
                for one, states in zip(first, after, strict=True)
            ]
            seen = (before, after, kept)
            return _backward(recurrence, inputs, weights, seen, d_outputs, d_last)

        return (after[0], *last), gradient

    return of


def _forward(
    recurrence: Recurrence, inputs: Steps, weights: Sequence[Any], first: Sequence[Step]
) -> tuple[Sequence[Step], list[Steps], list[Steps]]:
    """Return the last states, and the states and what is kept of all steps."""
    kernel, recurrent, bias = weights
    matrices = [tf.transpose(matrix) for matrix in recurrence.grouped(kernel, recurrent)]
    shifts = [shift[:, None] for shift in _shifts(recurrence, bias)]

    def forward(step: Any, states: Sequence[Step]) -> tuple[Any, Any]:
        sources = recurrence.grouped(inputs[step], states[0])
        sums = [
            tf.matmul(m, x) + shift for m, x, shift in zip(matrices, sources, shifts, strict=True)
        ]
        states, kept = recurrence.forward(states, *sums)
        return states, (*states, *kept)

    rows = [recurrent.shape[0] * count for count in (*[1] * len(first), *recurrence.kept)]
    last, written = _loop(range(inputs.shape[0]), forward, first, rows)
    return last, written[: len(first)], written[len(first) :]


def _backward(
    recurrence: Recurrence,
    inputs: Steps,
    weights: Sequence[Any],
    seen: Sequence[Sequence[Steps]],
    d_outputs: Steps,
    d_last: Sequence[Step],
) -> list[Any]:
    """Return the gradients of inputs, weights and first states.

    Args:
        recurrence: The cell.
        inputs: As all that follows, those of `_runner`'s function.
        weights: Kernel, recurrent matrix and bias.
        seen: States before and after each step, and what was kept.
        d_outputs: Gradients of the outputs.
        d_last: Gradients of the last states.
    """
    kernel, recurrent, bias = weights
    steps, features, _ = inputs.shape
    matrices = recurrence.grouped(kernel, recurrent)
    shifts = _shifts(recurrence, bias)

    ones = tf.ones(tf.shape(inputs)[2:])

    def fetch(step: Any) -> list[Any]:
        return [[[part[step] for part in parts] for parts in seen], inputs[step], d_outputs[step]]

    def backward(step: Any, carried: Sequence[Any]) -> tuple[Any, Any]:
        d_matrices, d_shifts, (d_output, *d_others), ahead = carried
        at, x, d_out = ahead or fetch(step)
        d_states = [d_output + d_out, *d_others]
        d_sums, d_before = recurrence.backward(*at, d_states)
        sources = recurrence.grouped(x, at[0][0])
        d_sources = [tf.matmul(matrix, d) for matrix, d in zip(matrices, d_sums, strict=True)]
        d_input, d_state = recurrence.apart(d_sources, features)
        d_weights = [
            tf.matmul(x, d, transpose_b=True) for x, d in zip(sources, d_sums, strict=True)
        ]
        return (
            [so_far + d for so_far, d in zip(d_matrices, d_weights, strict=True)],
            [
                so_far + tf.linalg.matvec(d, ones)
                for so_far, d in zip(d_shifts, d_sums, strict=True)
            ],
            [d_before[0] + d_state, *d_before[1:]],
            fetch(tf.maximum(step - 1, 0)) if recurrence.ahead else [],
        ), (d_input,)

    nothing = [[tf.zeros_like(one) for one in ones] for ones in (matrices, shifts)]
    ahead = fetch(steps - 1) if recurrence.ahead else []
    at_first = [*nothing, list(d_last), ahead]
    carried, d_inputs = _loop(range(steps)[::-1], backward, at_first, [features])
    d_matrices, d_shifts, d_first, _ = carried
    d_bias = tf.stack(d_shifts * 2 if recurrence.joined else d_shifts)
    return [*d_inputs, *recurrence.apart(d_matrices, features), d_bias, *d_first]


def _shifts(recurrence: Recurrence, bias: Any) -> list[Any]:
    """Return what is added to each product."""
    return [bias[0] + bias[1]] if recurrence.joined else [bias[0], bias[1]]


def _loop(
    steps: range,
    body: Callable[[Any, Sequence[Any]], tuple[Any, Any]],
    carried: Sequence[Any],
    rows: Sequence[int],
) -> tuple[Sequence[Any], list[Steps]]:
    """Carry something from step to step, and collect what each gives in the order of time.

    Args:
        steps: Forward or backward.
        body: From the number of the step and what is carried to what is, and what the step gives.
        carried: At first.
        rows: Of all that a step gives.
    """
    if len(steps) == 1:
        carried, given = body(0, carried)
        return carried, [part[None] for part in given]
    arrays = [tf.TensorArray(tf.float32, len(steps), element_shape=(count, None)) for count in rows]

    def one(number: Any, carried: Sequence[Any], arrays: Sequence[Any]) -> tuple[Any, Any, Any]:
        step = steps.start + steps.step * number
        carried, given = body(step, carried)
        written = [array.write(step, part) for array, part in zip(arrays, given, strict=True)]
        return number + 1, tuple(carried), tuple(written)

    _, carried, arrays = tf.while_loop(
        lambda number, *_: number < len(steps),
        one,
        (0, tuple(carried), tuple(arrays)),
        maximum_iterations=len(steps),
    )
    return carried, [array.stack() for array in arrays]


def _sigmoid(values: Any) -> Any:
    """As a tanh, which XLA computes once where it would repeat a sigmoid for each that reads it."""
    return 0.5 * tf.tanh(0.5 * values) + 0.5


def _simple_forward(_: Sequence[Step], of_both: Step) -> tuple[Any, Any]:
    """Elman 1990, doi 10.1207/s15516709cog1402_1."""
    return (tf.tanh(of_both),), ()


def _simple_backward(
    _: Sequence[Step], after: Sequence[Step], __: Sequence[Step], d_states: Sequence[Step]
) -> tuple[Any, Any]:
    d_sum = d_states[0] * (1 - after[0] * after[0])
    return (d_sum,), (tf.zeros_like(d_sum),)


def _lstm_forward(before: Sequence[Step], of_both: Step) -> tuple[Any, Any]:
    """Gates: input, forget, candidate, output (Gers et al. 2000, doi 10.1162/089976600300015015)."""
    units = before[0].shape[0]
    # a sigmoid is half a tanh of half the argument, and a half: one function serves all gates
    factor, shift = (np.repeat(one, units).astype(np.float32)[:, None] for one in GATES)
    gates = factor * tf.tanh(factor * of_both) + shift
    i, f, g, o = tf.split(gates, 4)
    cell = f * before[1] + i * g
    return (o * tf.tanh(cell), cell), (gates,)


def _lstm_backward(
    before: Sequence[Step],
    after: Sequence[Step],
    kept: Sequence[Step],
    d_states: Sequence[Step],
) -> tuple[Any, Any]:
    i, f, g, o = tf.split(kept[0], 4)
    squashed = tf.tanh(after[1])
    d_output, d_cell = d_states
    d_cell += d_output * o * (1 - squashed * squashed)
    d_i = d_cell * g * i * (1 - i)
    d_f = d_cell * before[1] * f * (1 - f)
    d_g = d_cell * i * (1 - g * g)
    d_o = d_output * squashed * o * (1 - o)
    d_sum = tf.concat([d_i, d_f, d_g, d_o], axis=0)
    return (d_sum,), (tf.zeros_like(d_output), d_cell * f)


def _gru_forward(before: Sequence[Step], of_input: Step, of_state: Step) -> tuple[Any, Any]:
    """Gates: update, reset, candidate (Cho et al. 2014, arXiv 1406.1078).

    As in its first version, and in cuDNN, the reset gate acts after the recurrent matrix.
    """
    units = before[0].shape[0]
    gates = _sigmoid(of_input[: 2 * units] + of_state[: 2 * units])
    z, r = tf.split(gates, 2)
    remembered = of_state[2 * units :]
    candidate = tf.tanh(of_input[2 * units :] + r * remembered)
    return (z * before[0] + (1 - z) * candidate,), (gates, candidate, remembered)


def _gru_backward(
    before: Sequence[Step],
    _: Sequence[Step],
    kept: Sequence[Step],
    d_states: Sequence[Step],
) -> tuple[Any, Any]:
    gates, candidate, remembered = kept
    z, r = tf.split(gates, 2)
    (d_state,) = d_states
    d_candidate = d_state * (1 - z) * (1 - candidate * candidate)
    d_z = d_state * (before[0] - candidate) * z * (1 - z)
    d_r = d_candidate * remembered * r * (1 - r)
    d_of_input = tf.concat([d_z, d_r, d_candidate], axis=0)
    d_of_state = tf.concat([d_z, d_r, d_candidate * r], axis=0)
    return (d_of_input, d_of_state), (d_state * z,)


RECURRENCES = {
    "SimpleRNN": Recurrence(True, False, (), _simple_forward, _simple_backward),
    "LSTM": Recurrence(True, True, (4,), _lstm_forward, _lstm_backward),
    "GRU": Recurrence(False, False, (2, 1, 1), _gru_forward, _gru_backward),
}
