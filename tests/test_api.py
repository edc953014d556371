"""`Forecaster` and `backtest`: intervals, presets, judgement, and the exported table."""

import copy
import pickle
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of, panel_of

import forecaster
from forecaster import Forecaster, judging, preparing, presets, refitting, runtime, splits, training
from forecaster.config import Config, EvaluationSpec
from forecaster.errors import ForecasterError, InvalidInputError, QualityGateError
from forecaster.exporting import export, to_csv
from forecaster.fallback import Fallback
from forecaster.intervals import KEPT, Distribution, calibrate
from forecaster.predicting import predict
from forecaster.statistical import STATISTICAL

pytestmark = pytest.mark.xdist_group("api")

NOW = pd.Timestamp("2024-06-10", tz="UTC").to_pydatetime  # the series end on 2024-06-08


@pytest.fixture(scope="module")
def fitted():
    return Forecaster(**QUICK).fit(frame_of("a", "b"))


def test_batches_side_by_side_forecast_what_one_does(fitted, monkeypatch):
    model, panel = fitted.model, fitted.evaluated.panel
    cutoffs = np.concatenate([offset + np.arange(40, 70) for offset in panel.offsets[:-1]])
    whole = model.forecast(panel, cutoffs)
    monkeypatch.setattr(runtime, "BATCH", 7)
    monkeypatch.setattr(runtime, "_cores", lambda: 3)
    found = model.forecast(panel, cutoffs)
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-5)
    np.testing.assert_allclose(found.bounds(80), whole.bounds(80), rtol=1e-5)
    with pytest.raises(ValueError, match="known ahead"):
        model.network.in_batches(20, _fails_at_the_end)


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("again", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_forecasts_the_same(fitted, again, used):
    original = copy.copy(fitted)
    original._model = replace(fitted.model)
    expected = original.predict() if used else fitted.predict()
    assert ("network" in vars(original.model)) is used
    pd.testing.assert_frame_equal(again(original).predict(), expected)


def _fails_at_the_end(part):
    if part.stop > 20:
        raise ValueError("known ahead")


# --- intervals


def calibrated(deviates):
    return calibrate(np.asarray(deviates), np.zeros(len(deviates), dtype=int), 1)


def test_deviates_are_the_order_statistics_of_split_conformal():
    scores = np.random.default_rng(0).normal(size=(99, 3))
    conformal = calibrated(scores)
    ranked = np.sort(np.abs(scores), axis=0)
    stretch = conformal.stretch[0]
    np.testing.assert_allclose(conformal.deviates(80, 3) * stretch, ranked[79])
    np.testing.assert_allclose(conformal.deviates(95, 3) * stretch, ranked[94])


def test_coverage_is_at_least_the_level_on_exchangeable_errors():
    random = np.random.default_rng(1)
    covered = [
        np.mean(
            np.abs(random.normal(size=50))
            <= calibrated(random.normal(size=(39, 1))).deviates(80, 1)
        )
        for _ in range(400)
    ]
    assert np.mean(covered) == pytest.approx(0.8, abs=0.02)


def test_many_scores_are_thinned_without_losing_the_level():
    scores = np.abs(np.random.default_rng(0).normal(size=(20 * KEPT, 1)))
    conformal = calibrated(scores)
    assert len(conformal.scores) == KEPT
    assert conformal.deviates(95, 1)[0] == pytest.approx(np.quantile(scores, 0.95), rel=0.01)


def test_steps_past_the_calibrated_widen_as_the_root_of_time():
    conformal = calibrated(np.full((99, 4), 2.0))
    np.testing.assert_allclose(conformal.deviates(80, 16)[[3, 15]], [2.0, 4.0])


def test_a_series_of_large_scores_gets_wider_intervals_the_more_windows_it_has():
    random = np.random.default_rng(0)

    def stretch(windows):
        scores = np.concatenate(
            [random.normal(size=(windows, 2)), random.normal(size=(windows, 2)) * 5]
        )
        return calibrate(scores, np.repeat([0, 1], windows), 3).stretch

    few, many = stretch(4), stretch(4000)
    assert many[1] / many[0] == pytest.approx(5, rel=0.05)
    assert 1 < few[1] / few[0] < 3
    assert few[2] == many[2] == 1  # a series without a window is calibrated with all


def test_without_quantiles_a_deviate_is_counted_in_the_unit_of_errors():
    point, unit = np.array([[1.0, 2.0]]), np.array([0.5])
    plain = Distribution.of(point, np.empty((1, 2, 0)), (), unit)
    np.testing.assert_allclose(plain.at(np.array([2.0, -2.0])), [[2.0, 1.0]])
    np.testing.assert_allclose(plain.deviate_of(np.array([[1.5, 1.0]])), [[1.0, -2.0]])


@pytest.mark.parametrize("shares", [(0.1, 0.9), (0.9, 0.05, 0.25), (0.2,), (0.8, 0.9)])
def test_deviates_and_levels_are_inverse_and_ascend_whatever_the_network_says(shares):
    random = np.random.default_rng(0)
    point = random.normal(size=(7, 3))
    quantiles = random.normal(size=(7, 3, len(shares)))  # crossing, on any side of the point
    spread = Distribution.of(point, quantiles, shares, np.ones(7))
    deviates = np.sort(random.normal(size=(9, 7, 3)) * 2, axis=0)
    levels = np.stack([spread.at(deviate) for deviate in deviates])
    assert (np.diff(levels, axis=0) >= 0).all()
    again = np.stack([spread.deviate_of(level) for level in levels])
    np.testing.assert_allclose(again, deviates, atol=1e-6)
    np.testing.assert_allclose(spread.at(np.zeros((7, 3))), point)


def test_a_quantile_on_the_point_leaves_its_side_a_share_of_the_other():
    """Else the scores of one side have no bounds, and blow up the other side with them."""
    point, quantiles = np.zeros((1, 1)), np.array([[[0.0, 12.8]]])
    spread = Distribution.of(point, quantiles, (0.1, 0.9), np.array([0.01]))
    low, high = (float(spread.at(np.full((1, 1), z))[0, 0]) for z in (-1, 1))
    assert -low > high / 5
    assert abs(float(spread.deviate_of(np.full((1, 1), -12.8))[0, 0])) < 6


def test_higher_levels_contain_lower_ones(fitted):
    table = fitted.predict(level=(50, 80, 95))
    for low, high in (("50", "80"), ("80", "95")):
        assert (table[f"gru-lo-{high}"] <= table[f"gru-lo-{low}"]).all()
        assert (table[f"gru-hi-{high}"] >= table[f"gru-hi-{low}"]).all()
    assert (table["gru-lo-50"] <= table["gru"]).all()
    assert (table["gru"] <= table["gru-hi-50"]).all()


# --- the table


def test_the_table_has_the_columns_of_the_nixtla_tools(fitted):
    table = fitted.predict(level=(80,))
    assert list(table) == ["unique_id", "ds", "cutoff", "gru", "gru-lo-80", "gru-hi-80"]
    assert table["unique_id"].tolist() == ["a"] * 4 + ["b"] * 4
    assert table["ds"].tolist()[:4] == list(pd.date_range("2024-06-09", periods=4))
    assert (table["cutoff"] == pd.Timestamp("2024-06-08")).all()


def test_a_longer_horizon_is_rolled_forward_and_said(fitted):
    prediction = fitted.prediction(10)
    assert len(prediction.frame) == 20
    assert any("Steps 5 to 10 are rolled forward" in line for line in prediction.notices)
    once = fitted.prediction(horizon=5).notices
    assert any(line.startswith("Step 5 is rolled forward: ") for line in once)
    short = fitted.predict()
    rolled = prediction.frame.groupby("unique_id").head(4).reset_index(drop=True)
    np.testing.assert_allclose(rolled["gru"], short["gru"], rtol=1e-6)
    assert np.isfinite(prediction.frame.select_dtypes("number").to_numpy()).all()


def test_rolling_forward_feeds_forecasts_back(fitted):
    """Steps 5 to 8 are what the model says when its own first steps are appended as truth."""
    frame = frame_of("a", "b")
    first = fitted.predict(frame=frame)
    appended = pd.concat([frame, first.rename(columns={"gru": "y"})[["unique_id", "ds", "y"]]])
    np.testing.assert_allclose(
        fitted.predict(8, frame=frame).groupby("unique_id")["gru"].tail(4),
        fitted.predict(frame=appended)["gru"],
        rtol=1e-5,
    )


@pytest.mark.parametrize("settings", [{"calendar_features": True}, {"transform": "diff"}])
def test_known_features_and_differences_roll_forward_too(settings):
    model = Forecaster(**QUICK | {"epochs": 1} | settings).fit(frame_of("a"))
    assert np.isfinite(model.predict(7)["gru"]).all()


def test_covariates_are_used_and_missed(tmp_path):
    frame = frame_of("a").assign(rain=np.arange(160.0))
    model = Forecaster(**QUICK | {"epochs": 1}, covariates=("rain",)).fit(frame)
    assert model.model.network.context_shape[1] == 2
    assert np.isfinite(model.predict(9)["gru"]).all()
    with pytest.raises(InvalidInputError, match="rain"):
        model.predict(frame=frame.drop(columns="rain"))


def test_a_series_never_seen_is_forecast_on_its_own_scale(fitted):
    new = frame_of("zoo")
    new["y"] = new["y"] * 100
    prediction = fitted.prediction(frame=new)
    assert any("1 series the model has never seen" in line for line in prediction.notices)
    assert 300 < prediction.frame["gru"].mean() < 700


def test_a_series_without_a_context_is_skipped_and_listed(fitted):
    frame = pd.concat([frame_of("a"), frame_of("tiny", rows=9)])
    prediction = fitted.prediction(frame=frame)
    assert prediction.skipped == {"tiny": "needs at least 16 rows (min_context) but has 9"}
    assert set(prediction.frame["unique_id"]) == {"a"}
    with pytest.raises(InvalidInputError, match="'tiny' needs at least 16 rows"):
        fitted.predict(frame=frame_of("tiny", rows=9))


def test_what_is_mended_in_a_frame_is_said(fitted):
    frame = frame_of("a").drop(index=[100, 101])
    notices = fitted.prediction(frame=frame).notices
    assert any("2 missing timestamps" in line for line in notices)


def test_a_table_that_no_memory_holds_is_refused(fitted):
    with pytest.raises(InvalidInputError, match=r"200000000 for 2 series .* at most 25000000"):
        predict(fitted.model, fitted.evaluated.panel, horizon=200_000_000)


@pytest.mark.parametrize("horizon", [0, 2.5, "3"])
def test_a_horizon_that_is_no_number_of_steps_is_refused(fitted, horizon):
    with pytest.raises(InvalidInputError, match=f"at least 1, is needed, got {horizon!r}"):
        fitted.predict(horizon)
    assert len(fitted.predict(np.int64(2))) == 4


@pytest.mark.parametrize("level", [(80, 80.0000001), (99.99999,)])
def test_levels_whose_columns_would_not_say_them_are_refused(level):
    with pytest.raises(InvalidInputError, match="at most 6 digits"):
        Forecaster(level=level)


@pytest.mark.parametrize("frame", [[1, 2], None, np.zeros(3), pd.Series([1.0])])
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(InvalidInputError, match="A pandas DataFrame is needed, got"):
        Forecaster().fit(frame)
    with pytest.raises(InvalidInputError, match="A pandas DataFrame is needed, got"):
        forecaster.backtest(frame)


def test_the_public_names_are_listed():
    assert {"Forecaster", "ForecasterError", "backtest"} <= set(dir(forecaster))


def test_old_data_is_refused(fitted):
    panel = fitted.evaluated.panel
    predict(fitted.model, panel, max_age=3 * 86_400, now=NOW)
    with pytest.raises(QualityGateError, match=r"'a' ends at 2024-06-08.* 2\.0 days ago"):
        predict(fitted.model, panel, max_age=86_400, now=NOW)


def test_the_age_that_was_asked_for_counts_in_python_too():
    model = Forecaster(**QUICK | {"epochs": 1, "max_age": "1d"}).fit(frame_of("a"))
    with pytest.raises(QualityGateError, match="'a' ends at 2024-06-08"):
        model.predict()


def test_integer_times_go_on_with_their_step(fitted):
    frame = frame_of("a")
    frame["ds"] = np.arange(160) * 5
    model = Forecaster(**QUICK | {"epochs": 1}).fit(frame)
    assert model.predict()["ds"].tolist() == [800, 805, 810, 815]
    assert (model.config.data.frequency, model.about["data"]["frequency"]) == ("5", "5")
    few = frame[frame["ds"] % 10 == 0]  # every other row: by itself it would be a step of 10
    assert model.predict(frame=few)["ds"].tolist() == [795, 800, 805, 810]
    with pytest.raises(InvalidInputError, match="off the grid of 5"):
        model.predict(frame=frame.assign(ds=np.arange(160) * 2))


@pytest.fixture(scope="module")
def untransformed():
    return Forecaster(**QUICK | {"transform": "none"}).fit(frame_of("a", "b"))


@pytest.mark.parametrize("factor", [2.0**-960, 2.0**300])
def test_forecasts_grow_with_the_values(untransformed, factor):
    frame, model = frame_of("a", "b"), untransformed
    sized = Forecaster(**QUICK | {"transform": "none"}).fit(frame.assign(y=frame["y"] * factor))
    expected = model.predict().set_index(["unique_id", "ds", "cutoff"]) * factor
    found = sized.predict().set_index(["unique_id", "ds", "cutoff"])
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    verdicts = [each.evaluated.backtest.judgement.verdict for each in (model, sized)]
    assert verdicts[0] == verdicts[1]


def test_a_series_that_never_changed_is_forecast_to_stay_as_it_is():
    frame = frame_of("tiny", "huge", "zero", "varies")
    for name, size in {"tiny": 1e-6, "huge": -1e9, "zero": 0.0}.items():
        frame.loc[frame["unique_id"] == name, "y"] = size
    table = Forecaster(**QUICK | {"epochs": 1}).fit(frame).predict(6).set_index("unique_id")
    for name, size in {"tiny": 1e-6, "huge": -1e9, "zero": 0.0}.items():
        np.testing.assert_allclose(table.loc[name, "gru"], size, rtol=1e-6, atol=0)
    assert table.loc["varies", "gru"].nunique() > 1


def test_a_series_that_never_changed_does_not_make_the_intervals_of_others_narrow():
    frame = frame_of("a", "still")
    frame.loc[frame["unique_id"] == "still", "y"] = 7.0
    fitted = Forecaster(**QUICK | {"epochs": 1}).fit(frame)
    model, panel = fitted.model, fitted.evaluated.panel
    windows = np.arange(60, 120)
    alone = model.calibrated(panel, windows).conformal
    beside = model.calibrated(panel, np.append(windows, panel.offsets[1] + windows)).conformal
    assert beside.windows == alone.windows == 60
    np.testing.assert_array_equal(beside.scores, alone.scores)
    only = model.calibrated(panel, panel.offsets[1] + windows).conformal
    assert only.windows == 60


def test_a_baseline_is_not_calibrated_by_series_that_never_changed_either():
    deviates, places = np.array([[1.0], [2.0], [0.0], [0.0]]), np.array([0, 0, 1, 1])
    chosen = Fallback(("naive", "naive"), {})
    found = chosen.calibrated(deviates, places, places == 1).conformal["naive"]
    np.testing.assert_array_equal(found.scores, [[1.0], [2.0]])
    still = np.ones(4, dtype=bool)
    assert chosen.calibrated(deviates, places, still).conformal["naive"].windows == 4


def test_rows_to_judge_on_that_are_made_up_are_told():
    frame = frame_of("a")
    sparse = frame[(np.arange(len(frame)) % 3 == 0) | (np.arange(len(frame)) < 120)]
    settings = QUICK | {"epochs": 1, "frequency": "D", "folds": None, "test_size": 30}
    panel, _ = preparing.prepared(sparse, Config.of(**settings))
    told = [line for line in panel.notices if "of the rows to judge on were missing" in line]
    assert len(told) == 1 and told[0].startswith("6")
    panel, _ = preparing.prepared(frame, Config.of(**settings))
    assert not [line for line in panel.notices if "to judge on" in line]


def test_zones_survive():
    frame = frame_of("a", frequency="h")
    frame["ds"] = frame["ds"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
    table = Forecaster(**QUICK | {"epochs": 1}).fit(frame).predict()
    assert str(table["ds"].dt.tz) == "Europe/Berlin"
    assert "2024-01-07T17:00:00+01:00" in to_csv(table)


def test_exports_are_whole_or_not_there(fitted, tmp_path, monkeypatch):
    table = fitted.predict()
    export(table, tmp_path / "out.csv")
    export(table, tmp_path / "out.parquet")
    read = pd.read_csv(tmp_path / "out.csv", parse_dates=["ds", "cutoff"])
    pd.testing.assert_frame_equal(
        read, pd.read_parquet(tmp_path / "out.parquet"), check_dtype=False
    )
    assert "2024-06-09,2024-06-08," in (tmp_path / "out.csv").read_text()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(ForecasterError, match="No space left"):
        export(table.head(1), tmp_path / "out.csv")
    assert len(pd.read_csv(tmp_path / "out.csv")) == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.parquet"]
    with pytest.raises(InvalidInputError, match=r"folder .* does not exist"):
        export(table, tmp_path / "no" / "out.csv")
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(ForecasterError, match=r"folder .* cannot be written to"):
        export(table, tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("level", "settings", "said"), [(0.9, {}, True), (0.9, {"min": 0}, False), (9, {}, False)]
)
def test_forecasts_below_zero_of_values_that_never_are_get_a_hint(level, settings, said):
    frame = frame_of("counts", "cold", rows=120)
    walks = np.random.default_rng(2).normal(0, 0.5, (2, 120))
    frame["y"] = np.concatenate([np.abs(walks[0] + level), walks[1] - 3])
    frame.loc[[3], "y"] = 0.0 if level < 1 else 9.0  # no logarithm
    model = Forecaster(**QUICK | {"epochs": 1, "transform": "none"}, **settings).fit(frame)
    notices = [line for line in model.prediction().notices if "below 0" in line]
    assert notices == (
        [
            "1 of 2 series has forecasts or intervals that reach below 0, where its values never are "
            "('counts'): --min 0 keeps them from it."
        ]
        if said
        else []
    )


# --- presets


def test_settings_that_are_given_are_kept_and_the_rest_is_chosen():
    panel = panel_of("a", rows=2000, frequency="h")
    chosen = presets.resolve(Config.of(horizon=24), panel)
    settings = chosen.network.model_dump()
    assert [name for name, value in settings.items() if value is None] == ["heads"]  # no attention
    assert (chosen.network.lookback, chosen.network.segment) == (720, 24)
    few = [presets.resolve(Config.of(horizon=each), panel).evaluation.folds for each in (1, 2, 4)]
    assert few == [8, 4, 3]  # of fewer values nothing could be said
    kept = presets.resolve(Config.of(horizon=24, lookback=48, segment=12, layers=(5,)), panel)
    assert (kept.network.lookback, kept.network.segment, kept.network.layers) == (48, 12, (5,))


@pytest.mark.parametrize(
    ("horizon", "asked", "segment", "decoder"),
    [
        (96, {}, 24, "parallel"),
        (1, {}, 24, "direct"),
        (13, {}, 24, "direct"),
        (1, {"lookback": 24}, 1, "parallel"),
        (1, {"lookback": 100}, 4, "direct"),
        (1, {"decoder": "parallel"}, 1, "parallel"),
        (6, {"segment": 2}, 2, "parallel"),
    ],
)
def test_a_horizon_of_short_segments_does_not_make_hundreds_of_steps(
    horizon, asked, segment, decoder
):
    panel = panel_of("a", rows=2000, frequency="h")
    network = presets.resolve(Config.of(horizon=horizon, **asked), panel).network
    assert (network.segment, network.decoder) == (segment, decoder)


@pytest.mark.parametrize(("rows", "horizon"), [(60, 12), (59, 11), (24, 4)])
def test_short_series_get_a_part_of_the_usual_horizon_and_that_is_said(rows, horizon):
    frame = frame_of("a", rows=rows, frequency="MS", season=12)
    panel, resolved = preparing.prepared(frame, Config.of())
    assert resolved.network.horizon == horizon
    said = [line for line in panel.notices if line.startswith("The horizon is ")]
    assert said == (
        []
        if horizon == 12
        else [
            f"The horizon is {horizon}, not 12 as usual: a fifth of the rows that most series have. Give "
            "--horizon for another."
        ]
    )
    asked, _ = preparing.prepared(frame, Config.of(horizon=horizon))
    assert not [line for line in asked.notices if line.startswith("The horizon is ")]


def test_of_many_series_one_horizon_validates():
    asked = Config.of(horizon=6, season_length=8)
    few, many = (panel_of(*map(str, range(count)), rows=60) for count in (29, 30))
    assert presets.resolve(asked, few).training.val_size == 12
    assert presets.resolve(asked, many).training.val_size == 6


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"heads": 2}, "heads 2 is for attention, but attention is none"),
        ({"attention": "states", "heads": 3, "layers": "8"}, "does not divide the 8 units"),
        ({"attention": "self", "lookback": 1}, "but lookback 1 is 1"),
        ({"gate_bias": "chrono", "cell": "rnn-rnn", "layers": "8,8"}, "but every cell is rnn"),
        ({"segment": 5, "horizon": 12}, "segment 5 does not divide horizon 12"),
        ({"segment": 5, "lookback": 12}, "segment 5 does not divide lookback 12"),
        ({"dilations": "8", "lookback": 60}, "the 60 recurrent steps (lookback 60)"),
        ({"dilations": "1,2", "layers": "8,8,8"}, "but layers 8,8,8 has 3"),
        ({"min_context": 30, "lookback": 20}, "min_context 30 is more than lookback 20"),
        ({"skip": "season", "skip_lag": 9, "lookback": 8}, "skip_lag 9 is longer than lookback 8"),
        ({"padding": "mask", "residual": True}, "with padding mask"),
        ({"joint": True, "series_vectors": True}, "tells series apart"),
        ({"teacher_forcing": 0.5}, "left to --preset auto, which has none"),
        ({"clip_norm": 1.0, "clip_value": 1.0}, "both limit the gradient"),
        ({"loss": "smape", "transform": "diff"}, "The loss smape needs levels"),
        (
            {"deseasonalise": True, "season_length": 1},
            "--deseasonalise needs a season, but season_length is 1",
        ),
        ({"deseasonalise": True, "loss": "smape"}, "which --loss smape needs"),
        ({"deseasonalise": True, "direction": True}, "hides the season from the network"),
        (
            {"deseasonalise": True, "calendar": "XNYS", "frequency": "B"},
            "holidays shift the sessions of XNYS",
        ),
        ({"folds": 2, "test_size": 9}, "Both --folds 2 and --test-size 9"),
        ({"horizon": 12, "test_size": 9}, "needs at least the horizon, 12 rows"),
    ],
)
def test_what_contradicts_itself_is_refused_before_any_row_is_looked_at(asked, said):
    with pytest.raises(InvalidInputError, match=re.escape(said)):
        Forecaster(**asked).fit(None)


