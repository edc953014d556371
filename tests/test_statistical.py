"""Theta and ETS: what they are of, that they see nothing late, and that they cannot break a run."""

import doctest
import subprocess
import sys

import numpy as np
import pytest
from series_made import panel_of

from forecaster import judging, statistical
from forecaster.statistical import STATISTICAL, forecast

random = np.random.default_rng(3)
SEASON = np.tile([10.0, 14, 9, 12], 30) + random.normal(0, 0.3, 120)


def one(name, y, season=4, horizon=4):
    y = np.asarray(y, dtype=float)
    values, note = forecast(name, y, np.array([0]), np.array([len(y) - 1]), horizon, season)
    assert values.shape == (1, horizon)
    assert np.isfinite(values).all()
    return values[0], note


def test_examples_in_docstrings():
    assert doctest.testmod(statistical).failed == 0


@pytest.mark.parametrize("name", STATISTICAL)
def test_a_season_and_a_trend_are_carried_on(name):
    found, note = one(name, SEASON)
    np.testing.assert_allclose(found, [10, 14, 9, 12], atol=0.6)
    assert note == ""
    growing, _ = one(name, SEASON * 10 + np.arange(120))
    assert growing.mean() > 10 * SEASON[-4:].mean() + 119 - 3


def test_ets_is_the_form_of_the_smallest_criterion_of_all():
    """Against statsmodels asked for each form by hand."""
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    def fit(**form):
        return ETSModel(SEASON, initialization_method="heuristic", **form).fit(disp=False)

    flat, seasonal = fit(), fit(seasonal="add", seasonal_periods=4)
    assert seasonal.llf > flat.llf
    np.testing.assert_allclose(one("ets", SEASON)[0], seasonal.forecast(4), rtol=1e-2)
    level = random.normal(5, 1, 60)
    np.testing.assert_allclose(
        one("ets", level)[0],
        ETSModel(level, initialization_method="heuristic").fit(disp=False).forecast(4),
        rtol=1e-2,
    )


@pytest.mark.parametrize("name", STATISTICAL)
def test_rows_after_the_cutoff_and_of_other_series_change_nothing(name):
    y = np.concatenate([SEASON, 100 + SEASON])
    starts, cutoffs = np.array([0, 120, 120]), np.array([100, 180, 200])
    clean, _ = forecast(name, y, starts, cutoffs, 6, 4)
    for window, (start, cutoff) in enumerate(zip(starts, cutoffs, strict=True)):
        poisoned = np.full(len(y), np.nan)
        poisoned[start : cutoff + 1] = y[start : cutoff + 1]
        alone, note = forecast(name, poisoned, starts[[window]], cutoffs[[window]], 6, 4)
        np.testing.assert_array_equal(alone[0], clean[window])
        assert note == ""


@pytest.mark.parametrize("name", STATISTICAL)
@pytest.mark.parametrize(
    "y",
    [
        np.full(30, 3.0),
        np.r_[np.zeros(20), 1, np.zeros(10)],
        random.poisson(0.2, 60),
        random.normal(size=60) * 1e200,
        1e9 + random.normal(size=60),
        np.exp(0.3 * np.arange(60)),
        -np.arange(60.0),
    ],
    ids=["constant", "spike", "counts", "huge", "offset", "growth", "negative"],
)
def test_strange_series_give_numbers_and_no_warning(name, y):
    one(name, y, season=7)


def test_the_size_of_values_does_not_matter():
    for name in STATISTICAL:
        np.testing.assert_allclose(
            one(name, SEASON * 2.0**300)[0], one(name, SEASON)[0] * 2.0**300, rtol=1e-9
        )


def test_what_cannot_be_fitted_is_the_last_value_and_counted(monkeypatch):
    assert one("ets", [1, 2, 3])[0].tolist() == [3] * 4
    assert (
        one("theta", [1, 2, 3])[1] == "theta is the last value in 1 window that it could not fit."
    )

    def broken(*_):
        raise ValueError("no")

    monkeypatch.setattr(statistical, "_ets", broken)
    found, note = one("ets", SEASON)
    assert found.tolist() == [SEASON[-1]] * 4
    assert "1 window" in note


def test_less_than_two_seasons_is_no_season():
    for name in STATISTICAL:
        found, note = one(name, SEASON[:30], season=20)
        assert note == ""
        assert np.ptp(found) < 1


def judged_by(panel, cutoffs, season=8):
    y = np.zeros((len(cutoffs), 2))
    zeros = np.zeros(len(cutoffs), dtype=int)
    ds = panel.ds[:1]
    folds = judging.Folds(
        "gru", panel.ids, zeros, zeros, ds, ds, y, y[:, 0], {"gru": y}, {}, np.ones(1), 2
    )
    return judging.with_baselines(folds, panel, cutoffs, season)


def test_all_baselines_stand_beside_the_model():
    folds = judged_by(panel_of("a"), np.array([100, 120]))
    assert list(folds.forecasts) == ["gru", "naive", "seasonal_naive", "drift", "theta", "ets"]
    assert folds.notes == ()


def test_too_many_windows_or_rows_are_left_out_and_that_is_said(monkeypatch):
    monkeypatch.setattr(statistical, "MOST_WINDOWS", 1)
    folds = judged_by(panel_of("a"), np.array([100, 120]))
    assert list(folds.forecasts) == ["gru", "naive", "seasonal_naive", "drift"]
    assert folds.notes == (
        "Theta and ets are left out: they are fitted to at most 1 windows, but there are 2.",
    )
    monkeypatch.undo()
    monkeypatch.setattr(statistical, "MOST_ROWS", 200)
    assert "but the 2 windows have 222." in judged_by(panel_of("a"), np.array([100, 120])).notes[0]


def test_statsmodels_is_imported_only_to_fit():
    code = "import sys, forecaster.backtesting; print('statsmodels' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
