"""Series that are forecast together: one network sees them all, and what depends on it."""

import functools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of
from test_networks import BASE, shaken

from forecaster import Forecaster, presets, runtime, shrinking, splits, training
from forecaster.cli import app
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.networks.builder import build
from forecaster.networks.onnx_graph import to_onnx
from forecaster.registry import Registry
from forecaster.runtime import Network
from forecaster.series import prepare
from forecaster.windows import rows_after

pytestmark = pytest.mark.xdist_group("joint")
TOGETHER = {**QUICK, "cell": "rnn", "joint": True, "epochs": 2, "deterministic": True}


def built(series=3, known=2, **changed):
    network = build(BASE.model_copy(update=changed), 2 + known, known, together=series)
    return shaken(network)


def arrays(times=4, series=3, known=2):
    random = np.random.default_rng(2)
    sizes = ((24, 2 + known), (12, known))
    return [random.normal(size=(times * series, *size)).astype("float32") for size in sizes]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize(
    ("decoder", "normalise", "direction"), [("direct", "last", True), ("parallel", "revin", False)]
)
def test_onnx_computes_what_keras_does(cell, decoder, normalise, direction):
    network = built(cell=cell, decoder=decoder, normalise=normalise, direction=direction)
    context, future = arrays()
    expected = np.asarray(network([context, future]))
    assert expected.shape == (12, 12, 3 + direction)
    found = Network(to_onnx([network]), together=3)(context, future)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("decoder", ["direct", "parallel"])
def test_every_series_sees_all_of_its_time_and_nothing_of_another(decoder):
    network = built(decoder=decoder)
    context, future = arrays()
    changed = context.copy()
    changed[4, 5, 1] += 1  # a covariate of the second series at the second time
    before, after = (np.asarray(network([given, future])) for given in (context, changed))
    differ = (before != after).any(axis=(1, 2))
    assert differ.tolist() == [False] * 3 + [True] * 3 + [False] * 6


def test_more_windows_than_are_run_at_once_stay_together():
    network = built(series=5, known=0)
    context, _ = arrays(times=60, series=5, known=0)
    found = Network(to_onnx([network]), together=5)(context)
    np.testing.assert_allclose(found, np.asarray(network(context)), rtol=1e-4, atol=1e-5)


def led(rows=300):
    """Return noise, and a series that repeats it a step later."""
    noise = np.random.default_rng(4).normal(size=rows + 1)
    ds = pd.date_range("2024-01-01", periods=rows, freq="D")
    pieces = {"follows": noise[:-1], "leads": noise[1:]}
    return pd.concat(
        [pd.DataFrame({"unique_id": uid, "ds": ds, "y": y}) for uid, y in pieces.items()]
    )


def test_it_learns_what_only_the_past_of_another_series_tells():
    shape = {"lookback": 4, "horizon": 1, "segment": 1, "layers": (8,), "decoder": "direct"}
    start = {"normalise": "none", "skip": "none", "quantiles": (), "shrink": False}
    fit = {"cell": "rnn", "epochs": 12, "learning_rate": 0.02, "folds": 40, "step_size": 1}
    panel, scores = prepare(led(), Config().data), {}
    for joint in (True, False):
        config = Config.of(
            **{**QUICK, **shape, **start, **fit, "joint": joint, "transform": "none"}
        )
        config = presets.resolve(config, panel)
        parts = splits.of_config(panel, config)
        model = training.fit(panel, config, parts)
        cutoffs = splits.test_cutoffs(panel, parts, 4, 1, step=1, folds=40)
        errors = np.abs(model.forecast(panel, cutoffs).values - panel.y[rows_after(cutoffs, 1)])
        scores[joint] = errors.reshape(2, 40).mean(axis=1)
    noise = np.abs(panel.y).mean()
    assert scores[True][0] < 0.2 * noise
    assert scores[False][0] > 0.6 * noise
    assert min(scores[True][1], scores[False][1]) > 0.6 * noise  # nothing tells what leads


