"""`--direction`: the chance of a step up is learnt, calibrated, judged, stored and exported."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of
from test_networks import BASE, inputs, shaken

from forecaster import Forecaster, artifacts, judging, refitting, splits, statistical
from forecaster.chances import CERTAIN, Chance, Chances, judge, reliability, ups
from forecaster.cli.tables import chances_text, judgement_text
from forecaster.errors import DamagedError
from forecaster.fallback import Fallback
from forecaster.metrics import DieboldMariano
from forecaster.networks.builder import build
from forecaster.networks.onnx_graph import to_onnx
from forecaster.runtime import Network
from forecaster.shrinking import keep, linear_weights

pytestmark = pytest.mark.xdist_group("chances")
ROWS = 280
SPEC = BASE.model_copy(update={"direction": True})
SETTINGS = QUICK | {"direction": True, "skip": "none", "refit_all": False}


@pytest.fixture(scope="module", autouse=True)
def simple():
    """Leave Theta and ETS out, which no test here is about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistical, "MOST_WINDOWS", 0)
        yield


@pytest.fixture(scope="module")
def wave(simple):
    """A model of a wave, whose steps up can be told."""
    settings = SETTINGS | {"epochs": 12, "learning_rate": 0.02, "folds": 12}
    return Forecaster(**settings).fit(frame_of("a", rows=ROWS, noise=0.2))


def walk(rows=400):
    frame = frame_of("a", rows=rows)
    return frame.assign(y=np.random.default_rng(3).normal(size=rows).cumsum() + 50)


@pytest.mark.parametrize(
    ("decoder", "quantiles"), [("direct", ()), ("parallel", (0.1, 0.9)), ("recurrent", (0.1, 0.9))]
)
def test_the_chance_comes_last_and_onnx_computes_what_keras_does(decoder, quantiles):
    network = build(SPEC.model_copy(update={"decoder": decoder, "quantiles": quantiles}), 1)
    (context,) = inputs(0, features=1)
    untrained = np.asarray(network(context))
    assert untrained.shape == (5, 12, 2 + len(quantiles))
    np.testing.assert_allclose(untrained[:, :, -1], 0.5)
    shaken(network)
    expected, higher = np.asarray(network(context)), np.asarray(network(context + 5))
    np.testing.assert_allclose(Network(to_onnx([network]))(context), expected, rtol=1e-5, atol=1e-5)
    assert ((expected[:, :, -1] > 0) & (expected[:, :, -1] < 1)).all()
    np.testing.assert_allclose(higher[:, :, -1], expected[:, :, -1], atol=1e-4)  # no level in it
    np.testing.assert_allclose(higher[:, :, :-1], expected[:, :, :-1] + 5, atol=1e-3)


def test_pulling_the_point_towards_its_start_leaves_the_chance():
    network = build(SPEC.model_copy(update={"skip": "none"}), 1)
    start = linear_weights(network)
    (context,) = inputs(0, features=1)
    before = np.asarray(shaken(network)(context))
    keep(network, start, linear_weights(network), 0.0)
    after = np.asarray(network(context))
    np.testing.assert_allclose(after[:, :, -1], before[:, :, -1])
    np.testing.assert_allclose(
        after[:, :, 0], np.broadcast_to(context[:, -1:, 0], (5, 12)), atol=1e-5
    )


def test_steps_that_stay_and_first_rows_are_not_up():
    y, offsets = np.array([1.0, 2, 2, 1, 5, 6]), np.array([0, 4, 4, 6])
    assert ups(y, offsets).tolist() == [False, True, False, False, False, True]
    assert Chances.of_train(y, offsets).base_rate == 0.5  # two of four changes


def test_what_validation_refutes_is_not_kept():
    random = np.random.default_rng(1)
    up = random.random((40, 4)) < 0.6
    spans = np.arange(40)
    start = Chances(0.6)
    noise = random.random((40, 4))
    assert start.calibrated(noise, up, spans).kept == 0
    np.testing.assert_allclose(Chances(0.6, 0.0).of(noise), 0.6)
    knows = np.where(up, 0.7, 0.2)
    assert start.calibrated(knows, up, spans).kept == 1
    np.testing.assert_allclose(start.of(knows), knows)
    sure = np.where(up ^ (random.random(up.shape) < 0.2), 0.99, 0.01)  # right 80% of the time
    assert 0 < start.calibrated(sure, up, spans).kept < 0.8
    assert start.of(np.array([0.0, 1.0])).tolist() == pytest.approx([CERTAIN, 1 - CERTAIN])


