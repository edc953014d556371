"""From `NetworkSpec` to a Keras model: normalise, embed, encode, decode, skip, denormalise."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecaster.arrays import Floats
from forecaster.backend import import_keras
from forecaster.config import NetworkSpec
from forecaster.networks.encoder import encode, recurrent
from forecaster.networks.faster import Dropout
from forecaster.networks.feedback import RecurrentDecoder
from forecaster.networks.layers import (
    KnownAhead,
    KnownFirst,
    Plus,
    PositionInputs,
    Regroup,
    RepeatWindows,
    ReversibleNormalisation,
    SeriesVectors,
    Slice,
    SpreadNormalisation,
    TakeSteps,
)

keras = import_keras()
layers = keras.layers


def build(
    spec: NetworkSpec,
    features: int,
    future_features: int = 0,
    series: int = 0,
    static: int = 0,
    together: int = 1,
    teacher_forcing: float = 0.0,
) -> Any:
    """Build the network that a resolved spec describes.

    Untrained, it forecasts its starting point: the head begins at zero, so that the first forecast
    is the last value (`normalise`) or the last season (`skip`), and training learns the residual.

    Args:
        spec: Every field set (see `presets.resolve`).
        features: Columns of a context; the first is the target.
        future_features: Columns known ahead for each future step.
        series: Number of series that have a learnt vector; 0 for none.
        static: Features of each series that do not change.
        together: Series of a joint network: windows come time by time, of all series in their
            order, and cells and head see those of a time as one.
        teacher_forcing: Share of the steps at which a recurrent decoder sees the truth in training.

    Returns:
        A `keras.Model` from `context` `(window, lookback, feature)`, `future` `(window, horizon,
        future feature)` when there are any, `series` `(window, 1)` when there are vectors (-1 for
        a series that has none), `static` `(window, static feature)` when there are any, and with
        `padding = "mask"` `length` `(window, 1)`, the rows of each context that are known, and with
        teacher forcing `truth` `(window, horizon, 1)`, which only training looks at, to
        `(window, horizon, output)`: the point, then each quantile, then with `direction` the chance
        that the step is above the one before.
    """
    context = keras.Input((spec.lookback, features), name="context")
    inputs, future, vectors, length = [context], None, None, None
    if future_features:
        future = keras.Input((spec.horizon, future_features), name="future")
        inputs.append(future)
    if series:
        place = keras.Input((1,), dtype="int32", name="series")
        inputs.append(place)
        vectors = SeriesVectors(series, _decoder_units(spec), name="series_vectors")(place)
    if static:
        fixed = keras.Input((static,), name="static")
        inputs.append(fixed)
        embedded = layers.Dense(_decoder_units(spec), name="static_embed")(fixed)
        both = layers.Add(name="series_and_static")
        vectors = embedded if vectors is None else both([vectors, embedded])
    if spec.padding == "mask":
        length = keras.Input((1,), dtype="int32", name="length")
        inputs.append(length)
    target = Slice(2, 0, 1, name="target")(context)  # (window, lookback, 1)
    normalise, denormalise = _normalise(spec, target)
    own = sequence = normalise(target)
    start = _skip(spec, own)
    if features > 1:
        others = Slice(2, 1, None, name="others")(context)
        sequence = layers.Concatenate(axis=2, name="normalised")([own, others])
    sequence = _together(sequence, together)
    if future is not None:
        future = _together(future, together)
    top, state = encode(spec, *_embed(spec, sequence, length))
    outputs = together * (1 + len(spec.quantiles or ()) + spec.direction)
    if spec.decoder == "recurrent":
        truth = None
        if teacher_forcing:
            inputs.append(keras.Input((spec.horizon, 1), name="truth"))
            truth = normalise(inputs[-1])
        seen = [None if each is None else _together(each, together) for each in (own, start, truth)]
        decoded = _decode_recurrent(spec, state, future, vectors, outputs, seen, teacher_forcing)
    else:
        decode = {"direct": _decode_direct, "parallel": _decode_parallel}[str(spec.decoder)]
        decoded = decode(spec, top, state, future, vectors, outputs)
    output = _finished(spec, _apart(decoded, together), start, denormalise)
    name = f"{spec.preset}_{spec.cell}"
    return keras.Model(inputs if len(inputs) > 1 else context, output, name=name)


def _finished(spec: NetworkSpec, decoded: Any, start: Any, denormalise: Any) -> Any:
    """Add the starting point and denormalise; the chance of a step up takes part in neither."""
    values = Slice(2, 0, -1, name="values")(decoded) if spec.direction else decoded
    if start is not None:
        values = Plus(name="plus_skip")(values, start)
    values = denormalise(values)
    if not spec.direction:
        return values
    odds = Slice(2, -1, None, name="log_odds")(decoded)
    chance = layers.Activation("sigmoid", name="chance")(odds)
    return layers.Concatenate(axis=2, name="values_and_chance")([values, chance])


def _together(values: Any, series: int) -> Any:
    """Move the series of a time from the windows to the features.

    `(window * series, step, feature)` becomes `(window, step, series * feature)`.
    """
    if series == 1:
        return values
    _, steps, features = values.shape
    windows = Regroup((series, steps, features))(values)
    return Regroup((steps, series * features))(layers.Permute((2, 1, 3))(windows))


def _apart(values: Any, series: int) -> Any:
    """Undo `_together`."""
    if series == 1:
        return values
    _, steps, features = values.shape
    windows = Regroup((steps, series, features // series))(values)
    return Regroup((steps, features // series))(layers.Permute((2, 1, 3))(windows))


def _normalise(spec: NetworkSpec, target: Any) -> tuple[Any, Any]:
    """Return the functions that normalise values as those of the target, and map a forecast back."""
    if spec.normalise == "none":
        return lambda values: values, lambda forecast: forecast
    if spec.normalise in ("revin", "spread"):
        layer = (
            ReversibleNormalisation(name="revin")
            if spec.normalise == "revin"
            else SpreadNormalisation(int(spec.skip_lag or 1), name="spread")
        )
        return (
            lambda values: layer(values, target),
            lambda forecast: layer(forecast, target, inverse=True),
        )
    if spec.normalise == "last":
        level = Slice(1, -1, None, name="last")(target)  # (window, 1, 1)
    else:
        season = Slice(1, -int(spec.skip_lag or 1), None, name="last_season")(target)
        level = layers.GlobalAveragePooling1D(keepdims=True, name="season_mean")(season)
    less = layers.Subtract(name="less_level")
    return (
        lambda values: less([values, level]),
        lambda forecast: Plus(name="plus_level")(forecast, level),
    )


def _skip(spec: NetworkSpec, normalised: Any) -> Any:
    """Return what the cells' forecast is added to `(window, horizon, 1)`; None for nothing."""
    if spec.skip == "none":
        return None
    if spec.skip == "season":
        lookback, lag = int(spec.lookback or 0), int(spec.skip_lag or 1)
        steps = [lookback - lag + step % lag for step in range(int(spec.horizon or 0))]
        return TakeSteps(tuple(steps), name="skip")(normalised)
    flat = Regroup((int(spec.lookback or 0),), name="skip_context")(normalised)
    first = keras.initializers.Constant(_last_season(spec))
    linear = layers.Dense(spec.horizon, kernel_initializer=first, name="skip")(flat)
    return Regroup((int(spec.horizon or 0), 1), name="skip_steps")(linear)


