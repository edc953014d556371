"""Gates: each says no to what it is for, names series, found and allowed, and is off by default."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from series_made import frame_of

from forecaster import predicting
from forecaster.accepted import read_accepted, write_accepted
from forecaster.config import DataSpec
from forecaster.errors import InvalidInputError, QualityGateError
from forecaster.gates import (
    Data,
    ages,
    jumps,
    require_data,
    require_fetched,
    require_model,
    revised,
)
from forecaster.series import prepare
from forecaster.store import Store
from forecaster.unattended import GatesSpec

NOW = datetime(2024, 6, 15, 12, tzinfo=UTC)  # a Saturday


def data_of(frame: pd.DataFrame, folder, accepted=None, **settings) -> Data:
    entries = Store(folder).put(frame, {"kind": "test"})
    return Data(prepare(frame, DataSpec(**settings)), frame, entries, accepted)


def refused(data: Data, **gate) -> str:
    require_data(GatesSpec(), data, NOW)  # off by default
    with pytest.raises(QualityGateError) as found:
        require_data(GatesSpec(**gate), data, NOW)
    (name,) = gate
    assert f"--{name.replace('_', '-')} allows" in found.value.message
    return found.value.message


def test_age_is_counted_in_steps(tmp_path):
    days = pd.bdate_range(end="2024-06-13", periods=60)  # a Thursday
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": np.arange(60.0)})
    data = data_of(frame, tmp_path)
    assert ages(data.panel, NOW) == {"a": 1.0}  # Friday is missing, the weekend has no step
    assert "Series 'a' ends 1 steps ago" in refused(data, max_data_age=0)
    require_data(GatesSpec(max_data_age=1), data, NOW)
    closed = frame["ds"].isin(pd.to_datetime(["2024-03-29", "2024-05-27"]))
    sessions = data_of(frame[~closed], tmp_path / "xnys", calendar="XNYS")
    assert ages(sessions.panel, datetime(2024, 6, 20, 12, tzinfo=UTC)) == {"a": 4.0}  # less 19 June
    zoned = frame.assign(ds=frame["ds"].dt.tz_localize("America/New_York"))
    assert ages(data_of(zoned, tmp_path / "zoned").panel, NOW) == {"a": 1.0}


def test_rows_without_a_value_are_no_news_unless_something_is_known_ahead(tmp_path):
    """A feed that goes on to send dates, but no values."""
    days = pd.date_range(end="2024-06-15", periods=60)
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": np.arange(60.0), "sale": 1.0})
    frame.loc[50:, "y"] = np.nan
    data = data_of(frame, tmp_path)
    assert ages(data.panel, NOW) == {"a": 10.0}
    assert "no value for 0.1667 of its steps" in refused(data, max_missing=0.16)
    with pytest.raises(QualityGateError, match=r"ends at 2024-06-05.*10\.5 days ago"):
        predicting._require_fresh(data.panel, 5 * 86_400, NOW)
    known = data_of(frame, tmp_path / "known", future=("sale",))
    assert ages(known.panel, NOW) == {"a": 10.0}
    require_data(GatesSpec(max_missing=0), known, NOW)


@pytest.mark.parametrize(("zone", "age"), [("Asia/Tokyo", 9.0), ("America/Los_Angeles", -7.0)])
def test_times_without_a_zone_are_of_this_machine(tmp_path, monkeypatch, zone, age):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        hours = pd.date_range(end="2024-06-15 12:00", periods=60, freq="h")
        frame = pd.DataFrame({"unique_id": "a", "ds": hours, "y": np.arange(60.0)})
        assert ages(data_of(frame, tmp_path).panel, NOW) == {"a": age}
    finally:
        monkeypatch.undo()
        time.tzset()


def test_whole_numbers_have_no_age(tmp_path):
    frame = pd.DataFrame({"unique_id": "a", "ds": range(60), "y": np.arange(60.0)})
    with pytest.raises(InvalidInputError, match="--max-data-age needs timestamps"):
        require_data(GatesSpec(max_data_age=1), data_of(frame, tmp_path), NOW)


def test_holes_are_missing_rows_and_missing_values(tmp_path):
    frame = frame_of("a", "b", rows=100)
    frame.loc[10:14, "y"] = np.nan
    data = data_of(frame.drop(index=range(20, 25)), tmp_path)
    assert "Series 'a' has no value for 0.1 of its steps" in refused(data, max_missing=0.09)
    require_data(GatesSpec(max_missing=0.11), data, NOW)


def test_a_jump_of_any_new_row_counts(tmp_path):
    frame = frame_of("a", "b", rows=100)
    frame.loc[97, "y"] = 1e3
    data = data_of(frame, tmp_path)
    assert max(jumps(data).values()) < 10  # the last row alone is as ever
    before = data_of(frame, tmp_path, accepted=frame[frame["ds"] < "2024-04-05"])
    assert "Series 'a' jumps by" in refused(before, max_jump=50)
    assert "(1 of 2 series are beyond)" in refused(before, max_jump=50)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 11])
def test_a_handful_of_rows_tells_neither_jumps_nor_drift(tmp_path, rows):
    wild = pd.Series([5.0, 5.1, 5.1, 5.0, 900.0, 0.0, 5.2, 1e6, 5.0, 5.1, 5.3])[:rows]
    days = pd.date_range("2024-01-01", periods=rows)
    frame = pd.concat(
        [pd.DataFrame({"unique_id": "a", "ds": days, "y": wild}), frame_of("b", rows=100)]
    )
    for accepted in (None, frame.iloc[:1], frame):
        data = data_of(frame, tmp_path, accepted)
        require_data(GatesSpec(max_jump=10, max_drift=0.5), data, NOW)
    assert set(jumps(data)) == {"b"}


def test_a_jump_is_told_from_the_first_row_that_has_enough_before_it(tmp_path):
    wild = np.append(np.arange(11.0), 500.0)
    frame = pd.DataFrame(
        {"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=12), "y": wild}
    )
    assert "Series 'a' jumps by 490 median changes" in refused(
        data_of(frame, tmp_path), max_jump=100
    )


def test_drift_is_told_from_the_latest_changes(tmp_path):
    frame = frame_of("a", "b", rows=400)
    late = frame.index[frame["unique_id"] == "b"][-40:]
    frame.loc[late, "y"] *= 1.5 ** np.arange(40)
    data = data_of(frame, tmp_path)
    assert "Series 'b' drifts by" in refused(data, max_drift=0.5)
    require_data(GatesSpec(max_drift=0.3), data_of(frame_of("a", rows=400), tmp_path), NOW)


def test_revised_rows_are_told_from_new_ones(tmp_path):
    frame = frame_of("a", rows=100)
    before = frame.head(90)[["unique_id", "ds", "y"]]
    require_data(GatesSpec(max_revised=0), data_of(frame, tmp_path, accepted=before), NOW)
    frame.loc[:8, "y"] += 1
    data = data_of(frame, tmp_path, accepted=before)
    assert "Series 'a' was revised in 0.1 of its rows" in refused(data, max_revised=0.09)
    require_data(GatesSpec(max_revised=0.1), data, NOW)


def test_rows_that_were_known_ahead_are_neither_revised_nor_old(tmp_path):
    ahead = frame_of("a", rows=60)
    ahead.loc[46:, "y"] = np.nan
    write_accepted(tmp_path, ahead, None)
    now = frame_of("a", rows=60)
    now.loc[53:, "y"] = np.nan
    now.loc[50, "y"] += 1e3
    for before in (read_accepted(tmp_path), ahead[["unique_id", "ds", "y"]]):  # kept now, and once
        data = data_of(now, tmp_path / "store", accepted=before)
        assert revised(data) == {"a": 0.0}
    data = data_of(now.head(53), tmp_path / "store", accepted=read_accepted(tmp_path))
    assert jumps(data)["a"] > 100


def test_rows_of_the_same_time_are_not_revised_by_each_other(tmp_path):
    frame = frame_of("a", rows=60)
    more = frame.iloc[[7, 8, 9]].assign(y=[99.0, 99.0, np.nan])
    frame = pd.concat([frame, more], ignore_index=True)
    write_accepted(tmp_path, frame, None)
    data = data_of(frame, tmp_path / "store", read_accepted(tmp_path), duplicates="drop")
    assert revised(data) == {"a": 0.0}


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_what_was_accepted_of_other_series_is_kept(tmp_path, zone):
    """Also where other series alone have another zone or unit of time."""
    both = frame_of("a", "b", rows=60)
    both["ds"] = both["ds"].dt.tz_localize("UTC" if zone else None).dt.as_unit("ns")
    write_accepted(tmp_path, both, None)
    some = both[both["unique_id"] == "a"]
    ds = some["ds"].dt.as_unit("us")
    some = some.assign(y=some["y"] + 1, ds=ds.dt.tz_convert(zone) if zone else ds)
    write_accepted(tmp_path, some, read_accepted(tmp_path))
    kept = read_accepted(tmp_path).groupby("unique_id")["y"].apply(list)
    assert kept["a"] == some["y"].tolist()
    assert kept["b"] == both.loc[both["unique_id"] == "b", "y"].tolist()


def test_the_same_rows_in_another_zone_are_not_revised(tmp_path):
    frame = frame_of("a", rows=60)
    frame["ds"] = frame["ds"].dt.tz_localize("Europe/Berlin")
    before = frame.assign(ds=frame["ds"].dt.tz_convert("UTC"))
    frame.loc[50, "y"] += 1e3
    data = data_of(frame, tmp_path, accepted=before.head(45), frequency="24h")
    assert revised(data) == {"a": 0.0}
    assert jumps(data)["a"] > 100
    data = data_of(frame, tmp_path, accepted=before, frequency="24h")
    assert revised(data) == {"a": pytest.approx(1 / 60)}


def test_a_jump_among_many_new_rows_counts(tmp_path):
    frame = frame_of("a", rows=100)
    frame.loc[40:, "y"] += 1e3
    data = data_of(frame, tmp_path, accepted=frame.head(30))
    assert jumps(data)["a"] > 100


def test_too_few_that_came_are_refused():
    require_fetched(GatesSpec(), 0.5, 4)
    with pytest.raises(QualityGateError, match=r"25% of 4 series.*--min-fetched needs 50%"):
        require_fetched(GatesSpec(), 0.25, 4)


def judgement(skill: float | None, *, significant: bool = False, coverage: float = 0.8):
    return {
        "skill": skill,
        "has_skill": significant,
        "best_baseline": "naive",
        "verdict": "So it is.",
        "coverage": {"80": coverage, "95": None},
    }


@pytest.mark.parametrize(
    ("asked", "skill", "significant", "passes"),
    [
        ("none", -1.0, False, True),
        ("better", 0.1, False, True),
        ("better", 0.0, False, False),
        ("better", None, False, False),
        ("significant", 0.1, False, False),
        ("significant", 0.1, True, True),
    ],
)
def test_skill(asked, skill, significant, passes):
    said = judgement(skill, significant=significant)
    if passes:
        require_model(GatesSpec(min_skill=asked), said)
    else:
        with pytest.raises(QualityGateError, match=r"against naive, as --min-skill asks\. So it"):
            require_model(GatesSpec(min_skill=asked), said)


@pytest.mark.parametrize("coverage", [0.6, 1.0])
def test_coverage(coverage):
    require_model(GatesSpec(max_coverage_gap=20.5), judgement(0.1, coverage=coverage))
    with pytest.raises(QualityGateError, match="20 points off; --max-coverage-gap allows 10"):
        require_model(GatesSpec(max_coverage_gap=10), judgement(0.1, coverage=coverage))
