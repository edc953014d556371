"""The builder and the ONNX graph: every cell and every part, against each other."""

import numpy as np
import pytest

from forecaster.backend import import_keras
from forecaster.config import NetworkSpec
from forecaster.networks.builder import build
from forecaster.networks.onnx_graph import to_onnx
from forecaster.runtime import Network

keras = import_keras()

BASE = NetworkSpec(
    cell="gru",
    layers=(8, 6),
    lookback=24,
    horizon=12,
    segment=4,
    normalise="last",
    decoder="parallel",
    skip="linear",
    skip_lag=6,
    series_vectors=False,
    quantiles=(0.1, 0.9),
    dropout=0.2,
)
PARTS = [
    (cell, decoder, normalise, skip, known, series)
    for cell, skip in (("rnn", "none"), ("lstm", "season"), ("gru", "linear"))
    for decoder in ("direct", "parallel")
    for normalise in ("last", "season", "spread", "revin", "none")
    for known, series in ((0, 0), (2, 3))
]


def inputs(known, windows=5, features=3, series=0, static=0):
    """Return the arrays that a network takes: contexts, known steps, places of series."""
    random = np.random.default_rng(1)
    arrays = [random.normal(size=(windows, 24, features)).astype("float32")]
    if known:
        arrays.append(random.normal(size=(windows, 12, known)).astype("float32"))
    if series:
        arrays.append(np.arange(-1, windows - 1, dtype="int32")[:, None] % series - (windows > 9))
        arrays[-1][0] = -1
    if static:
        arrays.append(random.normal(size=(windows, static)).astype("float32"))
    return arrays


def shaken(network, seed=0):
    """Move all weights off their initial values, so that biases and gains count."""
    random = np.random.default_rng(seed)
    for weight in network.weights:
        weight.assign(weight.numpy() + random.normal(0, 0.2, weight.shape))
    return network


@pytest.mark.parametrize(("cell", "decoder", "normalise", "skip", "known", "series"), PARTS)
def test_onnx_computes_what_keras_does(cell, decoder, normalise, skip, known, series):
    changed = {"cell": cell, "decoder": decoder, "normalise": normalise, "skip": skip}
    network = build(BASE.model_copy(update=changed), 3, known, series, static=known)
    arrays = inputs(known, series=series, static=known)
    expected = np.asarray(shaken(network)(arrays if known else arrays[0]))
    graph = Network(to_onnx([network]))
    context, future, places, static = arrays if known else (arrays[0], None, np.zeros((1, 1)), None)
    found = graph(context, future, places[:, 0], static)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert graph.context_shape == (24, 3)
    assert graph.future_features == known
    assert graph.knows_series == bool(series)
    assert graph.static_features == known
    assert graph.output_shape == (12, 3)


STACKS = {
    "bidirectional": {"bidirectional": True},
    "residual": {"residual": True},
    "dilated": {"dilations": (1, 3)},
    "states": {"attention": "states", "heads": 2},
    "self": {"attention": "self", "heads": 3},
    "plain": {},
    "all with states": {
        "bidirectional": True,
        "residual": True,
        "dilations": (3, 2),
        "attention": "states",
    },
    "all with self": {
        "bidirectional": True,
        "residual": True,
        "dilations": (2, 3),
        "attention": "self",
        "heads": 2,
    },
}


@pytest.mark.parametrize(
    ("stack", "cell", "decoder"),
    [
        (stack, *case)
        for stack in STACKS
        for case in (
            [("rnn", "direct"), ("lstm", "recurrent"), ("gru", "parallel")]
            if stack.startswith("all")
            else [("lstm-gru", "direct"), ("lstm-gru", "parallel")]
        )
    ],
)
def test_every_stack_computes_in_onnx_what_it_does_in_keras(cell, decoder, stack):
    changed = {"cell": cell, "decoder": decoder, **STACKS[stack]}
    network = shaken(build(BASE.model_copy(update=changed), 2))
    (context,) = inputs(0, features=2)
    expected = np.asarray(network(context))
    found = Network(to_onnx([network]))(context)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 0  # every output depends on the context


@pytest.mark.parametrize("normalise", ["last", "season", "spread", "revin"])
def test_every_window_is_forecast_as_if_it_were_alone(normalise):
    """Also three windows of three outputs, which Keras' own addition mixes up."""
    network = shaken(build(BASE.model_copy(update={"normalise": normalise}), 1))
    (context,) = inputs(0, windows=3, features=1)
    alone = [np.asarray(network(context[[window]]))[0] for window in range(3)]
    np.testing.assert_allclose(np.asarray(network(context)), alone, atol=1e-5)