def planned():
    frame = frame_of("a", "b", "c", rows=120)
    later = frame_of("a", "b", "c", rows=126).groupby("unique_id").tail(6).assign(y=np.nan)
    whole = pd.concat([frame, later]).sort_values(["unique_id", "ds"], ignore_index=True)
    random = np.random.default_rng(5)
    return whole.assign(plan=random.normal(size=len(whole)), rain=random.normal(size=len(whole)))


@functools.cache
def fitted():
    shape = {"future": ("plan",), "covariates": ("rain",), "calendar_features": True}
    few = {"val_size": 8, "folds": 1}
    return Forecaster(**{**TOGETHER, **shape, **few}).fit(planned())


def test_the_rest_of_the_job_sees_windows_of_one_series():
    table = fitted().predict(level=(80,))
    assert table.groupby("unique_id").size().to_dict() == {"a": 4, "b": 4, "c": 4}
    levels = table.groupby("unique_id")["rnn"].mean()
    assert (levels - [5, 8, 11]).abs().max() < 1.5  # each on its own scale
    assert (table["rnn-lo-80"] < table["rnn-hi-80"]).all()
    folds = fitted().evaluated.backtest.folds
    assert np.bincount(folds.series).tolist() == [1, 1, 1]
    judged = fitted().evaluated.backtest.models[-1].trained
    assert judged.windows == 120 - 4 - 8 - 16 - 4 + 1  # of all series at once


def test_each_window_is_forecast_the_same_whatever_else_is_asked(monkeypatch):
    model, panel = fitted().model, fitted().evaluated.panel
    cutoffs = np.array([60, 180, 300, 70, 190, 310])
    some = cutoffs[[4, 0, 5]]
    every = model.forecast(panel, cutoffs).values
    np.testing.assert_array_equal(model.forecast(panel, some).values, every[[4, 0, 5]])
    monkeypatch.setattr(runtime, "BATCH", 4)  # windows of one time stay together
    np.testing.assert_allclose(model.forecast(panel, cutoffs).values, every, rtol=1e-5)
    of_each = model._by_network(panel, cutoffs, 4).values
    assert np.abs(of_each[:3] - of_each[3:]).max() > 0


