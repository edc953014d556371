"""Anomalies: the rate of false alarms, what is found and what is not, and the command."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from retrain_made import registry
from scipy.stats import betabinom
from series_made import QUICK, frame_of

from forecaster import Forecaster, anomalies, scaling
from forecaster.anomalies import _read_by, by_chance, calibrated, detect
from forecaster.calendars import moment
from forecaster.cli import app
from forecaster.config import BoundsSpec, Config
from forecaster.errors import InvalidInputError
from forecaster.fallback import Fallback
from forecaster.inspecting import _notices
from forecaster.known import input_features, known_after
from forecaster.model import Model
from forecaster.reports import inspected
from forecaster.runtime import Network
from forecaster.series import prepare
from forecaster.windows import rows_before

pytestmark = pytest.mark.xdist_group("retrain")

IDS, ROWS, HELD_OUT, VALIDATE = ("a", "b"), 640, 300, 200
SETTINGS = QUICK | {
    "test_size": HELD_OUT,
    "step_size": 300,
    "epochs": 2,
    "folds": None,
    "val_size": VALIDATE,
    "refit_all": False,
}


@cache
def made():
    return frame_of(*IDS, rows=ROWS, noise=0.3)


@cache
def fitted():
    """A network that has learnt normal rows, and nothing of the last 300."""
    return Forecaster(**SETTINGS).fit(made())


def found(frame, rate=0.01, since=None, reference=None, bounds=None):
    model, judged = fitted().model, fitted().judged
    panel = prepare(frame, model.config.data)
    reference = reference or prepare(made(), model.config.data)
    detector = calibrated(model, judged, reference, rate, since, bounds)
    return detector, detect(detector, panel)


def changed(uid, places, change):
    """Return the made rows with some of a series' values changed, counted from its end."""
    frame = made().copy()
    rows = frame.index[frame["unique_id"] == uid][places]
    frame.loc[rows, "y"] += change
    return frame, frame.loc[rows, "ds"].tolist()


def flagged(anomalies, uid):
    table = anomalies.found
    return table.loc[table["unique_id"] == uid, "ds"].tolist()


@pytest.mark.parametrize("rate", [0.005, 0.01, 0.05, 0.2])
def test_of_clean_rows_no_more_are_flagged_than_asked_for(rate):
    """Within the bounds that hold for any model: one run in 10,000 is outside."""
    detector, anomalies = found(made(), rate)
    assert (detector.calibrated, len(anomalies.rows)) == (2 * VALIDATE, 2 * HELD_OUT)
    above = int(rate * (detector.calibrated + 1))
    normal = betabinom(len(anomalies.rows), above, detector.calibrated + 1 - above)
    low, high = normal.ppf([0.00005, 0.99995])
    # the second look only ever takes alarms away
    assert (low - 0.1 * normal.mean()) <= len(anomalies.found) <= high


def test_the_number_by_chance_is_beta_binomial():
    for rate, calibration, judged in ((0.01, 99, 50), (0.05, 1000, 400), (0.5, 9, 7)):
        above = int(rate * (calibration + 1))
        expected = betabinom(judged, above, calibration + 1 - above)
        mean, low, high = by_chance(rate, calibration, judged)
        assert mean == pytest.approx(expected.mean())
        assert (low, high) == (expected.ppf(0.025), expected.ppf(0.975))


def test_a_spike_is_found_and_its_neighbours_are_as_they_were():
    clean = found(made())[1]
    frame, times = changed("b", [-100], 6.0)
    spiked = found(frame)[1]
    assert set(flagged(spiked, "b")) == {*flagged(clean, "b"), *times}
    assert flagged(spiked, "a") == flagged(clean, "a")
    row = spiked.found.set_index("ds").loc[times[0]]
    assert (row["severity"], row["direction"], row["seen"]) == ("critical", "above", "")
    assert row["score"] > 3
    assert row["p_value"] == pytest.approx(1 / (2 * VALIDATE + 1))
    assert row["gru-lo-99"] < row["gru"] < row["gru-hi-99"] < row["y"]


