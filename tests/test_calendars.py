"""Time: steps of every frequency, exchanges, clock changes, and frequencies guessed from rows."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster import calendars
from forecaster.calendars import (
    advance,
    calendar_features,
    default_horizon,
    default_season_length,
    future,
    grid,
    positions,
)
from forecaster.errors import InvalidInputError
from forecaster.frequencies import parse
from forecaster.guessing import infer_frequencies, infer_frequency

ALIASES = [
    "min",
    "15min",
    "30min",
    "h",
    "6h",
    "D",
    "2D",
    "B",
    "W-SUN",
    "W-WED",
    "2W-MON",
    "MS",
    "ME",
    "BMS",
    "BME",
    "2MS",
    "6MS",
    "QS-JAN",
    "QS-FEB",
    "QS-MAR",
    "QE-DEC",
    "QE-OCT",
    "QE-NOV",
    "BQE-DEC",
    "YS-JAN",
    "YS-APR",
    "YE-DEC",
    "YE-JUN",
    "BYE-DEC",
    "2YS-JAN",
]
ZONES = [None, "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]
alias = st.sampled_from(ALIASES)
zone = st.sampled_from(ZONES)
moment = st.datetimes(
    pd.Timestamp("1975-01-01").to_pydatetime(), pd.Timestamp("2060-01-01").to_pydatetime()
).map(lambda value: pd.Timestamp(value).floor("min"))


def aware(stamp, name):
    return stamp.tz_localize(name, nonexistent="shift_forward", ambiguous=True)


def same(left, right):
    pd.testing.assert_index_equal(left, right, check_freq=False)


# --- stepping -------------------------------------------------------------------------------


@pytest.mark.parametrize("frequency", ALIASES)
@pytest.mark.parametrize("start", ["2020-01-01", "2024-03-29 13:00", "2023-12-31"])
def test_future_goes_on_as_pandas_does(frequency, start):
    for name in (None, "Europe/Berlin"):
        expected = pd.date_range(start, periods=30, freq=frequency, tz=name)
        same(future(expected[0], 29, frequency), expected[1:])
        same(grid(expected[0], expected[-1], frequency), expected)


@given(moment, alias, zone, st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_future_is_strictly_later_and_increasing(stamp, frequency, name, periods):
    last = aware(stamp, name)
    ahead = future(last, periods, frequency)
    assert len(ahead) == periods
    assert ahead[0] > last
    assert ahead.is_monotonic_increasing
    assert ahead.is_unique
    assert str(ahead.tz) == str(last.tz)


@given(moment, alias, zone, st.integers(2, 60))
@settings(max_examples=200, deadline=None)
def test_positions_undo_advance(stamp, frequency, name, periods):
    line = future(aware(stamp, name), periods, frequency)
    steps, regular = positions(line, np.zeros(periods, dtype=int), frequency)
    assert steps.tolist() == list(range(periods))
    if parse(frequency).unit == "tick" or line[0].time() == line[-1].time():
        assert regular.all()
    same(grid(line[0], line[-1], frequency), line)


@given(moment, alias, zone, st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_two_short_horizons_are_one_long(stamp, frequency, name, one, other):
    # At noon no clock changes, so that no step has to move to another time of day.
    last = aware(stamp.normalize() + pd.Timedelta("12h"), name)
    whole = future(last, one + other, frequency)
    same(whole[one:], future(whole[one - 1], other, frequency))


def test_hours_are_absolute_and_days_keep_the_clock():
    before = pd.Timestamp("2024-03-30 23:30", tz="Europe/Berlin")
    hours = future(before, 4, "h")
    assert [f"{hour:%H:%M}" for hour in hours] == ["00:30", "01:30", "03:30", "04:30"]
    assert set(np.diff(hours.asi8)) == {3_600_000_000}
    days = future(before, 3, "D")
    assert {f"{day:%H:%M}" for day in days} == {"23:30"}
    autumn = future(pd.Timestamp("2024-10-27 01:30", tz="Europe/Berlin"), 3, "h")
    assert [f"{hour:%H:%M%z}" for hour in autumn] == ["02:30+0200", "02:30+0100", "03:30+0100"]


def test_a_time_that_the_clocks_skip_becomes_the_next():
    days = future(pd.Timestamp("2024-03-30 02:30", tz="Europe/Berlin"), 2, "D")
    assert [f"{day:%d %H:%M}" for day in days] == ["31 03:00", "01 02:30"]


def test_an_origin_between_steps_goes_to_the_next():
    saturday = pd.Timestamp("2024-06-15 10:00")
    assert future(saturday, 1, "B")[0] == pd.Timestamp("2024-06-17 10:00")
    assert future(saturday, 1, "ME")[0] == pd.Timestamp("2024-06-30 10:00")
    assert future(saturday, 1, "QS-FEB")[0] == pd.Timestamp("2024-08-01 10:00")


def test_many_series_at_once_follow_one_another():
    lasts = pd.DatetimeIndex(["2024-01-31", "2024-05-31"])
    found = future(lasts, 2, "ME").strftime("%m-%d").tolist()
    assert found == ["02-29", "03-31", "06-30", "07-31"]


def test_units_of_time_are_kept():
    for unit in ("us", "ns"):
        assert future(pd.Timestamp("2024-01-01").as_unit(unit), 2, "D").unit == unit


def test_integers_go_by_their_step():
    assert future(5, 3, "2").tolist() == [7, 9, 11]
    assert future(pd.Index([5, 50]), 2, None).tolist() == [6, 7, 51, 52]


def test_times_need_a_frequency():
    with pytest.raises(InvalidInputError, match="need a frequency"):
        future(pd.Timestamp("2024-01-01"), 3, None)


def test_nothing_in_nothing_out():
    empty = pd.DatetimeIndex([])
    assert len(advance(empty, np.zeros(0, dtype=int), "D")) == 0
    assert len(positions(empty, np.zeros(0, dtype=int), "D")[0]) == 0


# --- exchanges ------------------------------------------------------------------------------


def test_an_exchange_skips_its_holidays():
    days = future(pd.Timestamp("2024-12-23"), 4, "B", "XNYS").strftime("%d").tolist()
    assert days == ["24", "26", "27", "30"]
    same(
        grid(pd.Timestamp("2024-12-24"), pd.Timestamp("2024-12-27"), "B", "nyse"),
        pd.DatetimeIndex(["2024-12-24", "2024-12-26", "2024-12-27"]),
    )


def test_an_exchange_far_ahead_is_extended():
    ahead = future(pd.Timestamp.now().normalize(), 1500, "B", "XNYS")
    assert len(ahead) == 1500
    assert ahead[-1].year > pd.Timestamp.now().year + 4


def test_old_history_is_covered():
    assert f"{future(pd.Timestamp('1990-01-19'), 1, 'B', 'XNYS')[0]:%F}" == "1990-01-22"


def test_bars_keep_to_opening_hours():
    friday = pd.Timestamp("2024-03-08 15:30", tz="America/New_York")  # clocks change on Sunday
    bars = future(friday, 8, "h", "XNYS")
    assert f"{bars[0]:%d %H:%M}" == "11 09:30"
    assert f"{bars[6]:%d %H:%M}" == "11 15:30"
    assert f"{bars[7]:%d %H:%M}" == "12 09:30"


def test_bars_begin_anew_after_lunch():
    bars = future(pd.Timestamp("2024-04-02 10:30"), 3, "h", "XHKG").strftime("%H:%M").tolist()
    assert bars == ["11:30", "13:00", "14:00"]


def test_weeks_and_months_do_not_heed_an_exchange():
    assert future(pd.Timestamp("2024-06-30"), 1, "ME", "nonsense")[0] == pd.Timestamp("2024-07-31")


def test_an_unknown_exchange_is_told_with_what_is_near():
    with pytest.raises(InvalidInputError, match=r"no exchange calendar 'NYS'\. Near: .*XNYS"):
        future(pd.Timestamp("2024-01-01"), 1, "B", "NYS")


@pytest.mark.parametrize("last", ["2200-01-03", "1950-01-03"])
def test_beyond_what_is_on_record_is_an_error(last):
    with pytest.raises(InvalidInputError, match="sessions of XSHG are known here from"):
        future(pd.Timestamp(last), 5, "B", "XSHG")


def test_exchange_calendars_is_imported_only_when_asked_for():
    code = (
        "import sys; from forecaster.calendars import future; import pandas as pd;"
        "future(pd.Timestamp('2024-01-01'), 3, 'B');"
        "print(sorted({'exchange_calendars', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- aliases --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"), [("H", "h"), ("M", "ME"), ("Q", "QE"), ("foo", None), ("SME", "ME")]
)
def test_an_unknown_alias_is_told_with_what_was_meant(given, meant):
    with pytest.raises(InvalidInputError, match="not a regular pandas alias") as error:
        parse(given)
    assert (f"Did you mean {meant}?" in str(error.value)) == (meant is not None)


def test_backward_and_empty_steps_are_refused():
    for name in ("-1D", "0D", "C", "bh", "WOM-1MON"):
        with pytest.raises(InvalidInputError):
            parse(name)


@pytest.mark.parametrize(
    ("frequency", "season", "horizon"),
    [
        ("h", 24, 24),
        ("2h", 12, 12),
        ("7h", 1, 4),
        ("30min", 48, 48),
        ("15min", 96, 96),
        ("min", 1440, 96),
        ("s", 3600, 96),
        ("24h", 7, 4),
        ("D", 7, 14),
        ("2D", 1, 14),
        ("B", 5, 5),
        ("W-TUE", 52, 8),
        ("MS", 12, 12),
        ("BME", 12, 12),
        ("6MS", 2, 12),
        ("QS-FEB", 4, 8),
        ("QE", 4, 8),
        ("YE", 1, 4),
        (None, 1, 10),
    ],
)
def test_defaults_by_frequency(frequency, season, horizon):
    assert default_season_length(frequency) == season
    assert default_horizon(frequency) == horizon


# --- guessing -------------------------------------------------------------------------------


@pytest.mark.parametrize("frequency", [name for name in ALIASES if name[0] != "B"])
@pytest.mark.parametrize("rows", [2, 3, 40])
def test_a_frequency_is_guessed_from_few_rows(frequency, rows):
    for start in ("2020-01-01", "2021-07-17 06:00"):
        line = pd.date_range(start, periods=rows, freq=frequency)
        assert infer_frequency(line) == frequency


@given(st.sampled_from(ALIASES), zone, st.integers(0, 10_000), st.data())
@settings(max_examples=150, deadline=None)
def test_gaps_and_order_do_not_confuse_it(frequency, name, offset, data):
    start = aware(pd.Timestamp("2015-01-01 12:00") + pd.Timedelta(days=offset % 2000), name)
    line = future(start, 60, frequency)
    # Every fourth row at most goes, so that most differences stay one step.
    gone = data.draw(st.sets(st.integers(0, 14)))
    kept = line.delete([4 * number + 1 for number in gone])
    assert infer_frequency(kept[::-1]) == frequency


def test_business_days_without_holidays():
    sessions = grid(pd.Timestamp("2020-01-01"), pd.Timestamp("2023-01-01"), "B", "XNYS")
    assert infer_frequency(sessions) == "B"
    assert infer_frequency(pd.DatetimeIndex(["2024-06-07", "2024-06-10"])) == "B"
    special = sessions.insert(10, pd.Timestamp("2020-02-01"))  # a session on a Saturday
    assert infer_frequency(special) == "B"


def test_a_stray_row_does_not_confuse_it():
    days = pd.date_range("2024-01-01", periods=30).insert(5, pd.Timestamp("2024-01-06 07:13"))
    assert infer_frequency(days) == "D"


def test_trading_hours_are_hourly():
    assert infer_frequency(future(pd.Timestamp("2024-03-04"), 100, "h", "XNYS")) == "h"


def test_hours_across_a_clock_change():
    line = pd.date_range("2024-03-30", periods=60, freq="h", tz="Europe/Berlin")
    assert infer_frequency(line) == "h"
    assert infer_frequency(line[::24]) in ("D", "24h")


def test_integers_have_none():
    assert infer_frequency(pd.Index([1, 2, 4])) is None


def test_irregular_times_are_told_with_their_differences():
    random = np.random.default_rng(0)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 10**6, 50), "s")
    with pytest.raises(InvalidInputError, match=r"irregular, most often .*Pass --frequency"):
        infer_frequency(pd.DatetimeIndex(times))
    fifteenth = pd.DatetimeIndex(["2024-01-15", "2024-02-15", "2024-03-15", "2024-04-15"])
    with pytest.raises(InvalidInputError, match=r"on day 15 of a month.*such as 2024-01-01\."):
        infer_frequency(fifteenth)


@pytest.mark.parametrize("frequency", ["2B", "3B"])
def test_weekdays_apart_are_counted_in_weekdays(frequency):
    line = pd.date_range("2024-01-01", periods=12, freq=frequency)
    assert infer_frequency(line) == frequency
    assert infer_frequency(line.delete(5)) == frequency
    found, regular = positions(line, np.zeros(12, dtype=int), frequency)
    assert regular.all()
    np.testing.assert_array_equal(found, np.arange(12))
    np.testing.assert_array_equal(
        future(line[-1], 3, frequency), pd.date_range(line[-1], periods=4, freq=frequency)[1:]
    )


def test_one_row_is_not_enough():
    with pytest.raises(InvalidInputError, match="at least 2 different timestamps but found 1"):
        infer_frequency(pd.DatetimeIndex(["2024-01-01", "2024-01-01"]))


def test_many_series_are_guessed_at_once():
    lines = [pd.date_range("2024-01-01", periods=9, freq=name) for name in ("D", "MS", "h")]
    lines.insert(1, lines[0][:1])
    joined = lines[0].append(lines[1:])
    offsets = np.cumsum([0, 9, 1, 9, 9])
    assert infer_frequencies(joined, offsets) == ["D", "", "MS", "h"]


# --- features -------------------------------------------------------------------------------


@given(moment, alias, zone)
@settings(max_examples=60, deadline=None)
def test_features_are_points_on_circles(stamp, frequency, name):
    features, names = calendar_features(future(aware(stamp, name), 20, frequency), frequency)
    assert features.shape == (20, len(names))
    assert features.dtype == np.float32
    radius = features[:, ::2] ** 2 + features[:, 1::2] ** 2
    np.testing.assert_allclose(radius, 1, atol=1e-5)


@pytest.mark.parametrize(
    ("frequency", "cycles"),
    [
        ("h", ["day", "weekday", "year"]),
        ("D", ["weekday", "year"]),
        ("W-SUN", ["year"]),
        ("MS", ["month"]),
        ("QE-DEC", ["month"]),
        ("YE-DEC", []),
    ],
)
def test_features_by_frequency(frequency, cycles):
    _, names = calendar_features(pd.date_range("2024-01-01", periods=3, freq=frequency), frequency)
    assert list(names) == [f"{cycle}_{wave}" for cycle in cycles for wave in ("sin", "cos")]


def test_features_follow_the_wall_clock():
    berlin = pd.date_range("2024-03-30 12:00", periods=3, freq="D", tz="Europe/Berlin")
    features, names = calendar_features(berlin, "h")
    np.testing.assert_allclose(features[:, names.index("day_cos")], -1, atol=1e-6)
    sunday = pd.DatetimeIndex(["2024-06-16"])
    features, names = calendar_features(sunday, "D")
    assert features[0, names.index("weekday_sin")] == pytest.approx(np.sin(2 * np.pi * 6 / 7))


def test_integers_have_no_features():
    features, names = calendar_features(pd.RangeIndex(4), None)
    assert features.shape == (4, 0)
    assert names == ()


@pytest.mark.parametrize(
    ("unit", "frequency", "calendar", "message"),
    [
        ("us", "MS", None, r"1000000 steps of MS after 2024-01-01 end later .* at most 95710"),
        ("ns", "D", None, r"later than can be written \(2262-03-01\)"),
        ("us", "D", "XNYS", "sessions of XNYS can be told up to 2200"),
        ("ns", "h", "XNYS", "sessions of XNYS can be told up to 2200"),
    ],
)
def test_a_horizon_past_the_end_of_time_is_refused(unit, frequency, calendar, message):
    last = pd.DatetimeIndex(["2024-01-01"]).as_unit(unit)
    with pytest.raises(InvalidInputError, match=message):
        future(last, 1_000_000, frequency, calendar)


@pytest.mark.parametrize("unit", ["us", "ns"])
@pytest.mark.parametrize("frequency", ["D", "B", "W-SUN", "MS", "QE", "YE", "2D", "h"])
def test_the_longest_horizon_can_be_written(unit, frequency):
    last = pd.DatetimeIndex(["2024-01-01"]).as_unit(unit)
    with pytest.raises(InvalidInputError) as error:
        future(last, 10**9, frequency)
    most = min(int(str(error.value).split()[-1].rstrip(".")), 200_000)
    assert future(last, most, frequency)[-1].year < 10_000


@pytest.mark.parametrize(("frequency", "calendar"), [("h", None), ("MS", None), ("B", "XNYS")])
def test_positions_are_those_of_rows_all_at_once(frequency, calendar, monkeypatch):
    days = pd.date_range("2024-01-31", periods=50, freq="D", tz="Europe/Berlin")
    first = np.repeat([0, 20], [20, 30])
    whole = positions(days, first, frequency, calendar)
    monkeypatch.setattr(calendars, "ROWS_AT_ONCE", 7)
    for found, expected in zip(positions(days, first, frequency, calendar), whole, strict=True):
        assert found.tolist() == expected.tolist()


def test_integers_end_with_64_bits():
    with pytest.raises(InvalidInputError, match="at most 3"):
        future(2**62, 10, str(2**60))
