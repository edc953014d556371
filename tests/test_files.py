"""Files as long frames: every layout that is read, and an error for each that is not."""

from __future__ import annotations

import gzip
import io
import os
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecaster.config import DataSpec
from forecaster.errors import (
    ForecasterError,
    InvalidInputError,
    NotFoundError,
    TemporaryError,
)
from forecaster.series import prepare
from forecaster.sources import files
from forecaster.sources.downloads import download
from forecaster.sources.files import read_file
from forecaster.sources.layout import Columns


@pytest.fixture
def put(tmp_path: Path):
    def write(content: str | bytes, name: str = "sales.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(path: Path | str, **options) -> pd.DataFrame:
    return read_file(path, Columns(**options))[0]


# -- layouts ----------------------------------------------------------------------------------


def test_the_plain_layout(put):
    frame, notices = read_file(put("unique_id,ds,y\nb,2024-01-01,1\na,2024-01-01,2.5\n"))
    assert list(frame.columns) == ["unique_id", "ds", "y"]
    assert frame["unique_id"].tolist() == ["b", "a"]
    assert (frame["unique_id"].dtype, frame["y"].dtype) == ("str", "float64")
    assert frame["ds"].tolist() == [pd.Timestamp("2024-01-01")] * 2
    assert notices == []


@pytest.mark.parametrize("series", ["item_id", "segment", "symbol", "series", "Ticker", "ID"])
@pytest.mark.parametrize("time", ["Date", "timestamp", "TIME", "datetime"])
@pytest.mark.parametrize("target", ["target", "Close", "value", "adjusted"])
def test_columns_are_guessed(put, series, time, target):
    frame, notices = read_file(put(f"{time},{target},{series}\n2024-01-01,1,a\n2024-01-02,2,a\n"))
    assert set(frame["unique_id"]) == {"a"}
    assert frame["y"].tolist() == [1, 2]
    assert notices == [f"Columns: unique_id is {series!r}, ds is {time!r}, y is {target!r}."]


def test_named_columns_win(put):
    frame = read(
        put("id,ds,y,shop,day,units\nx,2020-01-01,1,s,2024-05-06,7\n"),
        id="shop",
        time="day",
        target="units",
    )
    assert frame.iloc[0, :3].tolist() == ["s", pd.Timestamp("2024-05-06"), 7.0]
    assert list(frame.columns[3:]) == ["id", "ds_column", "y_column"]


def test_no_column_takes_the_name_of_another(put):
    frame = read(put("date,sales,y,y_column\n0,1,2,3\n"), target="sales")
    assert frame["y_column"].tolist() == [3]
    assert frame["y_column_column"].tolist() == [2]


def test_without_ids_the_file_is_one_series(put):
    path = put("ds,y\n2024-01-01,1\n", "My sales.csv")
    assert set(read(path)["unique_id"]) == {"My sales"}
    assert set(read(path, unique_id="Zürich")["unique_id"]) == {"Zürich"}


def test_the_only_other_column_is_the_target(put):
    assert read(put("Month,#Passengers\n1949-01,112\n"))["y"].tolist() == [112]


def test_a_day_is_a_time_but_not_beside_its_year_and_month(put):
    frame, notices = read_file(put("store,day,y\na,2024-01-31,1\na,2024-02-01,2\n"))
    assert frame["ds"].tolist() == [pd.Timestamp("2024-01-31"), pd.Timestamp("2024-02-01")]
    assert notices == ["Columns: unique_id is 'store', ds is 'day'."]
    for name in ("month", "date"):
        frame = read(put(f"day,{name},year,y\n31,2024-01,2024,1\n1,2024-02,2024,2\n"))
        assert frame["ds"].tolist() == [pd.Timestamp("2024-01"), pd.Timestamp("2024-02")]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_only_other_column_of_numbers_is_the_target(put, tmp_path, kind):
    path = put("store,date,city,units,open\na,2024-01-01,Bonn,1.5,true\nb,2024-01-01,Köln,,false\n")
    if kind == "parquet":
        table, path = pd.read_csv(path), tmp_path / "t.parquet"
        table.to_parquet(path)
    frame, notices = read_file(path)
    assert frame["y"].tolist()[0] == 1.5
    assert notices[0] == "Took 'units' as the target: no other column beside the time has numbers."
    assert read(put("date;city;units\n2024-01-01;Bonn;1,5\n"))["y"].tolist() == [1.5]


def test_of_several_columns_of_numbers_the_target_must_be_said(put):
    with pytest.raises(InvalidInputError, match="net sales, price have numbers") as caught:
        read(put("date,city,net sales,price\n2024-01-01,Bonn,1,2\n"))
    assert "--target 'net sales'" in caught.value.hint
    with pytest.raises(InvalidInputError, match="none of numbers"):
        read(put("date,city,note,empty\n2024-01-01,Bonn,x,\n"))


def test_a_column_that_numbers_the_rows_names_no_series(put):
    path = put("id,ds,y\n1,2024-01-01,1\n2,2024-01-02,2\n")
    frame, notices = read_file(path)
    assert set(frame["unique_id"]) == {"sales"}
    assert "pass --id id" in notices[0]
    assert set(read(path, id="id")["unique_id"]) == {"1", "2"}
    assert set(read(put("id,ds,y\n1,2024-01-01,1\n2,2024-01-01,2\n"))["unique_id"]) == {"1", "2"}
    with pytest.raises(InvalidInputError, match=r"times that repeat.* --id shop"):
        read(put("date,id,y,shop\n0,1,5,a\n0,2,6,b\n1,3,5,a\n1,4,5,b\n"))


def test_ids_are_text_as_written(put):
    content = "unique_id,ds,y\n007,0,1\nNA,0,1\n1.0,0,1\na b,0,1\nnull,0,1\n"
    assert read(put(content))["unique_id"].tolist() == ["007", "NA", "1.0", "a b", "null"]


def test_ids_are_without_blanks_around_them(put):
    ids = read(put("ds, id, y\n0, a, 1\n0,b , 2\n1,a, 3\n"))["unique_id"]
    assert ids.tolist() == ["a", "b", "a"]
    with pytest.raises(InvalidInputError, match=r"line 3 .*name of the series is missing"):
        read(put("ds,id,y\n0,a,1\n0,  ,2\n"))


def test_other_columns_are_kept_as_they_are(put):
    frame, notices = read_file(
        put("ds,y,volume,open,flag,note\n0,1,5,1.5,TRUE,x\n1,2,6,,false,\n2,3,7,2,true,z\n")
    )
    assert [str(kind) for kind in frame.dtypes[3:]] == ["int64", "float64", "bool", "str"]
    assert notices == ["Other columns kept: volume, open, flag, note."]


def test_truths_of_which_some_are_missing_are_numbers(put):
    frame = read(put("ds,y,flag\n0,1,TRUE\n1,2,FALSE\n2,,\n"))
    assert frame["flag"].tolist()[:2] == [1.0, 0.0]
    assert np.isnan(frame["flag"][2])


def test_a_column_without_any_value_is_of_numbers(put):
    assert read(put("ds,y,plan\n0,1,\n1,2,\n"))["plan"].dtype == "float64"


def test_decimals_are_numbers(tmp_path):
    price = [Decimal("1.50"), None]
    pd.DataFrame({"ds": [0, 1], "y": 1.0, "price": price}).to_parquet(tmp_path / "t.parquet")
    frame = read(tmp_path / "t.parquet")
    assert frame["price"].dtype == "float64"
    assert frame["price"].tolist()[0] == 1.5


def test_a_covariate_that_turns_out_to_be_text_or_real_is_read_whole(put):
    rows = "".join(f"{n},1,{n},{n}\n" for n in range(150_000))
    frame = read(put(f"ds,y,real,text\n{rows}150000,1,1.5,abc\n"))
    assert frame["real"].iloc[-1] == 1.5
    assert frame["text"].iloc[[0, -1]].tolist() == ["0", "abc"]


def test_a_wide_file(put):
    path = put("date,A,B,C,D\n2024-01-01,1,,5,\n2024-01-02,2,3,,\n2024-01-03,,4,6,\n")
    frame, notices = read_file(path, Columns(wide=True))
    series = {uid: part["y"].tolist() for uid, part in frame.groupby("unique_id")}
    assert series["A"] == [1, 2]
    assert series["B"] == [3, 4]
    assert series["C"][::2] == [5, 6]
    assert pd.isna(series["C"][1])
    assert notices == [
        "Columns without any value were left out: D.",
        "2 empty cells before the first or after the last value were left out.",
    ]
    with pytest.raises(InvalidInputError, match="Leave out --id"):
        read(path, wide=True, target="A")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_delimiters_line_ends_and_byte_order_marks(put, delimiter, ending, mark):
    lines = ["unique_id,ds,y", "a,2024-01-01,1.5", "", "a,2024-01-02,2", ""]
    frame = read(put(mark + ending.join(lines).replace(",", delimiter)))
    assert frame["y"].tolist() == [1.5, 2]
    assert list(frame.columns) == ["unique_id", "ds", "y"]


def test_a_delimiter_in_quotes_is_none(put):
    path = put('date;"Price, net, EUR"\n2024-01-01;1,5\n')
    frame, notices = read_file(path)
    assert frame["y"].tolist() == [1.5]
    assert "Columns: ds is 'date', y is 'Price, net, EUR'." in notices


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("said", "delimiter"), [("sep=;", ";"), ('"Sep=|"', "|"), ("sep=\t", "\t")]
)
def test_the_first_line_of_excel_tells_the_delimiter(put, said, delimiter, ending):
    lines = [said, "ds,y", "2024-01-01,1.5", "2024-01-02,x", ""]
    content = ending.join([said, *(line.replace(",", delimiter) for line in lines[1:])])
    assert read(put(content.replace("x", "2")))["y"].tolist() == [1.5, 2]
    with pytest.raises(InvalidInputError, match=r"line 4 of .* has 'x'"):
        read(put(content))


