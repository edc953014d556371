"""Preset `auto`: what it tries, what it chooses, and what it never looks at."""

import dataclasses

import numpy as np
import pytest
from series_made import QUICK, frame_of, panel_of

from forecaster import Forecaster, presets, splits, training
from forecaster.api import evaluate
from forecaster.cli.tables import epochs, selection_text
from forecaster.config import Config, DataSpec
from forecaster.errors import ForecasterError
from forecaster.selecting import CLEARLY, SEASONAL, candidates, select
from forecaster.series import prepare

AUTO = QUICK | {
    "preset": "auto",
    "epochs": 2,
    "deterministic": True,
    "ensemble": 1,
    "transform": "none",
    "deseasonalise": False,
    "learning_rate": 1e-3,
}


def resolved(panel, **settings):
    asked = Config.of(**AUTO | settings)
    return asked, presets.resolve(asked, panel)


def selection_of(panel, fit=training.fit, **settings):
    asked, full = resolved(panel, **settings)
    return select(panel, asked, full, lambda _: fit)


def test_candidates_change_only_what_is_open():
    panel = panel_of("a")
    open_rate = {"learning_rate": None}
    assert candidates(*resolved(panel, **open_rate)) == SEASONAL
    assert "learning_rate" not in candidates(*resolved(panel))["linear map scaled by spread"]
    assert candidates(*resolved(panel, skip="season", **open_rate)) == {
        "linear map of the context": {"normalise": "last"},
        "linear map scaled by spread": {"normalise": "spread", "learning_rate": 0.003},
        "last season": {"normalise": "season"},
    }
    assert candidates(*resolved(panel, normalise="last")) == {
        "linear map of the context": {"skip": "linear"},
        "last season": {"skip": "season"},
        "last value": {"skip": "none"},
    }
    short = {"lookback": 8, "skip_lag": 8}  # no season before the last one to compare it with
    assert "linear map scaled by spread" not in candidates(*resolved(panel, **short))
    assert len(candidates(*resolved(panel, skip="none", normalise="revin"))) == 1


def test_a_series_without_a_season_is_offered_a_smaller_network():
    panel = panel_of("a")
    open_size = {"season_length": 1, "layers": None}
    tried = candidates(*resolved(panel, **open_size))
    assert [settings["layers"] for settings in tried.values()] == [(128,), (32,)]
    tried = candidates(*resolved(panel, cell="rnn-lstm", **open_size))
    assert [settings["layers"] for settings in tried.values()] == [(128, 128), (32, 32)]


def test_nothing_is_tried_where_nothing_is_open_or_auto_is_not_asked():
    panel = panel_of("a")
    assert selection_of(panel, skip="none", normalise="last") is None
    assert selection_of(panel, preset="segment") is None
    full = presets.resolve(Config.of(**AUTO | {"transform": "auto"}), panel)  # as a version has it
    assert select(panel, full, full, lambda _: training.fit) is None


@pytest.mark.slow  # trains several networks
def test_the_candidate_of_the_lowest_validation_score_is_chosen():
    selection = selection_of(panel_of("a", "b"))
    scores = {each.name: each.score for each in selection.candidates}
    assert list(scores) == list(SEASONAL)
    assert scores["last value"] > 2 * scores["linear map of the context"]  # a wave of 8 steps
    assert selection.chosen.name != "last value"
    assert selection.chosen.settings.items() <= selection.config.flat().items()


def test_what_is_trained_is_told_with_each_epoch():
    told = []
    Forecaster(**AUTO | {"ensemble": 2, "epochs": 1}).fit(frame_of("a"), told.append)
    assert list(dict.fromkeys((each.stage, each.network) for each in told)) == [
        ("Candidate 1 of at most 4", 1),
        ("Candidate 2 of at most 4", 1),
        ("Candidate 3 of at most 4", 1),
        ("Candidate 4 of at most 4", 1),
        ("", 1),
        ("", 2),
        ("On all rows", 1),
        ("On all rows", 2),
    ]
    shown = []
    for each in (told[0], told[-1]):
        epochs(lambda steps, label: shown.append(label))(each)
    assert shown[0].startswith("Candidate 1 of at most 4: network 1, epoch 1 of at most ")
    assert shown[1].startswith("On all rows: network 2, epoch 1 of at most 1: loss ")


def test_the_best_is_tried_with_logarithms_where_that_is_open_and_makes_a_difference():
    def fit(panel, config, parts):
        if config.scaling.transform != "log":
            raise ForecasterError("It diverged.")
        return training.fit(panel, config, parts)

    selection = selection_of(panel_of("a"), fit, transform="auto")
    *_, last = selection.candidates
    assert last.name == "linear map of the context, logarithms"
    assert selection.config.scaling.transform == "log"
    below_zero = dataclasses.replace(panel_of("a"), y=panel_of("a").y - 5)
    assert len(selection_of(below_zero, fit, transform="auto").candidates) == 4