class Swapped(Network):
    """Forecasts each of two series to be what the other one was."""

    def __init__(self, network):
        vars(self).update(vars(network))
        self.together = 2

    def __call__(self, context, *_, **__):
        last = context[:, -1, 0].reshape(-1, 2)[:, ::-1].reshape(-1, 1, 1)
        point = np.repeat(last, self.output_shape[0], axis=1)
        return np.concatenate([point, point - 0.5, point + 0.5], axis=2).astype(np.float32)


def test_a_spike_makes_no_anomalies_of_series_forecast_together(monkeypatch):
    model, judged = fitted().model, fitted().judged
    together = replace(model, config=model.config.replace(joint=True))
    monkeypatch.setattr(Model, "network", Swapped(model.network))
    panel = prepare(made(), model.config.data)
    detector = calibrated(together, judged, panel, 0.01)
    clean = detect(detector, panel)
    spike = int(panel.offsets[2]) - 100  # in b, after which a is forecast from it
    panel.y[spike] += 20.0
    spiked = detect(detector, panel)
    assert flagged(spiked, "a") == flagged(clean, "a")
    assert set(flagged(spiked, "b")) == {*flagged(clean, "b"), panel.ds[spike]}
    low, high = detector.model.forecast(panel, np.array([spike - ROWS, spike]), 1).bounds(99)
    assert not low[0, 0] <= panel.y[spike - ROWS + 1] <= high[0, 0]  # but for the second look


def test_a_second_look_reads_no_more_than_it_needs_and_says_the_same(monkeypatch):
    frame, _ = changed("b", [-100, -80], 6.0)
    sizes, look = [], anomalies._look

    def watched(detector, panel, *others):
        sizes.append(len(panel.y))
        return look(detector, panel, *others)

    monkeypatch.setattr(anomalies, "_look", watched)
    short = found(frame, 0.1)[1].rows
    assert len(sizes) > 10
    assert max(sizes[1:]) <= len(IDS) * (QUICK["lookback"] + QUICK["horizon"] + 2)
    monkeypatch.setattr(anomalies, "_read_by", lambda model, panel, rows: (panel, rows))
    pd.testing.assert_frame_equal(short, found(frame, 0.1)[1].rows, rtol=1e-6)


@pytest.mark.parametrize(("joint", "rows"), [(False, [30, 199]), (True, [50]), (False, [3])])
def test_what_a_forecast_reads_is_the_same_of_a_part(joint, rows):
    frame = frame_of(*IDS, rows=100)
    frame["price"] = np.random.default_rng(1).normal(size=len(frame))
    config = Config.of(
        **QUICK | {"future": ("price",), "calendar_features": True, "transform": "diff"},
        joint=joint,
    )
    panel, rows = prepare(frame, config.data), np.array(rows)
    state = scaling.fit(panel, config.scaling)
    part, at = _read_by(Model(config, state, None, b"", b"", None), panel, rows)
    assert len(part.y) < len(panel.y)
    assert part.ds[at].equals(panel.ds[rows])
    read = []
    for each, places in ((panel, rows), (part, at)):
        aligned = state.align(each, config.scaling)
        series = np.searchsorted(each.offsets, places, side="right") - 1
        context = rows_before(places - 1, 16, each.offsets[series], 8)
        features = input_features(each, aligned, config)[0][context]
        read.append((features, known_after(each, aligned, config, places - 1)))
    for whole, same in zip(*read, strict=True):
        np.testing.assert_array_equal(whole, same)


def test_without_a_second_look_a_spike_would_make_another_row_an_anomaly():
    frame, _ = changed("b", [-100], 6.0)
    detector, anomalies = found(frame)
    panel = prepare(frame, detector.model.config.data)
    spike = int(panel.offsets[2]) - 100
    cutoffs = np.arange(spike, spike + QUICK["lookback"])
    low, high = detector.model.forecast(panel, cutoffs, 1).bounds(99)
    y = panel.y[cutoffs + 1]
    outside = panel.ds[cutoffs + 1][(y < low[:, 0]) | (y > high[:, 0])]
    assert set(outside) - set(flagged(anomalies, "b"))


