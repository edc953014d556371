"""The checks find what they are named after, and nothing else; and the text says it."""

import doctest
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tuning_made
from series_made import QUICK, panel_of

from forecaster import backtesting, checks, contest, judging, presets
from forecaster.cli.tables import judgement_text, prediction_text
from forecaster.config import Config
from forecaster.jobs import PredictResult
from forecaster.metrics import DieboldMariano
from forecaster.verdicts import Versus

WINDOWS, HORIZON = 60, 6
random = np.random.default_rng(11)
WALK = 100 + random.normal(size=WINDOWS * HORIZON + 1).cumsum()
STARTS = np.arange(WINDOWS) * HORIZON
LAST = WALK[STARTS]
TRUTH = WALK[STARTS[:, None] + np.arange(1, HORIZON + 1)]
FLAT = np.repeat(LAST[:, None], HORIZON, axis=1)
NOISE = random.normal(size=TRUTH.shape)


def test_examples_in_docstrings():
    assert doctest.testmod(checks).failed == 0


def checked(forecast, truth=TRUTH, last=LAST, scale=2.0):
    scales = np.full(len(truth), scale)
    return checks.check(truth, {"gru": forecast}, last, scales, len(truth))


def folds_of(forecast, truth=TRUTH, last=LAST, bounds=None, step=None, scale=2.0):
    """Return the folds of one series whose baselines are the last value and a worse one."""
    count, horizon = truth.shape
    naive = np.repeat(last[:, None], horizon, axis=1)
    made = {"gru": forecast, "naive": naive, "drift": naive + 5.0}
    times = pd.RangeIndex(count * horizon)
    return judging.Folds(
        name="gru",
        ids=("a",),
        series=np.zeros(count, dtype=int),
        fold=np.arange(count),
        cutoff=times[:count],
        ds=times,
        y=truth,
        last=last,
        forecasts=made,
        bounds=bounds or {},
        scale=np.array([scale]),
        step_size=step or horizon,
    )


# --- direction


def test_a_forecast_that_knows_the_direction_is_told_from_one_that_guesses():
    knows = checked(FLAT + 0.3 * (TRUTH - FLAT) + 0.1 * NOISE).direction
    assert knows.differs
    assert knows.majority < knows.low < knows.accuracy < knows.high
    guesses = checked(FLAT + NOISE).direction
    assert not guesses.differs
    assert guesses.low < 0.5 < guesses.high


@pytest.mark.parametrize(
    ("horizon", "step", "folds", "apart"),
    [(12, 11, 12, 6), (12, 7, 10, 5), (5, 3, 10, 5), (3, 4, 6, 6)],
)
def test_cutoffs_whose_targets_overlap_count_once(horizon, step, folds, apart):
    truth = np.random.default_rng(1).normal(size=(folds, horizon))
    found = judging.judge(folds_of(truth, truth, np.zeros(folds), step=step)).checks.direction
    assert found.cutoffs == apart


def test_the_side_is_that_of_the_last_value_also_where_bounds_move_the_naive_forecast():
    folds = folds_of(np.where(TRUTH > FLAT, 1e3, -1e3))
    moved = replace(folds, forecasts=folds.forecasts | {"naive": FLAT + 1})
    direction = judging.judge(moved).checks.direction
    assert direction.accuracy == 1
    assert contest.scores(moved, moved.forecasts["gru"])["direction"] == 1
    copy = replace(folds, forecasts={"gru": FLAT, "naive": FLAT + 2e3})
    assert judging.judge(copy).checks.lagged_copy.found


@pytest.mark.parametrize("refit", ["never", "each"])
def test_the_last_values_of_folds_are_as_observed(refit):
    panel = panel_of("a", "b")
    asked = Config.of(**QUICK, refit=refit, whole=True, adaptive_intervals=False)
    config = presets.resolve(asked, panel)
    rolled = backtesting.roll(panel, config, tuning_made.fit)
    folds = backtesting.beside_baselines(rolled, panel, config)
    table = panel.to_frame().set_index(["unique_id", "ds"])["y"]
    ids = np.asarray(folds.ids)[folds.series]
    observed = table[list(zip(ids, folds.cutoff, strict=True))]
    np.testing.assert_array_equal(folds.last, observed)
    np.testing.assert_array_equal(folds.forecasts["naive"][:, 0], np.round(observed))


