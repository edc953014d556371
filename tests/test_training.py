"""One fit: it learns, it repeats, it stops, and every training setting is consumed."""

import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from series_made import QUICK, panel_of

from forecaster import presets, splits, training
from forecaster.config import Config, TrainSpec
from forecaster.errors import (
    DamagedError,
    ForecasterError,
    InvalidInputError,
    MissingDependencyError,
)
from forecaster.windows import rows_after


def fitted(panel=None, on_epoch=lambda _: None, **changed):
    panel = panel or panel_of("a", "b")
    config = presets.resolve(Config.of(**QUICK | changed), panel)
    return training.fit(panel, config, parts_of(panel, config), on_epoch)


def parts_of(panel, config):
    return splits.of_config(panel, config)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("preset", ["segment", "classic"])
def test_every_cell_learns_what_the_mean_cannot(cell, preset):
    panel = panel_of("a", "b", rows=240)
    shape = {"segment": 1, "layers": (12, 12), "normalise": "none"} if preset == "classic" else {}
    model = fitted(panel, cell=cell, preset=preset, epochs=25, learning_rate=0.01, **shape)
    config = model.config
    cutoffs = splits.test_cutoffs(panel, parts_of(panel, config), 16, 4, step=1, folds=5)
    truth = panel.y[rows_after(cutoffs, 4)]
    error = np.abs(truth - model.forecast(panel, cutoffs).values).mean()
    means = np.array([panel.y[: panel.lengths[0]].mean(), panel.y[panel.lengths[0] :].mean()])
    by_mean = np.abs(truth - means[np.arange(len(cutoffs)) // 5, None]).mean()
    assert error < 0.5 * by_mean


def test_the_same_seed_gives_the_same_weights_and_another_gives_others():
    first, again = fitted(deterministic=True), fitted(deterministic=True)
    other = fitted(deterministic=True, seed=2)
    assert first.graph == again.graph
    assert first.graph != other.graph


BASE = {"epochs": 12, "learning_rate": 0.3, "patience": 9, "deterministic": True}
CHANGES = {
    "loss": "mse",
    "epochs": 2,
    "batch_size": 16,
    "learning_rate": 0.02,
    "patience": 1,
    "clip_norm": 0.001,
    "val_size": 24,
    "seed": 7,
    "time_budget": 0.001,
}
ELSEWHERE = {"device", "deterministic", "refit_all"}  # tested below, refit_all in test_api


def test_every_training_setting_is_tested():
    assert CHANGES.keys() | ELSEWHERE == TrainSpec.model_fields.keys()


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_every_training_setting_changes_the_fit(field):
    before, after = base(), fitted(**BASE | {field: CHANGES[field]})
    same_end = before.trained.epochs == after.trained.epochs
    assert not (same_end and before.graph == after.graph)


@functools.cache
def base():
    return fitted(**BASE)


def test_deterministic_is_asked_of_tensorflow(monkeypatch):
    import tensorflow as tf

    asked = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: asked.append(1))
    fitted(epochs=1, deterministic=True)
    fitted(epochs=1, deterministic=False)
    assert asked == [1]


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr("forecaster.backend.gpus", list)
    with pytest.raises(MissingDependencyError, match="--device gpu"):
        fitted(device="gpu")


def test_the_device_is_recorded():
    assert fitted(device="cpu", epochs=1).trained.device.startswith("cpu")


def test_early_stopping_restores_the_best_weights():
    model = fitted(epochs=40, learning_rate=0.2, patience=3)
    trained = model.trained
    assert trained.stopped_by == "early stopping"
    assert trained.epochs == trained.best_epoch + 3
    assert trained.best_val_loss == min(trained.history["val_loss"])
    panel = panel_of("a", "b")
    parts = parts_of(panel, model.config)
    val = splits.val_cutoffs(panel, parts, 16, 4)
    forecast = model.forecast(panel, val)
    scale = model.scaling.scale[forecast.series, None]
    error = np.abs(forecast.levels - model.scaling.levels(panel)[rows_after(val, 4)]) / scale
    assert error.mean() == pytest.approx(trained.best_val_loss, rel=1e-3)


def test_the_learning_rate_falls_on_a_plateau():
    rates = []

    def spy(_):
        rates.append(1)

    trained = fitted(on_epoch=spy, epochs=5).trained
    assert len(rates) == trained.epochs == 5


def test_the_time_budget_ends_training():
    trained = fitted(epochs=1000, time_budget=0.5, patience=900, learning_rate=1e-5).trained
    assert trained.stopped_by == "time budget"
    assert trained.epochs < 1000


def test_divergence_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setitem(
        __import__("forecaster.networks.windowed", fromlist=["LOSSES"]).LOSSES,
        "mae",
        lambda truth, forecast: (forecast - truth) * float("nan"),
    )
    with pytest.raises(ForecasterError, match="diverged") as raised:
        fitted()
    assert "--learning-rate" in raised.value.hint


def test_a_window_that_does_not_fit_is_an_error():
    panel = panel_of("a", rows=60)
    with pytest.raises(InvalidInputError, match="'a' needs at least"):
        fitted(panel, lookback=48)


COMPILED = """
from series_made import QUICK, panel_of
from forecaster import presets, splits, training
from forecaster.config import Config

panel = panel_of("a", "b")
config = presets.resolve(Config.of(**QUICK), panel)
for limit in (0, 1e12):
    training.XLA_PAYS = limit
    trained = training.fit(panel, config, splits.of_config(panel, config)).trained
    print(trained.compiled, trained.best_val_loss)
"""


def test_long_runs_are_compiled_and_short_ones_are_not():
    """In a process of its own: determinism, once asked for, keeps XLA off."""
    here = str(Path(__file__).parent)
    run = subprocess.run(
        [sys.executable, "-c", COMPILED],
        env=os.environ | {"PYTHONPATH": here},
        capture_output=True,
        text=True,
        check=True,
    )
    (compiled, loss), (plain, other) = (line.split() for line in run.stdout.splitlines())
    assert (compiled, plain) == ("True", "False")
    assert float(loss) == pytest.approx(float(other), rel=1e-2)
    assert run.stderr == ""  # not a line of TensorFlow's own


def test_calendar_features_and_covariates_become_inputs():
    plain = fitted(epochs=1)
    calendar = fitted(epochs=1, calendar_features=True)
    assert plain.network.context_shape == (16, 1)
    assert calendar.network.context_shape[1] == 1 + calendar.network.future_features
    assert calendar.network.future_features > 0


def test_the_keras_network_is_built_again_from_settings_and_weights():
    model = fitted(epochs=1)
    network = training.network_of(model)
    context = np.random.default_rng(0).normal(size=(3, 16, 1)).astype("float32")
    np.testing.assert_allclose(np.asarray(network(context)), model.network(context), atol=1e-5)


def test_weights_of_another_network_are_refused():
    model = fitted(epochs=1)
    other = model.config.replace(layers=(9,))
    with pytest.raises(DamagedError, match="do not fit the network"):
        training.network_of(dataclasses.replace(model, config=other))


def test_memory_holds_rows_not_windows():
    """The features that a batch is gathered from are the panel's rows, once."""
    from forecaster.networks.builder import build
    from forecaster.networks.windowed import Windowed

    panel = panel_of("a", rows=5000)
    config = presets.resolve(Config.of(**QUICK | {"lookback": 1000}), panel)
    features = np.zeros((5000, 1), "float32")
    windowed = Windowed(build(config.network, 1), features, None, "mae")
    assert np.asarray(windowed.features).size == 5000
