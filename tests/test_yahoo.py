"""Fetching from Yahoo with the real client, against a server on loopback."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
from yahoo_server import Yahoo

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