def _last_season(spec: NetworkSpec) -> Floats:
    """Return the matrix that repeats the last season of a context `(lookback, horizon)`."""
    lookback, lag, horizon = (int(n or 1) for n in (spec.lookback, spec.skip_lag, spec.horizon))
    kernel = np.zeros((lookback, horizon), dtype=np.float32)
    steps = np.arange(horizon)
    kernel[lookback - lag + steps % lag, steps] = 1.0
    return kernel


def _embed(spec: NetworkSpec, sequence: Any, length: Any) -> tuple[Any, Any]:
    """Fold `segment` steps into one vector; the textbook network takes the steps as they are.

    Returns the sequence and the mask of its known steps, None where all are.
    """
    segment, units = int(spec.segment or 1), spec.layers[0]  # type: ignore[index]
    textbook = segment == 1 and spec.decoder != "parallel"
    if not textbook:
        steps = int(spec.lookback or 0) // segment
        sequence = Regroup((steps, segment * sequence.shape[2]), name="segments")(sequence)
    mask = None
    if length is not None:
        sequence, mask = KnownFirst(segment, name="known_first")(sequence, length)
    if not textbook:
        sequence = layers.Dense(units, activation="relu", name="embed")(sequence)
    return sequence, mask


def _decoder_units(spec: NetworkSpec) -> int:
    """Return the size of the vectors that the decoder adds up: its inputs, or the final state."""
    sizes = spec.layers or ()
    if spec.decoder != "parallel":
        return sizes[-1]
    return sizes[-2] if len(sizes) > 1 else sizes[0]


