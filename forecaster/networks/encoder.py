"""The encoder: a stack of recurrent layers, and what attends to the states of the top one.

Every part keeps to one rule: what it makes of the states ends up in the final output, the first of
the final states, which is all that the decoders see of it.
"""

from __future__ import annotations

from typing import Any

from forecaster.backend import import_keras
from forecaster.config import NetworkSpec, Recurrent
from forecaster.networks.faster import GRU, LSTM, Dropout, SimpleRNN
from forecaster.networks.layers import Regroup, Slice

keras = import_keras()
layers = keras.layers
KerasInitializer: Any = keras.initializers.Initializer

CELLS = {"rnn": SimpleRNN, "lstm": LSTM, "gru": GRU}
FEED_FORWARD = 4  # times the units (Vaswani et al. 2017, sec. 3.3)


@keras.saving.register_keras_serializable("forecaster")
class Chrono(KerasInitializer):  # type: ignore[misc]
    """Biases of gates with which states last from 2 steps to as many as a sequence has.

    A unit that keeps a share 1 - 1/T of its state at each step remembers for about T of them: T is
    drawn evenly for each (Tallec & Ollivier 2018, arXiv 1804.11188, eq. 16: log(T - 1) is the bias of
    the LSTM's forget gate, its negative that of the input gate; the update gate of Keras' GRU keeps).
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """Return the biases of a Keras LSTM `(4 * unit,)` or GRU `(2, 3 * unit)`."""
        lstm = len(shape) == 1
        units = shape[-1] // (4 if lstm else 3)
        lasting = keras.initializers.RandomUniform(1.0, max(2.0, self.steps - 1.0))((units,), dtype)
        kept, none = keras.ops.log(lasting), keras.ops.zeros_like(lasting)
        if lstm:  # input, forget, cell, output
            return keras.ops.concatenate([-kept, kept, none, none])
        return keras.ops.stack(
            [keras.ops.concatenate([kept, none, none]), keras.ops.zeros(shape[-1:], dtype)]
        )

    def get_config(self) -> dict[str, Any]:
        """What `Chrono` was made with."""
        return {"steps": self.steps}


def encode(spec: NetworkSpec, sequence: Any, mask: Any = None) -> tuple[Any, list[Any]]:
    """Run the stack.

    Args:
        spec: Every field set.
        sequence: `(window, step, feature)`.
        mask: Which steps the layers run on, the first ones `(window, step)`; None for all.

    Returns:
        A layer that goes on from the final states step by step, and these states, the output first,
        each `(window, unit)`. The layer is the top one, or one like it where that reads both ways.
    """
    attends = spec.attention not in (None, "none")
    steps = sequence.shape[1]
    *lower, last = spec.stack
    for number, each in enumerate(lower, 1):
        layer = _layer(spec, each, f"recurrent_{number}", steps, return_sequences=True)
        states, *_ = _run(layer, each.dilation, sequence, mask)
        states = Dropout(each.dropout, name=f"dropout_{number}")(states)
        sequence = _residual(sequence, states, layer.name) if spec.residual else states
    name = f"recurrent_{len(spec.stack)}"
    top = _layer(spec, last, name, steps, return_sequences=attends, return_state=True)
    states, *final = _run(top, last.dilation, sequence, mask)
    if spec.bidirectional:
        final = _merged(final, last.units)
        states = layers.Dense(last.units, name="states")(states) if attends else states
        top = recurrent(spec, last, "decoder", steps, return_state=True)
    if attends:
        states = _residual(sequence, states, "states") if spec.residual else states
        attend = {"states": _attend, "self": _transform}[str(spec.attention)]
        final[0] = attend(spec, states, final[0])
    elif spec.residual:
        final[0] = _residual(_last(sequence, "last_input"), final[0], "output")
    return top, final


def recurrent(spec: NetworkSpec, layer: Recurrent, name: str, steps: int, **options: Any) -> Any:
    """One recurrent layer, one way, with the defaults that cuDNN can run.

    Args:
        spec: Every field set.
        layer: Its cell and size.
        name: Of the layer.
        steps: That its states should be able to last, if gates start so.
        **options: Of the layer.
    """
    if spec.gate_bias == "chrono" and layer.cell != "rnn":
        options |= {"bias_initializer": Chrono(steps // layer.dilation)}
        options |= {"unit_forget_bias": False} if layer.cell == "lstm" else {}
    penalty = keras.regularizers.L1L2(spec.l1, spec.l2) if spec.l1 or spec.l2 else None
    return CELLS[layer.cell](
        layer.units,
        recurrent_dropout=spec.recurrent_dropout,
        kernel_regularizer=penalty,
        recurrent_regularizer=penalty,
        name=name,
        **options,
    )


def _layer(spec: NetworkSpec, layer: Recurrent, name: str, steps: int, **options: Any) -> Any:
    """One layer of the encoder, which may read both ways (Schuster & Paliwal 1997)."""
    one_way = recurrent(spec, layer, name, steps, **options)
    return layers.Bidirectional(one_way, name=name) if spec.bidirectional else one_way


def _run(layer: Any, dilation: int, sequence: Any, mask: Any) -> list[Any]:
    """Return what a layer gives, its output first; with a dilation d, a state follows that d before.

    Every d-th step then is a sequence of its own (Chang et al. 2017, arXiv 1710.02224, eq. 1 and
    sec. 2.1), and all of them run side by side; the final state is that of the last step.
    """
    if dilation == 1:
        outputs = layer(sequence, mask=mask)
        return list(outputs) if layer.return_state else [outputs]
    steps = sequence.shape[1] // dilation
    apart = _swapped(sequence, steps, dilation, f"{layer.name}_apart")  # (window, d, step, feature)
    apart = Regroup((steps, sequence.shape[2]), name=f"{layer.name}_each")(apart)
    outputs = layer(apart)  # (window * d, step, unit)
    states, *final = outputs if layer.return_state else [outputs]
    if layer.return_sequences:
        units = states.shape[-1]
        states = _swapped(states, dilation, steps, f"{layer.name}_woven")  # (window, step, d, unit)
        states = Regroup((steps * dilation, units), name=f"{layer.name}_steps")(states)
    for place, state in enumerate(final):
        name = f"{layer.name}_final_{place}"
        phases = Regroup((dilation, state.shape[-1]), name=f"{name}_phases")(state)
        final[place] = _last(phases, name)
    return [states, *final]


def _swapped(values: Any, outer: int, inner: int, name: str) -> Any:
    """Split steps into two axes and swap these `(window, inner, outer, feature)`."""
    split = Regroup((outer, inner, values.shape[-1]), name=f"{name}_split")(values)
    return layers.Permute((2, 1, 3), name=name)(split)


def _last(sequence: Any, name: str) -> Any:
    """Take the last step `(window, feature)`."""
    step = Slice(1, -1, None, name=f"{name}_step")(sequence)
    return Regroup((sequence.shape[-1],), name=name)(step)


def _merged(final: list[Any], units: int) -> list[Any]:
    """Map the final states of both ways to one of the size of each."""
    half = len(final) // 2
    both = [
        layers.Concatenate(name=f"both_ways_{place}")(list(pair))
        for place, pair in enumerate(zip(final[:half], final[half:], strict=True))
    ]
    return [layers.Dense(units, name=f"state_{place}")(state) for place, state in enumerate(both)]


def _residual(before: Any, after: Any, name: str) -> Any:
    """Add what went in, mapped to the same size where it has another (He et al. 2016, eq. 2)."""
    if before.shape[-1] != after.shape[-1]:
        before = layers.Dense(after.shape[-1], name=f"{name}_shortcut")(before)
    return layers.Add(name=f"{name}_residual")([before, after])


def _heads(spec: NetworkSpec, units: int) -> Any:
    """Scaled dot-product attention of several heads (Vaswani et al. 2017, arXiv 1706.03762, eq. 1)."""
    heads = int(spec.heads or 1)
    return layers.MultiHeadAttention(heads, units // heads, name="attention")


def _attend(spec: NetworkSpec, states: Any, output: Any) -> Any:
    """Have the final output attend to all states (Luong et al. 2015, arXiv 1508.04025, eq. 5, 7, 8).

    The score is the paper's `general` one, its matrix written as a product of two; of several heads.
    """
    units = states.shape[-1]
    query = Regroup((1, units), name="query")(output)
    context = Regroup((units,), name="attended")(_heads(spec, units)(query, states))
    both = layers.Concatenate(name="context_and_output")([context, output])
    return layers.Dense(units, activation="tanh", name="attentional")(both)


def _transform(spec: NetworkSpec, states: Any, _: Any) -> Any:
    """Return the last step of a Transformer block (Vaswani et al. 2017, sec. 3), normalised first.

    Normalisation comes first as in Xiong et al. 2020 (arXiv 2002.04745). No step but the last is read
    by the decoders, so that no other one's query is computed; the cells know the order of steps.
    """
    units, rate = states.shape[-1], spec.stack[-1].dropout
    normed = layers.LayerNormalization(name="attention_norm")(states)
    query = Slice(1, -1, None, name="query")(normed)  # (window, 1, unit)
    attended = _heads(spec, units)(query, normed)
    attended = Dropout(rate, name="attention_dropout")(attended)
    last = Slice(1, -1, None, name="last_state")(states)
    last = layers.Add(name="attention_residual")([last, attended])
    wide = layers.LayerNormalization(name="feed_forward_norm")(last)
    wide = layers.Dense(FEED_FORWARD * units, activation="relu", name="feed_forward_in")(wide)
    narrow = layers.Dense(units, name="feed_forward_out")(wide)
    narrow = Dropout(rate, name="feed_forward_dropout")(narrow)
    block = layers.Add(name="feed_forward_residual")([last, narrow])
    return Regroup((units,), name="transformed")(block)
