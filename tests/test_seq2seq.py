"""The recurrent decoder: fed its own output, or in training the truth."""

import numpy as np
import pytest
from series_made import QUICK, panel_of
from test_networks import BASE, inputs, shaken

from forecaster import compiling, presets, splits, training, weights
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.networks.builder import build
from forecaster.networks.onnx_graph import to_onnx
from forecaster.runtime import Network
from forecaster.windows import rows_after

SPEC = BASE.model_copy(update={"decoder": "recurrent"})
PARTS = [
    ("rnn", "season", "none", 1, 2, 0),
    ("lstm", "linear", "revin", 4, 2, 3),
    ("gru", "linear", "spread", 4, 2, 3),
    ("gru", "none", "last", 1, 0, 0),
]


def changed(**settings):
    return SPEC.model_copy(update=settings)


@pytest.mark.parametrize(("cell", "skip", "normalise", "segment", "known", "series"), PARTS)
def test_onnx_computes_what_keras_does(cell, skip, normalise, segment, known, series):
    spec = changed(cell=cell, skip=skip, normalise=normalise, segment=segment)
    network = shaken(build(spec, 3, known, series, static=known))
    arrays = inputs(known, series=series, static=known)
    expected = np.asarray(network(arrays if len(arrays) > 1 else arrays[0]))
    graph = Network(to_onnx([network]))
    named = dict(zip([tensor.name for tensor in network.inputs], arrays, strict=True))
    if series:
        named["series"] = named["series"][:, 0]
    found = graph(**named)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.ptp(found, axis=1).min() > 1e-3  # steps differ


@pytest.mark.slow  # two seconds each: more networks of what is tested above
@pytest.mark.parametrize(
    ("settings", "together"),
    [
        ({"cell": "rnn-lstm", "bidirectional": True, "skip": "none"}, 1),
        ({"attention": "states", "heads": 2, "residual": True, "known": 2}, 1),
        ({"skip": "season", "known": 1, "direction": True}, 2),
    ],
)
def test_other_encoders_and_series_together_go_with_it(settings, together):
    known = settings.get("known", 0)
    spec = changed(**{key: value for key, value in settings.items() if key != "known"})
    network = shaken(build(spec, 1, known, together=together))
    arrays = inputs(known, windows=4, features=1)
    expected = np.asarray(network(arrays if known else arrays[0]))
    named = dict(zip([tensor.name for tensor in network.inputs], arrays, strict=True))
    found = Network(to_onnx([network]))(**named)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert expected.shape == (4, 12, 3 + spec.direction)


