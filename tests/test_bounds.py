"""Bounds: kept by points, intervals, backtests and predictions; by all series or by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from series_made import QUICK, frame_of

from forecaster import Forecaster
from forecaster.bounds import Bounds
from forecaster.config import BoundsSpec, Config
from forecaster.errors import InvalidInputError
from forecaster.predicting import predict

pytestmark = pytest.mark.xdist_group("bounds")

BOUNDED = {"min": 4.5, "per_series": {"b": {"max": 8.25}, "c": {"whole": True}, "z": {"min": 1}}}


@pytest.fixture(scope="module")
def fitted():
    return Forecaster(**QUICK, **BOUNDED).fit(frame_of("a", "b", "c"))  # levels 5, 8 and 11


def numbers_of(table, uid):
    return table[table["unique_id"] == uid].filter(like="gru").to_numpy()


def assert_kept(table):
    assert numbers_of(table, "a").min() == 4.5
    assert numbers_of(table, "a").max() > 5.5
    assert numbers_of(table, "b").max() == 8.25
    whole = numbers_of(table, "c")
    assert (whole == np.round(whole)).all()


def test_forecasts_and_intervals_keep_the_bounds_of_their_series(fitted):
    assert_kept(fitted.predict(horizon=8))


def test_what_is_judged_keeps_them_too(fitted):
    folds = fitted.evaluated.backtest.folds.to_frame()
    assert_kept(folds)
    assert folds[folds["unique_id"] == "a"][["naive", "drift"]].min().min() >= 4.5


def test_a_saved_model_keeps_its_bounds(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    loaded = Forecaster.load(tmp_path / "m")
    assert loaded.config.bounds == fitted.config.bounds
    assert_kept(loaded.predict(horizon=8, frame=frame_of("a", "b", "c")))


def test_bounds_may_be_others_at_prediction(fitted):
    other = BoundsSpec(max=6)
    table = predict(fitted.model, fitted.evaluated.panel, horizon=8, bounds=other).frame
    assert numbers_of(table, "a").min() < 4.5
    assert numbers_of(table, "b").max() == 6


def test_series_outside_their_bounds_and_bounds_without_a_series_are_said(fitted):
    broken, unused = fitted.evaluated.panel.notices
    assert broken.startswith("3 of 3 series have values outside their own bounds")
    assert unused == "Bounds of no series here are left unused: 'z'."


def test_without_bounds_nothing_changes_and_nothing_is_said():
    bounds = Bounds.of(BoundsSpec(), ("a",))
    values = np.array([[-1.5, 0.0, 1e99]])
    for kept in (bounds.points, bounds.lows, bounds.highs):
        np.testing.assert_array_equal(kept(values, np.array([0])), values)
    assert not bounds.outside(values[0], np.array([0, 3])).any()


@given(
    st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(-20, 20), st.booleans()
)
def test_an_interval_still_holds_every_value_that_the_bounds_allow(point, down, up, low, whole):
    bounds = Bounds.of(BoundsSpec(min=low, max=low + 1.5, whole=whole), ("a",))
    one = np.array([0])
    before = np.array([[point - down]]), np.array([[point]]), np.array([[point + up]])
    bottom, middle, top = (
        kept(values, one)[0, 0]
        for kept, values in zip((bounds.lows, bounds.points, bounds.highs), before, strict=True)
    )
    assert low <= bottom <= middle <= top <= low + 1.5
    truth = bounds.points(np.array([[point + up / 2]]), one)[0, 0]
    assert bottom <= truth <= top
    assert not whole or middle == round(middle)


def test_whole_forecasts_are_never_minus_zero():
    bounds = Bounds.of(BoundsSpec(whole=True), ("a",))
    assert not np.signbit(bounds.points(np.array([[-0.2]]), np.array([0]))).any()


def test_without_bounds_nothing_is_copied_but_points_from_among_quantiles():
    bounds, series = Bounds.of(BoundsSpec(), ("a",)), np.zeros(3, dtype=int)
    for outputs, copied in ((1, False), (3, True)):
        levels = np.ones((3, 4, outputs))
        points = bounds.points(levels[:, :, 0], series)
        assert points.flags.c_contiguous
        assert np.shares_memory(points, levels) is not copied


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min": 5, "max": 5}, "bounds.max: the max has to be above the min, but is 5 with min 5"),
        ({"min": 0.2, "max": 0.8, "whole": True}, "bounds.whole: no whole number lies from min"),
        ({"min": 5, "per_series": {"a": {"max": 3}}}, "per_series: the max of series 'a' has to"),
        ({"per_series": '{"a": {"mim": 3}}'}, "the nearest is 'min'"),
        ({"per_series": {"a": {"min": "x"}}}, "bounds.per_series.a.min: "),
        ({"per_series": "[1"}, "a table as JSON is needed"),
    ],
)
def test_bounds_that_leave_no_room_are_refused(settings, message):
    with pytest.raises(InvalidInputError) as caught:
        Config.of(**settings)
    assert message in caught.value.message


def test_a_flag_writes_the_table_as_json():
    config = Config.of(per_series='{"store 7": {"min": 0, "max": 100, "whole": true}}')
    assert config.bounds.of("store 7").model_dump() == {"min": 0, "max": 100, "whole": True}
    assert config.bounds.of("other").model_dump() == {"min": None, "max": None, "whole": False}