def _decode_direct(
    spec: NetworkSpec, _: Any, state: list[Any], future: Any, vectors: Any, outputs: int
) -> Any:
    """All steps at once from the final state, as the textbooks do."""
    features = state[0]
    if vectors is not None:
        features = layers.Add(name="state_and_series")([features, vectors])
    features = Dropout(spec.stack[-1].dropout, name="dropout_top")(features)
    if future is not None:
        flat = layers.Flatten(name="future_flat")(future)
        features = layers.Concatenate(name="state_and_future")([features, flat])
    horizon = int(spec.horizon or 0)
    steps = layers.Dense(horizon * outputs, kernel_initializer="zeros", name="head")(features)
    return Regroup((horizon, outputs), name="steps")(steps)


def _decode_parallel(
    spec: NetworkSpec, top: Any, state: list[Any], future: Any, vectors: Any, outputs: int
) -> Any:
    """One more step of the top layer for each future segment, all from the same final state."""
    segment, units = int(spec.segment or 1), _decoder_units(spec)
    positions = int(spec.horizon or 0) // segment
    inputs = PositionInputs(positions, units, name="positions")(state[0])
    if future is not None:
        width = segment * future.shape[-1]
        folded = KnownAhead(positions, width, name="future_segments")(future)
        known = layers.Dense(units, name="future_embed")(folded)
        inputs = layers.Add(name="position_and_future")([inputs, known])
    if vectors is not None:
        repeated = RepeatWindows(positions, units, name="series_repeat")(vectors)
        steps = Regroup((1, units), name="series_steps")(repeated)
        inputs = layers.Add(name="position_and_series")([inputs, steps])
    repeat = RepeatWindows(positions, top.units, name="repeat")
    decoded, *_ = top(inputs, initial_state=[repeat(part) for part in state])
    decoded = Dropout(spec.stack[-1].dropout, name="dropout_top")(decoded)
    # (window * position, segment * output)
    pieces = layers.Dense(segment * outputs, kernel_initializer="zeros", name="head")(decoded)
    return Regroup((int(spec.horizon or 0), outputs), name="steps")(pieces)


def _decode_recurrent(
    spec: NetworkSpec,
    state: list[Any],
    future: Any,
    vectors: Any,
    outputs: int,
    seen: list[Any],
    teacher_forcing: float,
) -> Any:
    """Segment after segment, each from the one before it, as an encoder-decoder does.

    Args:
        spec: Every field set.
        state: Of the encoder's top layer, in which a layer of the same size starts.
        future: Known ahead, or None.
        vectors: Of series, added to that state, or None.
        outputs: Numbers forecast for each step.
        seen: The target of the context, what the forecast is added to and the truth, all normalised
            `(window, step, series)`; the latter two may be None.
        teacher_forcing: See `build`.
    """
    segment, horizon, known = int(spec.segment or 1), int(spec.horizon or 0), 0
    positions = horizon // segment
    target, start, truth = seen
    last, width = spec.stack[-1], segment * target.shape[2]
    if vectors is not None:
        state = [layers.Add(name="state_and_series")([state[0], vectors]), *state[1:]]
    if future is not None:
        known = segment * future.shape[-1]
        future = Regroup((positions, known), name="future_segments")(future)
    latest = Slice(1, -segment, None, name="latest")(target)
    latest = Regroup((width,), name="first_input")(latest)
    head = layers.Dense(segment * outputs, kernel_initializer="zeros", name="head")
    decoder = RecurrentDecoder(
        recurrent(spec, last, "decoder_layer", positions, return_sequences=True, return_state=True),
        head,
        width,
        positions,
        known,
        teacher_forcing,
        name="recurrent_decoder",
    )
    decoded = decoder(state, latest, start=start, future=future, truth=truth)
    decoded = Dropout(last.dropout, name="dropout_top")(decoded)
    return Regroup((horizon, outputs), name="steps")(head(decoded))
