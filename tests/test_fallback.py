"""`--fallback baseline`: chosen on validation, calibrated, stored, judged, and said in the table."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of

from forecaster import Forecaster, artifacts, splits, statistical
from forecaster.baselines import forecast as baseline
from forecaster.errors import DamagedError
from forecaster.fallback import NETWORK, choose, levels_of
from forecaster.intervals import Distribution
from forecaster.judging import joined
from forecaster.predicting import predict
from forecaster.reports.plots import plot_forecasts

pytestmark = pytest.mark.xdist_group("fallback")


def made():
    """Return a wave out of season that a network learns, a walk, and a line that drift hits."""
    random = np.random.default_rng(5)
    frame = frame_of("wave", "walk", "line", season=11)
    frame.loc[frame["unique_id"] == "walk", "y"] = 50 + random.normal(0, 1, 160).cumsum()
    frame.loc[frame["unique_id"] == "line", "y"] = 10 + 0.5 * np.arange(160)
    return frame


@pytest.fixture(scope="module", autouse=True)
def simple():
    """Leave Theta and ETS out, which take a second each time, where no test is about them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistical, "MOST_WINDOWS", 0)
        yield


@pytest.fixture(scope="module")
def fitted(simple):
    settings = QUICK | {"epochs": 20, "learning_rate": 0.01, "skip": "none", "schedule": "plateau"}
    return Forecaster(**settings, fallback="baseline").fit(made())


@pytest.fixture(scope="module")
def sources(fitted):
    return dict(zip(fitted.model.scaling.ids, fitted.model.fallback.chosen, strict=True))


def test_a_series_is_left_to_the_best_baseline_that_the_network_does_not_beat():
    errors = {NETWORK: [1, 1, 2, 2, 3], "naive": [2, 2, 2, 2, 1], "drift": [3, 3, 1, 3, 2]}
    windows = {name: np.array(found, dtype=float) for name, found in errors.items()}
    chosen = choose(windows, np.array([0, 0, 1, 1, 3]), 4).chosen
    assert chosen == (NETWORK, "naive", NETWORK, "naive")  # a tie; no window; worse
    close = {name: found * np.where(name == NETWORK, 0.99999, 1) for name, found in windows.items()}
    assert choose(close, np.array([0, 0, 1, 1, 3]), 4).chosen == chosen


def test_the_choice_is_made_on_validation_alone(fitted, sources):
    assert sources["line"] == "drift"
    assert sources["wave"] == NETWORK
    panel, config = fitted.evaluated.panel, fitted.config
    parts = splits.of_config(panel, config)
    cut = panel.head(parts.val_stop)
    val = splits.val_cutoffs(cut, parts, 16, 4)
    judged = fitted.evaluated.backtest.models[-1]
    assert judged.with_fallback(cut, val).fallback.chosen == fitted.model.fallback.chosen


def test_the_table_says_what_forecast_each_row(fitted, sources):
    prediction = fitted.prediction(horizon=6)
    table = prediction.frame
    assert list(table.columns[-2:]) == ["model", "model_version"]
    by_series = table.groupby("unique_id")["model"].unique().str.join(",").to_dict()
    assert by_series == {uid: name or "gru" for uid, name in sources.items()}
    line = table[table["unique_id"] == "line"]
    np.testing.assert_allclose(line["gru"], 10 + 0.5 * np.arange(160, 166))
    assert any(notice.startswith("Fallback: ") for notice in prediction.notices)
    for level in ("80", "95"):
        assert (table[f"gru-lo-{level}"] <= table["gru"]).all()
        assert (table["gru"] <= table[f"gru-hi-{level}"]).all()


def test_theta_stands_in_where_it_is_best_and_forecasts_what_comes(fitted, tmp_path, monkeypatch):
    """A series that grows as a stub of Theta says, which takes it for ten windows at most."""
    growth = 50 * 1.01 ** np.arange(164)
    panel, config = fitted.evaluated.panel, fitted.config
    rows = panel.y.copy()
    rows[panel.offsets[1] : panel.offsets[2]] = growth[:160]
    panel = replace(panel, y=rows)
    val = splits.val_cutoffs(panel, splits.of_config(panel, config), 16, 4)
    some = np.concatenate([part[-3:] for part in np.array_split(val, 3)])  # of each series
    monkeypatch.setattr(statistical, "_ets", lambda seen, horizon, season: None)
    monkeypatch.setattr(
        statistical, "_theta", lambda seen, horizon, season: seen[-1] * growth[1 : horizon + 1] / 50
    )
    judged = fitted.evaluated.backtest.models[-1]
    place = panel.ids.index("walk")
    assert judged.with_fallback(panel, some).fallback.chosen[place] != "theta"
    assert any("theta and ets are left out" in line for line in fitted.evaluated.panel.notices)
    monkeypatch.setattr(statistical, "MOST_WINDOWS", 10)
    shown = []
    model = judged.with_fallback(panel, some, lambda *seen: shown.append(seen))
    assert shown[:1] + shown[-1:] == [("theta", 1, 9), ("ets", 9, 9)]
    model = model.calibrated(panel, some)
    assert model.fallback.chosen[place] == "theta"
    artifacts.save(model, tmp_path / "m", {})
    found = predict(artifacts.load(tmp_path / "m"), panel).frame
    walk = found[found["unique_id"] == "walk"]
    assert set(walk["model"]) == {"theta"}
    np.testing.assert_allclose(walk["gru"], growth[160:])
    monkeypatch.setattr(statistical, "_theta", lambda seen, horizon, season: None)
    notices = predict(model, panel).notices
    assert "theta is the last value in 1 window that it could not fit." in notices