def test_steps_of_one_cutoff_are_not_independent():
    """A guess that holds for all steps of a window is one guess, whatever the horizon."""
    luck = np.repeat(np.where(np.arange(8) < 6, 1.0, -1.0)[:, None], 50, axis=1)
    found = checked(luck, truth=np.ones((8, 50)), last=np.zeros(8)).direction
    assert found.accuracy == 0.75
    assert (round(found.low, 3), round(found.high, 3)) == (0.409, 0.929)  # 6 of 8


@pytest.mark.parametrize(("step", "cutoffs"), [(6, 60), (12, 60), (1, 10), (2, 20), (3, 30)])
def test_cutoffs_that_overlap_count_as_far_as_they_do_not(step, cutoffs):
    judgement = judging.judge(folds_of(FLAT + NOISE, step=step))
    assert judgement.checks.direction.cutoffs == cutoffs


def test_a_forecast_that_stays_has_no_direction():
    found = checked(FLAT + 1e-9).direction
    assert found.decided == 0
    assert np.isnan([found.accuracy, found.low, found.high]).all()
    assert not found.differs


# --- lagged copy


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
def test_yesterdays_value_is_called_a_copy(noise):
    found = checked(FLAT + noise * NOISE).lagged_copy
    assert found.found
    assert found.gain < 0.05
    assert found.distance < 0.5


@pytest.mark.parametrize(
    "forecast",
    [FLAT + 0.5 * (TRUTH - FLAT), FLAT + 3 * NOISE, TRUTH + 0.1 * NOISE],
    ids=["knows a part", "is wild", "knows"],
)
def test_what_differs_from_yesterdays_value_is_not(forecast):
    assert not checked(forecast).lagged_copy.found


# --- flat forecasts


def test_collapsed_variance_is_found_over_the_steps():
    assert checked(FLAT).flat == checks.Flat(True, 0.0)
    assert checked(FLAT + 0.05 * NOISE).flat.found
    assert not checked(FLAT + NOISE).flat.found
    level = checked(FLAT + 50 * NOISE[:, :1]).flat  # far off, yet flat over its steps
    assert level.found


def test_at_one_step_it_is_found_over_the_windows():
    truth = TRUTH[:, :1]
    assert checked(FLAT[:, :1] + 0.02 * NOISE[:, :1], truth).flat.found
    assert not checked(FLAT[:, :1] + NOISE[:, :1], truth).flat.found


# --- steps, intervals, extremes


def test_the_scores_of_the_steps_are_the_score():
    judgement = judging.judge(folds_of(TRUTH + NOISE))
    by_step = judgement.checks.mase_by_step
    assert by_step.keys() == {"gru", "naive"}  # the best of the baselines
    for name, scores in by_step.items():
        assert len(scores) == HORIZON
        assert np.mean(scores) == pytest.approx(judgement.scores[name]["mase"])
    assert by_step["naive"][0] < by_step["naive"][-1]


def test_coverage_and_width_are_given_by_third():
    reach = np.array([9.0, 9, 1e-9, 1e-9, 9, 9])
    bounds = {80.0: (TRUTH + NOISE - reach, TRUTH + NOISE + reach)}
    judgement = judging.judge(folds_of(TRUTH + NOISE, bounds=bounds))
    assert judgement.coverage == {80.0: pytest.approx(2 / 3)}
    assert judgement.coverage_by_third == {80.0: (1.0, 0.0, 1.0)}
    assert judgement.width_by_third == {80.0: pytest.approx((9, 1e-9, 9))}  # 2 * reach / scale
    assert judgement.width == {80.0: pytest.approx(6)}
    short = folds_of(FLAT[:, :2], TRUTH[:, :2], bounds={80.0: (FLAT[:, :2], FLAT[:, :2] + 1)})
    assert judging.judge(short).coverage_by_third == {80.0: ()}


def test_series_without_a_scale_are_left_out():
    found = checked(FLAT, scale=np.nan)
    assert not (found.flat.found or found.lagged_copy.found or found.direction.differs)
    assert np.isnan(found.mase_by_step["gru"]).all()
    some = checks.check(TRUTH, {"gru": FLAT}, LAST, np.r_[np.nan, np.ones(WINDOWS - 1)], 9)
    rest = checks.check(TRUTH[1:], {"gru": FLAT[1:]}, LAST[1:], np.ones(WINDOWS - 1), 9)
    assert repr(some) == repr(rest)