def test_decimal_commas(put):
    frame, notices = read_file(put("ds;y;temp;on\n0;1,5;20,25;true\n1;2;-1e3;false\n"))
    assert frame["y"].tolist() == [1.5, 2]
    assert frame["temp"].tolist() == [20.25, -1000]
    assert frame["on"].tolist() == [True, False]
    assert notices[0] == "Column 'y': decimal commas were read."


def test_points_beside_decimal_commas_may_be_thousands(put):
    path = put("date;price;units;degrees\n2024-01-01;1,50;987;0.5\n2024-01-02;1,60;1.234;1.234\n")
    with pytest.raises(InvalidInputError, match=r"'units', line 3 .*'1\.234' may be thousands"):
        read(path, target="units")
    frame, notices = read_file(path, Columns(target="price"))
    assert frame["units"].tolist() == ["987", "1.234"]
    assert frame["degrees"].tolist() == [0.5, 1.234]
    assert "Column 'units' was kept as text: '1.234' may be thousands" in notices[1]
    assert read(put("date;y\n2024-01-01;1.234\n"))["y"].tolist() == [1.234]


def test_quoted_fields_and_lines_in_them(put):
    frame = read(put('ds,y,note\n0,1,"a, ""b""\nc"\n1,2,d\n'))
    assert frame["note"].tolist() == ['a, "b"\nc', "d"]


