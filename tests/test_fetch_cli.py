"""`forecast fetch` and `forecast data`, from the command line to the store and back."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from yahoo_server import Yahoo

from forecaster import fetching
from forecaster.cli import app
from forecaster.errors import ForecasterError, InvalidInputError
from forecaster.refreshing import refresh
from forecaster.sources.layout import GUESSED, Columns
from forecaster.store import Store


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def forecast(tmp_path: Path, monkeypatch, capsys) -> Run:
    """Run a command line in this process, in an empty workspace."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> Done:
        code = app.run([str(arg) for arg in args])
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def csv(folder: Path, content: str, name: str = "sales.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def many(series: int) -> str:
    rows = [f"s{n},2024-01-{day:02},{n + day}" for n in range(series) for day in (1, 2, 3)]
    return "\n".join(["unique_id,ds,y", *rows])


# -- files, samples, choices ------------------------------------------------------------------


def test_a_file_is_stored_and_said_line_by_line(forecast: Run, tmp_path, store):
    path = csv(tmp_path, "date,close,symbol\n2024-01-01,1,b\n2024-01-01,2,a\n2024-01-02,3,a\n")
    done = forecast("fetch", "--csv", path)
    assert done.code == 0
    assert done.out.splitlines() == [
        "a: new, 2 rows, 2024-01-01 to 2024-01-02",
        "b: new, 1 row, 2024-01-01 to 2024-01-01",
    ]
    assert done.err == "Columns: unique_id is 'symbol', ds is 'date', y is 'close'.\n"
    assert forecast("-q", "fetch", "--csv", path).err == ""
    read = {"id": "symbol", "time": "date", "target": "close"}
    assert store.entry("a").source == {"kind": "file", "path": str(path), "columns": read}


def test_every_option_of_a_file_is_read(forecast: Run, tmp_path, store):
    path = csv(tmp_path, "shop,day,units,y\nx,2024-01-01,5,9\nx,2024-01-02,6,9\n")
    options = ("--id", "shop", "--time", "day", "--target", "units")
    assert forecast("fetch", "--csv", path, *options).code == 0
    assert store.read(["x"])["y"].tolist() == [5, 6]
    path = csv(tmp_path, "ds,north,south\n2024-01-01,1,2\n")
    assert forecast("fetch", "--csv", path, "--wide").code == 0
    assert store.ids() == ["north", "south", "x"]
    path = csv(tmp_path, "ds,y\n2024-01-01,1\n")
    assert forecast("fetch", "--csv", path, "--unique-id", "^GSPC").code == 0
    assert store.ids() == ["^GSPC", "north", "south", "x"]


def test_the_same_file_again_is_unchanged_and_a_new_one_replaces(forecast: Run, tmp_path):
    path = csv(tmp_path, "ds,y\n2024-01-01,1\n")
    assert forecast("fetch", "--csv", path).out.startswith("sales: new, 1 row")
    assert forecast("fetch", "--csv", path).out.startswith("sales: unchanged, 1 row")
    csv(tmp_path, "ds,y\n2024-01-01,1\n2024-01-02,1\n")
    document = forecast("fetch", "--csv", path, "--json").document
    (series,) = document["series"]
    assert (series["action"], series["rows"], series["rows_added"]) == ("replaced", 2, 1)
    assert series["problems"] == [{"kind": "constant", "count": 2, "first": None}]
    assert document["counts"] == {"replaced": 1}


def test_gaps_are_said(forecast: Run, tmp_path):
    days = ["2024-01-0" + day for day in "12346"]
    path = csv(tmp_path, "ds,y\n" + "".join(f"{day},1\n" for day in [*days, "2024-01-09"]))
    said = "sales: new, 6 rows, 2024-01-01 to 2024-01-09, 3 missing timestamps between\n"
    assert forecast("fetch", "--csv", path).out == said
    rows = [f"s{n},{day},1\n" for n in range(30) for day in days if n > 27 or day != days[-1]]
    path = csv(tmp_path, "unique_id,ds,y\n" + "".join(rows))
    lines = forecast("fetch", "--csv", path).out.splitlines()
    assert lines[:2] == [
        "30 series, 122 rows: 30 new.",
        "Gaps: 2 missing timestamps in 2 of them; 'forecast data check' names them.",
    ]


def test_another_source_for_the_same_id_is_said(forecast: Run, tmp_path):
    forecast("fetch", "--sample", "air-passengers")
    path = csv(tmp_path, "ds,y\n2024-01-01,1\n", "air-passengers.csv")
    done = forecast("fetch", "--csv", path)
    assert "air-passengers: 144 rows from sample replaced by 1 from file." in done.err


def test_many_series_are_summed_up(forecast: Run, tmp_path):
    done = forecast("fetch", "--csv", csv(tmp_path, many(30)))
    lines = done.out.splitlines()
    assert lines[0] == "30 series, 90 rows: 30 new."
    assert lines[-1] == "... and 10 more: forecast data list"
    assert len(lines) == 23
    assert len(forecast("fetch", "--csv", "sales.csv", "--json").document["series"]) == 30


def test_samples(forecast: Run, store):
    assert forecast("fetch", "--list-samples").out.splitlines()[1].startswith("air-passengers")
    assert len(forecast("fetch", "--list-samples", "--json").document) == 2
    assert forecast("fetch", "--sample", "stocks").code == 0
    assert len(store.read()) == 16_194
    done = forecast("fetch", "--sample", "stokcs")
    assert (done.code, done.out) == (4, "")
    assert "Did you mean 'stocks'" in done.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "found none"),
        (("AAPL", "--csv", "x.csv"), "found SYMBOLS and --csv"),
        (("--sample", "stocks", "--csv", "x.csv"), "found --csv and --sample"),
        (("--csv", "x.csv", "--start", "2020-01-01"), "--start says nothing to --csv"),
        (("--sample", "stocks", "--workers", "2"), "--workers says nothing to --sample"),
        (("AAPL", "--wide"), "--wide says nothing to SYMBOLS"),
        (("AAPL", "--interval", "7d"), "'7d' is not one of"),
        (("AAPL", "--workers", "0"), "0 is not in the range"),
    ],
)
def test_a_choice_that_makes_no_sense_is_a_usage_error(forecast: Run, args, said, tmp_path):
    done = forecast("fetch", *args)
    assert done.code == 2
    assert said in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sales.csv", "My Sales.CSV", "gone.parquet", "notes.txt"])