def test_spikes_one_after_the_other_are_all_found():
    frame, times = changed("a", [-90, -88, -85], np.array([5.0, -5.0, 5.0]))
    assert set(times) <= set(flagged(found(frame)[1], "a"))


def test_a_new_level_is_not_an_anomaly_for_ever():
    frame, times = changed("a", slice(-150, None), 4.0)
    clean, shifted = (flagged(found(each)[1], "a") for each in (made(), frame))
    assert times[0] in shifted
    assert len(shifted) < len(clean) + 12


def test_too_few_rows_for_a_rate_are_said_and_the_rate_that_holds_is_used():
    detector, anomalies = found(made(), 0.0001)
    assert (detector.needed, detector.rate) == (9999, 1 / (2 * VALIDATE + 1))
    assert list(anomalies.rows)[4] == f"gru-lo-{100 - 100 / 401:.6g}"
    largest = anomalies.rows["score"][anomalies.rows["anomaly"]]
    assert (largest > 1).all()


def test_it_says_from_when_on_enough_rows_would_calibrate():
    """400 rows validate; of the 600 later ones the first 599 are those up to the last time."""
    times = sorted(made()["ds"])[-2 * HELD_OUT :]
    for needed, expected in ((400, None), (401, times[2]), (402, times[2]), (998, times[-1])):
        detector, _ = found(made(), 1 / (needed + 1))
        assert detector.needed == needed
        assert detector.enough_since == (expected and str(expected))
        if expected:
            again, rest = found(made(), 1 / (needed + 1), since=detector.enough_since)
            assert again.calibrated >= again.needed
            assert again.enough_since is None
            assert len(rest.rows)
    assert found(made(), 1 / 1000)[0].enough_since is None  # no row would be left to judge


BOUNDS = {
    "none": {},
    "min": {"min": 5.0},
    "max": {"max": 8.0},
    "both": {"min": 4.7, "max": 8.4},
    "whole": {"whole": True},
    "whole min": {"whole": True, "min": 5.0},
}


@pytest.mark.parametrize("values", ["free", "cut off", "whole"])
@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=list(BOUNDS))
def test_flag_p_value_score_and_interval_agree_whatever_the_bounds(bounds, values):
    frame, rate = made().copy(), 0.05
    if values == "cut off":  # at the bounds, as stocks that are sold out
        frame["y"] = frame["y"].clip(bounds.get("min"), bounds.get("max"))
    elif values == "whole":
        frame["y"] = frame["y"].round()
    reference = prepare(frame, fitted().model.config.data)
    _, anomalies = found(frame, rate, reference=reference, bounds=BoundsSpec(**bounds))
    rows = anomalies.rows
    low, high = (rows[f"gru-{side}-95"] for side in ("lo", "hi"))
    assert rows["anomaly"].equals(rows["p_value"] <= rate)
    assert rows["anomaly"].equals(rows["score"] > 1)
    assert rows["anomaly"].equals((rows["y"] < low) | (rows["y"] > high))
    assert ((rows["direction"] == "above") == (rows["y"] > high)).all()
    beyond = (rows["y"] < bounds.get("min", -9)) | (rows["y"] > bounds.get("max", 99))
    assert np.isinf(rows["score"]).equals(beyond)
    assert set(rows.loc[beyond, "severity"]) <= {"critical"}
    if values == "cut off":  # a value at the bound is what a forecast beyond it says
        assert len(anomalies.found) <= 2 * rate * len(rows)


