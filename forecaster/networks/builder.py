"""From `NetworkSpec` to a Keras model: normalise, embed, encode, decode, denormalise."""

from __future__ import annotations

from typing import Any

from forecaster.backend import import_keras
from forecaster.config import NetworkSpec
from forecaster.networks.layers import (
    PositionInputs,
    Regroup,
    RepeatWindows,
    ReversibleNormalisation,
    Slice,
)

keras = import_keras()
layers = keras.layers

CELLS = {"rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}


def build(spec: NetworkSpec, features: int, future_features: int = 0) -> Any:
    """Build the network that a resolved spec describes.

    Args:
        spec: Every field set (see `presets.resolve`).
        features: Columns of a context; the first is the target.
        future_features: Columns known ahead for each future step.

    Returns:
        A `keras.Model` from `(window, lookback, feature)`, and `(window, horizon, future feature)`
        when there are any, to the target's `(window, horizon)`.
    """
    context = keras.Input((spec.lookback, features), name="context")
    inputs, future = context, None
    if future_features:
        future = keras.Input((spec.horizon, future_features), name="future")
        inputs = [context, future]
    target = Slice(2, 0, 1, name="target")(context)  # (window, lookback, 1)
    normalised, denormalise = _normalise(spec, context, target, features)
    sequence = _embed(spec, normalised, features)
    top, state = _encode(spec, sequence)
    decode = {"direct": _decode_direct, "parallel": _decode_parallel}[str(spec.decoder)]
    forecast = decode(spec, top, state, future)
    return keras.Model(inputs, denormalise(forecast), name=f"{spec.preset}_{spec.cell}")


def _normalise(spec: NetworkSpec, context: Any, target: Any, features: int) -> tuple[Any, Any]:
    """Return the normalised context and the function that maps a forecast back."""
    if spec.normalise == "none":
        return context, lambda forecast: forecast
    if spec.normalise == "revin":
        revin = ReversibleNormalisation(name="revin")
        normalised = revin(target, target)

        def denormalise(forecast: Any) -> Any:
            return revin(forecast, target, inverse=True)
    else:
        last = Slice(1, -1, None, name="last")(target)  # (window, 1, 1)
        normalised = layers.Subtract(name="less_last")([target, last])

        def denormalise(forecast: Any) -> Any:
            return layers.Add(name="plus_last")([forecast, Regroup((1,), name="last_flat")(last)])

    if features > 1:
        others = Slice(2, 1, None, name="others")(context)
        normalised = layers.Concatenate(axis=2, name="normalised")([normalised, others])
    return normalised, denormalise


def _embed(spec: NetworkSpec, sequence: Any, features: int) -> Any:
    """Fold `segment` steps into one vector; the textbook network takes the steps as they are."""
    segment, units = int(spec.segment or 1), spec.layers[0]  # type: ignore[index]
    if segment == 1 and spec.decoder == "direct":
        return sequence
    steps = int(spec.lookback or 0) // segment
    folded = Regroup((steps, segment * features), name="segments")(sequence)
    return layers.Dense(units, activation="relu", name="embed")(folded)


def _encode(spec: NetworkSpec, sequence: Any) -> tuple[Any, list[Any]]:
    """Run the stack; return its top layer and that layer's final states."""
    units = spec.layers or ()
    for number, size in enumerate(units[:-1], 1):
        layer = _recurrent(spec, size, f"recurrent_{number}", return_sequences=True)
        sequence = layers.Dropout(spec.dropout, name=f"dropout_{number}")(layer(sequence))
    top = _recurrent(spec, units[-1], f"recurrent_{len(units)}", return_state=True)
    _, *state = top(sequence)
    return top, state


def _recurrent(spec: NetworkSpec, units: int, name: str, **options: bool) -> Any:
    """One recurrent layer with the defaults that cuDNN can run."""
    return CELLS[spec.cell](units, recurrent_dropout=spec.recurrent_dropout, name=name, **options)


def _decode_direct(spec: NetworkSpec, _: Any, state: list[Any], future: Any) -> Any:
    """All steps at once from the final state, as the textbooks do."""
    features = layers.Dropout(spec.dropout, name="dropout_top")(state[0])
    if future is not None:
        flat = layers.Flatten(name="future_flat")(future)
        features = layers.Concatenate(name="state_and_future")([features, flat])
    return layers.Dense(spec.horizon, name="head")(features)


def _decode_parallel(spec: NetworkSpec, top: Any, state: list[Any], future: Any) -> Any:
    """One more step of the top layer for each future segment, all from the same final state."""
    segment = int(spec.segment or 1)
    positions = int(spec.horizon or 0) // segment
    units = spec.layers[-2] if len(spec.layers or ()) > 1 else spec.layers[0]  # type: ignore[index]
    inputs = PositionInputs(positions, units, name="positions")(state[0])
    if future is not None:
        width = segment * future.shape[-1]
        folded = Regroup((1, width), name="future_segments")(future)  # (window * position, 1, .)
        known = layers.Dense(units, name="future_embed")(folded)
        inputs = layers.Add(name="position_and_future")([inputs, known])
    repeat = RepeatWindows(positions, top.units, name="repeat")
    decoded, *_ = top(inputs, initial_state=[repeat(part) for part in state])
    decoded = layers.Dropout(spec.dropout, name="dropout_top")(decoded)
    pieces = layers.Dense(segment, name="head")(decoded)  # (window * position, segment)
    return Regroup((int(spec.horizon or 0),), name="steps")(pieces)