def test_chances_are_judged_by_the_textbooks_figures():
    up = np.array([[True, False], [True, True], [False, False]])
    said = np.array([[0.8, 0.4], [0.6, np.nan], [0.3, 0.2]])
    base = np.full(3, 0.5)
    found = judge(Chance(up, said, base), 6, DieboldMariano(-3.0, 0.01, 6))
    assert found.steps == 5
    assert found.came == pytest.approx(0.4)
    kept, came = said[np.isfinite(said)], up[np.isfinite(said)]
    assert found.model.log_loss == pytest.approx(-np.log(np.where(came, kept, 1 - kept)).mean())
    assert found.model.brier == pytest.approx(np.mean((kept - came) ** 2))
    assert (found.model.accuracy, found.model.auc) == (1, 1)
    assert found.base.log_loss == pytest.approx(np.log(2))
    assert found.base.auc == 0.5
    assert found.low < 1
    assert found.calibration_error == pytest.approx(np.abs(kept - came).mean())
    assert sum(each.steps for each in found.bins) == 5
    assert "better than the base rate" in found.verdict
    chance = judge(Chance(up, said, base), 6, DieboldMariano(-1.0, 0.2, 6))
    assert "no better than the base rate, as far as can be told" in chance.verdict
    few = DieboldMariano(np.nan, np.nan, 6, "6 are too few")
    assert judge(Chance(up, said, base), 6, few).verdict.endswith(
        "is open (log-loss 0.3649 against 0.6931): 6 are too few."
    )
    nothing = judge(Chance(up, said * np.nan, base), 6, few)
    assert chances_text(nothing, "test step") == ["", nothing.verdict, ""]
    assert "not judged" in nothing.verdict
    assert reliability(np.array([True]), np.array([1.0]))[0].low == 0.9


def test_a_chance_that_is_missing_counts_for_neither():
    said = np.array([[0.8], [np.nan]])
    own, base = Chance(np.array([[True], [True]]), said, np.array([0.5, 0.6])).log_losses
    assert np.isnan([own[1, 0], base[1, 0]]).all()
    np.testing.assert_allclose([own[0, 0], base[0, 0]], -np.log([0.8, 0.5]))


def test_a_wave_is_known_to_rise(wave):
    found = wave.evaluated.backtest.judgement
    assert found.chances.model.auc > 0.85
    assert found.chances.model.log_loss < 0.8 * found.chances.base.log_loss
    assert found.chances.verdict.startswith("The chances of a step up are better")
    text = judgement_text(found)
    assert found.chances.verdict in text
    shown = [each for each in found.chances.bins if each.steps >= 8]
    assert shown
    assert len(shown) < len(found.chances.bins)
    assert "Chances that were said less than 8 times are left out." in text
    lines = [line.split() for line in text.splitlines()]
    assert ["chance", "log-loss", "Brier", "score", "right", "AUC"] in lines
    for each in shown:
        ends = f"{each.low:.0%} to {each.low + 0.1:.0%}".split()
        assert [*ends, str(each.steps), f"{each.said:.1%}", f"{each.came:.1%}"] in lines
    said = json.loads(json.dumps(found.to_dict()))["chances"]
    assert said["model"].keys() == {"log_loss", "brier", "accuracy", "auc"}
    assert {"low", "steps", "said", "came"} == said["bins"][0].keys()
    frame = wave.evaluated.backtest.folds.to_frame()
    assert frame["gru-up"].between(0, 1).all()


def test_a_walk_is_not_and_that_is_said(simple):
    settings = SETTINGS | {"season_length": 1, "val_size": 160, "folds": 10}
    forecaster = Forecaster(**settings).fit(walk())
    found = forecaster.evaluated.backtest.judgement.chances
    assert "no better than the base rate" in found.verdict
    assert forecaster.model.chances.kept == 0
    prediction = forecaster.prediction()
    np.testing.assert_allclose(prediction.frame["gru-up"], forecaster.model.chances.base_rate)
    assert any("is the base rate" in notice for notice in prediction.notices)