@pytest.mark.parametrize("scale", [2.0, np.nan])
def test_the_document_is_strict_json(scale):
    document = judging.judge(folds_of(FLAT, bounds={99.5: (FLAT, FLAT)}, scale=scale)).to_dict()
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again == document
    assert again["coverage"].keys() == again["width_by_third"].keys() == {"99.5"}
    assert again["checks"]["flat"]["found"] is (scale == 2)
    assert again["checks"]["direction"]["accuracy"] is None


# --- text


def test_the_text_is_silent_about_a_sound_forecast():
    text = judgement_text(judging.judge(folds_of(TRUTH + NOISE - 0.2)))
    assert "copy" not in text
    assert "flat" not in text
    assert "nan" not in text
    assert "by step      all" in text
    assert "naive, MASE" in text


def test_the_text_tells_a_copy_from_a_forecast():
    bounds = {80.0: (FLAT - 9, FLAT + 9)}
    lines = judgement_text(judging.judge(folds_of(FLAT, bounds=bounds))).splitlines()
    assert any(
        line.startswith("The first step is nearly a copy of the last value") for line in lines
    )
    assert "The forecasts are nearly flat: they vary 0% as much as the truth." in lines
    (head,) = [line.split() for line in lines if line.startswith("by step")]
    assert head == ["by", "step", "all", "1-2", "3-4", "5-6"]
    (width,) = [line for line in lines if line.startswith("its width, in MASE")]
    assert width.split()[-4:] == ["9", "9", "9", "9"]
    assert lines[-2].startswith("No skill: ")
    assert lines[-1] == "Try more history, covariates or other settings (forecast tune)."


def test_of_three_values_the_text_says_only_that_they_are_too_few():
    bounds = {80.0: (FLAT[:3, :1], FLAT[:3, :1])}
    folds = folds_of(FLAT[:3, :1], TRUTH[:3, :1], LAST[:3], bounds=bounds)
    judgement = judging.judge(folds)
    assert (judgement.times, judgement.has_skill) == (3, False)
    assert judgement.checks.lagged_copy.found
    text = judgement_text(judgement)
    assert "copy" not in text
    assert "too narrow" not in text
    assert text.splitlines()[-2:] == [
        "The verdict is open: gru has 0.0% more error than naive (MASE 0.259 against 0.259), but 3 "
        "points in time are too few to tell (8 are needed).",
        "To tell, judge on at least 8 folds (--folds) or fetch more history. Until then let naive stand "
        "in where it is better (--fallback baseline).",
    ]


@pytest.mark.parametrize(("sign", "word"), [(1, "more"), (-1, "less")])
def test_the_text_says_which_way_the_direction_differs(sign, word):
    text = judgement_text(judging.judge(folds_of(FLAT + sign * 0.4 * (TRUTH - FLAT))))
    assert "On the right side of the last value are " in text
    assert f"), {word} than by always guessing the commoner side (" in text


@pytest.mark.parametrize(
    ("skill", "said"),
    [
        (0.0004, "No skill: gru has as much error as naive, the best baseline (MASE 1.000"),
        (0.01, "Skill is not proven: gru has 1.0% less error than naive, which may be chance"),
        (-0.01, "No skill: gru has 1.0% more error than naive, the best baseline"),
    ],
)
def test_a_forecast_as_good_as_a_baseline_has_no_skill(skill, said):
    test = DieboldMariano(-0.5, 0.6, 50)
    versus = Versus("gru", "naive", 1 - skill, 1.0, test)
    assert versus.verdict().startswith(said)


@pytest.mark.parametrize("factor", [0.999999, 1.0, 1.000001])
def test_a_forecast_that_is_the_baseline_s_is_told_so_whatever_rounding_says(factor):
    judgement = judging.judge(folds_of(TRUTH + (FLAT - TRUTH) * factor))
    assert judgement.verdict.startswith("No skill: gru has as much error as naive")
    assert judgement.advice == "Try more history, covariates or other settings (forecast tune)."