@pytest.mark.parametrize("members", [2, 3, 4])
def test_an_ensemble_forecasts_the_median_of_its_members(members):
    networks = [shaken(build(BASE, 1), seed) for seed in range(members)]
    (context,) = inputs(0, features=1)
    single = np.stack([np.asarray(network(context)) for network in networks])
    ensemble = Network(to_onnx(networks))(context)
    np.testing.assert_allclose(ensemble, np.median(single, axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("decoder", ["direct", "parallel"])
@pytest.mark.parametrize("skip", ["season", "linear"])
def test_an_untrained_network_repeats_the_last_season(decoder, skip):
    spec = BASE.model_copy(update={"decoder": decoder, "skip": skip, "skip_lag": 5})
    (context,) = inputs(0, features=1)
    season = np.tile(context[:, -5:, 0], (1, 3))[:, :12]
    forecast = np.asarray(build(spec, 1)(context))
    np.testing.assert_allclose(forecast, np.repeat(season[:, :, None], 3, axis=2), atol=1e-5)


def test_an_untrained_network_without_a_skip_repeats_the_last_value():
    (context,) = inputs(0, features=1)
    forecast = np.asarray(build(BASE.model_copy(update={"skip": "none"}), 1)(context))
    np.testing.assert_allclose(forecast, np.broadcast_to(context[:, -1:], forecast.shape))


def test_a_series_without_a_vector_is_forecast_as_if_it_were_zero():
    network = shaken(build(BASE, 1, series=2))
    (context,) = inputs(0, features=1)
    unknown, known = (np.full((5, 1), place, dtype="int32") for place in (-1, 1))
    before = np.asarray(network([context, known]))
    apart = np.asarray(network([context, unknown]))
    table = network.get_layer("series_vectors").table
    table.assign(np.zeros(table.shape))
    np.testing.assert_allclose(np.asarray(network([context, known])), apart, atol=1e-6)
    assert np.abs(before - apart).max() > 0


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_recurrent_layers_become_fused_operators(cell):
    import onnx

    network = build(BASE.model_copy(update={"cell": cell}), features=1)
    operators = [node.op_type for node in onnx.load_from_string(to_onnx([network])).graph.node]
    assert operators.count({"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}[cell]) == 2
    assert "Loop" not in operators


@pytest.mark.parametrize(("cell", "gates"), [("rnn", 1), ("lstm", 4), ("gru", 3)])
def test_the_parallel_decoder_computes_once_what_its_positions_share(cell, gates):
    """Its state is multiplied once a window; inputs that no window changes are a constant."""
    import onnx

    network = build(BASE.model_copy(update={"cell": cell}), features=1)
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(to_onnx([network]))).graph
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in graph.value_info
    }
    kernels = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    assert [
        (kernels[node.input[1]], shapes[node.output[0]][1:])
        for node in products
        if kernels[node.input[1]][1] == gates * 6
    ] == [([6, gates * 6], [1, gates * 6])]
    assert [1, 3, gates * 6] in kernels.values()  # (1, position, gate * unit)


def test_an_unknown_layer_is_refused():
    context = keras.Input((24, 1), name="context")
    network = keras.Model(context, keras.layers.Conv1D(1, 3)(context))
    with pytest.raises(TypeError, match="Conv1D"):
        to_onnx([network])


CHANGES = {
    "cell": "lstm",
    "layers": (8, 7),
    "lookback": 20,
    "horizon": 8,
    "segment": 2,
    "normalise": "revin",
    "skip": "season",
    "skip_lag": 5,
    "quantiles": (),
    "direction": True,
    "decoder": "direct",
    "dropout": (0.3,),
    "recurrent_dropout": 0.3,
    "gate_bias": "chrono",
    "bidirectional": True,
    "residual": True,
    "dilations": (1, 2),
    "attention": "states",
    "heads": 2,
    "l1": 0.1,
    "l2": 0.1,
    "padding": "mask",
}
NOT_BUILT = {
    "preset",  # only a starting point: resolved into the other fields
    "calendar_features",  # adds input columns: test_training
    "series_vectors",  # adds an input: test_training
    "joint",  # which windows are one: test_joint
    "min_context",  # which windows there are: test_padding
}


@pytest.mark.parametrize("field", sorted(NetworkSpec.model_fields.keys() - NOT_BUILT))
def test_every_field_changes_the_network(field):
    base = BASE.model_copy(update={"attention": "self"} if field == "heads" else {})
    changed = base.model_copy(update={field: CHANGES[field]})
    assert described(build(changed, 2)) != described(build(base, 2))


def described(network):
    layers = [(layer.__class__.__name__, layer.name, settings(layer)) for layer in network.layers]
    return (layers, network.input_shape, network.output_shape)


def settings(layer):
    names = ("units", "rate", "recurrent_dropout", "shape", "positions", "return_sequences")
    penalties = [getattr(layer, f"{name}_regularizer", None) for name in ("kernel", "recurrent")]
    penalties = [each and each.get_config() for each in penalties]
    kernel = getattr(layer, "kernel", None) if layer.name == "skip" else None
    biases = type(getattr(layer, "bias_initializer", None)).__name__
    more = (kernel, penalties, getattr(layer, "num_heads", None), biases)
    return [*(str(getattr(layer, name, None)) for name in names), *map(str, more)]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gates_may_start_so_that_states_last_as_long_as_the_context(cell):
    """Tallec & Ollivier 2018: a unit that keeps 1 - 1/T of its state remembers for T steps."""
    units, steps = 500, 40
    spec = {"cell": cell, "layers": (units, units), "dilations": (1, 2), "gate_bias": "chrono"}
    network = build(BASE.model_copy(update=spec | {"lookback": steps, "segment": 1}), 1)
    for number, longest in ((1, steps - 1), (2, steps // 2 - 1)):
        bias = np.asarray(network.get_layer(f"recurrent_{number}").get_weights()[-1])
        if cell == "lstm":
            entering, kept, *others = np.split(bias, 4)
            np.testing.assert_array_equal(entering, -kept)
        else:
            (kept, *others), of_state = np.split(bias[0], 3), bias[1]
            others.append(of_state)
        assert not any(map(np.any, others))
        lasting = 1 + np.exp(kept)  # steps: 1 / (1 - sigmoid(bias))
        assert 2 <= lasting.min() < lasting.max() <= longest + 1
        assert lasting.mean() == pytest.approx(1 + (1 + longest) / 2, rel=0.1)


def test_a_stack_returns_sequences_on_all_but_the_last():
    network = build(BASE.model_copy(update={"layers": (4, 5, 6), "decoder": "direct"}), 1)
    flags = [network.get_layer(f"recurrent_{n}").return_sequences for n in (1, 2, 3)]
    assert flags == [True, True, False]


@pytest.mark.parametrize("decoder", ["direct", "parallel"])
def test_last_value_normalisation_shifts_with_the_series(decoder):
    network = shaken(build(BASE.model_copy(update={"decoder": decoder}), features=1))
    (context,) = inputs(0, features=1)
    np.testing.assert_allclose(
        np.asarray(network(context + 5)), np.asarray(network(context)) + 5, rtol=1e-4, atol=1e-4
    )


def test_revin_scales_with_the_series():
    network = build(BASE.model_copy(update={"normalise": "revin"}), features=1)
    (context,) = inputs(0, features=1)
    np.testing.assert_allclose(
        np.asarray(network(10 * context + 5)),
        10 * np.asarray(network(context)) + 5,
        rtol=1e-2,
        atol=1e-2,
    )


def test_spread_scales_with_the_changes_from_season_to_season():
    network = shaken(build(BASE.model_copy(update={"normalise": "spread"}), features=1))
    (context,) = inputs(0, features=1)
    restless = 1e4 * context  # the least spread, for windows without a change, is too small to see
    np.testing.assert_allclose(
        np.asarray(network(10 * restless + 5)),
        10 * np.asarray(network(restless)) + 5,
        rtol=1e-3,
        atol=10,
    )
    still = np.tile(context[:, :6], (1, 4, 1))  # the last season is the one before
    assert np.isfinite(np.asarray(network(still))).all()


def test_known_features_reach_every_step():
    network = shaken(build(BASE, features=1, future_features=2))
    context, future = inputs(2, features=1)
    changed = future.copy()
    changed[:, -1] += 1
    before, after = np.asarray(network([context, future])), np.asarray(network([context, changed]))
    np.testing.assert_array_equal(before[:, :8], after[:, :8])
    assert (before[:, 8:] != after[:, 8:]).all()
