"""Metrics against scikit-learn, scipy, and numbers worked out by hand."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics as sk

from forecaster import baselines, calendars, frequencies, metrics, rows, series

random = np.random.default_rng(7)
Y = random.normal(10, 3, (20, 6))
F = Y + random.normal(0, 1, (20, 6))


@pytest.mark.parametrize("module", [baselines, calendars, frequencies, metrics, rows, series])
def test_examples_in_docstrings(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.mae, sk.mean_absolute_error),
        (metrics.mse, sk.mean_squared_error),
        (metrics.rmse, sk.root_mean_squared_error),
        (metrics.mape, lambda y, f: 100 * sk.mean_absolute_percentage_error(y, f)),
    ],
)
def test_as_scikit_learn(ours, theirs):
    assert ours(Y, F) == pytest.approx(theirs(Y.ravel(), F.ravel()))


@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.9])
def test_pinball_as_scikit_learn(quantile):
    expected = sk.mean_pinball_loss(Y.ravel(), F.ravel(), alpha=quantile)
    assert metrics.pinball(Y, F, quantile) == pytest.approx(expected)


def test_pinball_at_the_median_is_half_the_absolute_error():
    assert metrics.pinball(Y, F, 0.5) == pytest.approx(metrics.mae(Y, F) / 2)


def test_smape_by_hand():
    # 200 * (|1-2|/3 + |4-4|/8) / 2
    assert metrics.smape(np.array([1.0, 4]), np.array([2.0, 4])) == pytest.approx(100 / 3)
    assert metrics.smape(np.array([1.0]), np.array([-1.0])) == 200
    assert metrics.smape(np.zeros(2), np.zeros(2)) == 0


def test_mape_leaves_zeros_out():
    assert metrics.mape(np.array([0.0, 2]), np.array([5.0, 1])) == 50
    assert math.isnan(metrics.mape(np.zeros(2), np.ones(2)))


# --- scaled errors --------------------------------------------------------------------------


def test_scale_by_hand():
    y = np.array([1.0, 2, 4, 8, 16])
    assert metrics.mase_scale(y, 1) == pytest.approx(15 / 4)
    assert metrics.mase_scale(y, 2) == pytest.approx((3 + 6 + 12) / 3)


def test_scale_falls_back_to_single_steps_and_then_to_none():
    assert metrics.mase_scale(np.array([1.0, 3, 1, 3]), 2) == 2
    assert metrics.mase_scale(np.array([1.0, 3, 4]), 7) == 1.5
    assert math.isnan(metrics.mase_scale(np.ones(5), 2))
    assert math.isnan(metrics.mase_scale(np.ones(1), 1))


@given(
    st.lists(
        arrays(float, st.integers(0, 12), elements=st.floats(-1e3, 1e3)), min_size=1, max_size=6
    ),
    st.integers(1, 5),
)
@settings(max_examples=100, deadline=None)
def test_scales_of_a_panel_are_those_of_its_series(pieces, season):
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])
    found = metrics.mase_scales(np.concatenate(pieces), offsets, season)
    for piece, scale in zip(pieces, found, strict=True):
        changes = [np.abs(piece[lag:] - piece[:-lag]) for lag in (season, 1)]
        means = [change.mean() if len(change) else 0 for change in changes]
        rounding = 1e-12 * np.abs(piece).max(initial=0)
        expected = next((mean for mean in means if mean > rounding), np.nan)
        np.testing.assert_allclose(scale, expected, rtol=1e-9)


def test_mase_is_one_for_a_forecast_as_bad_as_naive():
    y = np.array([1.0, 2, 3, 4])
    assert metrics.mase(np.array([[5.0]]), np.array([[4.0]]), metrics.mase_scale(y, 1)) == 1


def test_mase_leaves_out_windows_without_a_scale():
    found = metrics.mase(Y, F, np.r_[np.full(15, 2.0), np.full(4, np.nan), 0.0])
    assert found == pytest.approx(metrics.mae(Y[:15], F[:15]) / 2)
    nothing = metrics.mase(Y, F, np.full(20, np.nan))
    assert math.isnan(nothing)


def test_msis_by_hand():
    y, low, high = np.array([[0.0, 5, 12]]), np.full((1, 3), 1.0), np.full((1, 3), 10.0)
    # Widths 9; misses 1 and 2, each times 2 / 0.05; three steps; scale 3.
    expected = (9 + (40 * 1 + 40 * 2) / 3) / 3
    assert metrics.msis(y, low, high, 95, np.array([3.0])) == pytest.approx(expected)


def test_msis_is_the_sum_of_two_pinball_losses():
    low, high = F - 1, F + 1
    sides = metrics.pinball(Y, low, 0.1) + metrics.pinball(Y, high, 0.9)
    found = metrics.msis(Y, low, high, 80, np.ones(20))
    assert found == pytest.approx(2 / 0.2 * sides)


def test_coverage_counts_its_bounds():
    y = np.array([1.0, 2, 3, 4])
    assert metrics.coverage(y, np.full(4, 2.0), np.full(4, 3.0)) == 0.5


def test_direction_by_hand():
    last = np.array([1.0, 1.0])
    y = np.array([[2.0, 1], [0, 3]])
    forecast = np.array([[1.5, 9], [2, 4]])  # right, no side to be on, wrong, right
    assert metrics.direction(y, forecast, last) == pytest.approx((2 / 3, 2 / 3, 3 / 4))
    still = metrics.direction(y, np.ones((2, 2)), last)
    assert math.isnan(still.accuracy)
    assert math.isnan(still.majority)
    assert still.decided == 0
    assert metrics.direction(np.ones((2, 2)), forecast, last).decided == 0


@pytest.mark.parametrize(("right", "count"), [(0, 5), (3, 7), (50, 50), (412, 800)])
def test_the_interval_of_a_share_is_wilsons(right, count):
    expected = stats.binomtest(right, count).proportion_ci(method="wilson")
    assert metrics.wilson(right / count, count) == pytest.approx((expected.low, expected.high))
    wider = metrics.wilson(right / count, count, level=99)
    assert wider[1] - wider[0] > expected.high - expected.low


# --- Diebold-Mariano ------------------------------------------------------------------------


def independent(a, b, h):
    """The test with every sum written out, as in the papers."""
    d = [x - y for x, y in zip(a, b, strict=True)]
    n = len(d)
    mean = sum(d) / n
    total = 0.0
    for lag in range(-(h - 1), h):
        total += sum((d[t] - mean) * (d[t - abs(lag)] - mean) for t in range(abs(lag), n)) / n
    statistic = mean / math.sqrt(total / n)
    statistic *= math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    return statistic, 2 * stats.t.sf(abs(statistic), n - 1)


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_diebold_mariano_as_written_out(horizon):
    noise = np.random.default_rng(horizon)
    common = np.convolve(noise.normal(size=64), np.ones(horizon), "valid")
    a, b = (common + 0.3) ** 2, noise.normal(size=len(common)) ** 2
    found = metrics.diebold_mariano(a, b, horizon)
    statistic, p_value = independent(a, b, horizon)
    assert found.note == ""
    assert found.n == len(common)
    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == pytest.approx(p_value)
    swapped = metrics.diebold_mariano(b, a, horizon)
    assert (swapped.statistic, swapped.p_value) == pytest.approx((-statistic, p_value))


def test_at_one_step_it_is_a_t_test():
    a, b = random.normal(1, 1, 30), random.normal(1.4, 1, 30)
    found, paired = metrics.diebold_mariano(a, b, 1), stats.ttest_rel(a, b)
    # HLN's correction turns the variance over n into the one over n - 1.
    assert found.statistic == pytest.approx(paired.statistic)
    assert found.p_value == pytest.approx(paired.pvalue)


def test_steps_between_cutoffs_shorten_the_overlap():
    a, b = random.normal(size=40), random.normal(size=40)
    assert metrics.diebold_mariano(a, b, 12, step=12) == metrics.diebold_mariano(a, b, 1)
    assert metrics.diebold_mariano(a, b, 12, step=5) == metrics.diebold_mariano(a, b, 3)


def test_a_negative_variance_gives_way_to_bartlett():
    a = np.tile([1.0, -1.0], 10) + np.linspace(0, 0.1, 20)
    found = metrics.diebold_mariano(a, np.zeros(20), 2)
    assert found.note == "Bartlett window"
    centred = a - a.mean()
    variance = (centred @ centred + centred[1:] @ centred[:-1]) / 20 / 20  # 2 * (1 - 1/2) = 1
    expected = a.mean() / math.sqrt(variance) * math.sqrt((20 + 1 - 4 + 2 / 20) / 20)
    assert found.statistic == pytest.approx(expected)
    assert 0 <= found.p_value <= 1


def test_equal_losses_differ_by_chance():
    assert metrics.diebold_mariano(Y[:, 0], Y[:, 0], 3)[:2] == (0.0, 1.0)
    losses = 1 + np.arange(30.0)
    wild = np.where(np.arange(30) == 7, 1e10, losses)
    assert metrics.diebold_mariano(wild, wild + (np.arange(30) != 7), 1).p_value < 1e-6
    rounded = losses * (1 + 1e-6 * (3 + np.arange(30) % 5))  # as of a network of float32
    assert metrics.diebold_mariano(losses, rounded, 3)[:2] == (0.0, 1.0)
    assert (
        metrics.diebold_mariano(losses, losses * 1.01 + 0.01 * random.random(30), 3).p_value < 0.05
    )


def test_what_cannot_be_tested_says_so():
    random = np.random.default_rng(2)
    for n, horizon, needed in ((9, 9, 10), (7, 1, 8), (3, 1, 8), (0, 1, 8)):
        few = metrics.diebold_mariano(random.random(n), 9 + random.random(n), horizon)
        assert (few.is_open, few.n) == (True, n)
        assert few.note == f"{n} points in time are too few to tell ({needed} are needed)"
    enough = metrics.diebold_mariano(random.random(8), 9 + random.random(8), 1)
    assert (enough.is_open, enough.note) == (False, "")
    steady = metrics.diebold_mariano(np.arange(9.0) + 0.1, np.arange(9.0), 1)
    assert math.isnan(steady.p_value)
    assert "same amount every time" in steady.note


def test_unfit_losses_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="finite"):
        metrics.diebold_mariano(np.array([1.0, np.nan, 2]), np.ones(3), 1)
    with pytest.raises(ValueError, match="one shape"):
        metrics.diebold_mariano(np.ones(3), np.ones(1), 1)


def test_it_is_right_about_as_often_as_it_says():
    """Of forecasts that are equally good, about one in twenty is called different at 5 %."""
    noise = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        a, b = (np.convolve(noise.normal(size=81), [1, 1], "valid") ** 2 for _ in range(2))
        wrong += metrics.diebold_mariano(a, b, 2).p_value < 0.05
    assert 0.02 < wrong / 400 < 0.09


def test_a_season_that_differs_by_rounding_is_exact():
    y = np.tile(1e3 + np.sin(np.arange(7)), 20) * (1 + 1e-15 * np.arange(140))
    assert metrics.mase_scale(y, 7) == pytest.approx(np.abs(np.diff(y)).mean())
    assert np.isnan(metrics.mase_scale(1e3 * (1 + 1e-15 * np.arange(140)), 7))
    scales = metrics.mase_scales(np.append(y, [1.0, 2.0]), np.array([0, 0, 140, 142, 142]), 7)
    assert np.isnan(scales).tolist() == [True, False, False, True]


@pytest.mark.parametrize(("windows", "horizon"), [(3, 12), (5, 5), (5, 24)])
def test_few_windows_claim_no_more_differences_than_they_say(windows, horizon):
    """Errors of a random walk, forecast by two equally bad levels; windows are laid end to end."""
    noise, wrong, plain = np.random.default_rng(1), 0, 0
    for _ in range(400):
        y = noise.normal(size=(windows, horizon)).cumsum(axis=1)
        a, b = (
            np.abs(y - noise.normal(size=(windows, 1)) * np.sqrt(horizon) / 2).ravel()
            for _ in range(2)
        )
        wrong += metrics.same_accuracy(a, b, horizon).p_value < 0.05
        plain += metrics.diebold_mariano(a, b, horizon).p_value < 0.05
    assert 0.01 < wrong / 400 < 0.085 < plain / 400


def test_a_difference_is_found_in_few_windows():
    noise, found = np.random.default_rng(2), 0
    for _ in range(100):
        a, b = (np.abs(noise.normal(size=60) + 0.5 * noise.normal()) for _ in range(2))
        found += metrics.same_accuracy(a, b + 1, 12).p_value < 0.05
    assert found > 80


def test_where_nothing_overlaps_it_is_the_plain_test():
    a, b = np.random.default_rng(1).random((2, 20))
    assert metrics.same_accuracy(a, b, 1) == metrics.diebold_mariano(a, b, 1)
    assert metrics.same_accuracy(a, b, 12, step=12) == metrics.diebold_mariano(a, b, 1)
    assert metrics.same_accuracy(a, a, 3) == metrics.diebold_mariano(a, a, 3)
    tiny = metrics.same_accuracy(a * 2.0**-980, b * 2.0**-980, 4)
    assert tiny == metrics.same_accuracy(a, b, 4)


@pytest.mark.parametrize("factor", [2.0**-980, 2.0**330])
def test_metrics_do_not_depend_on_the_size_of_values(factor):
    random = np.random.default_rng(0)
    y, one, other = random.normal(size=(3, 20, 4))
    offsets = np.array([0, 80])
    assert metrics.rmse(y * factor, one * factor) == metrics.rmse(y, one) * factor
    scale, sized = (metrics.mase_scales(values.ravel(), offsets, 4) for values in (y, y * factor))
    assert sized == scale * factor
    assert metrics.mase(y * factor, one * factor, sized) == metrics.mase(y, one, scale)
    losses = [np.abs(y - forecast).ravel() for forecast in (one, other)]
    assert metrics.diebold_mariano(*(loss * factor for loss in losses), 4) == (
        metrics.diebold_mariano(*losses, 4)
    )


def test_one_error_too_large_to_square_does_not_make_the_rmse_infinite():
    y, forecast = np.array([1e100, 1e-200, 0.0, 0.0]), np.array([1e100, 0.0, 3e200, 1.0])
    assert metrics.rmse(y, forecast) == pytest.approx(1.5e200)