def test_missing_values_and_infinities_are_left_to_the_policies(put):
    y = read(put("ds,y\n0,\n1,NA\n2,nan\n3,inf\n4,-Inf\n5,1e3\n"))["y"]
    assert y.isna().tolist() == [True, True, True, False, False, False]
    assert y.tolist()[3:] == [float("inf"), float("-inf"), 1000]


def test_many_names_are_checked_in_no_time(put):
    names = [f"c{n}" for n in range(30_000)]
    started = time.monotonic()
    with pytest.raises(InvalidInputError, match="more than one column named 'c7'"):
        read(put(",".join([*names, "c7"]) + "\n"))
    assert time.monotonic() - started < 2


def test_a_column_without_a_name_is_left_out_and_said(put):
    frame, notices = read_file(put(",ds,y\n0,2024-01-01,1\n"))
    assert list(frame.columns) == ["unique_id", "ds", "y"]
    assert "Columns without a name were left out: 1." in notices


def test_gzip_and_parquet(put, tmp_path):
    content = b"ds,y\n2024-01-01,1\n"
    assert set(read(put(gzip.compress(content), "z.csv.gz"))["unique_id"]) == {"z"}
    table = pd.DataFrame(
        {
            "symbol": pd.Categorical(["a", "a", "b"]),
            "date": pd.date_range("2024-01-01", periods=3, tz="Europe/Paris"),
            "close": pd.array([1, None, 3], dtype="Int64"),
            "volume": [1, 2, 3],
        }
    )
    table.to_parquet(tmp_path / "t.parquet")
    frame = read(tmp_path / "t.parquet")
    assert frame["unique_id"].tolist() == ["a", "a", "b"]
    assert str(frame["ds"].dt.tz) == "Europe/Paris"
    assert frame["y"].isna().tolist() == [False, True, False]
    assert frame["volume"].tolist() == [1, 2, 3]


