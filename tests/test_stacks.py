"""Every kind of recurrent stack learns, and one that cannot be built is refused in words."""

import numpy as np
import pytest
from series_made import QUICK, panel_of

from forecaster import compiling, presets, scaling, splits, training
from forecaster.cli import tables
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.networks.builder import build
from forecaster.windows import rows_after

CELLS = ["rnn", "lstm", "gru"]
CLASSIC = {"preset": "classic", "segment": None, "layers": (12, 12), "dropout": 0}
STACKS = {
    "hybrid": {"preset": "hybrid", "segment": 2, "layers": (16,)},
    "attention": {"preset": "attention", "segment": 2, "layers": (16,)},
    "dilated": CLASSIC | {"dilations": "1,2"},
    "bidirectional": CLASSIC | {"bidirectional": True},
    "residual": CLASSIC | {"residual": True},
    "penalised": CLASSIC | {"l1": 1e-5, "l2": 1e-4, "recurrent_dropout": 0.05},
    "clipped by value": CLASSIC | {"clip_value": 0.5},
}
CASES = [(name, cell) for name in STACKS for cell in CELLS]


def resolved(panel, **settings):
    return presets.resolve(Config.of(**QUICK | settings), panel)


def errors(panel, config):
    """Return the mean absolute error of a trained network and of the mean, on test rows."""
    parts = splits.of_config(panel, config)
    model = training.fit(panel, config, parts)
    cutoffs = splits.test_cutoffs(panel, parts, 16, 4, step=1, folds=5)
    truth = panel.y[rows_after(cutoffs, 4)]
    means = np.repeat([part.mean() for part in np.split(panel.y, panel.offsets[1:-1])], 5)[:, None]
    return np.abs(truth - model.forecast(panel, cutoffs).values).mean(), np.abs(
        truth - means
    ).mean()


@pytest.mark.slow(share=22)  # some minutes for all, ten seconds each
@pytest.mark.parametrize(("stack", "cell"), [*CASES, ("residual", "rnn-lstm")])
def test_every_stack_learns_what_the_mean_cannot(stack, cell):
    panel = panel_of("a", "b", rows=240)
    asked = {"cell": cell, "epochs": 25, "learning_rate": 0.01, **STACKS[stack]}
    config = resolved(panel, skip="none", **asked)  # nothing but the cells can know the wave
    by_network, by_mean = errors(panel, config)
    assert by_network < 0.5 * by_mean


@pytest.mark.slow(share=0)  # compiling takes half a minute; test_training has XLA for a plain stack
def test_every_part_trains_alike_under_xla(compiled_anew, monkeypatch):
    asked = {
        **{"attention": "self", "bidirectional": True, "residual": True, "dilations": "1,2"},
        **{
            "cell": "rnn-lstm",
            "layers": "8,6",
            "segment": 2,
            "dropout": 0,
            "epochs": 1,
            "l2": 0.01,
        },
    }
    panel = panel_of("a", "b")
    config, losses = resolved(panel, **asked), []
    for limit in (0, 1e12):
        monkeypatch.setattr(compiling, "XLA_PAYS", limit)
        trained = training.fit(panel, config, splits.of_config(panel, config)).trained
        assert trained.compiled is (limit == 0)
        losses.append(trained.members[0].history["loss"][-1])
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"cell": "rnn-lstm"}, "cell rnn-lstm is for 2 layers, but layers 8 has 1", "--cell"),
        ({"dropout": "0.1,0.2,0"}, "dropout 0.1,0.2,0.0 is for 3 layers", "--dropout"),
        ({"dilations": "1,2"}, "dilations 1,2 is for 2 layers", "change --layers"),
        (
            {"dilations": 3},
            "dilation 3 of layer 1 does not divide the 4 recurrent steps",
            "lookback",
        ),
        ({"lookback": 4, "attention": "self"}, "attention self needs at least 2", "--segment"),
        ({"heads": 2}, "heads 2 is for attention, but attention is none", "leave --heads out"),
        ({"heads": 3, "attention": "states"}, "heads 3 does not divide the 8 units", "--heads"),
        ({"clip_norm": 1, "clip_value": 1}, "clip_norm 1 and clip_value 1 both", "one of them"),
    ],
)
def test_a_stack_that_cannot_be_built_is_refused(settings, message, hint):
    with pytest.raises(InvalidInputError, match=message) as raised:
        resolved(panel_of("a"), **settings)
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({"cell": "rnn-lstm"}, (128, 128)),
        ({"dilations": "1,2,4"}, (128, 128, 128)),
        ({"cell": "rnn-lstm-gru", "preset": "classic"}, (50, 50, 50)),
        ({"preset": "classic"}, (50, 50)),
    ],
)
def test_layers_left_open_are_as_many_as_they_are_spoken_of(settings, layers):
    assert resolved(panel_of("a"), layers=None, segment=None, **settings).network.layers == layers


