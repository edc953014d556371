"""The memory tasks: exact sequences, and networks that remember or do not."""

import numpy as np
import pytest

from forecaster.errors import InvalidInputError
from forecaster.memory.tasks import COUNTED, SHORTEST, SOLVED, TASKS, lengths_of

MANY = 40_000
LENGTHS = (SHORTEST, 6, 7, 10, 31)


def made(task, length, sequences=2_000, seed=1):
    return TASKS[task].generate(sequences, length, np.random.default_rng(seed))


def solve(task, sequence):
    """Answer one sequence `(step, channel)` by the definition, with perfect memory."""
    items = list(sequence[:, 0])
    if task == "checksum":
        return items[0]
    marked = [step for step, mark in enumerate(sequence[:, 1]) if mark == 1]
    if task == "regime":
        (first,) = marked
        return 1 if sum(items[first:]) > 0 else -1
    values = [items[step] for step in marked]
    return sum(values) if task == "adding" else max({-1, 1}, key=values.count)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("length", LENGTHS)
def test_perfect_memory_solves_every_sequence(task, length):
    inputs, answers = made(task, length, 300)
    assert inputs.shape == (300, length, len(TASKS[task].channels))
    told = np.array([solve(task, sequence) for sequence in inputs])
    np.testing.assert_allclose(told, answers)
    assert TASKS[task].right(answers, told).all()


@pytest.mark.parametrize("task", TASKS)
def test_chance_is_what_the_best_constant_reaches(task):
    _, answers = made(task, 12, MANY)
    found = [
        TASKS[task].right(answers, np.full(MANY, constant)).mean()
        for constant in np.linspace(-1, 2, 61)
    ]
    assert max(found) == pytest.approx(TASKS[task].chance, abs=0.01)
    assert answers.var() == pytest.approx(TASKS[task].variance, abs=0.01)


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_makes_the_same_sequences_and_another_makes_others(task):
    one, again, other = made(task, 9), made(task, 9), made(task, 9, seed=2)
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    assert (one[0] != other[0]).any()


@pytest.mark.parametrize("length", [SHORTEST, 30])
def test_what_is_not_asked_for_says_nothing_of_the_answer(length):
    for task in ("checksum", "skip"):
        inputs, answers = made(task, length, MANY)
        items = inputs[:, :, 0]
        counts = inputs[:, :, 1] == 1 if task == "skip" else np.arange(length) == 0
        distractors = np.where(counts, 0.0, items)
        assert np.abs((distractors * answers[:, None]).mean(axis=0)).max() < 0.03
        assert np.abs((items[:, 1:] * items[:, :-1]).mean()) < 0.01
    inputs, answers = made("adding", length, MANY)
    others = np.where(inputs[:, :, 1] == 1, 0.5, inputs[:, :, 0]) - 0.5
    assert np.abs((others * (answers - 1)[:, None]).mean(axis=0)).max() < 0.01


def test_marks_are_where_the_definitions_say():
    skip, _ = made("skip", 20)
    assert (skip[:, :, 1].sum(axis=1) == COUNTED).all()
    assert skip[:, :, 1].mean(axis=0) == pytest.approx(np.full(20, COUNTED / 20), abs=0.03)
    adding, _ = made("adding", 21)
    assert (adding[:, :10, 1].sum(axis=1) == 1).all()
    assert (adding[:, 10:, 1].sum(axis=1) == 1).all()
    regime, _ = made("regime", 20)
    assert (regime[:, :, 1].sum(axis=1) == 1).all()
    left = 20 - regime[:, :, 1].argmax(axis=1)
    assert set(left) == {5, 7, 9, 11, 13, 15}


def test_who_lacks_a_part_of_the_memory_does_not_count_as_having_solved_a_task():
    """Every shortcut that the definitions name stays below the threshold."""
    length = 100
    inputs, answers = made("skip", length, MANY)
    last = np.sort(np.argsort(-inputs[:, :, 1], axis=1, kind="stable")[:, :COUNTED])[:, -2:]
    two = np.take_along_axis(inputs[:, :, 0], last, axis=1).sum(axis=1)
    shortcuts = {"skip": (np.where(two == 0, 1, two), answers)}
    inputs, answers = made("regime", length, MANY)
    shortcuts["never reset"] = (inputs[:, :, 0].sum(axis=1) + 0.5, answers)
    for recent in (10, 20):
        shortcuts[f"the last {recent}"] = (inputs[:, -recent:, 0].sum(axis=1) + 0.5, answers)
    for told, true in shortcuts.values():
        assert 0.5 < (np.sign(told) == true).mean() < SOLVED - 0.05


def test_of_two_signs_the_right_side_counts_and_of_sums_the_distance():
    answers = np.array([-1.0, -1.0, 1.0, 1.0])
    told = np.array([-0.2, 0.2, 0.9, -0.1])
    assert TASKS["skip"].right(answers, told).tolist() == [True, False, True, False]
    sums = np.array([1.19, 1.21])
    assert TASKS["adding"].right(np.ones(2), sums).tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("30", (30,)),
        ("10..500", (10, 20, 50, 100, 200, 500)),
        ("7..33", (7, 10, 20, 33)),
        ("100, 10..20,10", (10, 20, 100)),
        ("12..12", (12,)),
    ],
)
def test_lengths_are_numbers_and_ranges(text, lengths):
    assert lengths_of(text) == lengths


@pytest.mark.parametrize(
    "text", ["", "10,", "ten", "4", "20..10", "10...20", "-10", "10_0", "10..x", "99999"]
)
def test_a_wrong_length_is_refused_by_name(text):
    with pytest.raises(InvalidInputError, match=r"--length is a number of steps from 5 to 10,000"):
        lengths_of(text)