# -- times ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "wanted", "notice"),
    [
        ("2024-01-31", "2024-02-01", "2024-01-31", None),
        ("2024/01/31", "2024/02/01", "2024-01-31", None),
        ("2024-01-31 13:00", "2024-01-31 14:00", "2024-01-31T13:00", None),
        ("2024-01-31T13:00:00.5", "2024-01-31T14:00:00", "2024-01-31T13:00:00.5", None),
        ("2024-01", "2024-02", "2024-01-01", None),
        ("31/12/2024", "01/01/2025", "2024-12-31", "day first"),
        ("12/31/2024", "01/01/2025", "2024-12-31", "month first"),
        ("1/2/2024", "13/2/2024", "2024-02-01", "day first"),
        ("1.2.2024", "2.2.2024", "2024-02-01", "day first"),
        ("31.12.24", "01.01.25", "2024-12-31", "day first"),
        ("1/30/2024 3:00 PM", "1/31/2024 4:00 PM", "2024-01-30T15:00", "month first"),
        ("05-Jan-2024", "06-Jan-2024", "2024-01-05", "%d-%b-%Y"),
        ("01 May 2024", "01 Jun 2024", "2024-05-01", "%d %b %Y"),
        ("May 2024", "June 2024", "2024-05-01", "%B %Y"),
        ("Jan 2024", "Feb 2024", "2024-01-01", "%b %Y"),
        ("2024Q2", "2024Q3", "2024-04-01", "first day"),
        ("Q4 2024", "2025-Q1", "2024-10-01", "first day"),
        ("2024-W05", "2024-W06", "2024-01-29", "Monday"),
        ("2020W53", "2021W1", "2020-12-28", "Monday"),
        ("20240131", "20240201", "2024-01-31", "%Y%m%d"),
        ("202401", "202402", "2024-01-01", "%Y%m"),
    ],
)
def test_dates_are_read_one_way_and_it_is_said(put, first, second, wanted, notice):
    frame, notices = read_file(put(f"ds,y\n{first},1\n{second},2\n"))
    assert frame["ds"].iloc[0] == pd.Timestamp(wanted)
    assert frame["ds"].iloc[1] > frame["ds"].iloc[0]
    assert [notice in line for line in notices] == ([True] if notice else [])


@pytest.mark.parametrize(
    ("form", "first", "last"),
    [
        ("%b-%y", "1949-01-01", "1960-12-01"),  # all would lie ahead
        ("%b-%y", "1960-01-01", "2024-12-01"),  # some would
        ("%m/%d/%y", "1955-01-31", "1999-12-31"),
        ("%b %y", "2020-01-01", f"{pd.Timestamp.now().year + 1}-12-01"),  # plans, by their history
    ],
)
def test_two_digit_years_make_one_run(put, form, first, last):
    times = pd.date_range(first, last, freq="MS" if first.endswith("01") else "ME")
    frame, notices = read_file(
        put("ds,y\n" + "".join(f"{time.strftime(form)},1\n" for time in times))
    )
    assert frame["ds"].tolist() == times.tolist()
    assert any("century" in said for said in notices) == (first != "2020-01-01")


def test_the_first_of_every_month_tells_its_order(put):
    day_first = read(put("ds,y\n01/01/2024,1\n01/02/2024,2\n01/03/2024,3\n"))["ds"]
    month_first = read(put("ds,y\n01/01/2024,1\n02/01/2024,2\n03/01/2024,3\n"))["ds"]
    wanted = pd.date_range("2024-01-01", periods=3, freq="MS").tolist()
    assert day_first.tolist() == month_first.tolist() == wanted


@pytest.mark.parametrize("values", [("0", "1"), ("1990", "1991"), ("-5", "+3"), ("100000", "7")])
def test_integers_stay_integers(put, values):
    frame = read(put(f"year,y\n{values[0]},1\n{values[1]},2\n"))
    assert frame["ds"].tolist() == [int(value) for value in values]
    assert frame["ds"].dtype == "int64"


def test_one_offset_is_kept_and_several_become_utc(put):
    one, silent = read_file(put("ds,y\n2024-01-01T00:00+10:00,1\n2024-01-02T00:00+10:00,2\n"))
    assert one["ds"].iloc[0].isoformat() == "2024-01-01T00:00:00+10:00"
    assert silent == []
    several, notices = read_file(put("ds,y\n2024-01-01T00:00+10:00,1\n2024-07-01T00:00+11:00,2\n"))
    assert several["ds"].iloc[1].isoformat() == "2024-06-30T13:00:00+00:00"
    assert "+10:00, +11:00" in notices[0]
    assert "--timezone" in notices[0]
    utc, silent = read_file(put("ds,y\n2024-01-01T00:00Z,1\n2024-01-02 00:00:00+00:00,2\n"))
    assert str(utc["ds"].dt.tz) == "UTC"
    assert silent == []
    words = put("ds,y\nJan 1 2024 10:00 +0100,1\nJul 1 2024 10:00 +0200,2\n")
    several, notices = read_file(words)
    assert several["ds"].iloc[1].isoformat() == "2024-07-01T08:00:00+00:00"
    assert "+0100, +0200" in notices[1]
    local = read(words, timezone="Europe/Berlin")["ds"]
    assert local.iloc[1].isoformat() == "2024-07-01T10:00:00+02:00"
    named = read(put("ds,y\nJan 1 2024 10:00 UTC,1\n"), timezone="Europe/Berlin")["ds"]
    assert named.iloc[0].isoformat() == "2024-01-01T11:00:00+01:00"