def test_the_base_rate_is_that_of_the_train_rows(wave):
    panel, config = wave.evaluated.panel, wave.model.config
    held_out = config.evaluation.test_size + config.training.val_size
    y = panel.y[:-held_out]
    assert wave.model.chances.base_rate == pytest.approx(np.mean(np.diff(y) > 0), abs=0.01)


def test_published_chances_are_calibrated_on_all_that_was_held_out(wave):
    model, panel = wave.model, wave.evaluated.panel
    parts = splits.of_config(panel, model.config)
    unseen = splits.cutoffs_since(panel, parts.val_start, model.config.context_rows, model.horizon)
    published = dataclasses.replace(
        model, chances=dataclasses.replace(model.chances, base_rate=0.0)
    )
    found = refitting.with_intervals(published, model, panel).chances
    assert found == model.calibrated(panel, unseen).chances != published.chances


def test_the_table_has_the_chance_after_the_intervals(wave, tmp_path):
    table = wave.predict(6)  # two steps more than trained
    assert list(table) == [
        *("unique_id", "ds", "cutoff", "gru"),
        *("gru-lo-80", "gru-hi-80", "gru-lo-95", "gru-hi-95", "gru-up"),
    ]
    assert table["gru-up"].between(0, 1).all()
    assert table["gru-up"].nunique() > 3
    wave.save(tmp_path / "version")
    again = Forecaster.load(tmp_path / "version")
    assert again.model.chances == wave.model.chances
    found = again.predict(6, frame=frame_of("a", rows=ROWS, noise=0.2))
    pd.testing.assert_frame_equal(found, table, check_freq=False)
    content = (tmp_path / "version" / "chances.json").read_text()
    with pytest.raises(DamagedError, match=r"chances\.json"):
        broken(tmp_path / "version", content.replace('"kept": ', '"kept": 7'))


def test_the_base_rate_is_published_beside_the_chance(wave):
    found = wave.prediction()
    assert (found.baselines["base_rate"] == wave.model.chances.base_rate).all()
    assert "base_rate" not in found.frame


def broken(folder, content):
    from test_artifacts import change

    change(folder, "chances.json", content.encode())
    artifacts.load(folder)


def test_a_baseline_and_a_series_that_never_changes_have_no_chance(wave):
    left = Fallback(("naive",), {"naive": wave.model.conformal})
    config = wave.model.config.replace(fallback="baseline")
    model = dataclasses.replace(wave.model, fallback=left, config=config)
    panel = wave.evaluated.panel
    last = panel.offsets[1:] - 1
    assert np.isnan(model.forecast(panel, last).up).all()
    assert np.isfinite(wave.model.forecast(panel, last).up).all()
    still = dataclasses.replace(panel, ids=("new",), y=np.full(len(panel.y), 3.0))
    forecast = wave.model.forecast(still, last)
    assert np.isnan(forecast.up).all()
    assert "1 series" in wave.model.chances.notices(1)[-1]


def test_chances_that_were_calibrated_are_calibrated_anew(wave):
    panel, model = wave.evaluated.panel, wave.model
    cutoffs = np.arange(150, 240)
    again = dataclasses.replace(model, chances=dataclasses.replace(model.chances, kept=0.3))
    once, twice = model.calibrated(panel, cutoffs), again.calibrated(panel, cutoffs)
    assert once.chances == twice.chances
    assert once.chances.kept > 0.3


def test_folds_of_several_fits_keep_their_own_base_rates(wave):
    folds = wave.evaluated.backtest.folds
    other = dataclasses.replace(folds, chance=folds.chance._replace(base=folds.chance.base + 0.1))
    both = judging.joined([folds, other]).chance
    assert len(both.base) == 2 * len(folds.chance.base)
    assert np.ptp(both.base) == pytest.approx(0.1)
    np.testing.assert_array_equal(both.up[len(folds.chance.up) :], folds.chance.up)
