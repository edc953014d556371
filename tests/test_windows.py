"""Window numbers and splits: nothing missed, nothing across a border."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from series_made import panel_of

from forecaster import splits
from forecaster.errors import InvalidInputError
from forecaster.windows import contexts, cutoffs_between, rows_after, rows_before

sizes = st.lists(st.integers(0, 40), min_size=1, max_size=5)


@given(sizes, st.integers(0, 10), st.integers(1, 5))
def test_cutoffs_are_those_of_a_plain_loop(lengths, first, step):
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    stops = np.array(lengths)
    found = cutoffs_between(starts, np.full(len(lengths), first), stops, step)
    expected = [
        start + local
        for start, stop in zip(starts, stops, strict=True)
        for local in range(first, stop, step)
    ]
    assert found.tolist() == expected


def test_contexts_end_at_the_cutoff_and_targets_begin_after_it():
    assert rows_before(np.array([5]), 3, np.array([0])).tolist() == [[3, 4, 5]]
    assert rows_after(np.array([5]), 2).tolist() == [[6, 7]]


def test_the_first_season_stands_in_before_the_start_of_a_series():
    cutoffs, starts = np.array([12, 15]), np.array([10, 10])
    contexts = rows_before(cutoffs, 6, starts, season=3)
    assert contexts.tolist() == [[10, 11, 12, 10, 11, 12], [10, 11, 12, 13, 14, 15]]
    assert rows_before(cutoffs, 6, starts)[0].tolist() == [10, 10, 10, 10, 11, 12]


@pytest.mark.parametrize("cutoffs", [[9, 15], [12, 15], []], ids=["whole", "short", "none"])
def test_contexts_are_the_rows_of_their_numbers(cutoffs):
    rows, starts = np.arange(40.0).reshape(20, 2), np.array([4, 10])[: len(cutoffs)]
    numbers = rows_before(np.array(cutoffs, dtype=int), 6, starts, season=3)
    found = contexts(rows, np.array(cutoffs, dtype=int), 6, starts, season=3)
    assert found.tolist() == rows[numbers].tolist()


def test_rows_past_two_billion_do_not_wrap():
    start = np.array([2**31])
    assert cutoffs_between(start, np.array([1]), np.array([3])).tolist() == [2**31 + 1, 2**31 + 2]


@given(
    st.integers(30, 80),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 5),
    st.integers(1, 8),
    st.integers(1, 4),
)
def test_no_target_crosses_a_border(rows, val_size, test_size, gap, lookback, horizon):
    panel = PANELS(rows)
    parts = splits.split(panel, val_size=val_size, test_size=test_size, gap=gap)
    train = splits.train_cutoffs(panel, parts, lookback, horizon)
    val = splits.val_cutoffs(panel, parts, lookback, horizon)
    test = splits.test_cutoffs(panel, parts, lookback, horizon, step=1, folds=1000)
    local = [
        np.concatenate([rows_after(part, horizon).ravel() % rows, []])
        for part in (train, val, test)
    ]
    for uid in range(len(panel.ids)):
        assert (local[0] < parts.train_stop[uid]).all()
        assert ((local[1] >= parts.val_start[uid]) & (local[1] < parts.val_stop[uid])).all()
        assert (local[2] >= parts.test_start[uid]).all()
    if val_size and test_size and rows > val_size + test_size + 2 * gap:
        assert parts.val_start[0] - parts.train_stop[0] == gap
        assert parts.test_start[0] - parts.val_stop[0] == gap
    series = lambda cutoffs: cutoffs // rows  # noqa: E731
    for cutoffs in (train, val, test):
        contexts = rows_before(cutoffs, lookback, series(cutoffs) * rows)
        assert (np.diff(contexts) == 1).all()
        assert (series(contexts[:, 0]) == series(cutoffs)).all()
        assert (series(rows_after(cutoffs, horizon)[:, -1]) == series(cutoffs)).all()


def PANELS(rows, made={}):  # noqa: B006 - a cache
    if rows not in made:
        made[rows] = panel_of("a", "b", rows=rows)
    return made[rows]


def test_folds_are_the_last_ones_that_fit():
    panel = panel_of("a", rows=60)
    parts = splits.split(panel, val_size=10, test_size=splits.folds_to_rows(3, 4, 5), gap=0)
    cutoffs = splits.test_cutoffs(panel, parts, 8, 4, step=5, folds=3)
    assert cutoffs.tolist() == [45, 50, 55]
    assert splits.test_cutoffs(panel, parts, 8, 4, step=5, folds=2).tolist() == [45, 50]


def test_too_few_rows_say_how_many_are_needed():
    panel = panel_of("shop", rows=40)
    parts = splits.split(panel, val_size=10, test_size=10, gap=2)
    with pytest.raises(
        InvalidInputError, match=r"'shop' needs at least 52 rows .* but has 40"
    ) as e:
        splits.require_windows(panel, parts, context=20, horizon=8)
    assert "--min-context" in e.value.hint