def test_the_best_is_tried_deseasonalised_where_that_is_open_and_there_are_seasons_enough():
    def fit(panel, config, parts):
        if config.network.skip != "none" or config.network.normalise != "last":
            raise ForecasterError("It diverged.")
        return training.fit(panel, config, parts)

    open_to_it = {"deseasonalise": None, "normalise": "last", "lookback": 4}  # half a season
    selection = selection_of(panel_of("a"), fit, **open_to_it)
    assert selection.chosen.name == "last value, deseasonalised"
    assert selection.config.scaling.deseasonalise
    long = {"deseasonalise": None, "season_length": 60, "lookback": 8, "skip": "none"}
    for settings in (long, open_to_it | {"loss": "smape"}, open_to_it | {"direction": True}):
        found = selection_of(panel_of("a"), fit, **settings)
        assert found is None or "deseasonalised" not in found.candidates[-1].name


@pytest.mark.parametrize("holiday", [None, 20, 157])  # the last is held out for the test
def test_nothing_is_tried_deseasonalised_where_rows_are_shifted_in_the_season(holiday):
    def fit(panel, config, parts):
        raise ForecasterError("It diverged.")

    frame = frame_of("a", frequency="B")
    panel = prepare(frame if holiday is None else frame.drop(index=holiday), DataSpec())
    *_, last = selection_of(panel, fit, deseasonalise=None).candidates
    assert ("deseasonalised" in last.name) is (holiday is None)


def test_the_best_is_tried_with_a_higher_learning_rate_unless_it_has_one():
    def fit(best):
        def fit(panel, config, parts):
            if (config.network.skip, config.network.normalise) != best:
                raise ForecasterError("It diverged.")
            return training.fit(panel, config, parts)

        return fit

    usual = selection_of(panel_of("a"), fit(("none", "last")), learning_rate=None)
    slow, fast = (each for each in usual.candidates if each.score is not None)
    assert fast.name == "last value, learning rate 0.003"
    assert usual.chosen == (fast if fast.score < slow.score * 0.995 else slow)
    assert usual.config.training.learning_rate == (0.003 if usual.chosen == fast else 0.001)
    spread = selection_of(panel_of("a"), fit(("linear", "spread")), learning_rate=None)
    assert spread.chosen.name == "linear map scaled by spread"
    assert len(spread.candidates) == len(SEASONAL)


def test_no_row_of_the_test_folds_is_looked_at():
    clean, two = panel_of("a"), {"skip": "season"}  # two candidates are left
    _, full = resolved(clean, **two)
    begin = int(splits.of_config(clean, full).val_stop[0])
    poisoned = dataclasses.replace(clean, y=np.where(np.arange(160) < begin, clean.y, 1e6))
    first, second = selection_of(clean, **two), selection_of(poisoned, **two)
    assert [each.score for each in first.candidates] == [each.score for each in second.candidates]


def test_a_candidate_that_fails_is_left_out_and_said():
    def fit(panel, config, parts):
        if config.network.skip == "linear":
            if config.network.normalise == "spread":
                raise MemoryError
            raise ForecasterError("It diverged.", "Do something.")
        return training.fit(panel, config, parts)

    selection = selection_of(panel_of("a"), fit)
    assert selection.candidates[0].score is None
    assert selection.to_dict()["candidates"][0]["reason"] == "It diverged."
    assert selection.candidates[1].reason == "Out of memory."
    assert "\nThe linear map of the context failed: It diverged.\n" in selection_text(
        selection.to_dict()
    )
    assert all(not each.reason for each in selection.candidates[2:])
    assert selection.chosen.name == "last season"


def test_the_networks_are_compared_without_the_baselines_that_may_stand_in():
    asked = []

    def fit(panel, config, parts):
        asked.append(config.evaluation.fallback)
        raise ForecasterError("enough")

    selection = selection_of(panel_of("a"), fit, fallback="baseline")
    assert asked == ["none"] * 4
    assert selection.config.evaluation.fallback == "baseline"


def test_a_lower_score_that_was_not_chosen_is_explained():
    tried = [{"name": name, "score": score} for name, score in (("first", 1.0), ("later", 0.999))]
    said = selection_text({"candidates": tried, "chosen": "first"})
    assert said.endswith(
        "start from the first (MASE there: first: 1; later: 0.999). What is tried later has to be "
        "better by half a percent.\n"
    )
    assert CLEARLY == 0.005
    assert "half a percent" not in selection_text({"candidates": tried, "chosen": "later"})
    failed = [
        {"name": name, "score": None, "reason": "It diverged."} for name in ("first", "later")
    ]
    assert "first: failed; later: failed" in selection_text(
        {"candidates": failed, "chosen": "first"}
    )


@pytest.mark.slow
def test_trying_takes_a_share_of_the_time_budget():
    budgets = []

    def fit(panel, config, parts):
        budgets.append(config.training.time_budget)
        return training.fit(panel, config, parts)

    selection = selection_of(panel_of("a"), fit, time_budget=30)
    assert budgets == [pytest.approx(3)] * 4
    assert selection.budget_left == pytest.approx(0.6)
    assert selection.config.training.time_budget == 30  # as asked: a loaded model has it again


def test_the_choice_is_what_is_trained():
    evaluated = evaluate(frame_of("a"), Config.of(**AUTO, normalise="last"))
    assert evaluated.selection.chosen.settings["skip"] == evaluated.config.network.skip
    assert evaluated.backtest.models[-1].config.network.skip == evaluated.config.network.skip
