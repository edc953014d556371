"""Which differences are noise: of time, and of seeds."""

import math

import numpy as np
import pytest
from scipy import stats

from forecaster import metrics
from forecaster.differences import (
    NAMED_PAIRS,
    Difference,
    Entry,
    differences,
    holm,
    sentences,
    welch,
)
from forecaster.metrics import DieboldMariano


def entry(mean, seeds, noise=0.0, seed=0):
    random = np.random.default_rng(seed)
    return Entry(tuple(mean + offset for offset in seeds), mean + noise * random.normal(size=200))


def paired(one, other):
    return DieboldMariano(0.0, float(stats.ttest_rel(one, other).pvalue), len(one))


def test_holm_is_that_of_the_paper():
    # Holm 1979: reject while the i-th smallest of m is at most level / (m - i + 1)
    random = np.random.default_rng(1)
    for _ in range(20):
        values = random.uniform(0, 0.1, size=6)
        rejected, order = set(), np.argsort(values)
        for place, number in enumerate(order):
            if values[number] > 0.05 / (6 - place):
                break
            rejected.add(int(number))
        assert {n for n, value in enumerate(holm(values)) if value <= 0.05} == rejected


def test_holm_counts_only_what_was_tested():
    assert holm([0.01, math.nan]) == [0.01, pytest.approx(math.nan, nan_ok=True)]
    assert holm([]) == []


def test_welch_is_that_of_scipy():
    one, other = [1.0, 2.0, 4.0], [3.0, 3.5, 5.0, 9.0]
    assert welch(one, other) == pytest.approx(stats.ttest_ind(one, other, equal_var=False).pvalue)
    alone = stats.ttest_1samp(one, 3.0).pvalue  # against what has no spread
    assert welch(one, [3.0] * 3) == pytest.approx(alone)
    assert welch([1.0, 1.0], [1.0, 1.0]) == 1


def test_a_difference_counts_only_beyond_time_and_seeds():
    made = {
        "good": entry(1.0, (-0.01, 0, 0.01), 0.05),
        "bad": entry(2.0, (-0.01, 0, 0.01), 0.05, seed=1),
        "lucky": entry(1.05, (-0.2, 0, 0.2), 0.05, seed=2),
        "twin": entry(1.001, (-0.01, 0, 0.01), 0.05, seed=3),
    }
    noise = {(each.better, each.worse): each.is_noise for each in differences(made, paired)}
    assert noise == {
        ("good", "twin"): True,
        ("good", "lucky"): True,  # in time it is one: only the seeds speak against it
        ("good", "bad"): False,
        ("twin", "lucky"): True,
        ("twin", "bad"): False,
        ("lucky", "bad"): False,
    }
    found = {(each.better, each.worse): each for each in differences(made, paired)}
    assert found["good", "lucky"].p_value < 0.05 < found["good", "lucky"].seeds_p_value
    assert found["good", "bad"].mase == pytest.approx(1.0)


def test_networks_that_differ_by_seeds_alone_are_hardly_ever_told_apart():
    """Each network's luck lasts over all of time, so that the test over time calls it real."""
    random, false = np.random.default_rng(7), 0
    for _ in range(200):
        made = {}
        for name in ("one", "other"):
            luck = random.normal(0, 0.1, size=3)
            losses = 1 + luck.mean() + random.normal(0, 0.05, size=200)
            made[name] = Entry(tuple(1 + luck), losses)
        (found,) = differences(made, paired)
        false += not found.is_noise
    assert false <= 0.08 * 200


FEW = "3 points in time are too few to tell (8 are needed)"


def pair(better, worse, p_value=0.001, seeds=0.001):
    return Difference(better, worse, 0.1, p_value, seeds, FEW if math.isnan(p_value) else "")


def test_sentences_say_what_beats_what_and_why_the_rest_is_noise():
    assert sentences(
        [
            pair("gru", "rnn", 1e-5),
            pair("gru", "lstm", 0.02),
            pair("lstm", "rnn", 0.01, 0.4),
            pair("rnn", "theta", 0.3),
            pair("rnn", "naive", math.nan),
        ]
    ) == [
        "gru beats rnn (p < 0.001) and lstm (p = 0.020).",
        "Cannot be told apart: lstm and rnn (p = 0.010, but the seeds of one differ as much as the "
        "two); rnn and theta (p = 0.300).",
        f"Open, as {FEW}: rnn and naive.",
    ]
    assert sentences([pair("a", "b", 0.5)]) == ["Every difference is noise: a and b (p = 0.500)."]


def test_of_too_few_values_nothing_is_called_noise():
    made = {name: Entry((1.0, 1.1), np.arange(3.0) + place) for place, name in enumerate("ab")}
    found = differences(made, lambda one, other: metrics.diebold_mariano(one, other, 1))
    assert sentences(found) == [f"Open, as {FEW}: a and b."]


def test_one_seed_says_nothing_of_seeds():
    assert not pair("a", "b", 0.01, math.nan).is_noise


def test_many_pairs_are_counted():
    text = sentences([pair("a", str(number), 0.5) for number in range(NAMED_PAIRS + 3)])[0]
    assert text.endswith("; and 3 more pairs.")
