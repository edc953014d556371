"""Baselines against their definitions, and against a loop that is too simple to be wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.baselines import BASELINES, forecast


def plain(name, y, start, cutoff, horizon, season):
    """Forecast one window the slow way."""
    seen = list(y[start : cutoff + 1])
    if name == "naive" or (name == "seasonal_naive" and len(seen) < season):
        return [seen[-1]] * horizon
    if name == "drift":
        slope = (seen[-1] - seen[0]) / (len(seen) - 1) if len(seen) > 1 else 0
        return [seen[-1] + slope * (step + 1) for step in range(horizon)]
    for _ in range(horizon):
        seen.append(seen[-season])
    return seen[-horizon:]


def test_the_three_by_hand():
    y, start, cutoff = np.array([9.0, 1, 2, 3, 5, 7]), np.array([1]), np.array([4])
    assert forecast("naive", y, start, cutoff, 3, 2).tolist() == [[5, 5, 5]]
    assert forecast("seasonal_naive", y, start, cutoff, 3, 2).tolist() == [[3, 5, 3]]
    np.testing.assert_allclose(
        forecast("drift", y, start, cutoff, 3, 2), [[5 + 4 / 3, 5 + 8 / 3, 9]]
    )


def test_less_than_a_season_is_forecast_naively():
    y, start = np.arange(10.0), np.array([4, 4])
    found = forecast("seasonal_naive", y, start, np.array([5, 6]), 2, 3)
    assert found.tolist() == [[5, 5], [4, 5]]


def test_one_row_has_no_drift():
    assert forecast("drift", np.array([3.0]), np.array([0]), np.array([0]), 2, 1).tolist() == [
        [3, 3]
    ]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_as_the_slow_way_and_blind_to_what_comes_after(data):
    y = np.array(data.draw(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30)))
    row = st.integers(0, len(y) - 1)
    pairs = data.draw(st.lists(st.tuples(row, row).map(sorted), min_size=1, max_size=5))
    starts, cutoffs = np.array(pairs).T
    horizon, season = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 8))
    for name in BASELINES:
        found = forecast(name, y, starts, cutoffs, horizon, season)
        assert found.shape == (len(pairs), horizon)
        slow = [plain(name, y, start, cutoff, horizon, season) for start, cutoff in pairs]
        np.testing.assert_allclose(found, slow, atol=1e-9)
        start, cutoff = pairs[0]
        poisoned = y.copy()
        poisoned[cutoff + 1 :], poisoned[:start] = np.nan, np.nan
        alone = forecast(name, poisoned, starts[:1], cutoffs[:1], horizon, season)
        np.testing.assert_array_equal(alone[0], found[0])


def test_mistakes_of_the_caller_are_told():
    y, zero = np.arange(3.0), np.array([0])
    with pytest.raises(ValueError, match="no baseline 'theta'"):
        forecast("theta", y, zero, zero, 1, 1)
    with pytest.raises(ValueError, match="before its series begins"):
        forecast("naive", y, np.array([2]), zero, 1, 1)
