"""Seasonal effects: what is taken away, how far, at which phase, and that the future has no say."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of, panel_of, seasonal
from statsmodels.tsa.seasonal import seasonal_decompose

from forecaster import Forecaster, artifacts, presets, scaling, splits, training
from forecaster.calendars import phases
from forecaster.config import Config, DataSpec, ScalingSpec
from forecaster.errors import InvalidInputError
from forecaster.seasonality import seasonal_effects
from forecaster.series import prepare

SPEC = ScalingSpec(transform="none", deseasonalise=True)
BLIND = QUICK | {"lookback": 4, "skip": "none", "normalise": "last", "transform": "none"}


def panel_from(*columns):
    ids = [f"s{place}" for place in range(len(columns))]
    frames = [
        pd.DataFrame({"unique_id": uid, "ds": range(len(y)), "y": y})
        for uid, y in zip(ids, columns, strict=True)
    ]
    return prepare(pd.concat(frames), DataSpec())


def effects_of(length, *columns):
    matrix = side_by_side(*columns)
    place = np.resize(np.arange(length), len(matrix))[:, None]
    return seasonal_effects(matrix, np.repeat(place, len(columns), axis=1), length)


def side_by_side(*columns):
    matrix = np.full((max(map(len, columns)), len(columns)), np.nan)
    for place, column in enumerate(columns):
        matrix[: len(column), place] = column
    return matrix


@pytest.mark.parametrize("length", [2, 3, 7, 12])
def test_effects_beside_a_trend_are_found_exactly(length):
    effects = np.random.default_rng(length).normal(size=length)
    effects -= effects.mean()
    rows = np.arange(5 * length + 1)
    level = 1e6 - 3.0 * rows + effects[rows % length]
    found = effects_of(length, level, level[: 3 * length], [1.0])
    np.testing.assert_allclose(found[:2], [effects, effects], atol=1e-8)
    np.testing.assert_array_equal(found[2], 0)


def test_effects_are_those_of_a_classical_decomposition_shrunk_by_their_noise():
    random = np.random.default_rng(0)
    wave, noise = np.sin(2 * np.pi * np.arange(60) / 12), random.normal(size=60)
    shares = []
    for size in (0.0, 0.1, 1.0, 10.0):
        level = wave + size * noise
        textbook = seasonal_decompose(level, period=12).seasonal[:12]
        found = effects_of(12, level)[0]
        shares.append((found @ textbook) / (textbook @ textbook))
        np.testing.assert_allclose(found, shares[-1] * textbook, atol=1e-12)
    assert shares[0] == pytest.approx(1)
    assert 1 > shares[1] > 0.95 > shares[2] > shares[3]


def test_noise_and_constants_have_hardly_any_effects():
    random = np.random.default_rng(0)
    noise = [random.normal(size=60) for _ in range(200)]
    found = effects_of(12, *noise, np.full(60, 3.0))
    plain = [seasonal_decompose(column, period=12).seasonal[:12] for column in noise]
    assert np.square(found).mean() < 0.15 * np.square(plain).mean()
    np.testing.assert_array_equal(found[-1], 0)


def test_fewer_than_three_seasons_say_nothing():
    wave = np.tile([0.0, 1, 2, 3], 3)
    found = effects_of(4, wave[:11], wave)
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_allclose(found[1], [-1.5, -0.5, 0.5, 1.5])


@pytest.mark.parametrize(
    ("frequency", "length"), [("MS", 12), ("QE", 4), ("W-WED", 52), ("D", 7), ("B", 5), ("2h", 12)]
)
def test_a_phase_belongs_to_the_time_not_to_where_the_series_begins(frequency, length):
    ds = pd.date_range("2019-12-31 10:00", periods=3 * length, freq=frequency)
    found = phases(ds, frequency, length)
    assert (np.diff(found) % length == 1).all()
    np.testing.assert_array_equal(
        phases(ds[length // 2 :], frequency, length), found[length // 2 :]
    )
    zoned = phases(ds.tz_localize("Asia/Tokyo"), frequency, length)
    assert (np.diff(zoned) % length == 1).all()


def test_a_day_begins_at_the_same_hour_after_clocks_change():
    ds = pd.date_range("2024-03-30", periods=72, freq="h", tz="Europe/Berlin")
    assert (phases(ds, "h", 24) == ds.hour).all()


def test_a_day_keeps_its_shape_over_the_change_of_clocks():
    ds = pd.date_range("2024-02-01", "2024-05-31", freq="h", tz="Europe/Berlin")
    wave = np.cos(ds.hour * np.pi / 12)
    panel = prepare(pd.DataFrame({"unique_id": "a", "ds": ds, "y": wave}), DataSpec())
    state = scaling.fit(panel, SPEC, 24)
    np.testing.assert_allclose(state.season[0], np.cos(np.arange(24) * np.pi / 12), atol=0.01)
    before = int(np.flatnonzero(ds == pd.Timestamp("2024-03-30 20:00", tz=ds.tz))[0])
    ahead = state.phases_ahead(panel, np.array([before]), 12)
    levels = state.outputs_to_levels(np.zeros((1, 12, 1)), np.zeros(1), np.zeros(1, int), ahead)
    np.testing.assert_allclose(levels[0, :, 0], wave[before + 1 : before + 13], atol=0.02)


def bars(days):
    """Return hourly bars of a market that is closed at night and on weekends."""
    dates = pd.date_range("2024-01-01", periods=days, freq="B")
    ds = pd.DatetimeIndex(
        [day + pd.Timedelta(hours=hour) for day in dates for hour in range(9, 16)]
    )
    return pd.DataFrame({"unique_id": "b", "ds": ds, "y": 100.0 + ds.hour})


def business_days(without=(), extra=()):
    ds = pd.date_range("2024-01-01", periods=60, freq="B").difference(pd.DatetimeIndex(without))
    ds = ds.union(pd.DatetimeIndex(extra))
    return pd.DataFrame({"unique_id": "b", "ds": ds, "y": 100.0 + ds.day_of_week})


@pytest.mark.parametrize(
    ("frame", "other", "season", "shifted"),
    [
        (bars(4), bars(1), 24, ["2024-01-02 09:00", "2024-01-03 09:00", "2024-01-04 09:00"]),
        (business_days(without=["2024-01-15"]), business_days(), 5, ["2024-01-16"]),
        (business_days(extra=["2024-01-13"]), business_days(), 5, ["2024-01-13"]),
    ],
)
def test_rows_that_closing_times_shift_in_the_season_are_told(frame, other, season, shifted):
    panel = prepare(pd.concat([frame, other.assign(unique_id="a")]), DataSpec())
    found = scaling.shifted_rows(panel, season)
    assert panel.ds[found].equals(pd.DatetimeIndex(shifted))
    state = scaling.fit(panel, SPEC, season)
    cutoffs = np.setdiff1d(np.arange(len(panel.y)), panel.offsets[1:] - 1)
    ahead = state.phases_ahead(panel, cutoffs, 1)[:, 1]
    np.testing.assert_array_equal(found[cutoffs + 1], ahead != state.phases(panel)[cutoffs + 1])
    assert not scaling.shifted_rows(panel, 1).any()


@pytest.mark.parametrize(
    ("frequency", "length", "zone"),
    [
        *[("MS", 12, None), ("QE", 4, None), ("W-WED", 52, None), ("2D", 7, None)],
        *[(alias, 6, "Europe/Berlin") for alias in ("D", "12h", "h")],
    ],
)
def test_no_row_of_regular_steps_is_shifted_in_the_season(frequency, length, zone):
    ds = pd.date_range("2024-01-01", periods=400, freq=frequency, tz=zone).delete([5, 6, 90])
    panel = prepare(pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0}), DataSpec())
    assert panel.filled.sum() == 3
    assert not scaling.shifted_rows(panel, length).any()


def test_a_season_whose_steps_do_not_come_round_is_not_taken_away():
    frame = pd.concat([business_days(["2024-01-15"]), business_days().assign(unique_id="a")])
    asked = Config.of(**QUICK | {"season_length": 5}, deseasonalise=True)
    with pytest.raises(InvalidInputError) as refused:
        presets.resolve(asked, prepare(frame, DataSpec()))
    assert refused.value.message == (
        "--deseasonalise needs steps that come round, but closing times or rows on weekends shift "
        "those of 1 of 2 series ('b'), first at 2024-01-16 00:00:00."
    )
    whole = prepare(business_days(), DataSpec())
    assert presets.resolve(asked, whole).scaling.deseasonalise


def test_without_a_scaler_values_are_those_less_the_season():
    panel = panel_from(np.cumsum(np.full(120, 1e12)))
    state = scaling.fit(panel, SPEC.model_copy(update={"scaler": "none"}), 8)
    assert state.scale.tolist() == [1]


def test_integers_count_in_their_own_steps():
    assert phases(pd.Index([10, 15, 20, 25]), "5", 3).tolist() == [2, 0, 1, 2]


def test_series_that_begin_at_different_phases_lose_each_its_own_season():
    one, other = frame_of("one", noise=0.0), frame_of("other", noise=0.0).iloc[3:]
    panel = prepare(pd.concat([one, other]), DataSpec())
    inputs = scaling.fit(panel, SPEC, 8).inputs(panel)[:, 0]
    np.testing.assert_allclose(inputs, 0, atol=1e-4)
    plain = scaling.fit(panel, SPEC.model_copy(update={"deseasonalise": False}), 8)
    assert plain.inputs(panel)[:, 0].std() > 0.9


@pytest.mark.parametrize("scaler", ["standard", "minmax", "robust"])
@pytest.mark.parametrize("transform", ["none", "diff"])
def test_rounding_that_a_season_leaves_is_no_size_for_what_comes_later(scaler, transform):
    clean = np.resize(0.1 * np.arange(-3, 4), 70)
    later = clean.copy()
    later[-2] += 3
    trained, panel = panel_from(clean), panel_from(later)
    spec = ScalingSpec(transform=transform, scaler=scaler, deseasonalise=True)
    state = scaling.fit(trained, spec, 7)
    assert np.abs(state.inputs(panel)).max() < 100
    assert np.abs(state.inputs(trained)).max() < 1e-6


def test_values_of_any_size_have_a_season():
    wave = np.resize(np.arange(7.0), 70)
    for size in (1e-170, 1.0, 1e90):
        found = scaling.fit(panel_from(size * wave), SPEC, 7).season
        np.testing.assert_allclose(found, [(np.arange(7) - 3) * size], atol=1e-9 * size)


def test_a_value_without_a_logarithm_lies_below_all_seasons():
    random = np.random.default_rng(0)
    y = np.resize(np.exp(random.normal(3, 0.5, 7)), 70) * np.exp(random.normal(0, 0.01, 70))
    state = scaling.fit(panel_from(y), ScalingSpec(transform="log", deseasonalise=True), 7)
    y[-1] = 0
    assert state.levels(panel_from(y)).argmin() == 69


def test_series_that_keep_their_season_are_named():
    short, noisy = seasonal(rows=20)[1], np.random.default_rng(0).normal(size=160)
    panel = panel_from(seasonal()[1], short, noisy)
    state, every = scaling.fit(panel, SPEC, 8), np.ones(3, dtype=bool)
    (said,) = state.seasonal_notices(panel, every)
    assert said.startswith(
        "Not deseasonalised: 1 of 3 series ('s1'). They have fewer than 3 seasons"
    )
    assert state.seasonal_notices(panel, np.array([True, False, True])) == []
    plain = scaling.fit(panel, SPEC.model_copy(update={"deseasonalise": False}), 8)
    assert plain.seasonal_notices(panel, every) == []
    asked = BLIND | {"season_length": 50, "epochs": 1, "deseasonalise": True}
    fitted = Forecaster(**asked).fit(frame_of("one"))
    assert any("Not deseasonalised: 1" in each for each in fitted.evaluated.panel.notices)
    new = pd.concat([frame_of("one"), frame_of("two")])
    said = " ".join(fitted.prediction(frame=new).notices)
    assert (
        "never seen: scaled by their own rows. Not deseasonalised: 1 of 2 series ('two')." in said
    )


def test_a_new_series_has_its_own_season_and_a_known_one_what_it_was_trained_with():
    panel = panel_of("a", "b", noise=0.0)
    state = scaling.fit(panel_of("a", noise=0.0), SPEC, 8)
    opposite = dataclasses.replace(panel, y=10 - panel.y)
    aligned = state.align(opposite, SPEC)
    np.testing.assert_allclose(aligned.season[0], state.season[0])
    np.testing.assert_allclose(aligned.season[1], -state.season[0], atol=1e-9)


def test_the_season_is_not_fitted_on_rows_after_training():
    clean = panel_of("a")
    config = presets.resolve(Config.of(**BLIND, deseasonalise=True), clean)
    parts = splits.of_config(clean, config)
    later = np.arange(160) >= int(parts.train_stop[0])
    poisoned = dataclasses.replace(clean, y=np.where(later, 1e3, clean.y))
    one, other = (training.fit(panel, config, parts).scaling for panel in (clean, poisoned))
    assert np.ptp(one.season) > 1
    np.testing.assert_array_equal(one.season, other.season)


@pytest.mark.parametrize("transform", ["none", "log"])
def test_a_network_that_sees_half_a_season_forecasts_the_whole(transform, tmp_path):
    frame, asked = frame_of("a", "b"), BLIND | {"transform": transform, "epochs": 10}
    rows = frame.groupby("unique_id").cumcount()
    held_out = frame[rows >= 140].groupby("unique_id").head(8)

    def fitted(**settings):
        return Forecaster(**asked, **settings).fit(frame[rows < 140])

    def error(found):
        table = found.predict(horizon=8)  # as many steps again are rolled forward
        return np.abs(table["gru"].to_numpy() - held_out["y"].to_numpy()).mean()

    with_season, without = fitted(deseasonalise=True), fitted()
    assert error(with_season) < 0.25 < error(without)
    with_season.save(tmp_path / "model")
    loaded = artifacts.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.scaling.season, with_season.model.scaling.season)
    assert with_season.config.scaling.deseasonalise
    assert not without.config.scaling.deseasonalise
    recent = Forecaster.load(tmp_path / "model").predict(frame=frame[(rows >= 93) & (rows < 140)])
    np.testing.assert_allclose(recent["gru"], with_season.predict()["gru"], rtol=1e-6)
