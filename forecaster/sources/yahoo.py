"""Prices from Yahoo: many symbols at once, each new, continued, replaced or failed on its own.

A stored series is continued by asking only for its last sessions and what follows. When the past
that both have differs, or a dividend or split is new, Yahoo has rewritten the history before it,
so the whole series is fetched again.
"""

from __future__ import annotations

import datetime as dt
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator

from forecaster.errors import ForecasterError, InvalidInputError
from forecaster.sources.yahoo_symbol import (
    Brake,
    Fetch,
    Request,
    Stored,
    SymbolResult,
    check_symbol,
)

__all__ = ["SymbolResult", "fetch_symbols"]


def utc_now() -> dt.datetime:
    """Give the present time, aware."""
    return dt.datetime.now(dt.UTC)


def fetch_symbols(
    symbols: Iterable[str],
    *,
    start: dt.date | str | None = None,
    end: dt.date | str | None = None,
    interval: str = "1d",
    price: str = "adjusted",
    stored: Stored,
    workers: int = 4,
    timeout: float = 10.0,
    retry_seconds: float | None = None,
    now: Callable[[], dt.datetime] = utc_now,
) -> Iterator[SymbolResult]:
    """Fetch symbols, some at a time, and give each result as soon as it is there.

    Args:
        symbols: As Yahoo writes them; upper-cased, and asked once each.
        start: First day, ISO or a date. None: where the stored series starts, or as early as
            Yahoo goes. Earlier than the stored series: the whole series is fetched again.
        end: Day after the last one. None: up to now.
        interval: `1m 2m 5m 15m 30m 60m 90m 1h 1d 1wk 1mo 3mo`.
        price: Which price is `y`: `adjusted` for splits and dividends, or the `close`.
        stored: Gives the stored series of a symbol, or None. Called from several threads.
        workers: How many symbols are asked for at the same time.
        timeout: The longest that one request may take, in seconds.
        retry_seconds: How long failures of one symbol are retried, in seconds. None: the
            environment variable FORECAST_RETRY_SECONDS, else 30.
        now: The clock, aware.

    Returns:
        An iterator of one result a symbol, in the order of completion. A failure is a result,
        never an exception; closing the iterator ends the run.

    Raises:
        InvalidInputError: The choices themselves cannot be used.
    """
    request = Request(
        start=as_date("start", start),
        end=as_date("end", end),
        interval=interval,
        price=price,
        retry_seconds=retry_budget() if retry_seconds is None else retry_seconds,
        now=now,
    )
    check(request)
    if workers < 1 or timeout <= 0:
        raise InvalidInputError(
            f"workers and timeout must be positive, got workers {workers} and timeout {timeout}."
        )
    wanted = list(dict.fromkeys(symbol.strip().upper() for symbol in symbols))
    return run(wanted, request, stored, workers, timeout)


def check(request: Request) -> None:
    """Refuse choices that no symbol could be fetched with."""
    from forecaster.sources.yahoo_bars import INTERVALS, PRICES

    interval, price, start, end = request.interval, request.price, request.start, request.end
    if interval not in INTERVALS:
        raise InvalidInputError(
            f"interval must be one of {', '.join(INTERVALS)}, got {interval!r}."
        )
    if price not in PRICES:
        raise InvalidInputError(f"price must be one of {', '.join(PRICES)}, got {price!r}.")
    if start and end and start >= end:
        raise InvalidInputError(f"start must be before end, got start {start} and end {end}.")
    if start and start > request.now().date():
        raise InvalidInputError(f"start must not be in the future, got {start}.")


def retry_budget() -> float:
    """Read from the environment for how many seconds a symbol may be retried."""
    text = os.environ.get("FORECAST_RETRY_SECONDS", "30")
    try:
        budget = float(text)
    except ValueError:
        budget = -1.0
    if not 0 <= budget < float("inf"):
        raise InvalidInputError(
            f"FORECAST_RETRY_SECONDS must be a number of seconds from 0 on, got {text!r}."
        )
    return budget


def as_date(name: str, value: dt.date | str | None) -> dt.date | None:
    """Read a day given as ISO text, a date or a datetime."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            raise InvalidInputError(
                f"{name} must be an ISO date such as 2020-01-31, got {value!r}."
            ) from None
    return value.date() if isinstance(value, dt.datetime) else value


def run(
    symbols: list[str], request: Request, stored: Stored, workers: int, timeout: float
) -> Iterator[SymbolResult]:
    """Work through the symbols in threads that never outlive an interrupted program."""
    from forecaster.sources.yahoo_session import begin

    begin(timeout)
    brake = Brake()
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    results: queue.SimpleQueue[SymbolResult | BaseException] = queue.SimpleQueue()
    for symbol in symbols:
        waiting.put(symbol)

    def work() -> None:
        while not brake.left.is_set():
            try:
                symbol = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                results.put(settle(symbol, request, stored, brake))
            except BaseException as error:  # raised again by the caller's thread
                results.put(error)

    # Daemon threads, not an executor: at exit an executor waits for requests in flight.
    for number in range(min(workers, len(symbols))):
        threading.Thread(target=work, daemon=True, name=f"yahoo-{number}").start()
    try:
        for _ in symbols:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        brake.left.set()


def settle(symbol: str, request: Request, stored: Stored, brake: Brake) -> SymbolResult:
    """Fetch one symbol; a failure that the user can meet becomes its result."""
    try:
        brake.check()
        check_symbol(symbol)
        return Fetch(symbol, request, brake).settle(stored)
    except ForecasterError as error:
        return SymbolResult(symbol, None, "failed", error=error)