def test_only_a_baseline_that_can_stand_in_is_advised():
    folds = folds_of(FLAT + NOISE)
    week = {"gru": FLAT + NOISE, "seasonal_naive_168": FLAT, "naive": FLAT + 3 * NOISE}
    judgement = judging.judge(replace(folds, forecasts=week))
    assert judgement.best_baseline == "seasonal_naive_168"
    assert judgement.advice == "Try more history, covariates or other settings (forecast tune)."


def test_few_values_do_not_show_that_intervals_are_too_wide():
    bounds = {95.0: (TRUTH[:15] - 1, TRUTH[:15] + 1)}  # 90 steps: four or five would be missed
    text = judgement_text(judging.judge(folds_of(FLAT[:15], TRUTH[:15], LAST[:15], bounds=bounds)))
    assert "wider than" not in text


def test_skill_needs_no_advice():
    judgement = judging.judge(folds_of(TRUTH + 0.1 * NOISE))
    assert (judgement.has_skill, judgement.advice) == (True, "")
    assert judgement_text(judgement).splitlines()[-1] == judgement.verdict


def test_a_fallback_is_named_in_the_verdict_and_not_advised():
    worse = folds_of(FLAT + NOISE)
    sources = np.where(np.arange(len(FLAT)) % 2, "gru", "naive").astype(object)
    judgement = judging.judge(replace(worse, sources=sources))
    assert judgement.verdict.startswith("No skill: gru with its fallback has ")
    assert judgement.advice == "Try more history, covariates or other settings (forecast tune)."
    assert judging.judge(worse).advice == (
        "Try more history, covariates or other settings (forecast tune), or let naive stand in where "
        "it is better (--fallback baseline)."
    )
    alone = judging.judge(replace(worse, sources=np.full(len(FLAT), "gru", object)))
    assert alone.verdict.startswith("No skill: gru has ")
    none = judging.judge(replace(worse, sources=np.full(len(FLAT), "naive", object)))
    assert none.verdict.startswith("No skill: gru's fallback has ")


def test_a_baseline_that_is_exact_is_advised():
    exact = judging.judge(folds_of(FLAT + NOISE, truth=FLAT))
    assert exact.verdict.startswith("No skill: naive is exact on these folds")
    assert exact.advice == "Let naive stand in where it is better (--fallback baseline)."
    with_it = replace(folds_of(FLAT + NOISE, truth=FLAT), sources=np.full(len(FLAT), "gru", object))
    assert judging.judge(with_it).advice == "No network can do better."
    still = judging.judge(folds_of(FLAT + NOISE, scale=np.nan))
    assert still.advice == "Fetch history in which the series change."


@pytest.mark.parametrize(
    ("reach", "said"), [(0.01, "too narrow"), (1.0, None), (9.0, "wider than")]
)
def test_intervals_of_the_wrong_width_are_remarked_on(reach, said):
    spread = np.quantile(np.abs(TRUTH - FLAT), 0.8)
    bounds = {80.0: (FLAT - reach * spread, FLAT + reach * spread)}
    judgement = judging.judge(folds_of(FLAT, bounds=bounds))
    text = judgement_text(judgement)
    in_service = "the published ones are calibrated on them too"
    assert in_service not in text
    assert (in_service in judgement_text(judgement, calibrated_again=True)) == (
        said == "too narrow"
    )
    assert [words for words in ("too narrow", "wider than") if words in text] == (
        [said] if said else []
    )


def test_notes_of_the_baselines_stand_before_the_verdict():
    folds = replace(folds_of(TRUTH + NOISE), notes=("Theta and ets are left out.",))
    assert judgement_text(judging.judge(folds)).splitlines()[-2] == "Theta and ets are left out."


def test_a_plot_of_some_series_says_so():
    frame = pd.DataFrame({"unique_id": [f"s{row}" for row in range(7)], "gru": 1.0})
    result = PredictResult(
        skipped={},
        notices=(),
        output=Path("o.csv"),
        frame=frame.assign(model_version="v"),
        name="air",
        version="v",
        plot=Path("o.png"),
    )
    assert prediction_text(result).endswith("\nPlot: o.png (the first 6 of 7 series)")
    few = replace(result, frame=result.frame.head(6))
    assert prediction_text(few).endswith("\nPlot: o.png")