@pytest.mark.parametrize("clock", ["aware", "naive", "parquet"])
@pytest.mark.parametrize("first", ["2024-03-30", "2024-10-26"])  # the clocks change the day after
def test_local_time_is_kept_when_its_zone_is_named(put, tmp_path, clock, first):
    berlin = pd.date_range(first, periods=72, freq="h", tz="Europe/Berlin")
    shown = berlin if clock == "aware" else berlin.tz_localize(None)
    path = put(
        "unique_id,ds,y\n"
        + "".join(
            f"{uid},{time.isoformat()},{n % 24}\n" for uid in "ab" for n, time in enumerate(shown)
        )
    )
    if clock == "parquet":
        path = tmp_path / "t.parquet"
        pd.DataFrame({"ds": berlin.tz_convert("UTC"), "y": range(72)}).to_parquet(path)
    frame, notices = read_file(path, Columns(timezone="Europe/Berlin"))
    assert frame["ds"].iloc[-72:].tolist() == berlin.tolist()
    assert str(frame["ds"].dt.tz) == "Europe/Berlin"
    assert not any("UTC" in line for line in notices)
    panel = prepare(frame, DataSpec())
    assert (panel.frequency, panel.notices) == ("h", ())
    assert panel.lengths.tolist() == [72] * len(panel.ids)


def test_local_midnights_are_days_when_their_zone_is_named(put):
    days = pd.date_range("2024-03-25", periods=14, tz="Europe/Berlin")
    path = put("ds,y\n" + "".join(f"{day.isoformat()},{n}\n" for n, day in enumerate(days)))
    assert prepare(read(path, timezone="Europe/Berlin"), DataSpec()).frequency == "D"


def test_the_hour_that_occurs_twice_is_right_also_where_the_newest_come_first(put):
    clock = pd.date_range("2024-10-27", periods=5, freq="h", tz="Europe/Berlin").tz_localize(None)
    rows = [f"{uid},{time.isoformat()},{n}\n" for uid in "ab" for n, time in enumerate(clock)]
    rising, falling = (
        read(put("unique_id,ds,y\n" + "".join(some)), timezone="Europe/Berlin")
        for some in (rows, [*rows[:5], *rows[:4:-1]])  # "a" rises in both
    )
    both = [frame.set_index(["unique_id", "ds"])["y"].sort_index() for frame in (rising, falling)]
    pd.testing.assert_series_equal(*both)
    assert both[0].index.is_unique


def test_a_day_that_begins_at_one_is_a_day(put):
    """The clocks of Sao Paulo were set forward at midnight."""
    days = pd.date_range("2018-10-25", periods=20)
    path = put("ds,y\n" + "".join(f"{day.date()},{n}\n" for n, day in enumerate(days)))
    frame = read(path, timezone="America/Sao_Paulo")
    assert frame["ds"].iloc[10].isoformat() == "2018-11-04T01:00:00-02:00"
    panel = prepare(frame, DataSpec())
    assert (panel.frequency, len(panel.y)) == ("D", 20)


def test_times_of_another_zone_are_put_into_the_one_that_is_named(put):
    frame = read(put("ds,y\n2024-01-01 10:00 UTC,1\n"), timezone="Europe/Berlin")
    assert frame["ds"].iloc[0].isoformat() == "2024-01-01T11:00:00+01:00"