def test_a_saved_model_forecasts_the_same_also_past_its_horizon(tmp_path):
    fitted().save(tmp_path / "model")
    again = Forecaster.load(tmp_path / "model")
    table = again.predict(6, frame=planned())
    pd.testing.assert_frame_equal(table, fitted().predict(6))
    assert len(table) == 18
    (network,) = again.keras_networks()
    random = np.random.default_rng(1)
    given = [random.normal(size=shape[1:]) for shape in network.input_shape]
    given = [np.stack([each] * 3).astype("float32") for each in given]
    np.testing.assert_allclose(again.model.network(*given), network(given), rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # trains twice
def test_anomalies_of_one_series_are_judged_by_the_rows_of_all(tmp_path, capsys):
    planned().to_csv(tmp_path / "feed.csv", index=False)
    where = ("--workspace", str(tmp_path))
    app.run(["fetch", "--csv", str(tmp_path / "feed.csv"), *where])
    saved = fitted()
    Registry(tmp_path / "models").save("all", saved.model, saved.about, saved.judged)
    said = []
    for ids in ((), ("b",)):
        capsys.readouterr()
        words = ("--name", "all", "--all", "--json", "--false-alarms", "0.2")
        assert app.run(["anomalies", *ids, *words, *where]) == 0
        said.append(json.loads(capsys.readouterr().out))
    every, some = said
    assert {row["unique_id"] for row in some["rows"]} == {"b"}
    assert some["rows"] == [row for row in every["rows"] if row["unique_id"] == "b"]
    assert every["judged"] == 3 * some["judged"]
    assert app.run(["anomalies", "nobody", "--name", "all", *where]) == 4
    assert "was not trained on 'nobody'" in capsys.readouterr().err


def test_training_goes_on_from_a_joint_model_and_only_with_its_series():
    later = planned()[lambda rows: rows["ds"] < "2024-04-20"]
    few = {"val_size": 8, "folds": 1, "refit_all": False}
    begun = Forecaster(**{**TOGETHER, **few}).fit(later[["unique_id", "ds", "y"]])
    frame = frame_of("a", "b", "c", rows=160)
    again = Forecaster(epochs=1, **few).fit(frame, warm_start=begun)
    assert again.model.config.network.joint
    assert np.isfinite(again.predict()["rnn"]).all()
    more = frame_of("a", "b", "c", "d", rows=160)
    with pytest.raises(InvalidInputError, match="cannot take in 'd'"):
        Forecaster(epochs=1, **few).fit(more, warm_start=begun)


def test_series_of_other_times_are_refused_by_name():
    frame = frame_of("a", "b", "c", rows=120)
    shorter = frame.drop(frame.index[-1])
    with pytest.raises(InvalidInputError, match=r"'a' has 120 rows .* 'c' has 119 rows") as caught:
        Forecaster(**TOGETHER).fit(shorter)
    assert "without --joint" in caught.value.hint
    later = pd.to_timedelta((frame["unique_id"] == "b").astype(int), unit="D")
    moved = frame.assign(ds=frame["ds"] + later)
    with pytest.raises(InvalidInputError, match="and 'b' has 120 rows from 2024-01-02"):
        Forecaster(**TOGETHER).fit(moved)


@pytest.mark.parametrize(
    ("kept", "needed"),
    [
        (lambda rows: rows["unique_id"] != "b", r"'b' is missing \(it is not among the series"),
        (lambda rows: (rows["unique_id"] != "c") | (rows["ds"] < "2024-01-05"), r"'c' is missing"),
        (lambda rows: (rows["unique_id"] != "c") | (rows["ds"] > "2024-01-10"), "'c' has 110 rows"),
    ],
)
def test_a_forecast_needs_all_series_up_to_the_same_step(kept, needed):
    with pytest.raises(InvalidInputError, match=needed):
        fitted().predict(frame=planned()[kept])


def test_a_series_it_was_not_trained_on_is_refused():
    new = planned().query("unique_id == 'a'").assign(unique_id="new")
    with pytest.raises(InvalidInputError, match="cannot take in 'new'"):
        fitted().predict(frame=pd.concat([planned(), new]))


@pytest.mark.parametrize("constant", ["series_vectors", "static"])
def test_what_is_constant_in_a_series_is_refused(constant):
    asked = {"series_vectors": True} if constant == "series_vectors" else {"static": ("town",)}
    frame = frame_of("a", "b").assign(town=1.0)
    config = Config.of(**TOGETHER, **asked)
    with pytest.raises(InvalidInputError, match=f"--{constant.replace('_', '-')} tells series"):
        presets.resolve(config, prepare(frame, config.data))


def test_batches_are_chosen_by_times_not_by_windows():
    config = Config.of(horizon=4, season_length=8)
    many = prepare(frame_of(*"abcdefghij", rows=900), config.data)
    together = presets.resolve(config.replace(joint=True), many).training
    assert together.batch_size < presets.resolve(config, many).training.batch_size


def test_shrinking_holds_no_more_outputs_than_of_a_network_of_one_series():
    class Flat:
        """Stands in for a compiled network whose forecasts are all zero."""

        together, at_once = 100, 10
        network = SimpleNamespace(layers=[], output_shape=(None, 4, 1))
        held = SimpleNamespace(starts=np.arange(100) * 9000)

        def __call__(self, cutoffs):
            return np.zeros((len(cutoffs) * self.together, 4, 1), dtype=np.float32)

        def losses_of(self, cutoffs, forecast):
            assert len(forecast) <= shrinking.SHARE_WINDOWS
            return np.zeros(len(cutoffs), dtype=np.float32)

    config = Config.of(horizon=4)
    assert shrinking.best_share(Flat(), config, {}, np.arange(20, 8000)) == 0