def test_a_file_in_place_of_symbols_is_a_usage_error(forecast: Run, tmp_path, name):
    if name != "gone.parquet":
        csv(tmp_path, "ds,y\n2024-01-01,1\n", name)
    done = forecast("fetch", "AAPL", name)
    assert (done.code, done.out) == (2, "")
    assert f"forecast fetch --csv {shlex.quote(name)}" in done.err


def test_a_file_named_as_a_symbol_is_not_in_its_way(forecast: Run, tmp_path, yahoo: Yahoo):
    yahoo.daily("AAPL", "2024-01-01", [1.0, 2.0, 3.0])
    csv(tmp_path, "", "AAPL")
    assert forecast("fetch", "AAPL").code == 0


def test_a_bad_file_leaves_the_data_and_says_the_line(forecast: Run, tmp_path, store):
    forecast("fetch", "--csv", csv(tmp_path, "ds,y\n2024-01-01,1\n"))
    before = store.entries()
    path = csv(tmp_path, "ds,y\n2024-01-01,1\n2024-01-02,x\n")
    done = forecast("fetch", "--csv", path, "--json")
    assert done.code == 5
    assert "line 3" in done.document["error"]["message"]
    assert store.entries() == before


def test_standard_input_through_a_pipe(tmp_path, store):
    done = subprocess.run(
        [sys.executable, "-m", "forecaster", "--workspace", str(tmp_path), "fetch", "--csv", "-"],
        input=b"ds,y\n2024-01-01,1\n",
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"stdin: new, 1 row, 2024-01-01 to 2024-01-01\n"
    assert store.ids() == ["stdin"]


def test_nothing_secret_of_an_address_is_kept():
    url = "https://example.org/a/b.csv"
    secret = "https://user:password@example.org/a/b.csv?token=secret"
    assert fetching._described(secret, GUESSED) == {"kind": "url", "url": url, "partial": True}
    assert fetching._described(url, GUESSED) == {"kind": "url", "url": url}


def test_how_a_file_was_read_is_kept_for_the_next_time(tmp_path, store):
    path = tmp_path / "sales.csv"
    path.write_text("date,units,price\n2024-01-01,1,9\n2024-01-02,2,9\n")
    fetching.fetch_file(store, path, Columns(target="units", unique_id="shop"))
    said = {"time": "date", "target": "units", "unique_id": "shop"}
    assert store.entry("shop").source == {"kind": "file", "path": str(path), "columns": said}
    path.write_text("date,units,price\n2024-01-01,1,9\n2024-01-02,2,9\n2024-01-03,7,9\n")
    report = refresh(store, ["shop"])
    assert (report.exit_code, report.share, store.entry("shop").rows) == (0, 1.0, 3)
    assert store.read()["y"].tolist() == [1, 2, 7]


# -- Yahoo ------------------------------------------------------------------------------------


def test_a_second_run_asks_only_for_what_is_new(forecast: Run, yahoo: Yahoo, store):
    yahoo.daily("AAPL", "2024-01-01", [float(100 + n) for n in range(40)])
    done = forecast("fetch", "aapl")
    assert done.code == 0
    assert done.out == "AAPL: new, 40 rows, 2024-01-01 to 2024-02-23\n"
    entry = store.entry("AAPL")
    assert entry.source == {"kind": "yahoo", "interval": "1d", "price": "adjusted"}
    assert forecast("fetch", "AAPL").out.startswith("AAPL: unchanged, 40 rows")
    yahoo.daily("AAPL", "2024-01-01", [float(100 + n) for n in range(45)])
    assert (
        forecast("fetch", "AAPL").out == "AAPL: appended (+5), 45 rows, 2024-01-01 to 2024-03-01\n"
    )
    assert str(yahoo.asked("AAPL")[-1].start) > "2024-02-01"
    assert store.read(["AAPL"])["y"].tolist() == [float(100 + n) for n in range(45)]


def test_every_option_of_a_symbol_is_read(forecast: Run, yahoo: Yahoo, store):
    yahoo.daily("AAPL", "2024-01-01", [float(100 + n) for n in range(40)])
    yahoo.listings["AAPL"].adjusted = [1.0] * 40
    args = ("--start", "2024-01-08", "--end", "2024-01-20", "--price", "close", "--workers", "1")
    assert forecast("fetch", "AAPL", *args).code == 0
    assert str(yahoo.asked("AAPL")[0].start) == "2024-01-08"
    assert store.read(["AAPL"])["y"].iloc[0] > 1
    done = forecast("fetch", "AAPL", "--start", "yesterday")
    assert done.code == 5
    assert "start must be an ISO date" in done.err


def test_one_unknown_symbol_is_partial(forecast: Run, yahoo: Yahoo, store):
    yahoo.daily("AAPL", "2024-01-01", [1.0, 2.0, 3.0])
    done = forecast("fetch", "NOPE", "AAPL")
    assert done.code == 7
    assert done.out.splitlines() == [
        "NOPE: failed; nothing stored",
        "AAPL: new, 3 rows, 2024-01-01 to 2024-01-03",
    ]
    assert "Error: NOPE: " in done.err
    assert store.ids() == ["AAPL"]
    document = forecast("fetch", "NOPE", "--json")
    assert document.code == document.document["error"]["code"] == 4
    assert document.document["series"][0]["error"]["code"] == 4


def test_a_failure_leaves_the_last_good_data(forecast: Run, yahoo: Yahoo, store):
    yahoo.daily("AAPL", "2024-01-01", [1.0, 2.0, 3.0])
    forecast("fetch", "AAPL")
    before = store.index.read_bytes()
    for kind in ("429", "500", "truncated", "404"):
        yahoo.fail("AAPL", kind)
        done = forecast("fetch", "AAPL")
        assert done.code == (4 if kind == "404" else 75), kind
        assert done.out == "AAPL: failed; still stored: 3 rows, 2024-01-01 to 2024-01-03\n"
        assert store.index.read_bytes() == before
    assert store.damaged() == {}


def test_rate_limited_or_without_a_network_is_temporary(forecast: Run, yahoo: Yahoo, monkeypatch):
    for symbol in ("A", "B"):
        yahoo.fail(symbol, "429")
    done = forecast("fetch", "A", "B", "--json")
    assert (done.code, done.document["error"]["code"]) == (75, 75)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert forecast("fetch", "A", "B").code == 75


def test_offline_says_what_is_stored(forecast: Run, yahoo: Yahoo):
    yahoo.daily("AAPL", "2024-01-01", [1.0, 2.0, 3.0])
    forecast("fetch", "AAPL")
    asked = len(yahoo.seen)
    done = forecast("fetch", "aapl", "--offline")
    assert (done.code, done.out) == (0, "AAPL: stored, 3 rows, 2024-01-01 to 2024-01-03\n")
    assert forecast("fetch", "AAPL", "MSFT", "--offline").code == 7
    done = forecast("fetch", "MSFT", "--offline")
    assert done.code == 4
    assert "'MSFT' is not stored" in done.err
    assert len(yahoo.seen) == asked


def test_a_file_or_a_column_that_takes_the_place_of_another_is_told(forecast: Run, tmp_path):
    content = "ds,y,open\n2024-01-01,7,1\n2024-01-02,8,2\n"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        csv(tmp_path / folder, content if folder == "a" else content.replace("8", "9"), "data.csv")
    assert "replaced by" not in forecast("fetch", "--csv", "a/data.csv").err
    assert "replaced by" not in forecast("fetch", "--csv", "a/data.csv").err
    done = forecast("fetch", "--csv", "b/data.csv")
    first, second = (tmp_path / folder / "data.csv" for folder in ("a", "b"))
    assert f"data: 2 rows from {first} replaced by 2 from {second}." in done.err
    done = forecast("fetch", "--csv", "b/data.csv", "--target", "open")
    assert "data: 2 rows from column 'y' replaced by 2 from column 'open'." in done.err


def test_many_series_of_another_file_are_told_in_one_line(forecast: Run, tmp_path):
    for name, value in (("one", 7), ("two", 8)):
        rows = "".join(f"s{number},2024-01-01,{value}\n" for number in range(5))
        csv(tmp_path, f"unique_id,ds,y\n{rows}", f"{name}.csv")
    forecast("fetch", "--csv", "one.csv")
    (line,) = [
        line
        for line in forecast("fetch", "--csv", "two.csv").err.splitlines()
        if "replaced by" in line
    ]
    csv(tmp_path, (tmp_path / "two.csv").read_text(), "three.csv")
    assert "replaced by" not in forecast("fetch", "--csv", "three.csv").err  # the same rows
    one, two = (tmp_path / f"{name}.csv" for name in ("one", "two"))
    assert line == f"'s0', 's1', 's2' and 2 more: 5 rows from {one} replaced by 5 from {two}."


def test_what_comes_from_a_pipe_is_not_fetched_again(forecast: Run, tmp_path, store):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("ds,y\n2024-01-01,7\n"))
    writer.start()
    assert forecast("fetch", "--csv", pipe, "--unique-id", "piped").code == 0
    writer.join(timeout=10)
    assert store.entry("piped").source["kind"] == "stdin"
    done = forecast("fetch", "--again", "piped")
    assert "'piped', because standard input cannot be read again" in done.err


