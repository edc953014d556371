"""What is said of a study: better, noise, or not to be told."""

from __future__ import annotations

import numpy as np
import pytest

from forecaster.tuning.tuned import Trial, Tuned


def trial(number, losses, state="complete", **about):
    score = float(np.mean(losses)) if state == "complete" else None
    known = {"settings": {"cell": "gru"}, "seconds": 1.0, "reason": "", **about}
    return Trial(number, state, number == 0, score, (1.0,), tuple(losses), **known)


def study(*trials, **about):
    known = {"space": {}, "start": {}, "folds": 1, "block": 4, "horizon": (1, 1), **about}
    return Tuned(study="s", storage=None, trials=trials, importances=None, **known)


NOISE = np.random.default_rng(0).normal(1, 0.2, 60)


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ([trial(0, NOISE), trial(1, NOISE * 0.7)], "Better: trial 1 has 30.0%"),
        ([trial(0, NOISE), trial(1, NOISE[::-1] * 0.999)], "Within noise: trial 1 has 0.1%"),
        ([trial(0, [1.0, 1.0]), trial(1, [0.5, 0.6])], "Not told from noise: trial 1 has 45.0%"),
        ([trial(0, [0.4, 0.5]), trial(1, [0.5, 0.6])], "The default is the best of 2 trials: keep"),
        ([trial(0, [1.0]), trial(1, [], "failed")], "Only the default was completed"),
        ([trial(0, [], "failed"), trial(1, [0.5])], "The default was not completed"),
        ([trial(0, [], "pruned")], "No trial was completed"),
        ([], "No trial was completed"),
    ],
)
def test_the_verdict(trials, said):
    assert study(*trials).verdict.startswith(said)


def test_why_noise_cannot_be_told_is_said():
    said = study(trial(0, [1, 1]), trial(1, [0, 1])).verdict
    assert said.endswith("), but 2 points in time are too few to tell (8 are needed).")


def test_of_equals_the_earlier_trial_is_the_best():
    found = study(trial(0, [1.0]), trial(1, [0.5]), trial(2, [0.5]), trial(3, [0.1], "pruned"))
    assert found.best.number == 1
    assert [each.number for each in found.ranked] == [1, 2, 0]


def test_the_caution_counts_every_trial():
    found = study(trial(0, [1.0]), trial(1, [0.5]), trial(2, [], "failed"))
    assert found.caution.startswith("The best of 3 trials was picked by this score")