def test_an_ensemble_forecasts_the_median_of_its_members():
    networks = [shaken(build(SPEC, 1), seed) for seed in range(3)]
    (context,) = inputs(0, features=1)
    each = np.stack([np.asarray(network(context)) for network in networks])
    found = Network(to_onnx(networks))(context)
    np.testing.assert_allclose(found, np.median(each, axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("skip", ["linear", "none"])
def test_an_untrained_network_forecasts_its_starting_point(skip):
    (context,) = inputs(0, features=1)
    forecast = np.asarray(build(changed(skip=skip, skip_lag=5), 1)(context))
    season = np.tile(context[:, -5:, 0], (1, 3))[:, :12]
    start = season if skip != "none" else np.repeat(context[:, -1:, 0], 12, axis=1)
    np.testing.assert_allclose(forecast, np.repeat(start[:, :, None], 3, axis=2), atol=1e-5)


def textbook(network, context):
    """Roll a GRU over the horizon by hand: its own last point in, its next out."""
    decoder = network.get_layer("recurrent_decoder")
    kernel, recurrent, bias = decoder.recurrent.get_weights()
    head, offset = decoder.head.get_weights()
    _, state = network.get_layer("recurrent_2")(
        network.get_layer("recurrent_1")(context - context[:, -1:])
    )
    state, last, units = np.asarray(state), context[:, -1] * 0, recurrent.shape[0]
    made = []
    for _ in range(12):
        new, old = last @ kernel + bias[0], state @ recurrent + bias[1]
        update, reset = (
            1 / (1 + np.exp(-(new + old)[:, part * units : (part + 1) * units])) for part in (0, 1)
        )
        candidate = np.tanh(new[:, 2 * units :] + reset * old[:, 2 * units :])
        state = update * state + (1 - update) * candidate
        made.append(state @ head + offset)
        last = made[-1][:, :1]
    return np.stack(made, axis=1) + context[:, -1:]


def test_the_decoder_is_the_textbooks():
    network = shaken(build(changed(segment=1, skip="none"), 1))
    (context,) = inputs(0, features=1)
    found = np.asarray(network(context))
    np.testing.assert_allclose(found, textbook(network, context), rtol=1e-4, atol=1e-5)


def test_only_training_sees_the_truth_and_only_of_earlier_steps():
    network = shaken(build(changed(dropout=(0.0,)), 1, teacher_forcing=1.0))
    (context,) = inputs(0, features=1)
    truth = np.random.default_rng(2).normal(size=(5, 12, 1)).astype("float32")
    other = truth.copy()
    other[:, 4:8] += 1  # the second of three segments

    def run(said, training):
        return np.asarray(network([context, said], training=training))

    plain = build(changed(dropout=(0.0,)), 1)
    assert [each.path for each in plain.weights] == [each.path for each in network.weights]
    assert len(plain.variables) == len(network.variables)
    plain.set_weights(network.get_weights())
    np.testing.assert_allclose(run(truth, False), np.asarray(plain(context)), atol=1e-6)
    np.testing.assert_array_equal(run(truth, False), run(other, False))
    before, after = run(truth, True), run(other, True)
    np.testing.assert_array_equal(before[:, :8], after[:, :8])
    assert (before[:, 8:] != after[:, 8:]).all()


def test_the_share_of_steps_that_see_the_truth_is_kept():
    """Steps of the last segment depend on the truth before it where a coin said so."""
    network = shaken(build(changed(dropout=(0.0,)), 1, teacher_forcing=0.3))
    context, *_ = inputs(0, windows=600, features=1)
    truth = np.random.default_rng(2).normal(size=(600, 12, 1)).astype("float32")
    own, mixed = (np.asarray(network([context, truth], training=said)) for said in (False, True))
    seen = np.abs(mixed - own).max(axis=2) > 1e-6
    assert not seen[:, :4].any()
    assert 0.2 < seen[:, 4].mean() < 0.4  # standard error .02
    forced = build(changed(dropout=(0.0,)), 1, teacher_forcing=1.0)
    forced.set_weights(network.get_weights())
    always = np.asarray(forced([context, truth], training=True))
    some = (np.abs(mixed - always).max(axis=2) < 1e-6)[:, 4]
    np.testing.assert_array_equal(some, seen[:, 4])


def test_recurrent_dropout_reaches_the_decoder():
    network = build(changed(recurrent_dropout=0.5, dropout=(0.0,)), 1, teacher_forcing=0.5)
    shaken(network)
    (context,) = inputs(0, features=1)
    truth = np.zeros((5, 12, 1), dtype="float32")
    runs = [np.asarray(network([context, truth], training=True)) for _ in range(2)]
    assert np.abs(runs[0] - runs[1]).max() > 0
    assert np.isfinite(runs[0]).all()


def fitted(panel, **settings):
    config = presets.resolve(Config.of(**QUICK | {"decoder": "recurrent"} | settings), panel)
    return training.fit(panel, config, splits.of_config(panel, config))


@pytest.mark.slow  # six seconds each; the rest of this file has what differs between cells
@pytest.mark.parametrize("cell", ["gru", "rnn", "lstm"])
def test_it_learns_what_the_mean_cannot(cell):
    panel = panel_of("a")
    settings = {"segment": 2, "epochs": 30, "learning_rate": 0.02, "skip": "none"}
    model = fitted(panel, cell=cell, **settings)
    parts = splits.of_config(panel, model.config)
    cutoffs = splits.test_cutoffs(panel, parts, 16, 4, step=1, folds=5)
    truth = panel.y[rows_after(cutoffs, 4)]
    error = np.abs(truth - model.forecast(panel, cutoffs).values).mean()
    assert error < 0.5 * np.abs(truth - panel.y.mean()).mean()
    (network,) = weights.networks_of(model)
    context = np.random.default_rng(0).normal(size=(3, 16, 1)).astype("float32")
    np.testing.assert_allclose(np.asarray(network(context)), model.network(context), atol=1e-5)


def test_the_share_asked_for_is_trained_with(monkeypatch):
    asked = []

    def told(*_, teacher_forcing, **__):
        asked.append(teacher_forcing)
        raise ZeroDivisionError

    monkeypatch.setattr(compiling, "build", told)
    with pytest.raises(ZeroDivisionError):
        fitted(panel_of("a"), teacher_forcing=0.25)
    assert asked == [0.25]


def test_the_preset_is_an_encoder_decoder_of_single_steps():
    resolved = presets.resolve(Config.of(preset="seq2seq"), panel_of("a", rows=600))
    assert (resolved.network.segment, resolved.network.decoder) == (1, "recurrent")
    assert resolved.network.lookback == 60
    assert resolved.training.teacher_forcing == presets.TEACHER_FORCING
    other = presets.resolve(Config.of(preset="segment"), panel_of("a", rows=600))
    assert other.training.teacher_forcing is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"decoder": "direct", "teacher_forcing": 0.5}, "--teacher-forcing needs a decoder"),
        ({"decoder": "recurrent", "segment": 5, "lookback": 20, "horizon": 4}, "segment 5"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, said):
    with pytest.raises(InvalidInputError, match=said):
        presets.resolve(Config.of(preset="segment", **settings), panel_of("a", rows=300))