@pytest.mark.parametrize(
    "asked",
    [
        {"segment": 5, "horizon": 12, "preset": "classic"},  # decodes the horizon at once
        {"min_context": 30},
        {"skip": "season", "skip_lag": 900},
        {"attention": "self", "heads": 2},
        {"gate_bias": "chrono", "cell": "rnn-lstm"},
        {"padding": "mask", "segment": 9},
        {"preset": "seq2seq", "teacher_forcing": 0.5},
        {"test_size": 9},
    ],
)
def test_what_the_data_may_still_allow_is_not_refused(asked):
    presets.check_asked(Config.of(**asked))


def test_spread_needs_two_seasons_to_compare():
    asked = {"normalise": "spread", "lookback": 8, "season_length": 8, "skip_lag": 8, "horizon": 4}
    with pytest.raises(InvalidInputError, match="lookback 8 is not longer than skip_lag 8"):
        presets.resolve(Config.of(**asked), panel_of("a"))
    asked["lookback"] = 12
    assert presets.resolve(Config.of(**asked), panel_of("a")).network.normalise == "spread"


def test_the_classic_preset_is_the_textbook():
    network = presets.resolve(
        Config.of(preset="classic", cell="lstm"), panel_of("a", rows=600)
    ).network
    assert (network.segment, network.layers, network.decoder) == (1, (50, 50), "direct")
    assert (network.lookback, network.normalise) == (60, "none")