def test_a_symbol_does_not_continue_a_file_of_the_same_name(forecast: Run, yahoo: Yahoo, tmp_path):
    forecast("fetch", "--csv", csv(tmp_path, "ds,y\n1990-01-01,7\n", "AAPL.csv"))
    yahoo.daily("AAPL", "2024-01-01", [1.0, 2.0, 3.0])
    done = forecast("fetch", "AAPL")
    assert done.out == "AAPL: replaced, 3 rows, 2024-01-01 to 2024-01-03\n"
    assert "AAPL: 1 row from file replaced by 3 from yahoo." in done.err


def test_zones_of_several_exchanges_are_stored_together(forecast: Run, yahoo: Yahoo, store):
    from datetime import UTC, datetime

    from yahoo_server import Listing

    first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0, tzinfo=None)
    first -= pd.Timedelta(days=2)
    for symbol, zone in (("NYC", "America/New_York"), ("TYO", "Asia/Tokyo")):
        listing = Listing.every(60, first, [1.0, 2.0, 3.0, 4.0])
        listing.zone = zone
        yahoo.listings[symbol] = listing
    assert forecast("fetch", "NYC", "TYO", "--interval", "1h").code == 0
    zones = {uid: entry.time for uid, entry in store.entries().items()}
    assert zones == {"NYC": "America/New_York", "TYO": "Asia/Tokyo"}