def test_a_zone_that_does_not_fit_is_told(put):
    with pytest.raises(InvalidInputError, match="no time zone 'Berlin'"):
        Columns(timezone="Berlin")
    with pytest.raises(InvalidInputError, match=r"Europe/Berlin never showed 2024-03-31 02:30"):
        read(put("ds,y\n2024-03-31T02:30,1\n"), timezone="Europe/Berlin")
    with pytest.raises(InvalidInputError, match="Integers such as 0 have no time zone"):
        read(put("ds,y\n0,1\n"), timezone="Europe/Berlin")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("unit", "first"),
    [
        ("seconds", "1704067200"),
        ("milliseconds", "1704067200000"),
        ("microseconds", "1704067200000000"),
        ("nanoseconds", "1704067200000000000"),
    ],
)
def test_the_time_since_1970_is_read(put, tmp_path, kind, unit, first):
    path = put(f"ds,y\n{first},1\n")
    if kind == "parquet":
        table, path = pd.read_csv(path), tmp_path / "t.parquet"
        table.to_parquet(path)
    frame, notices = read_file(path)
    assert frame["ds"].iloc[0] == pd.Timestamp("2024-01-01", tz="UTC")
    assert f"{unit} since 1970" in notices[0]
    local = read(path, timezone="Asia/Tokyo")["ds"].iloc[0]
    assert local.isoformat() == "2024-01-01T09:00:00+09:00"


def test_the_integers_of_parquet_are_read_as_those_of_text(tmp_path):
    path = tmp_path / "t.parquet"
    table = pd.DataFrame({"ds": [20240131, 20240201, 20240131], "y": 1.0})
    table.to_parquet(path)
    days = pd.to_datetime(["2024-01-31", "2024-02-01", "2024-01-31"])
    assert read(path)["ds"].tolist() == days.tolist()
    table.assign(ds=[3, 1, 2]).to_parquet(path)
    assert read(path)["ds"].tolist() == [3, 1, 2]
    assert read(path)["ds"].dtype == "int64"
    table.assign(ds=pd.array([0, 1, 2**63 + 5], dtype="uint64")).to_parquet(path)
    with pytest.raises(InvalidInputError, match=r"row 3 of .* too large a number"):
        read(path)


def test_the_day_numbers_of_excel_are_suspected(put):
    frame, notices = read_file(put("ds,y\n45292,1\n45293,2\n"))
    assert frame["ds"].tolist() == [45292, 45293]
    assert "Excel" in notices[0]


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("ds,y\n", "no rows"),
        (bytes(range(256)), "is binary"),
        (b"PK\x03\x04...", "a zip or Excel file"),
        ("ds,y\n2024-01-01,1\n".encode("utf-16"), "iconv -f UTF-16"),
        ("unique_id,ds,y\na,0,1\nZürich,1,1\n".encode("latin-1"), "line 3 has the byte 0xfc"),
        ("Größe,ds,y\n1,0,1\n".encode("latin-1"), "line 1 has the byte 0xf6"),
        ("ds,y,city\n0,1,Bern\n1,1,Zürich\n".encode("latin-1"), "line 3 has the byte 0xfc"),
        ("a,b\n1,2\n", "A column of times is needed.* a, b. .*--time"),
        ("2024-01-01,5\n2024-01-02,6\n", "first line must hold the column names"),
        ("ds,a,b\n0,1,2\n", "A column of values is needed.* ds, a, b.*--wide"),
        ("ds,y,y\n0,1,2\n", "more than one column named 'y'"),
        ("ds,y\n0,1\n\n1,abc\n", "'y' needs numbers, but line 4 of .* has 'abc'"),
        ('ds,y\n0,1\n1,"1,234.5"\n', "line 3 .* '1,234.5'. .*thousands separators"),
        ("ds;y\n0;1,5\n1;1.234,5\n", "line 3 .* '1.234,5'. .*thousands separators"),
        ("ds;y\n0;1.5\n1;2,5\n", "line 2 .* '1.5'"),
        ("ds,y\n0,1_000\n", "'1_000'"),
        ('ds,y,n\n0,1,"a\nb"\n1,x,c\n', "line 4 .* 'x'"),
        ('ds,"y\n"\n0,1\n', "header of .* goes on after line 1"),
        ("ds,\ry\n0,1\n", "Line 1 .* is not CSV"),
        ("ds,y\n0,1\n1\n", "Line 3 .* needs 2 fields, .* has 1: '1'"),
        ("ds,y\n0,1\n1,2,3\n", "Line 3 .* has 3: '1,2,3'"),
        ("ds,y\n2024-01-01,1\n,2\n", "line 3 .*a time is missing"),
        ("ds,y\nfoo,1\n", "line 2 .*cannot be read .'foo'"),
        ("ds,y\n2024-01-01,1\n2024-02-30,2\n", "line 3 .*'2024-02-30'"),
        ("ds,y\n9999999999999999999,1\n", "line 2 .*too large a number"),
        ("ds,y\n0,1\nx,2\n", "line 3 .*not an integer.*'x'"),
        ("ds,y\n1/30/2024,1\n31/1/2024,2\n", "line 3 .*'31/1/2024'"),
        ("ds,y\n1/2/2024,1\n3/4/2024,2\n", "day first or month first"),
        ("ds,y\n2024-01-01T00:00Z,1\n2024-01-02T00:00,2\n", "line 3 .*has no UTC offset"),
        ("ds,y\nJan 1 2024 10:00 UTC,1\nJan 1 2024 12:00 CET,2\n", "not of the same zone"),
        ("ds,y\n05-Jan-2024,1\n06-Foo-2024,2\n", "line 3 .*'06-Foo-2024'"),
        ("unique_id,ds,y\na,0,1\n,1,2\n", "line 3 .*name of the series is missing"),
        (gzip.compress(b"ds,y\n0,1\n")[:-9], "damaged gzip"),
        (b"PAR1" + bytes(50), "cannot be read as Parquet"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_what_cannot_be_used_is_told_with_its_place(put, content, said):
    path = put(content)
    with pytest.raises(InvalidInputError, match=f"(?s){said}") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_the_line_is_right_far_into_the_file(put):
    rows = "".join(f"{n},1\n" for n in range(200_000))
    with pytest.raises(InvalidInputError, match=r"line 200002 of .* has 'oops'"):
        read(put(f"ds,y\n{rows}7,oops\n8,also\n"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "z"}, r"no column 'z' \(--target\).* unique_id, ds, y, x"),
        ({"time": "z"}, r"no column 'z' \(--time\)"),
        ({"id": "z"}, r"no column 'z' \(--id\)"),
        ({"target": "ds"}, "One column cannot be two things"),
        ({"id": "y"}, "A column of values|One column|values is needed"),
        ({"unique_id": "b"}, "names its series itself"),
        ({"wide": True}, "Column 'unique_id' needs numbers"),
    ],
)
def test_a_wrong_choice_is_told(put, options, said):
    path = put("unique_id,ds,y,x\na,0,1,2\nc,1,2,3\n")
    if options == {"id": "y"}:
        path = put("ds,y\n0,1\n")
    with pytest.raises(InvalidInputError, match=said):
        read(path, **options)