@pytest.mark.parametrize(
    ("rows", "preset"), [(12, "auto"), (20, "segment"), (40, "segment"), (100, "segment")]
)
def test_little_data_gets_a_window_that_fits(rows, preset):
    panel = panel_of("a", rows=rows)
    model = Forecaster(epochs=1, ensemble=1, preset=preset).fit(frame_of("a", rows=rows))
    assert model.config.network.lookback + model.config.network.horizon < rows
    assert np.isfinite(model.predict()["gru"]).all(), panel


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lookback": 10, "segment": 4, "horizon": 4}, "segment 4 does not divide lookback 10"),
        ({"lookback": 12, "segment": 4, "horizon": 6}, "segment 4 does not divide horizon 6"),
        ({"horizon": 8, "test_size": 4}, "--test-size needs at least the horizon"),
        ({"folds": 2, "test_size": 20}, "Both --folds 2 and --test-size 20"),
        ({"lookback": 200, "horizon": 8, "segment": 4}, "needs at least .* but has 160"),
    ],
)
def test_settings_that_contradict_are_refused(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        Forecaster(**settings).fit(frame_of("a"))


# --- judgement


def test_the_scores_can_be_computed_again_from_the_forecasts(fitted):
    folds = fitted.evaluated.backtest.folds
    scores = fitted.evaluated.backtest.judgement.scores
    table = folds.to_frame()
    assert list(table)[:5] == ["unique_id", "ds", "cutoff", "y", "gru"]
    assert len(table) == 2 * 2 * 4
    for name in ("gru", "naive", "seasonal_naive", "drift"):
        assert scores[name]["mae"] == pytest.approx((table["y"] - table[name]).abs().mean())
    truth = frame_of("a", "b").merge(table, on=["unique_id", "ds"], suffixes=("", "_table"))
    np.testing.assert_array_equal(truth["y"], truth["y_table"])
    ahead = (table["ds"] - table["cutoff"]).dt.days
    assert set(ahead) == {1, 2, 3, 4}
    last = frame_of("a", "b").rename(columns={"ds": "cutoff", "y": "last"})
    np.testing.assert_array_equal(
        table.merge(last, on=["unique_id", "cutoff"])["last"], table["naive"]
    )


def folds_of(truth, scale, season=1, **forecasts):
    """Return folds of one series with the model `gru`, four windows of two steps."""
    y = np.full((4, 2), truth)
    panel = panel_of("a", rows=12)
    cutoffs, zeros = np.arange(6, 10), np.zeros(4, dtype=int)
    times, own = pd.RangeIndex(8), {"gru": forecasts.get("gru", y + 1)}
    folds = judging.Folds(
        name="gru",
        ids=("a",),
        series=zeros,
        fold=np.arange(4),
        cutoff=times[:4],
        ds=times,
        y=y,
        last=panel.y[cutoffs],
        forecasts=own,
        bounds={},
        scale=np.array([scale]),
        step_size=2,
    )
    simple = judging.with_baselines(folds, panel, cutoffs, season).baselines
    made = {name: forecasts.get(name, y + 1) for name in simple if name not in STATISTICAL}
    return replace(folds, forecasts=own | made)


def test_train_rows_that_never_change_leave_the_verdict_open():
    judgement = judging.judge(folds_of(5.0, np.nan))
    assert judgement.verdict.startswith("The verdict is open: no train rows change")
    assert judgement.unscaled == 4


def test_the_figures_of_an_outlier_stay_readable():
    verdict = judging.judge(folds_of(1.0, 1e-3, gru=np.full((4, 2), 1e200))).verdict
    assert "has 1e+202% more error than naive (MASE 1e+203 against 1000.000)" in verdict
    assert verdict.endswith("the losses differ by the same amount every time.")


def test_a_longer_season_that_the_network_may_start_from_is_a_baseline():
    folds = forecaster.backtest(frame_of("a"), **QUICK | {"skip_lag": 16, "epochs": 1}).folds
    assert {"seasonal_naive", "seasonal_naive_16"} < {*folds.baselines}
    rows = np.searchsorted(frame_of("a")["ds"], folds.cutoff)
    expected = frame_of("a")["y"].to_numpy()[rows - 15]  # of the first step, 16 rows before it
    np.testing.assert_array_equal(folds.forecasts["seasonal_naive_16"][:, 0], expected)


def test_without_a_season_nothing_is_seasonal():
    folds = folds_of(5.0, 1.0)
    assert list(judging.judge(folds).scores) == ["gru", "naive", "drift"]
    assert list(folds.to_frame())[5:] == ["naive", "drift"]
    assert "seasonal_naive" in folds_of(5.0, 1.0, season=2).to_frame()


def test_a_model_that_wins_is_said_to_have_skill():
    frame = frame_of("a", "b", rows=400, noise=0.02)
    result = forecaster.backtest(
        frame, **QUICK | {"epochs": 30, "learning_rate": 0.01, "season_length": 7, "folds": 10}
    )
    assert result.judgement.skill > 0.5
    assert result.judgement.p_value < 0.05
    assert result.judgement.verdict.startswith("Skill: gru has")


def test_a_random_walk_is_said_to_have_no_skill():
    random = np.random.default_rng(5)
    ds = pd.date_range("2020-01-01", periods=400)
    walk = pd.DataFrame(
        {"unique_id": "walk", "ds": ds, "y": 100 + random.normal(size=400).cumsum()}
    )
    verdict = forecaster.backtest(walk, **QUICK | {"folds": 20}).judgement.verdict
    assert not verdict.startswith("Skill:")


@pytest.mark.parametrize("refit", ["each", "never"])
def test_that_one_network_is_trained_where_refits_are_asked_for_is_told(refit):
    model = Forecaster(**QUICK | {"epochs": 1, "refit": refit}).fit(frame_of("a"))
    assert len(model.evaluated.backtest.models) == 1
    told = [line for line in model.evaluated.panel.notices if "refit each is left out" in line]
    assert len(told) == (refit == "each")


CHANGES = {
    "folds": {"folds": 3},
    "test_size": {"folds": None, "test_size": 30},
    "step_size": {"step_size": 2},
    "gap": {"gap": 3},
    "refit": {"refit": "each"},
    "fallback": {"fallback": "baseline"},
}


@pytest.mark.parametrize("field", sorted(EvaluationSpec.model_fields.keys() - {"require_skill"}))
def test_every_evaluation_setting_changes_the_backtest(field):
    settings = QUICK | {"epochs": 1, "deterministic": True, "skip": "none"}
    frame = frame_of("a")
    before = forecaster.backtest(frame, **settings).folds.to_frame()
    after = forecaster.backtest(frame, **settings | CHANGES[field]).folds.to_frame()
    assert not before.equals(after)


def test_skill_can_be_required():
    settings = QUICK | {"epochs": 1, "folds": 1}  # one fold is too few to prove anything
    forecaster_ = Forecaster(**settings, require_skill=True)
    with pytest.raises(
        QualityGateError, match=r"--require-skill: .* \(MASE .* against .*\), but 4 points in time"
    ):
        forecaster_.fit(frame_of("a"))
    assert not forecaster_.evaluated.backtest.judgement.has_skill
    with pytest.raises(InvalidInputError, match="no trained model yet"):
        forecaster_.predict()
    with pytest.raises(QualityGateError):
        forecaster.backtest(frame_of("a"), **settings, require_skill=True)


@pytest.mark.parametrize(
    ("error", "noise", "skill"), [(0.5, 0.2, True), (0.9, 1.5, False), (1.5, 0.2, False)]
)
def test_skill_is_less_error_by_more_than_chance(error, noise, skill):
    random = np.random.default_rng(1)
    folds = folds_of(0.0, 1.0)
    wrong = {name: np.abs(1 + noise * random.normal(size=(4, 2))) for name in folds.baselines}
    made = {"gru": np.abs(error + noise * random.normal(size=(4, 2))), **wrong}
    judgement = judging.judge(replace(folds, forecasts=made))
    assert judgement.has_skill is skill is judgement.verdict.startswith("Skill: ")
    assert judgement.to_dict()["has_skill"] is skill
    if skill:
        judging.require_skill(judgement)
    else:
        with pytest.raises(QualityGateError):
            judging.require_skill(judgement)


@pytest.mark.slow  # trains several networks
def test_publishing_the_judged_model_is_a_choice():
    settings = QUICK | {"epochs": 4, "deterministic": True}
    fitted = Forecaster(**settings).fit(frame_of("a"))
    judged = Forecaster(**settings, refit_all=False).fit(frame_of("a"))
    trained_on = fitted.evaluated.backtest.models[-1]
    assert judged.model.graph == trained_on.graph != fitted.model.graph
    assert fitted.model.trained.windows > trained_on.trained.windows
    assert fitted.model.trained.members[0].epochs == trained_on.trained.members[0].best_epoch
    assert fitted.model.conformal.windows > trained_on.conformal.windows


def test_scores_are_carried_over_by_the_widths_of_the_two_networks(fitted):
    model, panel = fitted.model, fitted.evaluated.panel
    unit = 2 * model.scaling.error_unit
    scaling = replace(model.scaling, scale=2 * model.scaling.scale, error_unit=unit)
    twice_as_wide = replace(model, scaling=scaling).as_wide_as(model, panel, np.arange(40, 140))
    np.testing.assert_allclose(twice_as_wide.conformal.scores, model.conformal.scores / 2)
    as_it_is = model.as_wide_as(model, panel, np.arange(0)).conformal.scores
    np.testing.assert_array_equal(as_it_is, model.conformal.scores)

    parts = splits.of_config(panel, model.config)
    unseen = splits.cutoffs_since(panel, parts.val_start, model.config.context_rows, 4)
    judged = fitted.evaluated.backtest.models[-1].calibrated(panel, unseen)
    expected = model.as_wide_as(judged, panel, unseen)
    np.testing.assert_allclose(model.conformal.scores, expected.conformal.scores)
    assert (model.conformal.scores != judged.conformal.scores).all()
    rehearsed = replace(model, trained=replace(model.trained, rehearsed=3.0))  # as before compress
    assert refitting.with_intervals(rehearsed, judged, panel).trained.rehearsed == 0


MANY = pd.concat([frame_of(f"s{place}", rows=60) for place in range(30)])
REHEARSED = QUICK | {"epochs": 1, "folds": 4}


@pytest.fixture
def refits(monkeypatch):
    """Keep what is trained again: the options, the panel, the model."""
    refit, made = training.refit, []

    def kept(panel, **options):
        made.append((options, panel, refit(panel, **options)))
        return made[-1][2]

    monkeypatch.setattr(training, "refit", kept)
    return made


def test_the_refit_of_many_series_is_rehearsed_up_to_the_test_rows(refits):
    fitted = Forecaster(**REHEARSED).fit(MANY)
    model, panel = fitted.model, fitted.evaluated.panel
    (options, all_rows, _), (same, before, rehearsed) = refits
    stages = [each.pop("on_epoch").args[1] for each in (options, same)]
    assert stages == ["On all rows", "Rehearsal"]
    assert options == same
    assert (all_rows.lengths[0], before.lengths[0]) == (60, 44)
    ahead = (np.arange(44, 57)[None, :] - 1 + panel.offsets[:-1, None]).ravel()
    calibrated = rehearsed.calibrated(panel, ahead)
    expected = model.as_wide_as(calibrated, panel, ahead)
    assert model.conformal.windows == len(ahead) == 390
    assert model.trained.rehearsed == rehearsed.trained.seconds > 0
    np.testing.assert_allclose(model.conformal.scores, expected.conformal.scores)
    np.testing.assert_array_equal(model.conformal.stretch, calibrated.conformal.stretch)


@pytest.mark.parametrize(
    ("frame", "settings"),
    [
        (MANY[MANY["unique_id"] != "s7"], {}),
        (MANY, {"folds": 2}),  # 150 windows
        (MANY, {"time_budget": 600}),
    ],
)
def test_little_to_calibrate_on_or_little_time_is_no_rehearsal(frame, settings, refits):
    fitted = Forecaster(**REHEARSED | settings).fit(frame)
    panel, config = fitted.evaluated.panel, fitted.config
    unseen = splits.cutoffs_since(panel, splits.of_config(panel, config).val_start, 16, 4)
    assert fitted.model.conformal.windows == len(unseen)
    ((options, _, _),) = refits
    assert options["share"] == 1
    assert fitted.model.trained.rehearsed == 0


def test_a_rehearsal_leaves_the_gap_and_starts_with_what_has_not_seen_the_test_rows(refits):
    short = frame_of("short", rows=30)
    earlier = Forecaster(**REHEARSED, gap=2).fit(pd.concat([MANY, short]))
    (_, _, published), (_, before, _) = refits
    assert before.lengths.tolist() == [*[42] * 30, 24]  # of the short one, rows before validation
    later = pd.concat([frame_of(f"s{place}", rows=80) for place in range(30)])
    Forecaster(**REHEARSED, gap=2).fit(pd.concat([later, short]), warm_start=earlier)
    starts = [options["start"] for options, _, _ in refits[2:]]
    assert starts[0].weights == published.weights
    assert starts[1].weights == earlier.judged.start.weights != published.weights


def test_series_that_are_too_short_follow_the_policy():
    frame = pd.concat([frame_of("a"), frame_of("tiny", rows=18)])
    fitted = Forecaster(**QUICK | {"epochs": 1}).fit(frame)
    assert fitted.evaluated.panel.skipped == {
        "tiny": "needs at least 20 rows (min_context 16 + horizon 4) but has 18"
    }
    with pytest.raises(InvalidInputError, match="'tiny' needs at least 44 rows"):
        Forecaster(**QUICK, too_short="error").fit(frame)


def test_using_a_forecaster_too_early_says_what_to_do():
    with pytest.raises(InvalidInputError, match="Call fit"):
        Forecaster().predict(frame=frame_of("a"))
    with pytest.raises(InvalidInputError, match="no setting 'horizn'"):
        Forecaster(horizn=3)


# --- what readers and attackers found


def test_one_fold_has_no_p_value_and_is_saved_all_the_same(tmp_path):
    fitted = Forecaster(**QUICK | {"epochs": 1, "folds": 1}).fit(frame_of("a"))
    fitted.save(tmp_path / "model")
    again = Forecaster.load(tmp_path / "model")
    assert again.about["judgement"]["folds"] == 1
    again.save(tmp_path / "copy")
    with pytest.raises(InvalidInputError, match="exists already"):
        again.save(tmp_path / "copy")


def test_constant_series_are_judged_and_saved(tmp_path):
    frame = frame_of("a").assign(y=3.0)
    fitted = Forecaster(**QUICK | {"epochs": 1}).fit(frame)
    fitted.save(tmp_path / "model")
    np.testing.assert_allclose(fitted.predict()["gru"], 3.0, atol=1.0)


@pytest.mark.slow
def test_a_forecaster_is_fitted_again_from_what_was_asked(tmp_path):
    forecaster = Forecaster(preset="segment", epochs=1, layers=(4,), horizon=4, refit_all=False)
    first = forecaster.fit(frame_of("a", rows=60)).config.network.lookback
    assert forecaster.fit(frame_of("a", rows=400)).config.network.lookback > first
    forecaster.save(tmp_path / "model")
    Forecaster.load(tmp_path / "model").fit(frame_of("a", rows=400))


def test_integer_times_have_no_calendar_features():
    frame = frame_of("a")
    frame["ds"] = np.arange(160)
    model = Forecaster(**QUICK | {"epochs": 1}, calendar_features=True).fit(frame)
    assert model.model.network.future_features == 0
    assert np.isfinite(model.predict(9)["gru"]).all()


@pytest.mark.slow
def test_one_short_series_changes_nothing_for_the_others():
    settings = QUICK | {"epochs": 1, "deterministic": True, "scaler": "minmax"}
    alone = Forecaster(**settings).fit(frame_of("a", "b"))
    short = frame_of("tiny", rows=19).assign(y=1e6)
    among = Forecaster(**settings).fit(pd.concat([frame_of("a", "b"), short]))
    assert "tiny" in among.evaluated.panel.skipped
    pd.testing.assert_frame_equal(alone.predict(), among.predict())


def test_series_that_end_at_different_times_are_said_to():
    frame = pd.concat([frame_of("a"), frame_of("b", rows=140)])
    fitted = Forecaster(**QUICK | {"epochs": 1}).fit(frame)
    assert any("end at different times" in line for line in fitted.evaluated.panel.notices)


@pytest.mark.parametrize("windows", range(5, 60))
@pytest.mark.parametrize("level", [50, 80, 90])
def test_the_conformal_rank_is_exact(windows, level):
    conformal = calibrated(np.arange(1.0, windows + 1)[:, None])
    rank = -(-(windows + 1) * level // 100)
    found = conformal.deviates(level, 1)[0] * conformal.stretch[0]
    assert found == pytest.approx(min(rank, windows))


def test_predictions_that_make_no_sense_are_refused(fitted):
    with pytest.raises(InvalidInputError, match="at least 1"):
        fitted.predict(0)
    with pytest.raises(InvalidInputError, match="level"):
        fitted.predict(level=(150,))


def test_a_baseline_without_error_is_called_exact():
    frame = frame_of("a").assign(y=np.arange(160.0))
    verdict = forecaster.backtest(frame, **QUICK | {"epochs": 1}).judgement.verdict
    assert verdict.startswith("No skill: drift is exact")


def test_a_time_budget_is_shared_by_the_fits_of_a_backtest_and_kept_as_asked(monkeypatch):
    shares, fit = [], training.fit

    def spy(*args, share, **options):
        shares.append(share)
        return fit(*args, share=share, **options)

    monkeypatch.setattr(training, "fit", spy)
    settings = QUICK | {"epochs": 10_000, "patience": 10_000, "learning_rate": 1e-6, "folds": 2}
    result = forecaster.backtest(frame_of("a"), **settings, refit="each", time_budget=2)
    members = [member for model in result.models for member in model.trained.members]
    assert {member.stopped_by for member in members} == {"time budget"}
    assert shares == [0.5, 0.5]
    assert {model.config.training.time_budget for model in result.models} == {2}


def test_csv_keeps_every_digit():
    table = pd.DataFrame({"y": [1e15 + 10.25, 0.1]})
    assert to_csv(table) == "y\n1000000000000010.2\n0.1\n"


def test_a_time_that_is_missing_is_written_as_such():
    times = pd.to_datetime(["2024-01-01", None, "2024-01-02"])
    assert to_csv(pd.DataFrame({"ds": times, "y": 1})) == "ds,y\n2024-01-01,1\n,1\n2024-01-02,1\n"
    assert to_csv(pd.DataFrame({"ds": times[[1]], "y": 1})) == "ds,y\n,1\n"
