"""Adaptive intervals: widths follow the errors known since training, and nothing later."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of

from forecaster import Forecaster, adaptive, splits, statistical
from forecaster.adaptive import EXPECTED_SPANS, adapted
from forecaster.backtesting import forecast_windows
from forecaster.fallback import NETWORK, Fallback
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


def factors(fitted, frame, cutoffs, unseen=ROUGH):
    """Return by how much intervals become wider, on average over the steps `(window,)`."""
    return forecast(fitted, frame, cutoffs, unseen).recent.mean(axis=1)


def test_a_series_that_became_rough_has_wide_intervals_and_the_others_keep_theirs(fitted):
    cutoffs = np.arange(ROUGH - 1, ROWS - 4)
    found = forecast(fitted, later(noise=0.2), cutoffs)
    rough, calm = np.split(found.recent.mean(axis=1), 2)
    assert rough[-1] > 2
    np.testing.assert_allclose(calm, factors(fitted, later(), cutoffs)[len(cutoffs) :])
    np.testing.assert_array_equal(rough[:4], 1)  # until a first window has its whole truth
    assert rough[4] > 1
    plain, wide = replace(found, recent=None).bounds(80), found.bounds(80)
    spread = (wide[1] - wide[0]) / (plain[1] - plain[0])
    np.testing.assert_allclose(spread[: len(cutoffs)].mean(axis=1), rough, rtol=0.4)


def test_widths_make_coverage_right_where_errors_grew(fitted):
    cutoffs, frame = np.arange(ROUGH + 20, ROWS - 4), later(noise=0.2)
    truth = np.stack([frame["y"].to_numpy()[row + 1 : row + 5] for row in cutoffs])
    found = forecast(fitted, frame, cutoffs)
    inside = {}
    for name, each in {"plain": replace(found, recent=None), "adaptive": found}.items():
        low, high = (bound[: len(cutoffs)] for bound in each.bounds(80))
        inside[name] = np.mean((low <= truth) & (truth <= high))
    assert inside["plain"] < 0.5
    assert inside["adaptive"] == pytest.approx(0.8, abs=0.1)


def test_rows_after_a_cutoff_do_not_move_its_intervals(fitted):
    frame, cutoffs = later(noise=0.2), np.array([200])
    poisoned = frame.assign(y=frame["y"].where(frame.groupby("unique_id").cumcount() <= 200, 1e6))
    one, other = (forecast(fitted, each, cutoffs) for each in (frame, poisoned))
    np.testing.assert_array_equal(one.recent, other.recent)
    np.testing.assert_array_equal(one.bounds(95), other.bounds(95))
    moved = frame.assign(y=frame["y"].where(frame.groupby("unique_id").cumcount() != 200, 1e6))
    assert (forecast(fitted, moved, cutoffs).recent[:, -1] > one.recent[:, -1]).all()


def test_errors_of_rows_that_were_seen_do_not_count(fitted):
    frame = later(noise=0.2)
    assert forecast(fitted, frame, np.array([ROUGH + 20]), unseen=ROUGH + 18).recent is None
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


def test_what_is_seen_counts_as_much_as_what_is_expected_after_some_spans(fitted):
    cutoffs = np.array([ROUGH - 1 + 4 + int(EXPECTED_SPANS) * 4 - 1])
    found, more = (factors(fitted, later(noise=0.2), cutoffs + rows)[0] for rows in (0, 60))
    assert found - 1 == pytest.approx((more - 1) / 2, rel=0.5)


def test_one_wild_row_does_not_decide(fitted):
    calm, wild = later(), later()
    wild.loc[wild["ds"] == wild["ds"][200], "y"] = 1e9
    cutoffs = np.array([240])
    once, never = (factors(fitted, each, cutoffs) for each in (wild, calm))
    assert (once > never).all()
    assert (once < 3).all()


def test_theta_is_not_fitted_to_every_row_since_training(fitted, monkeypatch):
    model = replace(
        fitted.model, fallback=Fallback(("theta", NETWORK), {"theta": fitted.model.conformal})
    )
    monkeypatch.setattr(statistical, "forecast", None)
    panel = prepare(later(noise=0.2), fitted.config.data)
    rows = panel.offsets[1:] - 5
    found = fitted.model.forecast(panel, rows)
    recent = adapted(model, found, panel, rows, np.full(2, ROUGH)).recent
    assert (recent[0] == 1).all()
    assert (recent[1] != 1).all()


def test_parts_and_steps_find_what_all_windows_at_once_do(fitted, monkeypatch):
    cutoffs, asked = np.arange(ROUGH - 1, ROWS - 4), []
    whole = factors(fitted, later(noise=0.2), cutoffs)
    monkeypatch.setattr(adaptive, "AT_ONCE", 100)
    found = factors(fitted, later(noise=0.2), cutoffs)
    np.testing.assert_allclose(found, whole, rtol=1e-6)
    monkeypatch.setattr(adaptive, "WINDOWS", 2)
    ratios = adaptive._ratios
    monkeypatch.setattr(
        adaptive, "_ratios", lambda *args: [asked.extend(args[2]), ratios(*args)][1]
    )
    few = factors(fitted, later(noise=0.2), cutoffs)
    assert set(np.diff(asked[: len(asked) // 2])) == {2}
    np.testing.assert_allclose(few[40:], whole[40:], rtol=0.3)
    one = factors(fitted, later(noise=0.2), cutoffs[-1:])
    np.testing.assert_allclose(one, few[[len(cutoffs) - 1, -1]])


def test_each_step_follows_its_own_errors_and_steps_past_those_trained_the_last(fitted):
    frame = later()
    late = frame.groupby("unique_id").cumcount() >= ROUGH
    # One row in twelve is off: the fourth step of the windows that are looked at, and no other.
    off = late & (frame.groupby("unique_id").cumcount() % 4 == ROUGH % 4)
    frame = frame.assign(y=frame["y"] + 0.3 * off)
    panel = prepare(frame, fitted.config.data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adaptive, "WINDOWS", 1)
        patch.setattr(adaptive, "_averaged", lambda ratios, _: ratios)
        row = panel.offsets[1:] - 1
        found = fitted.model.forecast(panel, row, 6)
        recent = adapted(fitted.model, found, panel, row, np.full(2, ROUGH)).recent
    assert recent.shape == (2, 6)
    assert (recent[:, 0] > recent[:, 1]).all()
    np.testing.assert_array_equal(recent[:, 4:], recent[:, [3, 3]])


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
    assert any("times as wide as calibrated (the median of all" in line for line in wide.notices)
    assert not any("as wide as calibrated" in line for line in plain.notices)
    assert any("since 2024-06-08, intervals" in line for line in wide.notices)
    for each, expected in {False: plain, True: wide}.items():
        config = loaded.config.replace(adaptive_intervals=each)
        loaded._model = replace(loaded.model, config=config)
        found = loaded.predict(frame=later(noise=0.2))
        np.testing.assert_array_equal(found["gru-hi-80"], expected.frame["gru-hi-80"])


def test_before_a_forecast_can_be_compared_intervals_are_as_calibrated(fitted):
    panel = prepare(frame_of("a", "b", rows=ROUGH + 3), fitted.config.data)
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
    ratios = np.array([[1.0, 2.0, 6.0, 0.0]])
    np.testing.assert_allclose(adaptive._averaged(ratios, 1), [[1.5, 3, 8 / 3, 3]])


def test_rows_that_were_filled_in_are_no_errors(fitted):
    frame, cutoffs = later(), np.array([ROWS - 5])
    place = frame.groupby("unique_id").cumcount()

    def width(y):
        return forecast(fitted, frame.assign(y=y), cutoffs).recent.mean(axis=1)

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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adaptive, "WINDOWS", 4)
        patch.setattr(adaptive, "_averaged", lambda ratios, _: ratios)
        found = adapted(model, model.forecast(panel, rows), panel, rows, np.full(2, ROUGH)).recent
    np.testing.assert_array_equal(found[:, 0], 1)
    assert (found[0, 1:] > 2).all()