def test_the_stack_that_textbooks_draw():
    asked = CLASSIC | {"cell": "lstm", "layers": "128,128,64", "dropout": "0.5,0,0"}
    network = build(resolved(panel_of("a"), **asked).network, 1)
    sizes = {"LSTM": "units", "Dropout": "rate", "Dense": "units"}
    kinds = [(type(layer).__name__, layer) for layer in network.layers]
    assert [(kind, getattr(layer, sizes[kind])) for kind, layer in kinds if kind in sizes] == [
        *(("LSTM", 128), ("Dropout", 0.5), ("LSTM", 128), ("Dropout", 0.0)),
        *(("LSTM", 64), ("Dropout", 0.0), ("Dense", 4)),
    ]


def test_a_lookback_left_open_suits_the_dilations():
    asked = {"preset": "classic", "lookback": None, "segment": None, "layers": None}
    network = resolved(panel_of("a", rows=400), **asked, dilations="1,2,7").network
    assert network.lookback == 56


@pytest.mark.parametrize(("clip", "norm"), [({}, 1.0), ({"clip_value": 0.5}, None)])
def test_the_norm_is_clipped_unless_values_are(clip, norm):
    assert resolved(panel_of("a"), **clip).training.clip_norm == norm


def test_penalties_count_in_training_and_not_in_validation():
    panel = panel_of("a")
    config = resolved(panel, l1=0.5, l2=0.25)
    rows = training._rows(panel, config, scaling.fit(panel, config.scaling))
    windowed = compiling.compiled(rows, config, windows=32, xla=False)
    cutoffs = np.arange(20, 30)
    forecast = windowed(cutoffs)
    apart, together = (
        float(windowed.compute_loss(cutoffs, y_pred=forecast, training=training))
        for training in (False, True)
    )
    kernels = [w.numpy() for w in windowed.network.weights if w.path.endswith("kernel")]
    kernels = [w for w in kernels if w.shape[1] == 3 * 8]  # of the GRU, both of them
    expected = sum(0.5 * np.abs(w).sum() + 0.25 * np.square(w).sum() for w in kernels)
    assert len(kernels) == 2
    assert together - apart == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("preset", "attention"), [("attention", "states"), ("hybrid", "self")])
@pytest.mark.parametrize("rows", [40, 160])
def test_a_preset_with_attention_has_steps_to_attend_to(preset, attention, rows):
    config = presets.resolve(Config.of(preset=preset), panel_of("a", rows=rows))
    assert config.network.attention == attention
    assert config.network.heads == 4
    assert config.network.lookback // config.network.segment >= 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, []),
        ({"bidirectional": True, "residual": True}, ["read both ways", "residual"]),
        ({"gate_bias": "chrono"}, ["gates open at first"]),
        ({"gate_bias": "chrono", "cell": "rnn"}, []),
        ({"attention": "states", "dilations": 2}, ["dilated", "attention: states"]),
        ({"preset": "seq2seq"}, ["recurrent decoder"]),
        ({"padding": "mask", "direction": True}, ["padding masked", "chance of a step up"]),
        ({"joint": True}, ["all series together"]),
    ],
)
def test_what_a_network_has_is_said(settings, said):
    assert tables._special(resolved(panel_of("a", "b"), **settings).network) == said