def test_symbols_are_committed_in_batches_and_after_an_error(yahoo: Yahoo, store, monkeypatch):
    monkeypatch.setattr(fetching, "BATCH", 2)
    symbols = [f"S{n}" for n in range(5)]
    for symbol in symbols:
        yahoo.daily(symbol, "2024-01-01", [1.0, 2.0])
    commits = []
    real = Store.put
    monkeypatch.setattr(
        Store, "put", lambda *args: commits.append(args[1]["unique_id"].nunique()) or real(*args)
    )

    def stop(outcome: fetching.Outcome) -> None:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(outcome.unique_id)

    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        fetching.fetch_symbols(store, symbols, workers=1, on_outcome=stop)
    assert commits == [2, 2]
    assert store.ids() == symbols[:4]


def test_ctrl_c_keeps_what_was_fetched(yahoo: Yahoo, tmp_path, store):
    yahoo.daily("FAST", "2024-01-01", [1.0, 2.0])
    yahoo.daily("SLOW", "2024-01-01", [1.0, 2.0])
    yahoo.fail("SLOW", "hang")
    process = subprocess.Popen(
        [sys.executable, "-m", "forecaster", "--workspace", str(tmp_path), "fetch", "FAST", "SLOW"],
        env={**os.environ, "FORECAST_RETRY_SECONDS": "30"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not yahoo.asked("FAST") or not any(one.symbol == "SLOW" for one in yahoo.seen):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # the reply is read and becomes a result
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "1 of 2 symbols were fetched and stored" in err
    assert "Traceback" not in err
    assert store.ids() == ["FAST"]


def test_the_exit_code_of_mixed_failures():
    def report(*errors: ForecasterError | None) -> fetching.FetchReport:
        outcomes = [fetching.Outcome(str(n), "failed", error=e) for n, e in enumerate(errors)]
        return fetching.FetchReport(outcomes)

    assert report(None, None).exit_code == 0
    assert report(None, InvalidInputError("x")).exit_code == 7
    assert report(InvalidInputError("x"), InvalidInputError("y")).exit_code == 5
    assert report(InvalidInputError("x"), ForecasterError("y")).exit_code == 1


# -- forecast data ----------------------------------------------------------------------------


def test_list(forecast: Run, tmp_path):
    assert "forecast fetch --sample" in forecast("data", "list").out
    assert forecast("data", "list", "--json").document == []
    odd = 'unique_id,ds,y\n"a\tb",2024-01-01,1\nZürich,2024-01-01,1\nBRK/B,2024-01-01,1\n'
    forecast("fetch", "--csv", csv(tmp_path, odd))
    forecast("fetch", "--sample", "air-passengers")
    lines = forecast("data", "list").out.splitlines()
    assert lines[0].split() == ["series", "rows", "frequency", "first", "last", "source"]
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "BRK/B", "Zürich", r"'a\tb'", "air-passengers",
    ]  # fmt: skip
    assert lines[-1].split("  ")[-1].strip() == "sample air-passengers"
    document = forecast("data", "list", "--json").document
    assert [series["unique_id"] for series in document] == [
        "BRK/B", "Zürich", "a\tb", "air-passengers",
    ]  # fmt: skip
    assert document[-1]["frequency"] == "MS"


def test_show(forecast: Run, tmp_path):
    forecast(
        "fetch", "--csv", csv(tmp_path, "ds,y,x\n2024-01-02,1,5\n2024-01-03,,6\n2024-01-06,4,\n")
    )
    done = forecast("data", "show", "sales")
    assert done.code == 0
    assert "sales: 3 rows, 2024-01-02 to 2024-01-06" in done.out
    assert "mean 2.5" in done.out
    assert "Missing values: y 1, x 1" in done.out
    assert "warning: 1 missing value (NaN), the first at 2024-01-03" in done.out
    assert done.out.splitlines()[-1].split() == ["2024-01-06", "4", "nan"]
    document = forecast("data", "show", "sales", "--json").document
    assert document["last_rows"][1]["y"] is None
    assert document["empty"] == {"ds": 0, "y": 1, "x": 1}
    done = forecast("data", "show", "Sales")
    assert done.code == 4
    assert "Did you mean 'sales'" in done.err


def test_check(forecast: Run, tmp_path, store):
    forecast("fetch", "--sample", "air-passengers")
    assert forecast("data", "check") == Done(0, "No problems.\n", "")
    rows = [f"bad,2024-01-{day:02},{day}" for day in (*range(2, 31), 30)]
    rows += [f"holes,2024-01-{day:02},{day}" for day in range(2, 31) if day not in (9, 10)]
    content = "\n".join(["unique_id,ds,y", *rows]).replace("01-05,5", "01-05,inf", 1)
    forecast("fetch", "--csv", csv(tmp_path, content))
    done = forecast("data", "check")
    assert done.code == 5
    assert done.out.splitlines() == [
        "error: bad: 1 duplicated timestamp, the first at 2024-01-30",
        "error: bad: 1 infinite value, the first at 2024-01-05",
        "warning: holes: 2 missing timestamps, the first after 2024-01-08",
        "warning: holes: 27 rows, fewer than two horizons (28 rows)",
        "warning: air-passengers: its frequency is MS, that of 2 others D: `train` refuses them "
        "together; name the series of one kind",
        "2 errors, 3 warnings.",
    ]
    assert forecast("data", "check", "holes").code == 0
    forecast("fetch", "--csv", csv(tmp_path, "ds,y\n1,5\n2,6\n", "steps.csv"))
    assert (
        "warning: steps: its times are integers, those of 3 others without a zone: `train` refuses "
        "them together; name the series of one kind"
    ) in forecast("data", "check").out
    assert forecast("data", "check", "air-passengers", "--json").document["problems"] == []
    assert forecast("data", "check", "x").code == 4
    (store.parts / store.entry("air-passengers").part).write_bytes(b"damage")
    done = forecast("data", "check", "air-passengers")
    assert done.code == 5
    assert "error: air-passengers: The stored series 'air-passengers' cannot be read" in done.out


def test_export_and_drop(forecast: Run, tmp_path, store):
    forecast(
        "fetch",
        "--csv",
        csv(tmp_path, '"unique_id",ds,y\n"../a,b",2024-01-01,0.1\nc,2024-01-01,2\n'),
    )
    done = forecast("data", "export")
    assert done.out == 'unique_id,ds,y\n"../a,b",2024-01-01,0.1\nc,2024-01-01,2.0\n'
    assert forecast("data", "export", "c", "--output", "c.csv").out == "Wrote 1 row to c.csv.\n"
    assert (tmp_path / "c.csv").read_text() == "unique_id,ds,y\nc,2024-01-01,2.0\n"
    forecast("data", "export", "--output", "all.parquet")
    assert len(pd.read_parquet(tmp_path / "all.parquet")) == 2
    assert forecast("data", "export", "--output", "all.xlsx").code == 5
    for mine, why in (("sales.csv", "is fetched from"), ("data/parts/c.csv", "keeps its own data")):
        done = forecast("data", "export", "--output", mine)
        assert (done.code, why in done.err) == (5, True), done.err
    assert forecast("fetch", "--csv", "c.csv").out.startswith("c: unchanged")
    assert forecast("data", "drop", "../a,b").out == "Dropped: ../a,b.\n"
    assert store.ids() == ["c"]
    assert forecast("data", "drop", "../a,b").code == 4
    hours = "ds,y\n2024-01-01T00:00+11:00,1\n2024-01-01T01:00+11:00,1\n"
    forecast("fetch", "--csv", csv(tmp_path, hours, "h.csv"))
    assert "h,2024-01-01T00:00:00+11:00,1.0\n" in forecast("data", "export", "h").out


def test_listing_imports_no_tables(tmp_path, store):
    store.put(pd.DataFrame({"unique_id": ["a"], "ds": [1], "y": [1.0]}), {"kind": "csv"})
    code = (
        "import sys; from forecaster.cli import app;"
        f"app.run(['--workspace', {str(tmp_path)!r}, 'data', 'list']);"
        "print(sorted({'pandas', 'pyarrow', 'numpy', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


AFTER_TRAINING = """
from forecaster.backend import import_keras
from forecaster.sources.yahoo import fetch_symbols

import_keras()
(result,) = fetch_symbols(["AAPL"], stored=lambda symbol: None)
print(result.action)
"""


def test_yahoo_answers_in_a_process_that_has_trained(yahoo):
    yahoo.daily("AAPL", "2024-01-01", [1.0, 2.0, 3.0])
    run = subprocess.run(
        [sys.executable, "-c", AFTER_TRAINING],
        env=os.environ | yahoo.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == "new", run.stderr


def test_stored_series_are_fetched_again(forecast: Run, tmp_path: Path, store: Store):
    assert forecast("fetch", "--again").code == 4
    sales = csv(
        tmp_path, "ds,unique_id,y\n2024-01-01,a,1\n2024-01-02,a,2\n2024-01-01,b,1\n2024-01-02,b,2\n"
    )
    assert forecast("fetch", "--csv", sales).code == 0
    sales.write_text(sales.read_text() + "2024-01-03,a,3\n2024-01-03,b,3\n2024-01-03,c,3\n")
    done = forecast("fetch", "--again", "b")
    assert (done.code, store.entry("b").rows, store.entry("a").rows) == (0, 3, 2)
    assert "also has 'c'" in done.err
    assert forecast("fetch", "--again").code == 0
    assert store.entry("a").rows == 3
    assert "c" not in store.ids()
    assert forecast("fetch", "--again", "nosuch").code == 4
    assert forecast("fetch", "--again", "--csv", sales).code == 2


def daily(*days: int, **columns: object) -> str:
    rows = pd.DataFrame({"ds": [f"2024-01-{day:02d}" for day in days], "y": days} | columns)
    return rows.to_csv(index=False)


MONTH = range(1, 31)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (daily(*range(1, 20)), "ends at 2024-01-19, but rows up to 2024-01-30"),
        (daily(1, 2, 3, 4, 5, 31), "lacks 25 rows of the 30 that are stored"),
        ("ds,y\n1924-01-01,3\n" + daily(*MONTH)[5:], "leaves a gap of 36,525 steps"),
        (pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=800, freq="h"), "y": 1})
         .to_csv(index=False), "has another frequency than what is stored"),
        (daily(*range(20, 31)).replace(",2", ",92").replace(",3", ",93"), "other values than are stored for 100% of its rows"),
        (daily(*MONTH) + "2062-01-01,3\n", "has a value at 2062-01-01, which is in the future"),
        (daily(*MONTH).replace("-01-", "-03-").replace(",", "T00:00Z,", 1 << 9)
         .replace("dsT00:00Z,", "ds,"), "has times with a zone, but times without a zone are stored"),
    ],
)  # fmt: skip
def test_what_is_no_continuation_is_refused(
    forecast: Run, tmp_path: Path, store: Store, content: str, said: str
):
    shop = csv(tmp_path, daily(*MONTH), "shop.csv")
    assert forecast("fetch", "--csv", shop).code == 0
    before = store.entry("shop")
    shop.write_text(content)
    done = forecast("fetch", "--again")
    assert (done.code, store.entry("shop")) == (5, before)
    assert said in done.err
    assert forecast("fetch", "--csv", shop).code == 0  # somebody says that it is meant
    shop.write_text(daily(*MONTH, 31))
    if "future" in said:
        assert forecast("fetch", "--again").code == 0