def test_a_wrong_parquet_is_told_by_row(tmp_path):
    path = tmp_path / "t.parquet"
    table = pd.DataFrame({"ds": ["2024-01-01", "2024-01-02"], "y": ["1", "x"]})
    table.to_parquet(path)
    with pytest.raises(InvalidInputError, match=r"row 2 of .* has 'x'"):
        read(path)
    table.assign(y=1.0, ds=["2024-01-01", "bad"]).to_parquet(path)
    with pytest.raises(InvalidInputError, match=r"row 2 of .*'bad'"):
        read(path)
    table.assign(y=1.0, ds=[1.5, 2.5]).to_parquet(path)
    with pytest.raises(InvalidInputError, match=r"row 1 of .*'1.5'"):
        read(path)
    table.assign(y=table["ds"].astype("datetime64[us]")).to_parquet(path)
    with pytest.raises(InvalidInputError, match="needs numbers, but it holds timestamp"):
        read(path)


def test_a_file_that_is_not_there(put, tmp_path):
    put("ds,y\n0,1\n")
    with pytest.raises(NotFoundError, match=r"Did you mean '.*sales\.csv'"):
        read(tmp_path / "sale.csv")
    with pytest.raises(InvalidInputError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(InvalidInputError, match="s3:// is not known"):
        read("s3://bucket/x.csv")


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"ds,y\n0,1\n")))
    assert set(read("-")["unique_id"]) == {"stdin"}
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(InvalidInputError, match="'standard input' is empty"):
        read("-")


# -- addresses --------------------------------------------------------------------------------


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"/gone.csv": 404, "/busy.csv": 429, "/down.csv": 503, "/no.csv": 403}
        if self.path == "/slow.csv":
            self.server.released.wait(10)  # type: ignore[attr-defined]
        self.send_response(status.get(self.path, 200))
        body = b"ds,y\n2024-01-01,1\n"
        self.send_header("Content-Length", str(len(body) + (self.path == "/cut.csv")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.released = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.released.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_is_read(site):
    frame = read(f"{site}/folder/daily%20sales.csv?key=1")
    assert set(frame["unique_id"]) == {"daily sales"}


def test_an_address_of_any_characters_is_read(site):
    frame = read(f"{site}/früher/daily sales.csv?key=ä b")
    assert set(frame["unique_id"]) == {"daily sales"}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://[::1/x.csv", "The address is not valid: it needs a host"),
        ("http:///x.csv", "The address is not valid: it needs a host"),
        ("http://localhost:99999/x.csv", "The address is not valid: it needs a host"),
        (f"http://{'a' * 99}.org/x.csv", "cannot be asked for"),
        ("http://user:secret@localhost/x.csv", "'http://localhost/x.csv' cannot be asked for"),
        ("http://localhost/caf\udce9.csv", "The address is not UTF-8"),
    ],
)
def test_what_is_no_address_is_told(address, said):
    with pytest.raises(InvalidInputError, match=said) as caught:
        read(address)
    assert "secret" not in str(caught.value)


