"""One fit: it learns, it repeats, it stops, and every training setting is consumed."""

import dataclasses
import functools
import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from series_made import QUICK, panel_of

from forecaster import backend, compiling, planning, presets, scaling, splits, training, weights
from forecaster.config import SEEDS, Config, TrainSpec
from forecaster.errors import (
    DamagedError,
    ForecasterError,
    InvalidInputError,
    MissingDependencyError,
)
from forecaster.networks.windowed import Rows, Windowed
from forecaster.windows import rows_after


def fitted(panel=None, on_epoch=lambda _: None, **changed):
    panel = panel or panel_of("a", "b")
    config = presets.resolve(Config.of(**QUICK | changed), panel)
    return training.fit(panel, config, parts_of(panel, config), on_epoch)


def parts_of(panel, config):
    return splits.of_config(panel, config)


def test_what_is_wrapped_around_a_network_takes_no_name_that_keras_has():
    """Training on JAX stopped at a method called `losses`: Keras clears what a layer adds to the loss."""
    taken = {name for name in vars(Windowed) if hasattr(planning.keras.Model, name)}
    assert taken == {"__init__", "__module__", "__doc__", "call", "compute_loss"}


def test_after_the_largest_seed_comes_zero():
    members = fitted(epochs=1, ensemble=2, seed=SEEDS - 1).trained.members
    assert [member.seed for member in members] == [SEEDS - 1, 0]


@pytest.mark.slow  # trains several networks
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
    "schedule": "plateau",
    "patience": 1,
    "clip_norm": 0.001,
    "clip_value": 1e-4,
    "val_size": 24,
    "seed": 7,
    "ensemble": 2,
    "shrink": False,
    "time_budget": 0.001,
}
ELSEWHERE = {  # tested below, in test_api, in test_seq2seq
    *("device", "deterministic", "refit_all", "teacher_forcing"),
}


def test_every_training_setting_is_tested():
    assert CHANGES.keys() | ELSEWHERE == TrainSpec.model_fields.keys()


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_every_training_setting_changes_the_fit(field):
    before, after = base(), fitted(**BASE | {field: CHANGES[field]})
    same_end = before.trained.members[0].epochs == after.trained.members[0].epochs
    assert not (same_end and before.graph == after.graph)


@functools.cache
def base():
    return fitted(**BASE)


def test_what_is_written_to_standard_error_in_a_fit_is_there_at_once(capfd):
    found = []

    def told(_):
        os.write(2, b"alive\n")
        found.append(capfd.readouterr().err)

    fitted(on_epoch=told, epochs=2)
    assert found == ["alive\n"] * 2


@pytest.mark.parametrize("before", [False, True])
def test_determinism_is_asked_of_tensorflow_for_as_long_as_a_fit_takes(before):
    if compiling.keras.backend.backend() == "jax":
        pytest.skip("JAX has nothing to turn on")
    found = []
    with backend.repeatable(before):
        for asked in (True, False):
            told = lambda _: found.append(backend.is_deterministic())  # noqa: E731
            fitted(on_epoch=told, epochs=1, deterministic=asked)
        assert backend.is_deterministic() is before
    assert not backend.is_deterministic()
    assert found == [True, before]


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr("forecaster.backend.gpus", list)
    with pytest.raises(MissingDependencyError, match="--device gpu"):
        fitted(device="gpu")


def test_the_device_is_recorded():
    assert fitted(device="cpu", epochs=1).trained.device.startswith("cpu")


def test_early_stopping_restores_the_best_weights():
    model = fitted(epochs=40, learning_rate=0.2, patience=3, shrink=False, quantiles=())
    (trained,) = model.trained.members
    assert trained.stopped_by == "early stopping"
    assert trained.epochs == trained.best_epoch + 3
    assert trained.best_val_loss == min(trained.history["val_loss"])
    panel = panel_of("a", "b")
    parts = parts_of(panel, model.config)
    val = splits.val_cutoffs(panel, parts, 16, 4)
    forecast = model.forecast(panel, val)
    scale = model.scaling.scale[forecast.series, None]
    error = (
        np.abs(forecast.levels[:, :, 0] - model.scaling.levels(panel)[rows_after(val, 4)]) / scale
    )
    assert error.mean() == pytest.approx(trained.best_val_loss, rel=1e-3)