def test_of_series_forecast_together_some_can_be_asked_for():
    frame, times = changed("b", [-100], 6.0)
    detector, every = found(frame)
    some = detect(detector, prepare(frame, detector.model.config.data), ids=("b",))
    assert every.rows["unique_id"].nunique() == 2
    expected = every.rows[every.rows["unique_id"] == "b"].reset_index(drop=True)
    pd.testing.assert_frame_equal(some.rows, expected)
    assert times[0] in set(some.found["ds"])
    assert some.by_chance[0] == pytest.approx(every.by_chance[0] / 2)


def test_the_plot_shows_what_was_expected_and_hides_no_data(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr(inspected, "save_figure", lambda figure, _: figures.append(figure))
    rows = found(changed("b", [-100], 6.0)[0])[1].rows
    inspected.plot_anomalies(rows, "gru", tmp_path / "odd.png")
    (figure,) = figures
    figure.canvas.draw()
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names[:3] == ["99% interval", "expected", "observed"]
    for axes in figure.axes:
        drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
        own = rows[rows["unique_id"] == axes.get_title(loc="left")]
        np.testing.assert_array_equal(drawn["expected"], own["gru"])
        np.testing.assert_array_equal(drawn["observed"], own["y"])
        assert not legend.get_window_extent().overlaps(axes.get_window_extent())


def test_later_rows_calibrate_what_comes_after_since():
    start = str(made()["ds"].max() - pd.Timedelta(days=99))
    detector, anomalies = found(made(), since=start)
    assert len(anomalies.rows) == 2 * 100
    assert detector.calibrated == 2 * (VALIDATE + HELD_OUT - 100)


def test_rows_that_the_network_knows_are_marked():
    start = str(made()["ds"].max() - pd.Timedelta(days=HELD_OUT + VALIDATE + 9))
    seen = found(made(), since=start)[1].rows["seen"].value_counts()
    assert seen.to_dict() == {"": 600, "validated": 400, "trained": 20}


def test_rows_without_a_value_are_reported_and_not_judged():
    frame = made().copy()
    last = frame.index[frame["unique_id"] == "a"]
    frame.loc[last[-20], "y"] = np.nan
    frame = frame.drop(last[-30])
    anomalies = found(frame)[1]
    assert anomalies.missing["unique_id"].tolist() == ["a", "a"]
    assert len(anomalies.rows) == 2 * HELD_OUT - 2
    panel = prepare(frame, fitted().model.config.data)
    assert panel.filled.sum() == 2
    assert panel.head(panel.lengths - 25).filled.sum() == 1


def test_a_series_known_to_nobody_is_judged_from_its_first_context_on():
    frame = frame_of("new", rows=60, noise=0.3)
    assert len(found(frame)[1].rows) == 60 - QUICK["lookback"]


def test_baselines_that_stand_in_for_the_network_judge_nothing():
    """Theta and ETS would be fitted to every row."""
    model, judged = fitted().model, fitted().judged
    panel = prepare(made(), model.config.data)
    left = Fallback(("theta", "theta"), {})
    config = model.config.replace(fallback="baseline")
    detector = calibrated(replace(model, config=config, fallback=left), judged, panel, 0.05)
    found = detect(detector, panel)
    assert found.rows.equals(detect(calibrated(model, judged, panel, 0.05), panel).rows)
    assert any(line.startswith("Baselines that") for line in _notices(detector, found, panel))


def test_nothing_to_calibrate_on_is_refused():
    early = made().groupby("unique_id").head(100)
    with pytest.raises(InvalidInputError, match="No row is left to calibrate on"):
        found(early, reference=prepare(early, fitted().model.config.data))


def test_times_are_read_as_those_of_the_series():
    dates = pd.DatetimeIndex(["2024-01-01"], tz="Europe/Berlin")
    assert moment("2024-03-01", dates) == pd.Timestamp("2024-03-01", tz="Europe/Berlin")
    assert moment("2024-03-01T00:00+01:00", dates.tz_localize(None)) == pd.Timestamp("2024-03-01")
    assert moment("7", pd.Index([1, 2])) == 7
    assert moment("2024-10-27T02:30", dates).isoformat() == "2024-10-27T02:30:00+02:00"
    assert moment("2024-03-31T02:30", dates).isoformat() == "2024-03-31T03:00:00+02:00"
    for text, others in (
        ("soon", dates),
        ("NaT", dates),
        ("03/04/2024", dates),
        ("2024-01-01", pd.Index([1])),
    ):
        with pytest.raises(InvalidInputError, match="as the times of the series are"):
            moment(text, others)


def run(folder, capsys, *words, code=0):
    capsys.readouterr()
    assert app.run(["anomalies", "--name", "air", "--workspace", str(folder), *words]) == code
    return capsys.readouterr()


def test_the_command_writes_what_it_found(first, tmp_path, capsys):
    """The version has two series of 120 rows: 16 of each validated, 8 tested."""
    folder = first[0]
    target, plot = tmp_path / "odd.csv", tmp_path / "odd.png"
    said = run(folder, capsys, "--all", "--output", str(target), "--plot", str(plot))
    (line,) = [each for each in said.err.splitlines() if "false alarms" in each]
    assert "needs 99 calibration rows, but there are 32" in line
    assert line.endswith("Train with --val-size 50, or give --false-alarms 0.0304.")
    assert "16 rows judged" in said.err
    assert f"Wrote 16 rows to {target}" in said.out
    table = pd.read_csv(target)
    assert set(table["model_version"]) == {registry(folder).champion("air")}
    assert plot.read_bytes().startswith(b"\x89PNG")
    document = json.loads(run(folder, capsys, "a", "--all", "--false-alarms", "0.2", "--json").out)
    assert (document["judged"], document["false_alarms"]["calibrated"]) == (8, 32)
    assert {row["unique_id"] for row in document["rows"]} == {"a"}
    lines = run(folder, capsys, "--false-alarms", "0.2").out.splitlines()
    assert lines[0].startswith("unique_id,ds,y,gru,gru-lo-80,gru-hi-80,p_value,score,anomaly,")


def test_the_command_judges_a_file(first, tmp_path, capsys):
    frame = frame_of("a", rows=130)
    frame.loc[125, "y"] = 0.0
    frame.to_csv(tmp_path / "new.csv", index=False)
    words = ("--data", str(tmp_path / "new.csv"), "--since", "2024-04-30", "--json", "--min", "0.5")
    document = json.loads(run(first[0], capsys, *words).out)
    row = {row["ds"][:10]: row for row in document["rows"]}[str(frame["ds"][125].date())]
    assert (row["direction"], row["severity"]) == ("below", "critical")
    assert row["gru-lo-97.9592"] >= 0.5
    assert document["false_alarms"]["calibrated"] == 32 + 2 * 8  # stored rows before --since


def test_what_is_judged_and_what_calibrates_are_read_alike(first, capsys, monkeypatch):
    specs = []

    def watched(frame, spec):
        specs.append(spec.missing_values)
        return prepare(frame, spec)

    monkeypatch.setattr("forecaster.series.prepare", watched)
    run(first[0], capsys, "a", "--missing-values", "error")
    assert specs == ["error", "error"]


def test_the_command_says_when_no_row_is_left_to_judge(first, capsys):
    said = run(first[0], capsys, "--since", "2030-01-01")
    assert "No row was judged" in said.err
    assert len(said.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--since", "soon"), 5, "'soon' is not a time"),
        (("--version", "2020"), 4, "has no version '2020'"),
        (("--false-alarms", "0"), 2, "0<x<1"),
        (("--false-alarms", "nan"), 2, "'nan' is not a share"),
        (("--target", "y"), 2, "describe the FILE of --data"),
        (("nobody",), 4, "was not trained on 'nobody'"),
        (("--output", "nowhere/odd.csv"), 5, "nowhere"),
        (("--plot", "odd.txt"), 5, "A plot is .png"),
    ],
)
def test_the_command_says_what_it_cannot_do(first, capsys, words, code, message):
    said = run(first[0], capsys, *words, code=code)
    assert message in said.err
    assert said.out == ""