def test_a_name_that_is_not_utf8_is_told(put):
    with pytest.raises(InvalidInputError, match=r"caf\\udce9.csv' is not UTF-8"):
        read(put("ds,y\n0,1\n", os.fsdecode(b"caf\xe9.csv")))


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("gone", NotFoundError, "answered 404"),
        ("busy", TemporaryError, "answered 429"),
        ("down", TemporaryError, "answered 503"),
        ("no", ForecasterError, "answered 403"),
        ("cut", TemporaryError, "was cut off"),
    ],
)
def test_an_address_that_fails_is_told(site, name, kind, said):
    with pytest.raises(kind, match=said) as caught:
        read(f"{site}/{name}.csv")
    assert type(caught.value) is kind


def test_an_address_that_hangs_or_refuses_is_temporary(site):
    with pytest.raises(TemporaryError, match=r"slow\.csv' cannot be reached: .*timed out"):
        download(f"{site}/slow.csv", timeout=0.2)
    with pytest.raises(TemporaryError, match="took longer than 0 s"):
        download(f"{site}/a.csv", total=0.0)
    with pytest.raises(TemporaryError, match="Connection refused"):
        download("http://127.0.0.1:1/a.csv")


def test_categorical_ids_are_the_same_series(put):
    path = put("unique_id,ds,y\nb,0,1\na,0,2\nb,1,3\n")
    coded, notices, _ = files.read_coded(path)
    assert coded["unique_id"].tolist() == read(path)["unique_id"].tolist()
    assert isinstance(coded["unique_id"].dtype, pd.CategoricalDtype)
    assert notices == []


def test_the_numbers_that_pandas_gives_rows_are_no_column(tmp_path):
    days = pd.date_range("2024-01-01", periods=3)
    parts = [pd.DataFrame({"date": days, "shop": shop, "sales": range(3)}) for shop in "ab"]
    path = tmp_path / "t.parquet"
    pd.concat(parts).to_parquet(path)
    frame, notices = read_file(path, Columns(id="shop"))
    assert list(frame) == ["unique_id", "ds", "y"]
    assert not any("__index" in line for line in notices)
    pd.DataFrame({"sales": [1.0, 2.0, 3.0]}, index=pd.Index([7, 9, 11])).to_parquet(path)
    named = read_file(path, Columns(time="__index_level_0__"))[0]
    assert named["ds"].tolist() == [7, 9, 11]
    pd.DataFrame({"sales": [1.0, 2.0, 3.0]}, index=days).to_parquet(path)  # here it is the time
    assert read_file(path)[0]["ds"].tolist() == days.tolist()


@pytest.mark.parametrize("form", ["13:00 {:02}-Feb-2024", "13:00 02-{:02}-2024"])
def test_a_year_behind_the_clock_is_no_offset(put, form):
    path = put("ds,y\n" + "".join(f"{form.format(day)},{day}\n" for day in range(11, 20)))
    assert read(path)["ds"].iloc[0] == pd.Timestamp("2024-02-11 13:00")


@pytest.mark.parametrize("address", ["https://me:s3cret@host:99999/x.csv?token=s3cret",
                                     "https://me:s3/cret@host/x.csv"])  # fmt: skip
def test_an_address_that_is_none_tells_no_secret(address):
    with pytest.raises(InvalidInputError, match="The address is not valid") as refused:
        read_file(address)
    assert "s3" not in str(refused.value)


def test_day_and_month_behind_the_clock_are_told_by_all_values(put):
    path = put("ds,y\n" + "".join(f"13:00 {day:02}/02/2024,{day}\n" for day in range(1, 20)))
    assert read(path)["ds"].iloc[-1] == pd.Timestamp("2024-02-19 13:00")
    path = put("ds,y\n13:00 01/02/2024,1\n13:00 02/02/2024,2\n")
    with pytest.raises(InvalidInputError, match="can be read day first or month first"):
        read(path)