def test_every_epoch_is_told():
    told = []
    (trained,) = fitted(on_epoch=told.append, epochs=5).trained.members
    assert [progress.epoch for progress in told] == [1, 2, 3, 4, 5]
    assert trained.epochs == 5


def rates_of(**settings):
    (trained,) = fitted(**{"epochs": 8, "patience": 99} | settings).trained.members
    return trained.history["learning_rate"]


def test_the_learning_rate_falls_along_a_cosine():
    expected = 0.01 * (1 + np.cos(np.pi * np.arange(8) / 8)) / 2
    np.testing.assert_allclose(rates_of(learning_rate=0.01), expected, rtol=1e-5)


@pytest.mark.slow  # trains several networks
def test_a_refit_goes_down_the_whole_cosine_in_the_epochs_that_were_best():
    panel = panel_of("a")
    config = presets.resolve(Config.of(**QUICK | {"learning_rate": 0.01, "epochs": 8}), panel)
    model = training.fit(panel, config, parts_of(panel, config))
    (member,) = model.trained.members
    trained = replace(model.trained, members=(replace(member, best_epoch=2),))
    (again,) = training.refit(panel, replace(model, trained=trained)).trained.members
    np.testing.assert_allclose(again.history["learning_rate"], [0.01, 0.005], rtol=1e-5)


def test_the_cosine_ends_with_the_time_budget():
    config = Config.of(epochs=1000, time_budget=10, schedule="cosine", learning_rate=0.01)
    search = planning.Search(np.arange(9), np.arange(9), config, lambda _: None, share=0.5)
    search.watch.on_train_batch_end(0)  # which starts the clock
    rates = []
    for _ in range(5):
        search.slower.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.01)))
        search.slower.on_epoch_begin(0)
        rates.append(float(search.slower.model.optimizer.learning_rate))
        search.watch.deadline -= 0.6 * 2  # of the 3 seconds that training gets
    expected = 0.01 * (1 + np.cos(np.pi * np.minimum(np.arange(5) * 1.2 / 3, 1))) / 2
    np.testing.assert_allclose(rates, expected, atol=2e-4)


def test_the_learning_rate_is_halved_on_a_plateau():
    rates = rates_of(learning_rate=0.3, epochs=12, patience=3, schedule="plateau")
    assert {after / before for before, after in itertools.pairwise(rates)} <= {0.5, 1.0}
    assert rates[-1] < 0.3


def test_the_time_budget_ends_training():
    budget = {"epochs": 1000, "time_budget": 0.5, "patience": 900, "learning_rate": 1e-5}
    (trained,) = fitted(**budget).trained.members
    assert trained.stopped_by == "time budget"
    assert trained.epochs < 1000


def test_a_fit_and_its_refit_keep_to_their_share_of_the_time_budget(monkeypatch):
    seconds = []
    watched = planning._Watch.on_train_batch_end

    def told(watch, batch, logs=None):
        seconds.append(watch.seconds)
        watched(watch, batch, logs)

    monkeypatch.setattr(planning._Watch, "on_train_batch_end", told)
    panel = panel_of("a")
    config = presets.resolve(Config.of(**QUICK | {"epochs": 1, "time_budget": 30}), panel)
    model = training.fit(panel, config, parts_of(panel, config), share=0.5)
    training.refit(panel, model, share=0.5)
    assert sorted(set(seconds)) == [pytest.approx(6), pytest.approx(9)]


def test_what_was_compiled_can_be_forgotten():
    fitted(epochs=1)
    assert compiling._compiled
    compiling.forget()
    assert not compiling._compiled


def test_divergence_is_an_error_that_says_what_to_do(compiled_anew, monkeypatch, capsys):
    monkeypatch.setitem(
        __import__("forecaster.networks.windowed", fromlist=["LOSSES"]).LOSSES,
        "mae",
        lambda truth, forecast, _: (forecast - truth) * float("nan"),
    )
    with pytest.raises(ForecasterError, match="diverged") as raised:
        fitted()
    assert "--learning-rate" in raised.value.hint
    assert capsys.readouterr() == ("", "")  # Keras has its own line for it, on stdout


def test_a_window_that_does_not_fit_is_an_error():
    panel = panel_of("a", rows=60)
    with pytest.raises(InvalidInputError, match="'a' needs at least"):
        fitted(panel, lookback=64)