def test_local_times_of_a_place_further_east_are_not_in_the_future(
    forecast: Run, tmp_path: Path, store: Store
):
    """Hours without a zone of a place where it is nine hours later than on this machine."""
    last = pd.Timestamp.now("UTC").tz_localize(None).floor("h") + pd.Timedelta(hours=9)
    for rows in (40, 41):
        hours = pd.date_range(end=last, periods=41, freq="h")[:rows]
        content = "".join(f"{hour.isoformat()},{n}\n" for n, hour in enumerate(hours))
        place = csv(tmp_path, f"ds,y\n{content}", "place.csv")
        again = ("--again",) if rows == 41 else ("--csv", place)
        assert forecast("fetch", *again).code == 0
        assert store.entry("place").rows == rows


def test_a_file_of_the_latest_rows_loses_no_history(forecast: Run, tmp_path: Path, store: Store):
    shop = csv(tmp_path, daily(*MONTH), "shop.csv")
    assert forecast("fetch", "--csv", shop).code == 0
    shop.write_text(daily(*range(25, 32)).replace("-28,28", "-28,99"))
    done = forecast("fetch", "--again")
    assert done.code == 0
    assert "the earlier rows are kept" in done.err
    assert store.read(["shop"])["y"].tolist() == [*range(1, 28), 99, 29, 30, 31]


