"""Padding by masks: the cells do not run on steps before the start of a series."""

import functools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of
from test_networks import BASE, shaken

from forecaster import artifacts, presets, selecting, splits, training
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.networks.builder import build
from forecaster.networks.onnx_graph import to_onnx
from forecaster.runtime import Network
from forecaster.series import prepare
from forecaster.weights import networks_of
from forecaster.windows import rows_after

pytestmark = pytest.mark.xdist_group("masks")
MASKED = {"padding": "mask", "skip": "none", "normalise": "last"}
LENGTHS = np.arange(1, 25)


def contexts(seed=1):
    return np.random.default_rng(seed).normal(size=(24, 24, 2)).astype("float32")


def built(**changed):
    return shaken(build(BASE.model_copy(update=MASKED | changed), 2))


def forecast(network, context):
    return np.asarray(network([context, LENGTHS[:, None].astype("int32")]))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize(
    ("decoder", "segment", "bidirectional"),
    [("direct", 1, False), ("direct", 4, True), ("parallel", 4, False), ("recurrent", 4, False)],
)
def test_onnx_computes_what_keras_does_for_every_length(cell, decoder, segment, bidirectional):
    network = built(cell=cell, decoder=decoder, segment=segment, bidirectional=bidirectional)
    found = Network(to_onnx([network]))(contexts(), length=LENGTHS)
    np.testing.assert_allclose(found, forecast(network, contexts()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_what_stands_before_the_start_changes_nothing(cell):
    """Of a step that is partly known nothing is read, so that whole segments count."""
    network, other = built(cell=cell), contexts()
    known = LENGTHS // 4 * 4
    before = np.arange(24) < 24 - known[:, None]
    other[before] = 1e3
    whole = known > 0  # else even the last value, which the forecast starts from, is another
    np.testing.assert_array_equal(
        forecast(network, contexts())[whole], forecast(network, other)[whole]
    )
    changed = contexts()
    changed[~before] += 1
    assert (
        (forecast(network, contexts()) != forecast(network, changed))[whole].any(axis=(1, 2)).all()
    )


@pytest.mark.parametrize(
    ("cell", "bidirectional"), [("rnn", False), ("lstm", True), ("gru", False)]
)
def test_a_masked_context_is_forecast_as_a_shorter_one(cell, bidirectional):
    """The state is the one of cells that run on the known steps alone."""
    changed = {"cell": cell, "bidirectional": bidirectional}
    long = built(**changed)
    short = build(BASE.model_copy(update=MASKED | changed | {"lookback": 12}), 2)
    short.set_weights(long.get_weights())
    context = contexts()
    lengths = np.full((24, 1), 12, dtype="int32")
    np.testing.assert_allclose(
        np.asarray(long([context, lengths])),
        np.asarray(short([context[:, 12:], lengths])),
        rtol=1e-5,
        atol=1e-6,
    )


def short_series(count=24, rows=14, season=5):
    """Return series of few rows, each a sine of its own phase: the last value does not tell it."""
    random, pieces = np.random.default_rng(6), []
    for number in range(count):
        wave = np.sin(2 * np.pi * (np.arange(rows) / season + random.uniform()))
        ds = pd.date_range("2024-01-01", periods=rows, freq="D")
        pieces.append(pd.DataFrame({"unique_id": f"s{number:02d}", "ds": ds, "y": wave}))
    return pd.concat(pieces, ignore_index=True)


@functools.cache
def fitted():
    """Return a panel of series that are all shorter than the context, and a model of it."""
    shape = {"lookback": 16, "min_context": 4, "horizon": 2, "segment": 2, "layers": (16,)}
    fit = {
        "epochs": 20,
        "learning_rate": 0.04,
        "folds": 1,
        "val_size": 2,
        "batch_size": 16,
        "shrink": False,
    }
    start = {"season_length": 5, "skip": "none", "normalise": "last", "transform": "none"}
    asked = Config.of(preset="segment", cell="rnn", padding="mask", **shape, **fit, **start)
    panel = prepare(short_series(), asked.data)
    config = presets.resolve(asked, panel)
    return panel, training.fit(panel, config, splits.of_config(panel, config))


def test_it_learns_on_series_that_are_all_shorter_than_the_context():
    panel, model = fitted()
    cutoffs = panel.offsets[1:] - 1 - model.horizon  # the fold held out
    truth = panel.y[rows_after(cutoffs, model.horizon)]
    error = np.abs(model.forecast(panel, cutoffs).values - truth).mean()
    assert error < 0.5 * np.abs(panel.y[cutoffs, None] - truth).mean()
    assert error < 0.5 * np.abs(truth - panel.y.mean()).mean()


def test_the_forecast_reads_no_row_that_stands_in():
    """Another season would repeat other rows before the start of each series."""
    panel, model = fitted()
    cutoffs = panel.offsets[1:] - 1
    other = replace(model, config=model.config.replace(season_length=3))
    np.testing.assert_array_equal(
        other.forecast(panel, cutoffs, 6).values, model.forecast(panel, cutoffs, 6).values
    )


def test_a_saved_model_and_its_keras_network_forecast_the_same(tmp_path):
    panel, model = fitted()
    artifacts.save(model, tmp_path / "model", {})
    again = artifacts.load(tmp_path / "model")
    cutoffs = panel.offsets[:-1] + np.arange(24) % 10 + 3
    forecasts = [each.forecast(panel, cutoffs).values for each in (again, model)]
    np.testing.assert_array_equal(*forecasts)
    (network,) = networks_of(again)
    context = np.random.default_rng(0).normal(size=(13, 16, 1)).astype("float32")
    length = np.arange(4, 17)
    np.testing.assert_allclose(
        again.network(context, length=length),
        np.asarray(network([context, length[:, None].astype("int32")])),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"skip": "linear"}, "skip linear reads the whole context"),
        ({"normalise": "revin"}, "normalise revin reads the whole context"),
        ({"normalise": "spread"}, "normalise spread reads the whole context"),
        ({"attention": "self"}, "attention self reads the whole context"),
        ({"residual": True}, "residual reads the last step"),
        ({"dilations": (2,)}, "dilations run on steps apart"),
        ({"joint": True}, "joint gives all series the same rows"),
        ({"skip": "season", "skip_lag": 8}, "skip season reads the last 8 rows"),
        ({"normalise": "season", "skip_lag": 8}, "normalise season reads the last 8 rows"),
        ({"min_context": 3}, "segment 4 reads the last 4 rows"),
    ],
)
def test_what_would_read_masked_steps_is_refused(asked, message):
    config = Config.of(**{**QUICK, "min_context": 6, "padding": "mask"} | asked)
    with pytest.raises(InvalidInputError, match=message):
        presets.resolve(config, prepare(frame_of("a", "b"), config.data))


def test_the_preset_starts_from_what_is_always_known():
    frame = frame_of("long", "short", rows=160)
    frame = frame[(frame["unique_id"] == "long") | (frame.groupby("unique_id").cumcount() < 24)]
    asked = Config.of(season_length=8, horizon=4, padding="mask")
    resolved = presets.resolve(asked, prepare(frame, asked.data))
    assert resolved.network.min_context < resolved.network.lookback
    assert (resolved.network.skip, resolved.network.skip_lag) == ("season", 8)
    assert list(selecting.candidates(asked, resolved)) == ["last season", "last value"]