COMPILED = """
from series_made import QUICK, panel_of
from forecaster import compiling, presets, splits, training
from forecaster.config import Config

panel = panel_of("a", "b")
config = presets.resolve(Config.of(**QUICK), panel)
for limit in (0, 1e12):
    compiling.XLA_PAYS = limit
    trained = training.fit(panel, config, splits.of_config(panel, config)).trained
    print(trained.compiled, trained.members[0].best_val_loss)
"""


@pytest.mark.slow
def test_long_runs_are_compiled_and_short_ones_are_not():
    """In a process of its own, for what is written to its standard error."""
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


@pytest.mark.slow
def test_calendar_features_and_covariates_become_inputs():
    plain = fitted(epochs=1)
    calendar = fitted(epochs=1, calendar_features=True)
    assert plain.network.context_shape == (16, 1)
    assert calendar.network.context_shape[1] == 1 + calendar.network.future_features
    assert calendar.network.future_features > 0


@pytest.mark.slow
def test_the_keras_networks_are_built_again_from_settings_and_weights():
    model = fitted(epochs=1, ensemble=3, series_vectors=True)
    networks = weights.networks_of(model)
    context = np.random.default_rng(0).normal(size=(3, 16, 1)).astype("float32")
    places = np.array([0, 1, -1], dtype="int32")
    each = np.stack([np.asarray(network([context, places[:, None]])) for network in networks])
    found = model.network(context, series=places)
    np.testing.assert_allclose(np.median(each, axis=0), found, atol=1e-5)


def test_weights_of_another_network_are_refused():
    model = fitted(epochs=1)
    other = model.config.replace(layers=(9,))
    with pytest.raises(DamagedError, match="do not fit the network"):
        weights.networks_of(dataclasses.replace(model, config=other))


@pytest.mark.slow
def test_the_members_of_an_ensemble_differ_and_the_first_is_the_single_network():
    one, three = fitted(**BASE), fitted(**BASE, ensemble=3)
    seeds = [member.seed for member in three.trained.members]
    assert seeds == [1, 2, 3]
    histories = [member.history["loss"] for member in three.trained.members]
    assert histories[0] == pytest.approx(one.trained.members[0].history["loss"], rel=1e-4)
    assert histories[0] != histories[1] != histories[2]


@pytest.mark.slow
def test_nothing_is_kept_of_what_validation_refutes():
    """A wave that ends before validation: the last value is right there, the network is not."""
    panel = panel_of("a")
    y = panel.y.copy()
    y[len(y) - 60 :] = 5.0
    panel = dataclasses.replace(panel, y=y)
    settings = {"epochs": 5, "learning_rate": 0.02, "skip": "none"}
    kept, all_of_it = fitted(panel, **settings), fitted(panel, **settings, shrink=False)
    assert [model.trained.members[0].shrinkage for model in (kept, all_of_it)] == [0, 1]
    cutoffs = splits.val_cutoffs(panel, parts_of(panel, kept.config), 16, 4)
    np.testing.assert_allclose(kept.forecast(panel, cutoffs).values, 5, rtol=1e-6)
    assert np.abs(all_of_it.forecast(panel, cutoffs).values - 5).max() > 0.005
    assert np.ptp(kept.forecast(panel, cutoffs).levels, axis=2).min() > 0  # quantiles stay apart


def test_a_gain_that_may_be_luck_is_not_kept():
    """Nothing of a random walk can be forecast: 40 spans of validation tell."""
    panel = panel_of("a", rows=400)
    walk = np.random.default_rng(4).normal(size=400).cumsum() + 50
    panel = dataclasses.replace(panel, y=walk)
    settings = {"val_size": 160, "epochs": 3, "season_length": 1, "skip": "none"}
    (member,) = fitted(panel, **settings).trained.members
    assert member.shrinkage == 0


