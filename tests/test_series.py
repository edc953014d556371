"""From long frames to panels: every defect, every policy, its message; nothing looks ahead."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster import calendars, regularity
from forecaster.calendars import grid
from forecaster.config import DataSpec
from forecaster.errors import InvalidInputError, NotFoundError
from forecaster.guessing import infer_steps
from forecaster.series import prepare, without_short


def frame(y, uid="a", start="2024-01-01", frequency="D", **columns):
    ds = pd.date_range(start, periods=len(y), freq=frequency)
    return pd.DataFrame({"unique_id": uid, "ds": ds, "y": y, **columns})


def joined(*frames):
    return pd.concat(frames, ignore_index=True)


def days(*texts):
    return pd.DatetimeIndex([f"2024-01-{text}" for text in texts])


def notice(panel, text):
    found = [line for line in panel.notices if text in line]
    assert len(found) == 1, panel.notices
    return found[0]


GOOD = frame([5.0, 6, 7, 8, 9, 8, 7, 6], "good")


# --- a clean panel --------------------------------------------------------------------------


def test_a_clean_frame_is_taken_as_it_is():
    panel = prepare(joined(GOOD, frame([1.0, 2, 3], "b", "2024-02-01")), DataSpec())
    assert panel.ids == ("b", "good")
    assert panel.offsets.tolist() == [0, 3, 11]
    assert panel.lengths.tolist() == [3, 8]
    assert panel.y.tolist() == [1, 2, 3, 5, 6, 7, 8, 9, 8, 7, 6]
    assert panel.y.dtype == np.float64
    assert panel.covariates.shape == (11, 0)
    assert (panel.frequency, panel.calendar) == ("D", None)
    assert panel.notices == ()
    assert panel.skipped == {}


@pytest.mark.parametrize(("frequency", "each"), [("h", 50), (None, 64)])  # one was 73 for both
def test_a_long_series_takes_little_memory(frequency, each, monkeypatch):
    monkeypatch.setattr(calendars, "ROWS_AT_ONCE", 2000)
    monkeypatch.setattr(regularity, "ENOUGH", 2000)
    given = frame(np.arange(100_000) % 7, start="1980-01-01", frequency="h")
    tracemalloc.start()
    panel = prepare(given, DataSpec(frequency=frequency))
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert panel.y.nbytes < used < each * len(given)
    assert np.shares_memory(panel.head(panel.lengths - 9).y, panel.y)


def test_the_frame_is_left_alone():
    given = joined(frame([np.nan, 1.0, np.nan, np.inf, 2]), GOOD)
    before = given.copy()
    prepare(given, DataSpec(infinite_values="fill"))
    pd.testing.assert_frame_equal(given, before)


def test_interleaved_series_are_taken_apart():
    mixed = joined(GOOD, GOOD.assign(unique_id="b", y=-GOOD.y)).sort_values("ds", kind="stable")
    panel = prepare(mixed, DataSpec())
    assert panel.ids == ("b", "good")
    assert panel.y[:8].tolist() == (-GOOD.y).tolist()
    assert panel.notices == ()


def test_ids_become_text_and_sorted():
    panel = prepare(joined(frame([1.0, 2], 10), frame([1.0, 2], 9)), DataSpec())
    assert panel.ids == ("10", "9")
    category = GOOD.assign(unique_id=GOOD.unique_id.astype("category"))
    assert prepare(category, DataSpec()).ids == ("good",)


def test_select_takes_series_and_names_the_unknown():
    panel = prepare(joined(GOOD, frame([1.0, 2, 3], "b"), frame([4.0, 5, 6], "c")), DataSpec())
    some = panel.select(["good", "b"])
    assert some.ids == ("b", "good")
    assert some.y.tolist() == [1, 2, 3, *GOOD.y]
    assert some.ds.equals(panel.ds[[0, 1, 2, *range(6, 14)]])
    with pytest.raises(NotFoundError, match=r"no series 'god' .* Near: good\."):
        panel.select(["god"])


def test_select_says_why_a_series_was_skipped():
    panel = prepare(joined(GOOD, frame([1.0, 2], "b")), DataSpec())
    panel = without_short(panel, 3, "min_context", "skip-series")
    with pytest.raises(
        NotFoundError, match=r"skipped: needs at least 3 rows \(min_context\) but has 2"
    ):
        panel.select(["b"])


def test_head_takes_the_first_rows_of_each():
    panel = prepare(joined(GOOD, frame([1.0, 2, 3], "b")), DataSpec())
    first = panel.head(np.array([2, 100]))
    assert first.ids == panel.ids
    assert first.lengths.tolist() == [2, 8]
    assert first.y.tolist() == [1, 2, *GOOD.y]
    assert panel.head(np.array([0, 1])).offsets.tolist() == [0, 0, 1]


# --- columns --------------------------------------------------------------------------------


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(InvalidInputError, match="ds, y not found among unique_id, date, close"):
        prepare(GOOD.rename(columns={"ds": "date", "y": "close"}), DataSpec())


def test_an_empty_frame_is_refused():
    with pytest.raises(InvalidInputError, match="no rows"):
        prepare(GOOD[:0], DataSpec())


def test_a_column_twice_is_refused():
    with pytest.raises(InvalidInputError, match="more than once: x"):
        prepare(
            pd.concat([GOOD.assign(x=1), GOOD[["y"]].set_axis(["x"], axis=1)], axis=1), DataSpec()
        )


@pytest.mark.parametrize("column", ["unique_id", "ds"])
def test_keys_may_not_be_empty(column):
    broken = GOOD.copy()
    broken.loc[3, column] = None
    with pytest.raises(InvalidInputError, match=f"column {column} is empty in 1 rows.* row 3"):
        prepare(broken, DataSpec())


def test_values_must_be_numbers():
    words = GOOD.assign(y=GOOD.y.astype(str))
    assert prepare(words, DataSpec()).y.tolist() == GOOD.y.tolist()
    words.loc[2, "y"] = "n/a?"
    with pytest.raises(InvalidInputError, match="'y' must hold numbers; row 2 holds 'n/a\\?'"):
        prepare(words, DataSpec())


@pytest.mark.parametrize("dtype", ["int64", "Int64", "Float64", "float32", "bool", "boolean"])
def test_any_number_will_do(dtype):
    panel = prepare(GOOD.assign(y=(GOOD.y > 7).astype(dtype)), DataSpec())
    assert panel.y.tolist() == (GOOD.y > 7).astype(float).tolist()


def test_covariates_are_chosen_and_the_others_named():
    data = GOOD.assign(price=GOOD.y * 2, promo=GOOD.y > 6, note="x")
    panel = prepare(data, DataSpec(covariates=("promo", "price")))
    assert panel.covariate_names == ("promo", "price")
    np.testing.assert_array_equal(panel.covariates, np.c_[GOOD.y > 6, GOOD.y * 2])
    assert notice(panel, "not used") == "Columns not used: note."
    panel = prepare(data, DataSpec(covariates=("all",)))
    assert panel.covariate_names == ("price", "promo")
    panel = prepare(data, DataSpec())
    assert panel.covariates.shape == (8, 0)
    assert notice(panel, "not used") == "Columns not used: price, promo, note."


def test_unknown_and_worded_covariates_are_errors():
    data = GOOD.assign(price=1.0, note="x")
    with pytest.raises(InvalidInputError, match=r"no covariate prize; .* could be are: price"):
        prepare(data, DataSpec(covariates=("prize",)))
    with pytest.raises(InvalidInputError, match="needs numbers, but note holds"):
        prepare(data, DataSpec(covariates=("note",)))


# --- times ----------------------------------------------------------------------------------


def test_texts_and_dates_are_times():
    for ds in (GOOD.ds.dt.strftime("%Y-%m-%d"), GOOD.ds.dt.date, GOOD.ds.astype(object)):
        assert prepare(GOOD.assign(ds=ds), DataSpec()).ds.equals(pd.DatetimeIndex(GOOD.ds))


@pytest.mark.parametrize("bad", ["yesterday", "13/01/2024"])
def test_other_texts_are_refused(bad):
    with pytest.raises(InvalidInputError, match=f"column ds must hold dates.* holds '{bad}'"):
        prepare(GOOD.assign(ds=bad), DataSpec())


def test_fractions_and_periods_are_not_times():
    for ds in (GOOD.y / 10, GOOD.ds.dt.to_period("D")):
        with pytest.raises(InvalidInputError, match="ds must hold dates"):
            prepare(GOOD.assign(ds=ds), DataSpec())


def test_one_zone_is_kept():
    zoned = GOOD.assign(ds=GOOD.ds.dt.tz_localize("Asia/Tokyo"))
    assert str(prepare(zoned, DataSpec()).ds.tz) == "Asia/Tokyo"
    texts = GOOD.assign(ds=GOOD.ds.dt.strftime("%Y-%m-%dT%H:%M:%S+09:00"))
    assert str(prepare(texts, DataSpec()).ds.tz) == "UTC+09:00"


def mixed_zones(as_text):
    stamps = [
        stamp.tz_localize("UTC").tz_convert(zone)
        for stamp, zone in zip(GOOD.ds, ["UTC", "Asia/Tokyo"] * 4, strict=True)
    ]
    return GOOD.assign(
        ds=pd.Series([s.isoformat() if as_text else s for s in stamps], dtype=object)
    )


@pytest.mark.parametrize("as_text", [True, False])
def test_mixed_zones_become_utc_or_an_error(as_text):
    panel = prepare(mixed_zones(as_text), DataSpec())
    assert str(panel.ds.tz) == "UTC"
    assert panel.ds.tz_localize(None).equals(pd.DatetimeIndex(GOOD.ds))
    assert "2 zones" in notice(panel, "to UTC")
    with pytest.raises(InvalidInputError, match=r"mixes time zones: .*--mixed-zones utc"):
        prepare(mixed_zones(as_text), DataSpec(mixed_zones="error"))


@pytest.mark.parametrize("as_text", [True, False])
def test_times_with_and_without_a_zone_are_always_an_error(as_text):
    data = mixed_zones(as_text)
    data["ds"] = [*data.ds[:5], GOOD.ds[5].isoformat() if as_text else GOOD.ds[5], *data.ds[6:]]
    with pytest.raises(InvalidInputError, match="row 5 has none"):
        prepare(data, DataSpec())


def test_integers_are_steps():
    data = pd.DataFrame({"unique_id": "a", "ds": [10, 20, 40, 50], "y": [1.0, 2, 4, 5]})
    panel = prepare(data, DataSpec())
    assert panel.ds.tolist() == [10, 20, 30, 40, 50]
    assert panel.y.tolist() == [1, 2, 2, 4, 5]
    assert panel.frequency == "10"
    assert "1 missing timestamp of step 10" in notice(panel, "Filled")
    with pytest.raises(InvalidInputError, match=r"off the grid of 10 .* at 45"):
        prepare(data.assign(ds=[10, 20, 30, 45]), DataSpec())
    with pytest.raises(InvalidInputError, match="need dates"):
        prepare(data, DataSpec(frequency="D"))
    with pytest.raises(InvalidInputError, match="need dates"):
        prepare(data, DataSpec(calendar="XNYS"))
    with pytest.raises(InvalidInputError, match="Steps of 10 need integers"):
        prepare(GOOD, DataSpec(frequency="10"))


def counted(step, uid, rows=8):
    ds = np.arange(rows) * step
    return pd.DataFrame({"unique_id": uid, "ds": ds, "y": ds + 1.0})


def test_integers_of_different_steps_are_refused_with_a_list():
    data = joined(counted(2, "b"), counted(1, "a"), counted(2, "c"))
    with pytest.raises(InvalidInputError, match=r"different frequencies \(1: a; 2: b, c\)"):
        prepare(data, DataSpec())
    assert prepare(data, DataSpec(frequency="1")).lengths.tolist() == [8, 15, 15]
    few = joined(counted(2, "b"), counted(4, "few", rows=3))  # too few rows to have a say
    assert prepare(few, DataSpec()).ds[-5:].tolist() == [0, 2, 4, 6, 8]
    assert prepare(counted(3, "lone", rows=1), DataSpec()).frequency == "1"


def test_the_most_frequent_step_of_each_series():
    numbers = np.array([0, 2, 4, 5, 0, 1, 3, 4, 9, 0, 3, 4])
    assert infer_steps(numbers, np.array([0, 4, 8, 9, 9, 12])) == ["2", "1", "", "", "1"]


def test_a_step_that_is_given_is_demanded():
    assert prepare(counted(5, "lone", rows=1), DataSpec(frequency="5")).frequency == "5"
    assert prepare(counted(5, "a"), DataSpec(frequency=5)).frequency == "5"
    with pytest.raises(InvalidInputError, match=r"off the grid of 5 .* at 2"):
        prepare(counted(2, "a"), DataSpec(frequency="5"))


# --- order and duplicates -------------------------------------------------------------------


def test_unsorted_rows():
    shuffled = joined(GOOD.iloc[[1, 0, 2, 3, 7, 4, 5, 6]], frame([1.0, 2], "b"))
    panel = prepare(shuffled, DataSpec())
    assert panel.y[2:].tolist() == GOOD.y.tolist()
    assert notice(panel, "Sorted") == "Sorted the rows of 1 series (good)."
    with pytest.raises(
        InvalidInputError, match=r"2 rows earlier .* \(good\).* 'good' at 2024-01-01"
    ):
        prepare(shuffled, DataSpec(unsorted="error"))


REPEATED = joined(GOOD, frame([1.0, 2, 3], "b"), frame([9.0, 9], "b", "2024-01-02"))


def test_duplicates():
    with pytest.raises(InvalidInputError) as error:
        prepare(REPEATED, DataSpec())
    assert str(error.value) == (
        "The data has 2 repeated timestamps in 1 series (b), the first in 'b' at 2024-01-02. "
        "Repair it, or say what to do: --duplicates drop or skip-series."
    )
    panel = prepare(REPEATED, DataSpec(duplicates="drop"))
    assert panel.select(["b"]).y.tolist() == [1, 9, 9]  # the later row wins
    assert "Dropped 2 repeated timestamps" in notice(panel, "repeated")
    panel = prepare(REPEATED, DataSpec(duplicates="skip-series"))
    assert panel.ids == ("good",)
    assert panel.skipped == {"b": "2 repeated timestamps"}
    assert "Skipped 1 series for 2 repeated timestamps" in notice(panel, "repeated")


# --- gaps -----------------------------------------------------------------------------------


GAPPY = joined(GOOD.drop(index=[2, 3, 5]), frame([1.0, 2, 4], "b"))


def test_missing_timestamps():
    panel = prepare(GAPPY, DataSpec())
    assert panel.select(["good"]).y.tolist() == [5, 6, 6, 6, 9, 9, 7, 6]
    assert panel.select(["good"]).ds.equals(pd.DatetimeIndex(GOOD.ds))
    assert notice(panel, "gaps") == (
        "Filled 2 gaps in time in 1 series (good), the first in 'good' after 2024-01-02: "
        "3 missing timestamps of step D, with the values before."
    )
    with pytest.raises(
        InvalidInputError, match=r"2 gaps in time.*--missing-timestamps fill or skip-series"
    ):
        prepare(GAPPY, DataSpec(missing_timestamps="error"))
    panel = prepare(GAPPY, DataSpec(missing_timestamps="skip-series"))
    assert panel.ids == ("b",)
    assert panel.skipped == {"good": "2 gaps in time"}


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("frequency", ["h", "30min", "D", "W-WED", "ME", "QS-FEB", "YE-DEC"])
def test_gaps_of_every_frequency(frequency, zone):
    ds = pd.date_range("2024-03-30", periods=40, freq=frequency, tz=zone)
    data = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(40.0)})
    panel = prepare(data.drop(index=[7, 8, 30]), DataSpec())
    pd.testing.assert_index_equal(panel.ds, pd.DatetimeIndex(ds), check_freq=False)
    assert panel.y[[6, 7, 8, 9, 29, 30]].tolist() == [6, 6, 6, 9, 29, 29]


def test_too_many_gaps_mean_a_wrong_frequency():
    with pytest.raises(
        InvalidInputError, match="With steps of h, 161 of 169 timestamps have no row"
    ):
        prepare(GOOD, DataSpec(frequency="h"))


def test_rows_off_the_grid_are_an_error():
    data = joined(GOOD, frame(np.arange(20.0), "b"))
    data.loc[12, "ds"] += pd.Timedelta("7h")
    with pytest.raises(
        InvalidInputError, match=r"1 timestamp off the grid of D.* 'b' at .*05 07:00"
    ):
        prepare(data, DataSpec())


def test_business_days_without_a_calendar_are_closures():
    sessions = grid(pd.Timestamp("2024-05-01"), pd.Timestamp("2024-07-31"), "B", "XNYS")
    data = pd.DataFrame({"unique_id": "a", "ds": sessions, "y": np.arange(float(len(sessions)))})
    panel = prepare(data, DataSpec())
    assert panel.frequency == "B"
    assert panel.ds.equals(sessions)
    assert "3 weekdays without a row in 1 series (a)" in notice(panel, "closing times")
    assert "--calendar" in notice(panel, "closing times")


def test_a_rare_weekend_session_is_kept_and_told():
    sessions = pd.date_range("2024-01-01", periods=60, freq="B").insert(5, days("06")[0])
    data = pd.DataFrame({"unique_id": "a", "ds": sessions, "y": np.arange(61.0)})
    panel = prepare(data, DataSpec())
    assert len(panel.y) == 61
    assert "Kept 1 row on weekends" in notice(panel, "weekends")
    with pytest.raises(InvalidInputError, match="4 timestamps off the grid of B"):
        prepare(frame(np.arange(14.0)), DataSpec(frequency="B"))


def test_sessions_of_an_exchange_are_the_grid():
    sessions = grid(pd.Timestamp("2024-05-01"), pd.Timestamp("2024-07-31"), "B", "XNYS")
    data = pd.DataFrame({"unique_id": "a", "ds": sessions, "y": np.arange(float(len(sessions)))})
    panel = prepare(data, DataSpec(calendar="XNYS"))
    assert (panel.frequency, panel.calendar, panel.notices) == ("B", "XNYS", ())
    panel = prepare(data.drop(index=4), DataSpec(calendar="XNYS"))
    assert panel.ds.equals(sessions)
    assert panel.y[4] == 3
    with pytest.raises(InvalidInputError, match=r"off the grid of B.* at 2024-05-06"):
        prepare(data, DataSpec(calendar="XLON"))


def test_steps_of_local_hours_that_clocks_shift_are_told_what_to_do():
    hours = pd.date_range("2024-03-20", periods=80, freq="6h").tz_localize("Europe/Berlin")
    data = pd.DataFrame({"unique_id": "a", "ds": hours, "y": np.arange(80.0)})
    with pytest.raises(InvalidInputError, match="off the grid of 6h") as refused:
        prepare(data, DataSpec())
    assert "convert them to UTC, for their clock is set back and forth" in refused.value.hint


def test_a_calendar_is_not_for_months():
    panel = prepare(frame([1.0, 2, 3], frequency="MS"), DataSpec(calendar="XNYS"))
    assert panel.calendar is None
    assert "XNYS not used" in notice(panel, "Calendar")


def test_nights_without_rows_are_closures():
    bars = grid(pd.Timestamp("2024-05-01 09:30"), pd.Timestamp("2024-05-31 16:00"), "h", "XNYS")
    data = pd.DataFrame({"unique_id": "a", "ds": bars, "y": np.arange(float(len(bars)))})
    panel = prepare(data, DataSpec())
    assert panel.frequency == "h"
    assert panel.ds.equals(bars)
    assert "hours without a row" in notice(panel, "closing times")
    exact = prepare(data.drop(index=10), DataSpec(calendar="XNYS"))
    assert exact.ds.equals(bars)
    assert exact.calendar == "XNYS"


# --- one frequency --------------------------------------------------------------------------


def test_mixed_frequencies_are_told_apart():
    data = joined(GOOD, frame(np.arange(9.0), "m", frequency="MS"), frame(np.arange(9.0), "n"))
    with pytest.raises(InvalidInputError, match=r"\(D: good, n; MS: m\)"):
        prepare(data, DataSpec())


def test_daily_and_business_daily_do_not_mix():
    data = joined(frame(np.arange(30.0)), frame(np.arange(30.0), "b", frequency="B"))
    with pytest.raises(InvalidInputError, match="B: b; D: a"):
        prepare(data, DataSpec())


def test_short_series_follow_the_long():
    data = joined(frame(np.arange(30.0), frequency="B"), frame([1.0, 2, 3], "b"), frame([1.0], "c"))
    panel = prepare(data, DataSpec())
    assert panel.frequency == "B"
    assert panel.ids == ("a", "b", "c")
    month_ends = pd.DatetimeIndex(["2023-01-31", "2023-02-28", "2023-03-31", "2023-05-31"])
    short = pd.DataFrame({"unique_id": "s", "ds": month_ends, "y": 1.0})
    assert (
        prepare(joined(frame(np.arange(30.0), frequency="BME"), short), DataSpec()).frequency
        == "BME"
    )


def test_short_business_months_may_look_like_months():
    ends = pd.date_range("2024-07-31", periods=24, freq="BME")
    same = ends[ends.is_month_end]
    data = joined(
        pd.DataFrame({"unique_id": "a", "ds": ends, "y": np.arange(24.0)}),
        pd.DataFrame({"unique_id": "b", "ds": same[:3], "y": 1.0}),
    )
    assert prepare(data, DataSpec()).frequency == "BME"


def test_irregular_series_are_named():
    random = np.random.default_rng(0)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 10**6, 30), "s")
    odd = pd.DataFrame({"unique_id": "odd", "ds": times, "y": 1.0}).sort_values("ds")
    with pytest.raises(InvalidInputError, match="frequency of series 'odd' cannot be told"):
        prepare(joined(GOOD, odd), DataSpec())


def test_a_frequency_may_be_given():
    single = GOOD[:1]
    with pytest.raises(InvalidInputError, match="at least 2 different timestamps"):
        prepare(single, DataSpec())
    assert prepare(single, DataSpec(frequency="D")).y.tolist() == [5]
    with pytest.raises(InvalidInputError, match="Did you mean ME"):
        prepare(GOOD, DataSpec(frequency="M"))


# --- values ---------------------------------------------------------------------------------


def test_missing_values():
    data = joined(GOOD, frame([np.nan, np.nan, 3, np.nan, 5, np.nan], "b"))
    panel = prepare(data, DataSpec())
    part = panel.select(["b"])
    assert part.y.tolist() == [3, 3, 5, 5]
    assert part.ds.equals(days("03", "04", "05", "06"))
    assert notice(panel, "Filled") == (
        "Filled 2 empty values in 1 series (b), the first in 'b' at 2024-01-04, "
        "with the value before; 1 of them at the end of a series, where "
        "--future would take them for the steps to forecast."
    )
    assert "Left out 2 rows before the first with a value" in notice(panel, "Left out")
    with pytest.raises(InvalidInputError, match=r"4 empty values .*--missing-values"):
        prepare(data, DataSpec(missing_values="error"))
    panel = prepare(data, DataSpec(missing_values="skip-series"))
    assert panel.skipped == {"b": "4 empty values"}
    panel = prepare(data, DataSpec(missing_values="drop"))
    assert panel.select(["b"]).y.tolist() == [3, 5]
    assert "Dropped the rows with 4 empty values" in notice(panel, "Dropped")


def test_infinite_values():
    data = joined(GOOD, frame([1, np.inf, 3, -np.inf], "b"))
    with pytest.raises(InvalidInputError, match=r"2 infinite values .* 'b' at 2024-01-02"):
        prepare(data, DataSpec())
    panel = prepare(data, DataSpec(infinite_values="fill"))
    assert panel.select(["b"]).y.tolist() == [1, 1, 3, 3]
    assert "Filled 2 infinite values" in notice(panel, "infinite")
    panel = prepare(data, DataSpec(infinite_values="drop"))
    assert panel.select(["b"]).y.tolist() == [1, 3]
    panel = prepare(data, DataSpec(infinite_values="skip-series"))
    assert panel.skipped == {"b": "2 infinite values"}


def test_covariates_are_mended_like_values():
    data = GOOD.assign(price=[np.nan, 1, np.nan, 3, 4, 5, np.inf, 7])
    with pytest.raises(InvalidInputError, match="1 infinite value in"):
        prepare(data, DataSpec(covariates=("price",)))
    panel = prepare(data, DataSpec(covariates=("price",), infinite_values="fill"))
    assert panel.covariates[:, 0].tolist() == [1, 1, 3, 4, 5, 5, 7]
    assert panel.y.tolist() == GOOD.y[1:].tolist()
    assert prepare(data, DataSpec()).y.tolist() == GOOD.y.tolist()  # not asked for, not looked at


def test_gaps_are_filled_in_covariates_too():
    panel = prepare(GAPPY.assign(x=GAPPY.y * 10), DataSpec(covariates=("x",)))
    np.testing.assert_array_equal(panel.covariates[:, 0], panel.y * 10)


# --- whole series ---------------------------------------------------------------------------


def test_constant_series():
    data = joined(GOOD, frame([2.0, 2, 2], "flat"))
    assert notice(prepare(data, DataSpec()), "never change").endswith("kept: flat.")
    panel = prepare(data, DataSpec(constant="skip-series"))
    assert panel.skipped == {"flat": "never changes"}
    with pytest.raises(InvalidInputError, match="1 series never changes: flat"):
        prepare(data, DataSpec(constant="error"))


def test_short_series():
    data = joined(GOOD, frame([1.0, 2], "b"), frame([np.nan, np.nan], "empty"))
    with pytest.raises(InvalidInputError, match="1 series without rows: empty"):
        prepare(data, DataSpec(too_short="error"))
    panel = prepare(data, DataSpec())
    assert panel.skipped == {"empty": "has no rows"}
    assert notice(panel, "without") == "Skipped 1 series without rows: empty."
    with pytest.raises(InvalidInputError, match=r"'b' needs at least 5 rows \(context\) but has 2"):
        without_short(panel, 5, "context", "error")
    panel = without_short(panel, 5, "context", "skip-series")
    assert panel.ids == ("good",)
    assert panel.skipped == {
        "empty": "has no rows",
        "b": "needs at least 5 rows (context) but has 2",
    }


def test_a_column_may_have_a_number_for_a_name():
    data = GOOD.assign(extra=1.0).rename(columns={"extra": 7})
    assert prepare(data, DataSpec(covariates="all")).covariate_names == ("7",)
    assert 7 in data.columns
    with pytest.raises(InvalidInputError, match="Columns occur more than once: 7"):
        prepare(data.assign(**{"7": 2.0}), DataSpec())


def test_what_the_store_says_of_the_times_is_said():
    data = GOOD.copy()
    data.attrs["forecaster.notices"] = ["Times in Asia/Tokyo, Europe/Berlin were converted to UTC."]
    assert "Asia/Tokyo" in notice(prepare(data, DataSpec()), "converted")


def test_no_series_left_is_an_error():
    with pytest.raises(InvalidInputError, match="needs at least 9 rows"):
        without_short(prepare(GOOD, DataSpec()), 9, "context", "skip-series")
    with pytest.raises(InvalidInputError, match="No series is left"):
        prepare(GOOD.assign(y=np.nan), DataSpec())
    with pytest.raises(InvalidInputError, match="No series is left"):
        prepare(GOOD.assign(y=np.nan), DataSpec(missing_values="skip-series"))
    with pytest.raises(InvalidInputError, match="No series is left"):
        prepare(GOOD.assign(y=np.nan), DataSpec(missing_values="drop"))


# --- properties -----------------------------------------------------------------------------

MENDING = DataSpec(infinite_values="fill", duplicates="drop", covariates=("x",))
cell = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([np.nan, np.inf, -np.inf]))


@st.composite
def messy(draw):
    """Series with holes, repeats, disorder and bad cells, each of 12 rows or more."""
    pieces = []
    for number in range(draw(st.integers(1, 4))):
        rows = draw(st.integers(12, 30))
        data = frame(np.arange(rows) + 1.0, f"s{number}", f"2024-01-{number + 1:02d}")
        data["x"] = np.arange(rows) * 1.0
        for name in ("y", "x"):
            spots = draw(st.dictionaries(st.integers(0, rows - 1), cell, max_size=8))
            for row, value in spots.items():
                data.loc[row, name] = value
        # At most every fourth row goes, so that the days remain the usual step.
        gone = [4 * row + 1 for row in draw(st.sets(st.integers(0, rows // 4 - 1)))]
        again = data.loc[draw(st.lists(st.integers(0, rows - 1), max_size=3))]
        pieces += [data.drop(index=gone), again]
    mixed = joined(*pieces)
    order = np.random.default_rng(draw(st.integers(0, 99))).permutation(len(mixed))
    return mixed.iloc[order].reset_index(drop=True)


@given(messy())
@settings(max_examples=100, deadline=None)
def test_a_panel_is_finite_regular_and_stays_as_it_is(data):
    try:
        panel = prepare(data, MENDING)
    except InvalidInputError as error:
        assert "No series is left" in str(error)
        return
    assert np.isfinite(panel.y).all()
    assert np.isfinite(panel.covariates).all()
    assert set(panel.ids) | set(panel.skipped) == set(data.unique_id)
    for start, stop in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
        assert (np.diff(panel.ds[start:stop].to_numpy()) == np.timedelta64(1, "D")).all()
    again = prepare(panel.to_frame(), MENDING.model_copy(update={"frequency": "D"}))
    assert again.ids == panel.ids
    assert again.ds.equals(panel.ds)
    np.testing.assert_array_equal(again.offsets, panel.offsets)
    np.testing.assert_array_equal(again.y, panel.y)
    np.testing.assert_array_equal(again.covariates, panel.covariates)
    assert not any("Filled" in line or "Sorted" in line for line in again.notices)


@given(messy(), st.integers(3, 28), st.lists(cell, min_size=1, max_size=10))
@settings(max_examples=80, deadline=None)
def test_no_row_depends_on_a_later_one(data, day, values):
    """Whatever happens after a day, every row up to that day is the same."""
    cutoff = pd.Timestamp("2024-01-01") + pd.Timedelta(days=day)
    other = data.copy()
    later = (other.ds > cutoff).to_numpy()
    other.loc[later, ["y", "x"]] = np.resize(np.array(values), (later.sum(), 2))
    spec = MENDING.model_copy(update={"frequency": "D"})
    found = []
    for version in (data, other):
        try:
            table = prepare(version, spec).to_frame()
        except InvalidInputError as error:
            assert "No series is left" in str(error)
            table = pd.DataFrame({"unique_id": [], "ds": [], "y": [], "x": []})
        found.append(table[table.ds <= cutoff].reset_index(drop=True) if len(table) else table)
    if len(found[0]) or len(found[1]):
        pd.testing.assert_frame_equal(*found)


@given(messy(), st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_order_of_rows_does_not_matter(data, random):
    once = data.drop_duplicates(["unique_id", "ds"])
    rows = list(range(len(once)))
    random.shuffle(rows)
    try:
        one, two = prepare(once, MENDING), prepare(once.iloc[rows], MENDING)
    except InvalidInputError:
        return
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame())
