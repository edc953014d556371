"""Columns known ahead, static ones, late ones and holidays: from the rows to the forecast."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of

from forecaster import Forecaster, scaling
from forecaster.config import Config, DataSpec
from forecaster.errors import InvalidInputError
from forecaster.known import input_features, known_after, past_the_end
from forecaster.public_holidays import holiday_days
from forecaster.series import prepare
from forecaster.statics import StaticScaling

pytestmark = pytest.mark.xdist_group("known")

ROWS, AHEAD = 120, 8
SETTINGS = QUICK | {
    "epochs": 2,
    "learning_rate": 0.05,
    "deterministic": True,
    "refit_all": False,
    "skip": "none",
    "shrink": False,
    "covariates": ("gdp",),
    "future": ("promo", "heat"),
    "static": ("area", "region"),
    "available_after": {"gdp": "10d"},
    "holidays": "US",
}


def made(rows=ROWS, ahead=AHEAD):
    """Series of different lengths, with rows past their end."""
    random = np.random.default_rng(4)
    frame = pd.concat([frame_of("a", rows=rows + ahead), frame_of("b", rows=rows + ahead - 3)])
    frame = frame.reset_index(drop=True)
    frame["y"] = frame["y"].where(frame.groupby("unique_id").cumcount(ascending=False) >= ahead)
    frame["promo"] = random.integers(0, 2, len(frame)).astype(float)
    frame["heat"] = 20 + random.normal(size=len(frame))
    frame["gdp"] = np.arange(len(frame)) * 1.0
    frame["y"] += 2 * frame["promo"]
    first = frame["unique_id"] == "a"
    return frame.assign(area=np.where(first, 3.0, 7.0), region=np.where(first, "north", "south"))


@cache
def fitted(**changed):
    return Forecaster(**SETTINGS | changed).fit(made())


def changed(frame, rows, **columns):
    return frame.assign(
        **{name: frame[name].where(~rows, value) for name, value in columns.items()}
    )


def empty(frame):
    return frame["y"].isna()


def forecast(model, frame, horizon=None):
    return model.predict(horizon, frame=frame)["gru"].to_numpy()


def test_rows_past_the_end_are_no_part_of_the_series_and_survive_preparing_again():
    spec = DataSpec(future=("promo", "heat"), static=("area", "region"))
    panel = prepare(made(), spec)
    assert panel.lengths.tolist() == [ROWS, ROWS - 3]
    assert panel.covariate_names == ("promo", "heat")
    assert panel.ahead.groupby("unique_id").size().tolist() == [AHEAD, AHEAD]
    (said,) = (line for line in panel.notices if "16 rows without a value of y in 2 series" in line)
    assert said.endswith("they say what is known ahead (promo, heat).")
    some = made()
    some.loc[some.index[-3:], "heat"] = np.nan
    *_, said = prepare(some, spec).notices
    assert "(promo, heat; heat is empty in 3 of them, and needed up to the horizon)." in said
    again = prepare(panel.to_frame(), spec)
    pd.testing.assert_frame_equal(again.ahead, panel.ahead)
    assert again.statics["region"].tolist() == ["north", "south"]
    only = prepare(panel.select(["b"]).to_frame(), spec)
    assert (only.ids, len(only.ahead)) == (("b",), AHEAD)


def test_what_is_known_ahead_changes_the_forecast_of_its_own_series_only():
    model = fitted()
    before = forecast(model, made())
    for column, value in {"promo": 5.0, "heat": 40.0}.items():
        rows = empty(made()) & (made()["unique_id"] == "b")
        after = forecast(model, changed(made(), rows, **{column: value}))
        assert (before[:4] == after[:4]).all()
        assert (np.abs(before[4:] - after[4:]) > 1e-4).all(), column


def test_known_ahead_values_after_the_steps_forecast_change_nothing():
    late = made().groupby("unique_id").cumcount(ascending=False) < AHEAD - 4
    after = forecast(fitted(), changed(made(), late, promo=5.0, heat=40.0))
    np.testing.assert_array_equal(after, forecast(fitted(), made()))


def test_the_steps_of_a_fold_come_from_the_rows_of_the_panel():
    """Rows after a cutoff change its forecast by what is known ahead, and by nothing else."""
    model = fitted().model
    panel = prepare(made(), model.config.data)
    cutoffs = panel.offsets[1:] - 1 - 4
    before = model.forecast(panel, cutoffs).levels
    later = made().groupby("unique_id").cumcount(ascending=False) < AHEAD + 4
    poison = changed(made(), later & ~empty(made()), y=1e6, gdp=1e6)
    np.testing.assert_array_equal(
        model.forecast(prepare(poison, model.config.data), cutoffs).levels, before
    )
    heat = changed(made(), later, heat=40.0)
    assert (model.forecast(prepare(heat, model.config.data), cutoffs).levels != before).all()
    with pytest.raises(ValueError, match="Past the end"):
        model.forecast(panel, panel.offsets[1:] - 1)


def test_the_state_of_columns_known_ahead_is_fitted_on_train_rows_only():
    model, frame = fitted().model, made()
    rows = frame[(frame["unique_id"] == "a") & ~empty(frame)].iloc[10:]  # before, no gdp is out
    train = rows["heat"].to_numpy()[: len(rows) - 16 - 8]  # less validation and two folds
    assert model.scaling.covariate_center[0, 2] == pytest.approx(train.mean())
    assert model.scaling.covariate_scale[0, 2] == pytest.approx(train.std())


def test_a_backtest_forecasts_as_predict_does_from_the_same_cutoff():
    model = fitted()
    panel = prepare(made(), model.config.data)
    cutoff = panel.offsets[1] - 1 - 4
    cut = made()
    cut["y"] = cut["y"].where(cut["ds"] <= panel.ds[cutoff])
    cut = cut[(cut["unique_id"] == "a")]
    once = model.model.forecast(panel, np.array([cutoff])).values[0]
    np.testing.assert_allclose(forecast(model, cut), once, rtol=1e-6)


@pytest.mark.parametrize(("horizon", "few"), [(None, 3), (4, 3), (7, 3)])
def test_a_missing_value_within_the_horizon_is_named_by_series_column_and_time(horizon, few):
    frame = made()
    last = frame.index[frame["unique_id"] == "b"][-AHEAD + 3]
    frame.loc[last, "heat"] = np.nan
    when = frame.loc[last, "ds"].date()
    with pytest.raises(InvalidInputError, match=f"'b' has no value of 'heat' at {when}") as caught:
        fitted().predict(horizon, frame=frame)
    assert f"--horizon of at most {few}" in caught.value.hint
    with pytest.raises(InvalidInputError, match="'a' has no value of 'promo'") as caught:
        fitted().predict(frame=frame[~empty(frame)])
    assert "at most" not in caught.value.hint


def test_a_value_that_no_network_can_take_is_refused():
    with pytest.raises(InvalidInputError, match=r"'a' has a covariate of 1e\+300, more than"):
        fitted().predict(frame=changed(made(), empty(made()), heat=1e300))
    with pytest.raises(InvalidInputError, match=r"'a' has a static feature of 5e\+299, more than"):
        fitted().predict(frame=made().assign(area=1e300))


def test_steps_beyond_the_trained_horizon_need_rows_too():
    model = fitted()
    assert np.isfinite(forecast(model, made(), 8)).all()
    late = made().groupby("unique_id").cumcount(ascending=False) < 2
    moved = forecast(model, changed(made(), late, heat=60.0), 8)
    assert (np.abs(moved - forecast(model, made(), 8)) > 1e-6).any()
    with pytest.raises(InvalidInputError, match="9 steps after the last value"):
        model.predict(9, frame=made())


def test_a_shorter_horizon_is_the_beginning_of_a_longer_one_or_says_what_it_holds():
    prediction = fitted().prediction(2, frame=made())
    whole = forecast(fitted(), made()).reshape(2, 4)
    np.testing.assert_allclose(prediction.frame["gru"], whole[:, :2].ravel(), rtol=1e-6)
    assert not any("held" in line for line in prediction.notices)
    late = made().groupby("unique_id").cumcount(ascending=False) < AHEAD - 2
    short = fitted().prediction(2, frame=made()[~late])
    assert any("the last values of promo, heat are held" in line for line in short.notices)


def test_holes_in_what_is_known_ahead_are_refused_never_filled():
    frame = made()
    frame.loc[5:6, "heat"] = np.nan
    with pytest.raises(InvalidInputError, match="'heat', known ahead, has 2 empty values"):
        prepare(frame, DataSpec(future=("heat",)))
    frame.loc[:6, "heat"] = np.nan  # before it begins there are no rows
    assert prepare(frame, DataSpec(future=("heat",))).lengths.tolist() == [ROWS - 7, ROWS - 3]
    with pytest.raises(InvalidInputError, match="y is empty in every row"):
        prepare(made().assign(y=np.nan), DataSpec(future=("heat",)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"future": "heat", "covariates": "heat"}, "heat is among covariates too"),
        ({"static": "heat", "future": "heat"}, "heat is among future too"),
        ({"static": "area", "covariates": "gdp,area"}, "area is among covariates too"),
        ({"future": "y"}, "y is among the keys unique_id, ds and y too"),
        ({"available_after": {"gdp": "2d"}}, "only covariates .there are none. can be late"),
        ({"available_after": {"heat": "2d"}, "covariates": "gdp"}, "heat is none"),
        ({"available_after": {"gdp": "soon"}, "covariates": "gdp"}, "a duration such as"),
    ],
)
def test_a_column_has_one_role(settings, said):
    with pytest.raises(InvalidInputError, match=said):
        Config.of(**settings)


@pytest.mark.parametrize(
    ("settings", "option", "said"),
    [
        ({"future": ("cold",)}, "--future", "no covariate cold; .* promo, heat, gdp, area"),
        ({"static": ("cold",)}, "--static", "no covariate cold; .* area, region"),
        ({"future": ("region",)}, "--future", "needs numbers, but region"),
        (
            {"covariates": ("all",), "future": ("heat",), "available_after": {"heat": 9}},
            "--available-after",
            "no covariate heat; .* promo, gdp, area",
        ),
    ],
)
def test_a_column_that_cannot_be_used_is_named(settings, option, said):
    with pytest.raises(InvalidInputError, match=said) as caught:
        prepare(made(), DataSpec(**settings))
    assert option in caught.value.hint


def test_all_covariates_are_those_that_have_no_other_role():
    panel = prepare(made(), DataSpec(covariates=("all",), future=("heat",), static=("area",)))
    assert panel.covariate_names == ("promo", "gdp", "heat")
    assert panel.past_names == ("promo", "gdp")


def test_static_columns_reach_the_forecast():
    model, frame = fitted(), made()
    assert model.model.network.static_features == 3  # a number and two words
    before = forecast(model, frame)
    for column, value in {"area": 9.0, "region": "north"}.items():
        after = forecast(model, frame.assign(**{column: value}))
        assert (np.abs(before[4:] - after[4:]) > 1e-5).all(), column
    numbers = model.model.scaling.statics[0]
    assert (numbers.center, numbers.scale) == (5.0, 2.0)


def test_long_codes_stay_apart():
    codes = np.array([1234567, 1234568, 12, 0.5, "x"], dtype=object)
    frame = frame_of(*"abcde", rows=20).assign(area=np.repeat(codes, 20))
    words = prepare(frame, DataSpec(static=("area",))).statics["area"]
    assert words.tolist() == ["1234567", "1234568", "12", "0.5", "x"]
    assert StaticScaling.fit("area", words).unknown(np.array([1234567.0, 12.0, 7.0])) == ["7"]


def test_a_word_that_is_new_counts_as_none_and_is_said():
    prediction = fitted().prediction(frame=made().assign(region="west"))
    assert any("('west')" in line or "'west'" in line for line in prediction.notices)
    assert np.isfinite(prediction.frame["gru"]).all()
    with pytest.raises(InvalidInputError, match=r"'area' had numbers .* now has words such as 'x'"):
        fitted().predict(frame=made().assign(area="x"))


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([1.0, 2.0], "'area' changes within series 'a': it has '1', '2'"),
        (["x", "y"], "'area' changes within series 'a': it has 'x', 'y'"),
        ([np.nan, np.nan], "'area' has no value in series 'a'"),
        ([np.inf, np.inf], "'area' is infinite in series 'a'"),
    ],
)
def test_a_static_column_is_constant_and_there(column, said):
    with pytest.raises(InvalidInputError, match=said):
        prepare(frame_of("a", rows=20).assign(area=column * 10), DataSpec(static=("area",)))


def test_a_late_covariate_shows_what_was_out_by_then():
    spec = DataSpec(covariates=("gdp",), available_after={"gdp": 10 * 86_400})
    panel = prepare(made(), spec)
    whole = prepare(made(), DataSpec(covariates=("gdp",)))
    assert (whole.lengths - panel.lengths).tolist() == [10, 10]
    assert any("Left out 20 rows" in line and "published" in line for line in panel.notices)
    kept = panel.select(["b"])
    np.testing.assert_array_equal(
        kept.covariates[:, 0], whole.select(["b"]).covariates[: len(kept.y), 0]
    )
    weekly = prepare(made(), DataSpec(covariates=("gdp",), available_after={"gdp": 86_400 * 1.5}))
    assert weekly.covariates[0, 0] == 0  # the first row is out on the third day
    with pytest.raises(InvalidInputError, match="needs dates"):
        prepare(made().assign(ds=np.arange(len(made()))), spec)


def test_a_late_covariate_cannot_be_seen_before_it_is_out():
    model = fitted().model
    panel = prepare(made(), model.config.data)
    cutoff = panel.offsets[1:2] - 1 - 4
    before = model.forecast(panel, cutoff).levels
    out = panel.ds[cutoff[0]] - pd.Timedelta(days=10)
    unseen, seen = (
        changed(made(), rows & (made()["unique_id"] == "a"), gdp=1e6)
        for rows in (made()["ds"] > out, made()["ds"] >= out)
    )
    again = model.forecast(prepare(unseen, model.config.data), cutoff).levels
    np.testing.assert_array_equal(again, before)
    other = model.forecast(prepare(seen, model.config.data), cutoff).levels
    assert (other != before).all()


def test_holidays_are_a_feature_of_the_days_of_their_country():
    def days(place, frame):
        config = Config.of(holidays=place)
        panel = prepare(frame, config.data)
        _, known = input_features(panel, scaling.fit(panel, config.scaling), config)
        return panel.ds[known[:, 0] == 1].strftime("%m-%d %H").tolist()

    frame = frame_of("a", rows=200)
    american = ["01-01 00", "01-15 00", "02-19 00", "05-27 00", "06-19 00", "07-04 00"]
    assert days("us", frame) == american
    assert "01-06 00" in days("DE-BY", frame)
    assert "01-06 00" not in days("germany", frame)
    hourly = frame_of("a", rows=72, frequency="12h", start="2024-07-03 16:00")
    assert days("US", hourly) == ["07-04 04", "07-04 16"]
    local = hourly.assign(ds=hourly["ds"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    assert days("US", local) == ["07-04 01", "07-04 13"]
    for other in (frame_of("a", frequency="W"), frame.assign(ds=np.arange(200))):
        with pytest.raises(InvalidInputError, match="steps of a day or less"):
            days("US", other)


@pytest.mark.parametrize(
    ("place", "said", "near"),
    [
        ("germny", "no country 'germny'", "DE"),
        ("DE-BX", "no part of DE 'BX'", "BY"),
        ("qqqqq", "no country 'qqqqq'", "ISO 3166"),
    ],
)
def test_an_unknown_place_is_refused_with_near_ones(place, said, near):
    with pytest.raises(InvalidInputError, match=said) as caught:
        holiday_days(place, 2024, 2024)
    assert near in caught.value.hint


def test_holidays_reach_the_forecast():
    model = fitted().model
    panel = prepare(made(), model.config.data)
    known, _ = past_the_end(panel, model.scaling, model.config, 4)
    ends = panel.offsets[1:] - 1
    before = model.forecast(panel, ends, 4, known).levels
    known[:, :, -1] = 1 - known[:, :, -1]
    assert (model.forecast(panel, ends, 4, known).levels != before).all()


def test_a_saved_model_forecasts_the_same_with_all_of_it(tmp_path):
    fitted().save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    assert loaded.config == fitted().config
    np.testing.assert_array_equal(forecast(loaded, made()), forecast(fitted(), made()))
    (network,) = loaded.keras_networks()
    random = np.random.default_rng(0)
    shapes = [tensor.shape[1:] for tensor in network.inputs]
    arrays = [random.normal(size=(3, *shape)).astype("float32") for shape in shapes]
    expected = np.asarray(network(arrays))
    found = loaded.model.network(arrays[0], arrays[1], static=arrays[2])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_step_forecasts_know_what_whole_ones_know_up_to_the_last_row():
    """Inside the series the steps ahead are rows; at its end they are rows ahead, or held."""
    model = fitted().model
    panel = prepare(made(), model.config.data)
    state = model.scaling.align(panel, model.config.scaling)
    inner = np.array([60, 90, int(panel.offsets[1]) + 70])
    known = known_after(panel, state, model.config, inner)
    one, whole = model.forecast(panel, inner, 1, known), model.forecast(panel, inner)
    np.testing.assert_allclose(one.levels[:, 0], whole.levels[:, 0], rtol=1e-6)
    last = panel.offsets[1:] - 2
    at_end = known_after(panel, state, model.config, last)
    ahead = past_the_end(panel, state, model.config, 4)[0]
    np.testing.assert_array_equal(at_end[:, 1:], ahead[:, :3])
    np.testing.assert_array_equal(
        at_end[:, 0], input_features(panel, state, model.config)[1][last + 1]
    )
    bare = replace(panel, ahead=panel.ahead.head(0))
    held = known_after(bare, state, model.config, last)
    np.testing.assert_array_equal(held[:, 3, :2], held[:, 0, :2])  # promo and heat