def test_a_scaled_loss_counts_each_series_in_its_own_unit():
    from forecaster.losses import LOSSES, Sizes, pinball

    sizes = Sizes(*(np.float32([[value]]) for value in (2.0, 5.0, 0.0, 0.5)))
    y, forecast = np.float32([[1.0, 2.0]]), np.float32([[1.5, 5.0]])
    found = {name: np.asarray(loss(y, forecast, sizes)) for name, loss in LOSSES.items()}
    np.testing.assert_allclose(found["mae"], [[0.5, 3]])
    np.testing.assert_allclose(found["mse"], [[0.25, 9]])
    np.testing.assert_allclose(found["huber"], [[0.125, 2.5]])
    np.testing.assert_allclose(found["mase"], [[1, 6]])
    np.testing.assert_allclose(found["smape"], [[1 / 7.5, 6 / 12]])  # of 7 and 8, 9 and 15
    logs = sizes._replace(log=np.float32([[1.0]]))
    values = np.exp([7.0, 8.0])
    expected = 2 * (values[1] - values[0]) / values.sum()
    np.testing.assert_allclose(LOSSES["smape"](y, forecast, logs)[0, 0], expected, rtol=1e-6)
    quantile = np.asarray(pinball(y, forecast[:, :, None], (0.9,)))[:, :, 0]
    np.testing.assert_allclose(quantile, [[2 * 0.1 * 0.5, 2 * 0.1 * 3]], rtol=1e-6)


def test_an_epoch_of_many_windows_is_cut_and_each_window_comes_once():
    from forecaster.networks.windowed import Shuffled

    batches = Shuffled(np.arange(100), batch=10, most=30, seed=1)
    seen = []
    for _ in range(3):
        seen += [window for step in range(len(batches)) for window in batches[step][0]]
        batches.on_epoch_end()
    assert len(batches) == 3
    assert len(seen) == len(set(seen)) == 90


def test_what_tensorflow_is_fed_are_the_same_batches_without_a_tuner_to_wait_for():
    from forecaster.networks.windowed import Shuffled, untuned

    fed, plain = (Shuffled(np.arange(25), batch=4, most=20, seed=1) for _ in range(2))
    dataset = untuned(fed)
    assert dataset.options().autotune.enabled is False
    assert int(dataset.cardinality()) == len(plain) == 5
    for _ in range(3):
        expected = [plain[step][0].tolist() for step in range(len(plain))]
        assert [batch.numpy().tolist() for (batch,) in dataset] == expected
        plain.on_epoch_end()


def test_memory_holds_rows_not_windows():
    """The features that a batch is gathered from are the panel's rows, once."""
    panel = panel_of("a", rows=5000)
    config = presets.resolve(Config.of(**QUICK | {"lookback": 1000}), panel)
    rows = training._rows(panel, config, scaling.fit(panel, config.scaling))
    held = compiling.compiled(rows, config, windows=32, xla=False).held
    assert max(variable.shape[0] for variable in held._variables.values()) < 2 * 5000


@pytest.mark.parametrize(
    ("rows", "room"), [(10, 1024), (1500, 2048), (2**20 + 1, 2**21), (2**21 + 1, 3 * 2**20)]
)
def test_room_for_rows_is_shared_by_like_numbers_and_wastes_little_of_many(rows, room):
    features = np.broadcast_to(np.float32(0), (rows, 1))
    nothing = dict.fromkeys(("known", "static", "series", "sizes"))
    assert Rows(features=features, starts=np.zeros(1), **nothing).shape[0] == room


def test_rows_on_one_device_do_not_serve_another():
    panel = panel_of("a")
    held = []
    for device in ("auto", "cpu", "cpu"):
        config = presets.resolve(Config.of(**QUICK, device=device), panel)
        rows = training._rows(panel, config, scaling.fit(panel, config.scaling))
        held.append(compiling.compiled(rows, config, windows=32, xla=False).held)
    assert held[0] is not held[1]
    shared = compiling.keras.backend.backend() != "jax"  # which compiles the rows in as constants
    assert (held[1] is held[2]) == shared


def test_what_was_compiled_serves_other_rows_as_new():
    """Weights, seeds of dropout and optimiser start anew, and no row of before is left."""
    config = Config.of(**QUICK | {"dropout": 0.5, "ensemble": 2})
    weights = []
    for before in ((), ("b",)):
        compiling._compiled.clear()
        for uid in (*before, "a"):
            panel = panel_of(uid, rows=60 if uid == "a" else 80)
            resolved = presets.resolve(config, panel)
            model = training.fit(panel, resolved, splits.of_config(panel, resolved))
        assert len(compiling._compiled) == 1
        weights.append(model.weights)
    assert weights[0] == weights[1]