def test_truths_and_numbers_of_one_column_are_numbers(forecast: Run, tmp_path: Path, store: Store):
    shop = csv(tmp_path, daily(*MONTH, promo=True), "shop.csv")
    assert forecast("fetch", "--csv", shop).code == 0
    shop.write_text(daily(*range(25, 32), promo=0.5))
    assert forecast("fetch", "--again").code == 0
    assert store.read(["shop"])["promo"].tolist() == [1.0] * 24 + [0.5] * 7


def test_the_columns_of_the_first_time_are_read_again(forecast: Run, tmp_path: Path, store: Store):
    shop = csv(tmp_path, daily(*MONTH), "shop.csv")
    assert forecast("fetch", "--csv", shop).code == 0
    shop.write_text(daily(*MONTH, value=1).replace("ds,y,", "ds,units,"))
    done = forecast("fetch", "--again")
    assert done.code == 5
    assert "'y'" in done.err
    assert store.read(["shop"])["y"].max() == 30


def test_a_row_of_each_series_is_read_by_the_column_of_the_first_time(
    forecast: Run, tmp_path: Path, store: Store
):
    rows = [f"{uid},2024-01-{day:02},{day}\n" for uid in "ab" for day in MONTH]
    shop = csv(tmp_path, "id,ds,y\n" + "".join(rows), "shop.csv")
    assert forecast("fetch", "--csv", shop).code == 0
    shop.write_text("id,ds,y\na,2024-01-31,1\nb,2024-01-30,30\n")
    assert forecast("fetch", "--again").code == 0
    assert [store.entry(uid).rows for uid in "ab"] == [31, 30]


