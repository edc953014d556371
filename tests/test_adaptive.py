"""Adaptive intervals: widths follow the errors known since training, and nothing later."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of

from forecaster import Forecaster, adaptive, intervals, splits, statistical
from forecaster.adaptive import adapted
from forecaster.backtesting import forecast_windows
from forecaster.fallback import NETWORK, Fallback
from forecaster.intervals import Conformal, Recent
from forecaster.predicting import predict
from forecaster.series import prepare

pytestmark = pytest.mark.xdist_group("adaptive")

SETTINGS = QUICK | {"epochs": 5, "transform": "none", "refit_all": False}
ROUGH, ROWS = 160, 280  # rows from the first rough one on, which no training has seen


@pytest.fixture(scope="module")
def fitted():
    return Forecaster(**SETTINGS).fit(frame_of("a", "b", rows=ROUGH))


def later(noise=0.0):
    """Return the series with the rows that came after training, those of `a` with so much noise."""
    frame = frame_of("a", "b", rows=ROWS)
    late = (frame["unique_id"] == "a") & (frame.groupby("unique_id").cumcount() >= ROUGH)
    return frame.assign(y=frame["y"] + np.random.default_rng(3).normal(0, noise, len(frame)) * late)


def forecast(fitted, frame, cutoffs, unseen=ROUGH):
    """Return forecasts from cutoffs of each series, with intervals that follow the errors."""
    panel = prepare(frame, fitted.config.data)
    rows = np.concatenate([begin + cutoffs for begin in panel.offsets[:-1]])
    seen = np.full(len(panel.ids), unseen)
    found = fitted.model.forecast(panel, rows)
    return adapted(fitted.model, found, panel, rows, seen)


def widened(found, level=80):
    """Return how many times as wide as calibrated intervals are `(window, step)`."""
    now, then = (np.subtract(*each.bounds(level)) for each in (found, replace(found, recent=None)))
    return now / then


def factors(fitted, frame, cutoffs, unseen=ROUGH):
    """Return by how much intervals become wider, on average over the steps `(window,)`."""
    return widened(forecast(fitted, frame, cutoffs, unseen)).mean(axis=1)


def test_a_series_that_became_rough_has_wide_intervals_and_the_others_keep_theirs(fitted):
    cutoffs = np.arange(ROUGH - 1, ROWS - 4)
    found = forecast(fitted, later(noise=0.2), cutoffs)
    rough, calm = np.split(widened(found).mean(axis=1), 2)
    assert rough[-1] > 2
    np.testing.assert_allclose(calm, factors(fitted, later(), cutoffs)[len(cutoffs) :])
    assert rough[0] == 1  # until a first row has come
    assert (rough[1:] != 1).all()
    assert rough[4] > 1


def test_each_step_counts_as_soon_as_its_row_has_come(fitted):
    cutoffs = np.arange(ROUGH - 1, ROUGH + 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adaptive, "_averaged", lambda counts, _: counts)
        each = forecast(fitted, later(), cutoffs).recent
        calendar = fitted.model.config.replace(calendar_features=True)
        assert calendar.knows_ahead
        patch.setattr(type(calendar), "knows_ahead", True)
        whole = forecast(fitted, later(), cutoffs).recent
    first = 4 * each.seen[each.groups[: len(cutoffs)]]  # in errors, of the first series
    np.testing.assert_array_equal(first[:, 0], [0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(first[:, 3], [0, 0, 0, 0, 1, 2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adaptive, "_averaged", lambda counts, _: counts)
        patch.setattr(adaptive, "WINDOWS", 2)  # each stands for two rows
        some = forecast(fitted, later(), cutoffs).recent
    every = 4 * some.seen[some.groups[: len(cutoffs)]]
    np.testing.assert_array_equal(every[:, 0], [0, 0, 2, 2, 4, 4])
    np.testing.assert_array_equal(every[:, 3], [0, 0, 0, 0, 2, 2])
    together = 4 * whole.seen[whole.groups[: len(cutoffs)]]
    np.testing.assert_array_equal(together, np.repeat([[0], [0], [0], [0], [1], [2]], 4, axis=1))


def test_widths_make_coverage_right_where_errors_grew(fitted):
    cutoffs, frame = np.arange(ROUGH + 20, ROWS - 4), later(noise=0.2)
    truth = np.stack([frame["y"].to_numpy()[row + 1 : row + 5] for row in cutoffs])
    found = forecast(fitted, frame, cutoffs)

    def inside(each, level):
        low, high = (bound[: len(cutoffs)] for bound in each.bounds(level))
        return np.mean((low <= truth) & (truth <= high))

    for level, most in ((80, 0.5), (95, 0.75)):
        assert inside(replace(found, recent=None), level) < most
        assert inside(found, level) == pytest.approx(level / 100, abs=0.1)


def test_rows_after_a_cutoff_do_not_move_its_intervals(fitted):
    frame, cutoffs = later(noise=0.2), np.array([200])
    poisoned = frame.assign(y=frame["y"].where(frame.groupby("unique_id").cumcount() <= 200, 1e6))
    one, other = (forecast(fitted, each, cutoffs) for each in (frame, poisoned))
    np.testing.assert_array_equal(one.recent.within, other.recent.within)
    np.testing.assert_array_equal(one.bounds(95), other.bounds(95))
    moved = frame.assign(y=frame["y"].where(frame.groupby("unique_id").cumcount() != 200, 1e6))
    more = widened(forecast(fitted, moved, cutoffs), 95) - widened(one, 95)
    assert (more > -1e-9).all()
    assert (more[:, -1] > 0).all()


def test_errors_of_rows_that_were_seen_do_not_count(fitted):
    frame = later(noise=0.2)
    assert forecast(fitted, frame, np.array([ROUGH + 20]), unseen=ROUGH + 21).recent is None
    few, many = (
        factors(fitted, frame, np.array([ROWS - 5]), unseen=unseen)[0]
        for unseen in (ROWS - 10, ROUGH)
    )
    assert 1 < few < many


def test_only_the_latest_errors_count(fitted, monkeypatch):
    monkeypatch.setattr(adaptive, "LATEST_SPANS", 2)
    frame = later(noise=0.2)
    same = frame.assign(
        y=frame["y"].where(frame.groupby("unique_id").cumcount() < 200, later()["y"])
    )
    calm, rough = (factors(fitted, each, np.array([240]))[0] for each in (same, frame))
    assert calm < 1.5 < rough
    every = factors(fitted, frame, np.arange(ROUGH - 1, ROWS - 4))
    one = factors(fitted, frame, np.array([ROWS - 5]))
    assert one[0] == pytest.approx(every[len(every) // 2 - 1])


def calibrated_on(scores):
    return Conformal(len(scores), np.sort(scores, axis=0), np.ones(1))


def deviates(conformal, errors, level, expected=20.0):
    """Return the deviates of a window with errors since training `(error, step)`, each a horizon."""
    errors = np.reshape(errors, (-1, conformal.scores.shape[1]))
    within = np.stack([(errors <= knot).sum(axis=0) for knot in conformal.knots()])[:, None]
    seen = np.full((1, errors.shape[1]), len(errors))
    recent = Recent(within, seen, expected, np.zeros(1, dtype=int))
    return recent.deviates(level, conformal, np.ones(1, dtype=bool))[0]


def test_errors_seen_count_beside_those_calibrated():
    random = np.random.default_rng(0)
    conformal = calibrated_on(np.abs(random.normal(size=(999, 2))))
    like, normal = (np.abs(random.normal(size=(rows, 2))) for rows in (5000, 100_000))
    for level in (10, 50, 80, 95, 99):
        expected = np.quantile(normal, level / 100, axis=0)
        np.testing.assert_allclose(deviates(conformal, like, level), expected, rtol=0.15)
        found = deviates(conformal, 3 * like, level, expected=0.01)
        np.testing.assert_allclose(found, 3 * expected, rtol=0.15)
        none = deviates(conformal, [], level)
        np.testing.assert_array_equal(none, conformal.deviates(level, 2))
    far = np.full((20, 2), 1e9)  # as many as the calibrated ones count: beyond half of all
    np.testing.assert_allclose(deviates(conformal, far, 40), conformal.deviates(80, 2), rtol=0.02)
    np.testing.assert_allclose(deviates(conformal, far, 60), 4 * conformal.scores[-1])


def test_with_few_windows_the_largest_error_stands_in():
    """Beside eight calibrated errors, a first recent one does not make 95% of them."""
    conformal = calibrated_on(np.arange(1.0, 9.0)[:, None])
    for level in (95, 99.9):
        assert deviates(conformal, [3.0], level, expected=2.0) == 8
        assert 8 < deviates(conformal, [9.0], level, expected=2.0) < 11
    assert deviates(conformal, [3.0], 50, expected=2.0) == 3  # of 5 without it
    assert deviates(conformal, np.full(500, 3.0), 95, expected=2.0) == pytest.approx(3, abs=0.3)


def test_a_first_small_error_moves_little():
    random = np.random.default_rng(1)
    for windows, level in ((19, 90), (39, 95), (400, 80)):
        conformal = calibrated_on(np.abs(random.normal(size=(windows, 1))))
        found = deviates(conformal, [0.1], level, expected=20.0)
        assert found == pytest.approx(conformal.deviates(level, 1), rel=0.1)


def test_rare_errors_that_are_large_stay_inside_their_level():
    """One in a hundred is a hundred times as large, before and after."""
    scores = np.where(np.arange(400) % 100, 0.1, 100.0)[:, None]
    conformal = calibrated_on(scores)
    assert deviates(conformal, scores, 99.5) == 100
    assert deviates(conformal, scores, 95) == pytest.approx(0.1)


def test_low_levels_are_as_narrow_as_they_should_be():
    scores = np.abs(np.random.default_rng(4).normal(size=(400, 1)))
    conformal = calibrated_on(scores)
    errors = np.abs(np.random.default_rng(5).normal(size=(400, 1)))
    for level in (1, 2, 4, 10):
        (reach,) = deviates(conformal, errors, level)
        assert math.erf(reach / math.sqrt(2)) == pytest.approx(level / 100, abs=0.025)


def test_intervals_of_a_higher_level_reach_further_whatever_was_seen():
    random = np.random.default_rng(0)
    for _ in range(20):
        conformal = calibrated_on(random.exponential(size=(random.integers(1, 50), 1)))
        errors = random.choice([0.01, 0.5, 2, 30, 1e9], size=random.integers(1, 30))
        reached = [
            deviates(conformal, errors, level, 5.0)[0] for level in np.linspace(1, 99.9, 199)
        ]
        assert (np.diff(reached) >= 0).all()
        assert reached[0] > 0


def test_the_calibrated_errors_count_as_two_horizons_of_them_or_as_twenty_rows(fitted):
    assert forecast(fitted, later(), np.array([ROWS - 5])).recent.expected == 20 / 4
    assert [adaptive.expected_spans(horizon) for horizon in (1, 4, 10, 96)] == [20, 5, 2, 2]


def test_one_wild_row_does_not_decide(fitted):
    calm, wild = later(), later()
    wild.loc[wild["ds"] == wild["ds"][200], "y"] = 1e9
    cutoffs = np.array([240])
    once, never = (
        widened(forecast(fitted, each, cutoffs), 95).mean(axis=1) for each in (wild, calm)
    )
    assert (once > never).all()
    assert (once < 2).all()


def test_theta_is_not_fitted_to_every_row_since_training(fitted, monkeypatch):
    model = replace(
        fitted.model, fallback=Fallback(("theta", NETWORK), {"theta": fitted.model.conformal})
    )
    monkeypatch.setattr(statistical, "forecast", None)
    panel = prepare(later(noise=0.2), fitted.config.data)
    rows = panel.offsets[1:] - 5
    found = fitted.model.forecast(panel, rows)
    wide = widened(adapted(model, found, panel, rows, np.full(2, ROUGH)))
    assert (wide[0] == 1).all()
    assert (wide[1] != 1).all()


def test_parts_and_steps_find_what_all_windows_at_once_do(fitted, monkeypatch):
    cutoffs, asked = np.arange(ROUGH - 1, ROWS - 4), []
    whole = factors(fitted, later(noise=0.2), cutoffs)
    monkeypatch.setattr(adaptive, "AT_ONCE", 100)
    monkeypatch.setattr(intervals, "AT_ONCE", 1000)
    found = factors(fitted, later(noise=0.2), cutoffs)
    np.testing.assert_allclose(found, whole, rtol=1e-6)
    monkeypatch.setattr(adaptive, "WINDOWS", 2)
    places = adaptive._places
    monkeypatch.setattr(
        adaptive, "_places", lambda *args: [asked.extend(args[2]), places(*args)][1]
    )
    few = factors(fitted, later(noise=0.2), cutoffs)
    assert set(np.diff(asked[: len(asked) // 2])) == {2}
    np.testing.assert_allclose(few[40:], whole[40:], rtol=0.3)
    one = factors(fitted, later(noise=0.2), cutoffs[-1:])
    np.testing.assert_allclose(one, few[[len(cutoffs) - 1, -1]])


def test_parts_skip_a_series_that_nothing_is_known_of(fitted, monkeypatch):
    asked = later(noise=0.2), np.arange(ROUGH - 1, ROWS - 4), np.array([ROUGH, 2 * ROWS])
    whole = widened(forecast(fitted, *asked))
    monkeypatch.setattr(adaptive, "AT_ONCE", 100)
    found = widened(forecast(fitted, *asked))
    np.testing.assert_allclose(found, whole, rtol=1e-6)
    first, second = np.split(found, 2)
    assert (first[-1] > 1.5).all()
    assert (second == 1).all()


def test_each_step_follows_its_own_errors_and_steps_past_those_trained_the_last(fitted):
    frame = later()
    late = frame.groupby("unique_id").cumcount() >= ROUGH
    # One row in twelve is off: the fourth step of the windows that are looked at, and no other.
    off = late & (frame.groupby("unique_id").cumcount() % 4 == ROUGH % 4)
    frame = frame.assign(y=frame["y"] + 0.3 * off)
    panel = prepare(frame, fitted.config.data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adaptive, "WINDOWS", 1)
        patch.setattr(adaptive, "_averaged", lambda counts, _: counts)
        row = panel.offsets[1:] - 1
        found = fitted.model.forecast(panel, row, 6)
        wide = adapted(fitted.model, found, panel, row, np.full(2, ROUGH))
    # without a transform, levels are values
    reached, usual = (each.distribution.deviate_of(each.bounds(95)[1]) for each in (wide, found))
    ratio = reached / usual
    assert ratio.shape == (2, 6)
    assert (ratio[:, 0] > ratio[:, 1]).all()
    np.testing.assert_allclose(ratio[:, 4:], ratio[:, [3, 3]])


def test_a_series_that_stands_still_keeps_its_intervals(fitted):
    flat = frame_of("flat", rows=ROWS).assign(y=5.0)
    found = forecast(fitted, flat, np.arange(ROUGH, ROWS - 4))
    assert found.recent is None


def test_predict_counts_the_rows_after_those_of_the_version(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    assert loaded.model.seen_to == fitted.model.seen_to == fitted.about["data"]["last"]
    panel = prepare(later(noise=0.2), loaded.config.data)
    plain, wide = (predict(loaded.model, panel, adaptive=each) for each in (False, True))
    spread = {
        name: (each.frame["gru-hi-80"] - each.frame["gru-lo-80"]).to_numpy()
        for name, each in {"plain": plain, "wide": wide}.items()
    }
    assert (spread["wide"][:4] > 2 * spread["plain"][:4]).all()
    np.testing.assert_array_equal(plain.frame["gru"], wide.frame["gru"])
    (said,) = (line for line in wide.notices if "as wide as calibrated (the median of all" in line)
    assert re.search(r"since 2024-06-08, intervals are at 80% \d\.\d\d times, at 95% \d", said)
    assert not any("as wide as calibrated" in line for line in plain.notices)
    calm = prepare(frame_of("a", "b", rows=ROUGH + 8), loaded.config.data)
    model = replace(loaded.model, conformal=replace(loaded.model.conformal, windows=0))
    assert not any("as wide as" in line for line in predict(model, calm, adaptive=True).notices)
    for each, expected in {False: plain, True: wide}.items():
        config = loaded.config.replace(adaptive_intervals=each)
        loaded._model = replace(loaded.model, config=config)
        found = loaded.predict(frame=later(noise=0.2))
        np.testing.assert_array_equal(found["gru-hi-80"], expected.frame["gru-hi-80"])


def test_before_a_forecast_can_be_compared_intervals_are_as_calibrated(fitted):
    panel = prepare(frame_of("a", "b", rows=ROUGH), fitted.config.data)
    one, other = (predict(fitted.model, panel, adaptive=each) for each in (False, True))
    pd.testing.assert_frame_equal(one.frame, other.frame)
    assert one.notices == other.notices


def test_the_backtest_judges_intervals_that_follow(fitted):
    panel = prepare(later(noise=0.2), fitted.config.data)
    held_out = fitted.config.replace(test_size=ROWS - ROUGH, folds=None, step_size=1)
    parts = splits.of_config(panel, held_out)
    cutoffs = splits.test_cutoffs(panel, parts, held_out.context_rows, 4, 1, ROWS)
    plain, wide = (
        forecast_windows(fitted.model, panel, config, parts, 0, cutoffs)
        for config in (held_out.replace(adaptive_intervals=False), held_out)
    )
    expected = forecast(fitted, later(noise=0.2), np.arange(ROUGH - 1, ROWS - 4)).bounds(80)
    np.testing.assert_array_equal(wide.bounds[80.0], expected)
    assert not np.array_equal(plain.bounds[80.0], wide.bounds[80.0])
    np.testing.assert_array_equal(plain.forecasts["gru"], wide.forecasts["gru"])


def test_times_of_another_kind_leave_intervals_as_calibrated(fitted):
    frame = later(noise=0.2)
    numbered = frame.assign(ds=frame.groupby("unique_id").cumcount())
    for times in (numbered, frame.assign(ds=frame["ds"].dt.tz_localize("Europe/Berlin"))):
        panel = prepare(times, fitted.config.data.model_copy(update={"frequency": None}))
        one, other = (predict(fitted.model, panel, adaptive=each).frame for each in (False, True))
        changed = not one.equals(other)
        assert changed == (times is not numbered)  # a zone more does not hide what is new


def test_errors_are_averaged_over_the_steps_beside_them():
    counts = np.array([[1, 2, 6, 0]])
    np.testing.assert_allclose(adaptive._averaged(counts, 1), [[1.5, 3, 8 / 3, 3]])


def test_rows_that_were_filled_in_are_no_errors(fitted):
    frame, cutoffs = later(), np.array([ROWS - 5])
    place = frame.groupby("unique_id").cumcount()

    def width(y):
        return widened(forecast(fitted, frame.assign(y=y), cutoffs), 95).mean(axis=1)

    complete, holes = frame["y"], frame["y"].where(place < ROWS - 40)
    carried = holes.groupby(frame["unique_id"]).ffill()  # the same values, said to be observed
    assert (width(holes) < 1.05 * width(complete)).all()
    assert (width(holes) < 0.75 * width(carried)).all()
    empty = forecast(fitted, frame.assign(y=frame["y"].where(place < ROUGH)), cutoffs)
    assert empty.recent is None


def test_steps_that_were_forecast_without_error_leave_the_others_to_be_followed(fitted):
    exact = replace(fitted.model.conformal, scores=fitted.model.conformal.scores.copy())
    exact.scores[:, 0] = 0
    model = replace(fitted.model, conformal=exact)
    panel = prepare(later(noise=0.2), fitted.config.data)
    rows = panel.offsets[1:] - 5
    plain = model.forecast(panel, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adaptive, "WINDOWS", 4)
        patch.setattr(adaptive, "_averaged", lambda counts, _: counts)
        wide = adapted(model, plain, panel, rows, np.full(2, ROUGH))
    before, after = (high - low for low, high in (each.bounds(80) for each in (plain, wide)))
    np.testing.assert_array_equal(after[:, 0], 0)
    assert (after[0, 1:] > 2 * before[0, 1:]).all()