def test_the_plot_names_what_forecast_each_series(fitted, tmp_path):
    plot_forecasts(fitted.evaluated.panel, fitted.predict(), tmp_path / "o.svg")
    drawn = (tmp_path / "o.svg").read_text()
    assert "line (drift)" in drawn
    assert "wave (gru)" in drawn


def test_the_backtest_judges_what_is_published_and_says_what_forecast_each_row(fitted, sources):
    folds = fitted.evaluated.backtest.folds.to_frame()
    by_series = folds.groupby("unique_id")["model"].unique().str.join(",").to_dict()
    assert by_series == {uid: name or "gru" for uid, name in sources.items()}
    line = folds[folds["unique_id"] == "line"]
    np.testing.assert_allclose(line["gru"], line["drift"])
    whole = fitted.evaluated.backtest.folds
    pd.testing.assert_frame_equal(
        joined([whole, whole]).to_frame(), pd.concat([folds] * 2, ignore_index=True)
    )
    wave = folds[folds["unique_id"] == "wave"]
    assert not np.allclose(wave["gru"], wave["drift"])


def test_a_series_never_seen_is_the_networks(fitted):
    table = fitted.predict(frame=made().replace({"unique_id": {"line": "new"}}))
    assert set(table.loc[table["unique_id"] == "new", "model"]) == {"gru"}


def test_intervals_are_calibrated_for_the_baseline_on_the_same_windows(fitted, sources):
    model = fitted.model  # trained again; calibrated on validation and test of the judged one
    for name in set(sources.values()) - {NETWORK}:
        share = list(sources.values()).count(name) / len(sources)
        assert model.fallback.conformal[name].windows == share * model.conformal.windows
    panel = fitted.evaluated.panel
    cutoffs = splits.cutoffs_since(panel, splits.of_config(panel, fitted.config).val_start, 16, 4)
    low, high = model.forecast(panel, cutoffs).bounds(80)
    truth = panel.y[cutoffs[:, None] + np.arange(1, 5)]
    inside = (low <= truth) & (truth <= high)
    series = np.searchsorted(panel.offsets, cutoffs, side="right") - 1
    assert sources["walk"] == "naive"
    walk = inside[series == panel.ids.index("walk")]
    assert walk.mean() == pytest.approx(18 / 21, abs=0.06)  # the ceil(0.8 * 22)th of 21 scores


def test_the_choice_is_stored_with_the_model(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    loaded = Forecaster.load(tmp_path / "m")
    again = loaded.predict(frame=made())
    pd.testing.assert_frame_equal(again, fitted.predict())


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda found: found["chosen"].pop(), "for 3 series"),
        (lambda found: found["chosen"].__setitem__(0, "magic"), "a baseline of naive"),
        (lambda found: found["conformal"].clear(), "it needs"),
    ],
)
def test_a_damaged_choice_is_told(fitted, tmp_path, edit, message):
    from hashlib import sha256

    fitted.save(tmp_path / "m")
    path, manifest = tmp_path / "m" / "fallback.json", tmp_path / "m" / "manifest.json"
    found = json.loads(path.read_text())
    edit(found)
    path.write_text(json.dumps(found))
    about = json.loads(manifest.read_text())
    about["files"]["fallback.json"] = sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(about))
    with pytest.raises(DamagedError, match=message):
        artifacts.load(tmp_path / "m")


def test_a_choice_that_is_missing_is_told(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    manifest = tmp_path / "m" / "manifest.json"
    about = json.loads(manifest.read_text())
    del about["files"]["fallback.json"]
    manifest.write_text(json.dumps(about))
    with pytest.raises(DamagedError, match="the fallback 'baseline'"):
        artifacts.load(tmp_path / "m")


def test_a_positive_series_that_ends_at_zero_is_forecast_with_intervals():
    steps = np.random.default_rng(0).normal(0, 0.2, 160)
    y = np.exp(4 + np.cumsum(steps)) * (np.arange(160) < 145)
    frame = frame_of("a").assign(y=y)
    settings = QUICK | {"transform": "log", "fallback": "baseline", "epochs": 1}
    ended = Forecaster(**settings).fit(frame)
    assert ended.model.fallback.of(np.array([0])).tolist() != [NETWORK]
    assert np.isfinite(ended.predict().select_dtypes(float)).all().all()


def test_a_falling_series_of_logarithms_stays_above_zero():
    y = np.array([100.0, 50.0, 1.0])
    values = baseline("drift", y, np.array([0]), np.array([2]), 3, 1)
    assert values.max() < 0
    one = np.array([-7.0]), np.array([True]), np.array([0.5])
    ended = levels_of(np.minimum(values, 0), np.zeros(1), *one, (0.1, 0.9))
    np.testing.assert_array_equal(ended[:, :, 0], -7)
    levels = levels_of(values, y[2:], *one, (0.1, 0.9))
    assert np.isfinite(levels).all()
    np.testing.assert_allclose(np.exp(levels[:, :, 0]), 1e-3)
    spread = Distribution.of(levels[:, :, 0], levels[:, :, 1:], (0.1, 0.9), np.array([0.5]))
    np.testing.assert_allclose(spread.at(np.array([2.0])) - levels[:, :, 0], 1.0, atol=0.01)