def test_the_order_of_day_and_month_is_that_of_the_first_time(
    forecast: Run, tmp_path: Path, store: Store
):
    def american(first: str, days: int) -> str:
        times = pd.date_range(first, periods=days)
        return "ds,y\n" + "".join(f"{time:%m/%d/%Y},1\n" for time in times)

    shop = csv(tmp_path, american("2023-10-01", 92), "shop.csv")
    assert forecast("fetch", "--csv", shop).code == 0
    for first, last in (("2024-01-01", "2024-01-04"), ("2024-01-03", "2024-01-11")):
        days = (pd.Timestamp(last) - pd.Timestamp(first)).days + 1
        shop.write_text(american(first, days))
        done = forecast("fetch", "--again")
        assert "read month first" in done.err
        assert store.entry("shop").last == last
    shop.write_text("ds,y\n01/12/2024,1\n13/01/2024,1\n")
    done = forecast("fetch", "--again")
    assert (done.code, store.entry("shop").last) == (5, "2024-01-11")
    assert "is not month first, as this file was read before ('13/01/2024')" in done.err


@pytest.mark.parametrize(
    ("stored", "latest"),
    [
        (pd.date_range("2024-01-01", periods=48, freq="h"), "2024-01-03 00:00"),
        (pd.date_range("2022-01-31", periods=24, freq="ME"), "2024-01-31"),
        (pd.bdate_range("2024-01-01", periods=30), "2024-02-12"),
    ],
)
def test_one_row_a_night_is_a_continuation(
    forecast: Run, tmp_path: Path, store: Store, stored: pd.DatetimeIndex, latest: str
):
    shop = tmp_path / "shop.csv"
    pd.DataFrame({"ds": stored, "y": 1.0}).to_csv(shop, index=False)
    assert forecast("fetch", "--csv", shop).code == 0
    shop.write_text(f"ds,y\n{stored[-1]},1\n{latest},2\n")
    assert forecast("fetch", "--again").code == 0
    assert store.entry("shop").rows == len(stored) + 1
