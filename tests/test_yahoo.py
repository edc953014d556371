"""Fetching from Yahoo with the real client, against a server on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pytest
from yahoo_server import Listing, Yahoo

from forecaster.errors import (
    DamagedError,
    ForecasterError,
    InvalidInputError,
    NotFoundError,
    TemporaryError,
)
from forecaster.sources.yahoo import SymbolResult, fetch_symbols

# Long after every listing here, so that all bars are finished.
LATER = datetime(2024, 12, 1, tzinfo=UTC)


def fetch(symbols: Iterable[str], past: dict[str, pd.DataFrame] | None = None, **options: Any):
    """Fetch, and give the results by symbol."""
    options = {"now": lambda: LATER, "timeout": 2.0, **options}
    results = list(fetch_symbols(symbols, stored=(past or {}).get, **options))
    by_symbol = {result.symbol: result for result in results}
    assert len(by_symbol) == len(results)
    return by_symbol


def one(symbol: str, past: pd.DataFrame | None = None, **options: Any) -> SymbolResult:
    return fetch([symbol], {symbol: past} if past is not None else {}, **options)[symbol]


def test_a_new_symbol_is_fetched_whole(yahoo: Yahoo) -> None:
    listing = yahoo.daily("AAPL", "2024-01-02", [100.0, 101.0, 102.0])
    listing.adjusted = [99.0, 100.0, 102.0]
    listing.dividends = {listing.times[2]: 0.24}
    result = one("AAPL")
    assert result.error is None
    assert (result.action, result.rows_added, result.notices) == ("new", 3, ())
    frame = result.frame
    assert list(frame.columns) == [
        "unique_id", "ds", "y", "close", "adjusted_close", "open", "high", "low", "volume",
        "dividends", "splits",
    ]  # fmt: skip
    assert list(frame["ds"]) == [pd.Timestamp(f"2024-01-0{n}") for n in (2, 3, 4)]
    assert list(frame["y"]) == [99.0, 100.0, 102.0]
    assert list(frame["close"]) == [100.0, 101.0, 102.0]
    assert list(frame["dividends"]) == [0, 0, 0.24]
    assert set(frame["unique_id"]) == {"AAPL"}


def test_the_close_can_be_the_series(yahoo: Yahoo) -> None:
    yahoo.daily("AAPL", "2024-01-02", [100.0, 101.0]).adjusted = [50.0, 101.0]
    assert list(one("AAPL", price="close").frame["y"]) == [100.0, 101.0]


def test_start_and_end_bound_the_request(yahoo: Yahoo) -> None:
    yahoo.daily("AAPL", "2024-01-01", [float(n) for n in range(1, 31)])
    frame = one("AAPL", start="2024-01-10", end=date(2024, 1, 17)).frame
    assert frame["ds"].min() == pd.Timestamp("2024-01-10")
    assert frame["ds"].max() == pd.Timestamp("2024-01-16")


def test_a_past_range_is_asked_anew_in_each_run(yahoo: Yahoo) -> None:
    """yfinance would answer the second request from memory."""
    listing = yahoo.daily("AAPL", "2024-01-02", [100.0, 101.0])
    assert one("AAPL", end="2024-02-01").frame["y"].iloc[0] == 100.0
    listing.scale(0.5)
    assert one("AAPL", end="2024-02-01").frame["y"].iloc[0] == 50.0


def test_symbols_are_upper_cased_and_asked_once(yahoo: Yahoo) -> None:
    yahoo.daily("AAPL", "2024-01-02", [100.0, 101.0])
    results = fetch(["aapl", "AAPL", " AAPL "])
    assert list(results) == ["AAPL"]
    assert len(yahoo.asked("AAPL")) == 1


# --- continuing a stored series ---


def history(yahoo: Yahoo, rows: int = 40, symbol: str = "AAPL") -> tuple[Listing, pd.DataFrame]:
    """A listing of `rows` bars from 2024-01-01, and the series stored from all but the last 3."""
    listing = yahoo.daily(symbol, "2024-01-01", [100.0 + n for n in range(rows)])
    stop = pd.Timestamp(listing.times[-3], unit="s").date()
    past = one(symbol, end=stop).frame
    assert len(past) == rows - 3
    yahoo.seen.clear()
    return listing, past


def test_only_the_overlap_and_what_is_new_is_asked(yahoo: Yahoo) -> None:
    _, past = history(yahoo)
    result = one("AAPL", past)
    assert (result.action, result.rows_added, result.notices) == ("appended", 3, ())
    assert len(result.frame) == 40
    assert result.frame["ds"].is_monotonic_increasing
    (request,) = yahoo.asked()
    assert request.start == past["ds"].iloc[-10].date()


def test_nothing_new_leaves_the_series_unchanged(yahoo: Yahoo) -> None:
    history(yahoo)
    past = one("AAPL").frame
    result = one("AAPL", past)
    assert (result.action, result.rows_added) == ("unchanged", 0)
    pd.testing.assert_frame_equal(result.frame, past)


def test_jitter_at_the_seventh_digit_is_no_revision(yahoo: Yahoo) -> None:
    listing, past = history(yahoo)
    listing.scale(1 + 3e-7)
    result = one("AAPL", past)
    assert result.action == "appended"
    assert list(result.frame["close"].iloc[:37]) == list(past["close"])


def test_a_split_replaces_the_series(yahoo: Yahoo) -> None:
    listing, past = history(yahoo)
    listing.scale(0.25)
    listing.splits = {listing.times[-2]: (4, 1)}
    result = one("AAPL", past)
    assert (result.action, result.rows_added) == ("replaced", 3)
    assert result.frame["close"].iloc[0] == 25.0
    assert result.frame["splits"].iloc[-2] == 4.0
    assert "revised the close" in result.notices[0]
    assert [request.start for request in yahoo.asked()] == [
        past["ds"].iloc[-10].date(),
        past["ds"].iloc[0].date(),
    ]


def test_a_dividend_replaces_the_series(yahoo: Yahoo) -> None:
    listing, past = history(yahoo)
    listing.adjusted = [value * 0.99 for value in listing.close[:-1]] + [listing.close[-1]]
    listing.dividends = {listing.times[-1]: 1.0}
    result = one("AAPL", past)
    assert result.action == "replaced"
    assert "adjusted close" in result.notices[0]
    assert list(result.frame["adjusted_close"]) == listing.adjusted


def test_a_new_event_alone_replaces_the_series(yahoo: Yahoo) -> None:
    """Yahoo may list the dividend before it has adjusted the prices."""
    listing, past = history(yahoo)
    listing.dividends = {listing.times[-1]: 0.001}
    result = one("AAPL", past)
    assert result.action == "replaced"
    assert "a new dividend on" in result.notices[0]


def test_an_earlier_start_that_an_end_keeps_out_is_told(yahoo: Yahoo) -> None:
    _, past = history(yahoo)
    result = one("AAPL", past, start="2020-01-01", end="2024-01-10")
    assert result.action == "unchanged"
    (notice,) = result.notices
    assert "stored from 2024-01-01 to beyond 2024-01-10, and not fetched from 2020-01-01" in notice
    assert one("AAPL", past, start="2024-01-02", end="2024-01-10").notices == ()


@pytest.mark.parametrize("other", [{"interval": "1d"}, {"price": "close"}])
def test_bars_within_days_are_never_replaced_by_others(yahoo: Yahoo, other: dict[str, str]) -> None:
    """Yahoo would not serve them again."""
    yahoo.daily("AAPL", "2024-01-01", [100.0 + n for n in range(40)])
    hours = pd.date_range("2023-12-01 15:00", periods=30, freq="h", tz="America/New_York")
    _, past = history(yahoo)
    past = past.head(30).assign(ds=hours, close=past["close"].head(30) * 1.5)
    result = one("AAPL", past, **{"interval": "1h"} | other)
    assert result.action == "failed"
    assert isinstance(result.error, InvalidInputError)
    assert "'AAPL' is stored as 30 bars within days" in str(result.error)
    assert yahoo.seen == []


def test_another_price_or_interval_replaces_the_series(yahoo: Yahoo) -> None:
    _, past = history(yahoo)
    past = past.assign(close=past["close"] * 1.5)
    result = one("AAPL", past, price="close")
    assert result.action == "replaced"
    assert "y is not the close" in result.notices[0]
    weekly = past.iloc[::5]
    assert "not of interval 1d" in one("AAPL", weekly).notices[0]


def test_an_earlier_start_fetches_the_whole(yahoo: Yahoo) -> None:
    yahoo.daily("AAPL", "2023-11-01", [100.0 + n for n in range(60)])
    past = one("AAPL", start="2023-12-01").frame
    result = one("AAPL", past, start="2023-11-10")
    assert result.action == "replaced"
    assert "starts from 2023-11-10" in result.notices[0]
    assert result.frame["ds"].iloc[0] == pd.Timestamp("2023-11-10")


def test_a_start_before_the_first_trade_is_no_reason(yahoo: Yahoo) -> None:
    _, past = history(yahoo)
    assert one("AAPL", past, start="1970-01-01").action == "appended"
    assert len(yahoo.asked()) == 1


def test_a_full_history_that_ends_early_is_refused(yahoo: Yahoo) -> None:
    listing, past = history(yahoo)
    listing.scale(0.5)
    listing.close[-5:] = [None] * 5
    result = one("AAPL", past)
    assert isinstance(result.error, TemporaryError)
    assert "The stored series is kept" in str(result.error)


def test_a_damaged_stored_series_is_fetched_again(yahoo: Yahoo) -> None:
    yahoo.daily("AAPL", "2024-01-02", [100.0, 101.0])

    def damaged(symbol: str) -> pd.DataFrame:
        raise DamagedError(f"Part of {symbol!r} fails its check.")

    (result,) = fetch_symbols(["AAPL"], stored=damaged, now=lambda: LATER)
    assert result.action == "new"
    assert "fails its check" in result.notices[0]


# --- what Yahoo leaves unfinished or out ---


@pytest.mark.parametrize(("minutes", "rows"), [(-60, 4), (29, 4), (30, 5), (60 * 24, 5)])
def test_the_bar_of_an_open_session_is_left_out(yahoo: Yahoo, minutes: int, rows: int) -> None:
    listing = yahoo.daily("AAPL", "2024-01-01", [1.0, 2.0, 3.0, 4.0, 5.0])
    moment = datetime.fromtimestamp(listing.session[1] + 60 * minutes, UTC)
    result = one("AAPL", now=lambda: moment)
    assert len(result.frame) == rows
    assert bool(result.notices) == (rows == 4)
    if rows == 4:
        assert "1 unfinished bar (2024-01-05)" in result.notices[0]


def test_a_week_is_finished_when_it_is_over(yahoo: Yahoo) -> None:
    listing = yahoo.daily("AAPL", "2024-01-01", [float(n + 1) for n in range(16)])
    yahoo.listings["AAPL"] = weeks = Listing.daily(date(2024, 1, 1), [])
    weeks.times, weeks.close = listing.times[::5], [1.0, 2.0, 3.0, 4.0]
    weeks.adjusted, weeks.volume = list(weeks.close), [1, 1, 1, 1]
    moment = datetime(2024, 1, 25, tzinfo=UTC)
    assert len(one("AAPL", interval="1wk", now=lambda: moment).frame) == 3


def test_null_rows_are_left_out_and_their_events_kept(yahoo: Yahoo) -> None:
    listing = yahoo.daily("AAPL", "2024-01-01", [1.0, None, None, 4.0, 5.0])
    listing.dividends = {listing.times[2]: 0.5}
    listing.volume[1] = 7  # Yahoo also sends a volume without a price
    result = one("AAPL")
    assert list(result.frame["close"]) == [1.0, 4.0, 5.0]
    assert list(result.frame["dividends"]) == [0.0, 0.5, 0.0]
    assert result.notices == ("AAPL: left out 2 rows without a close price.",)


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("404", NotFoundError, "no symbol 'AAPL'"),
        ("429", TemporaryError, "HTTP 429"),
        ("500", TemporaryError, "HTTP 500"),
        ("hang", TemporaryError, "could not be reached"),
        ("drop", TemporaryError, "could not be reached"),
        ("truncated", TemporaryError, "no chart JSON"),
        ("empty", InvalidInputError, "no rows"),
        ("ragged", InvalidInputError, "4 values of close"),
        ("refused_range", InvalidInputError, "15m data not available"),
        ("null", InvalidInputError, "none of them with a close"),
    ],
)
@pytest.mark.parametrize("continued", [False, True])
def test_each_failure_is_told_apart(
    yahoo: Yahoo, kind: str, error: type[ForecasterError], said: str, continued: bool
) -> None:
    listing = yahoo.daily("AAPL", "2024-01-01", [1.0, 2.0, 3.0, 4.0, 5.0])
    past = one("AAPL").frame if continued else None
    if kind == "null":
        listing.close = listing.adjusted = [None] * 5
    else:
        yahoo.fail("AAPL", kind, only_bars=kind == "ragged")
    began = time.monotonic()
    result = one("AAPL", past, timeout=0.5)
    assert result.action == "failed"
    assert result.frame is None
    assert type(result.error) is error
    assert said in str(result.error)
    assert time.monotonic() - began < 4


def test_an_unlisted_symbol_is_not_found(yahoo: Yahoo) -> None:
    result = one("NOSUCH")
    assert isinstance(result.error, NotFoundError)
    assert len(yahoo.seen) == 1  # a wrong symbol is not tried again


@pytest.mark.parametrize("kind", ["429", "500", "drop", "truncated"])
def test_a_passing_failure_is_retried(yahoo: Yahoo, kind: str) -> None:
    yahoo.daily("AAPL", "2024-01-01", [1.0, 2.0])
    yahoo.fail("AAPL", kind, times=2)
    assert one("AAPL", retry_seconds=1.0).action == "new"


def test_retries_are_few(yahoo: Yahoo) -> None:
    yahoo.daily("AAPL", "2024-01-01", [1.0, 2.0])
    yahoo.fail("AAPL", "500")
    one("AAPL", retry_seconds=0.4)
    assert 2 <= len(yahoo.seen) <= 4
    yahoo.seen.clear()
    one("AAPL", retry_seconds=0)
    assert len(yahoo.seen) == 1


def test_the_retry_time_comes_from_the_environment(
    yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    yahoo.daily("AAPL", "2024-01-01", [1.0, 2.0])
    yahoo.fail("AAPL", "500")
    monkeypatch.setenv("FORECAST_RETRY_SECONDS", "0")
    one("AAPL")
    assert len(yahoo.seen) == 1
    monkeypatch.setenv("FORECAST_RETRY_SECONDS", "soon")
    with pytest.raises(InvalidInputError, match="FORECAST_RETRY_SECONDS"):
        one("AAPL")


# --- many symbols ---


def test_one_failing_symbol_leaves_the_others_alone(yahoo: Yahoo) -> None:
    symbols = [f"S{n}" for n in range(12)]
    for symbol in symbols:
        yahoo.daily(symbol, "2024-01-01", [1.0, 2.0, 3.0])
    yahoo.fail("S3", "500")
    yahoo.fail("S5", "ragged")
    del yahoo.listings["S7"]
    results = fetch(symbols)
    assert {name for name, result in results.items() if result.error} == {"S3", "S5", "S7"}
    assert all(len(r.frame) == 3 for r in results.values() if not r.error)


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_symbols_than_workers_at_a_time(yahoo: Yahoo, workers: int) -> None:
    symbols = [f"W{workers}{n}" for n in range(8)]
    for symbol in symbols:
        yahoo.daily(symbol, "2024-01-01", [1.0, 2.0])
    yahoo.delay = 0.05
    fetch(symbols, workers=workers)
    assert min(2, workers) <= yahoo.load.most <= workers


def test_a_rate_limit_stops_the_run(yahoo: Yahoo) -> None:
    symbols = [f"R{n}" for n in range(30)]
    for symbol in symbols:
        yahoo.fail(symbol, "429")
    results = fetch(symbols, workers=2)
    assert len(results) == 30
    assert all(isinstance(result.error, TemporaryError) for result in results.values())
    assert len({request.symbol for request in yahoo.seen}) <= 4
    assert "Not asked" in results["R29"].error.message


def test_without_a_network_the_run_ends_soon(yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", address)
        monkeypatch.setenv("https_proxy", address)
        began = time.monotonic()
        results = fetch([f"N{n}" for n in range(50)], workers=2)
    assert all(isinstance(result.error, TemporaryError) for result in results.values())
    assert "could not be reached" in results["N0"].error.message
    assert time.monotonic() - began < 8


def test_hanging_symbols_do_not_stop_the_others(yahoo: Yahoo) -> None:
    good = [f"G{n}" for n in range(30)]
    for symbol in good:
        yahoo.daily(symbol, "2024-01-01", [1.0, 2.0])
    bad = ["H0", "H1", "H2"]
    for symbol in bad:
        yahoo.fail(symbol, "hang")
    yahoo.delay = 0.05
    results = fetch([*bad, *good], workers=4, timeout=0.7)
    assert {name for name, result in results.items() if result.error} == set(bad)


def test_results_come_as_they_are_ready(yahoo: Yahoo) -> None:
    yahoo.daily("FAST", "2024-01-01", [1.0, 2.0])
    yahoo.fail("SLOW", "hang")
    results = fetch_symbols(
        ["SLOW", "FAST"], stored=lambda _: None, workers=2, timeout=2.0, now=lambda: LATER
    )
    began = time.monotonic()
    assert next(results).symbol == "FAST"
    results.close()
    assert time.monotonic() - began < 1.9


def test_an_interrupt_ends_the_program_promptly(yahoo: Yahoo) -> None:
    for n in range(8):
        yahoo.fail(f"I{n}", "hang")
    program = (
        "from forecaster.sources.yahoo import fetch_symbols\n"
        "list(fetch_symbols([f'I{n}' for n in range(8)], stored=lambda _: None))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, **yahoo.environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while not yahoo.seen and time.monotonic() < deadline:
        time.sleep(0.05)
    assert yahoo.seen
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=20)
    assert time.monotonic() - began < 3
    assert said.rstrip().endswith("KeyboardInterrupt")


def test_a_program_sees_no_warning(yahoo: Yahoo) -> None:
    """yfinance turns its deprecation warnings on, and both it and the retries log."""
    yahoo.daily("AAPL", "2024-01-01", [1.0, 2.0])
    yahoo.fail("AAPL", "429", times=2)
    program = (
        "from forecaster.sources.yahoo import fetch_symbols\n"
        "print([r.action for r in fetch_symbols(['AAPL'], stored=lambda _: None)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **yahoo.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("['new']\n", "")


# --- bars within a day ---


def test_bars_within_a_day_keep_exchange_time(yahoo: Yahoo) -> None:
    yahoo.listings["BTC-USD"] = Listing.every(
        60, datetime(2024, 1, 1), [1.0 + n for n in range(50)]
    )
    moment = datetime(2024, 1, 3, 2, 15, tzinfo=UTC)
    frame = one("BTC-USD", interval="1h", now=lambda: moment).frame
    assert str(frame["ds"].dt.tz) == "UTC"
    assert frame["ds"].iloc[-1] == pd.Timestamp("2024-01-03 00:00", tz="UTC")
    later = datetime(2024, 1, 4, tzinfo=UTC)
    past = frame.assign(ds=frame["ds"].dt.tz_convert("Asia/Tokyo"))
    result = one("BTC-USD", past, interval="1h", now=lambda: later)
    assert (result.action, result.rows_added) == ("appended", 1)
    assert result.frame["ds"].dtype == frame["ds"].dtype


def test_half_hours_are_not_called_null_overnight(yahoo: Yahoo) -> None:
    listing = Listing.every(15, datetime(2024, 1, 1), [1.0 + n for n in range(16)])
    listing.times[8:] = [moment + 43_200 for moment in listing.times[8:]]
    yahoo.listings["BTC-USD"] = listing
    moment = datetime(2024, 1, 5, tzinfo=UTC)
    result = one("BTC-USD", interval="30m", now=lambda: moment)
    assert len(result.frame) == 8
    assert result.notices == ()


def test_bars_that_yahoo_serves_no_longer_are_kept(yahoo: Yahoo) -> None:
    first = datetime(2024, 1, 1)
    listing = Listing.every(60, first, [1.0 + n for n in range(24 * 20)])
    yahoo.listings["BTC-USD"] = listing
    options = {"interval": "1m"}
    listing.times = [listing.times[0] + 60 * n for n in range(len(listing.times))]
    soon = datetime(2024, 1, 2, tzinfo=UTC)
    past = one("BTC-USD", now=lambda: soon, **options).frame
    listing.scale(0.5)
    listing.times = [moment + 86_400 * 7 for moment in listing.times]
    listing.times[:10] = [moment - 86_400 * 7 for moment in listing.times[:10]]
    late = datetime(2024, 1, 9, tzinfo=UTC)
    result = one("BTC-USD", past, now=lambda: late, **options)
    assert result.action == "replaced"
    assert "no longer serves" in result.notices[-1]
    assert len(result.frame) == len(past) + len(listing.times) - 10


def test_a_start_before_what_yahoo_serves_is_said(yahoo: Yahoo) -> None:
    yahoo.listings["BTC-USD"] = Listing.every(15, datetime(2024, 1, 1), [1.0] * 50)
    moment = datetime(2024, 1, 5, tzinfo=UTC)
    result = one("BTC-USD", interval="15m", start="2023-01-01", now=lambda: moment)
    assert "serves 15m bars from 2023-11-06 on, not from 2023-01-01" in result.notices[0]
    with_end = one(
        "BTC-USD", interval="15m", start="2023-01-01", end="2023-02-01", now=lambda: moment
    )
    assert isinstance(with_end.error, InvalidInputError)


# --- choices that cannot be used ---


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"interval": "5d"}, "interval must be one of"),
        ({"price": "open"}, "price must be one of"),
        ({"start": "yesterday"}, "ISO date"),
        ({"start": "2024-02-01", "end": "2024-01-01"}, "before end"),
        ({"start": "2999-01-01"}, "future"),
        ({"workers": 0}, "positive"),
    ],
)
def test_unusable_choices_are_refused_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        fetch_symbols(["AAPL"], stored=lambda _: None, **options)


@pytest.mark.parametrize("symbol", ["", "A/B", "two words", "../x", "US0378331005"])
def test_what_is_no_symbol_is_not_asked(yahoo: Yahoo, symbol: str) -> None:
    (result,) = fetch_symbols([symbol], stored=lambda _: None)
    assert isinstance(result.error, InvalidInputError)
    assert yahoo.seen == []


def test_importing_the_module_is_cheap() -> None:
    program = (
        "import sys, forecaster.sources.yahoo\n"
        "print([m for m in ('pandas', 'yfinance', 'curl_cffi', 'stamina') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
