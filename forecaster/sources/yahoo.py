"""Prices from Yahoo: many symbols at once, each new, continued, replaced or failed on its own.

A stored series is continued by asking only for its last sessions and what follows. When the past
that both have differs, or a dividend or split is new, Yahoo has rewritten the history before it,
so the whole series is fetched again.
"""

from __future__ import annotations

import datetime as dt
import os
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from forecaster.errors import DamagedError, ForecasterError, InvalidInputError, TemporaryError

if TYPE_CHECKING:
    import pandas as pd

    from forecaster.sources.yahoo_session import Reply

Action = Literal["new", "appended", "replaced", "unchanged", "failed"]
Stored = Callable[[str], "pd.DataFrame | None"]

OVERLAP = 10  # stored rows asked for again, to see whether the past was rewritten
ATTEMPTS = 4
UNREACHABLE_LIMIT = 3  # symbols in a row without any network before the rest is given up
# A series may start on the first session after a holiday rather than on the day asked for.
START_SLACK = dt.timedelta(days=4)
ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")


@dataclass(frozen=True)
class SymbolResult:
    """What became of one symbol.

    Attributes:
        symbol: The symbol, upper case; the `unique_id` of the frame.
        frame: The whole series as a long frame; None when the symbol failed.
        action: `new`, `appended`, `replaced`, `unchanged` or `failed`.
        rows_added: How many times the frame has that the stored series had not.
        error: Why it failed; None otherwise.
        notices: What was left out, kept or replaced, one line each.
    """

    symbol: str
    frame: pd.DataFrame | None
    action: Action
    rows_added: int = 0
    error: ForecasterError | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """What is asked of every symbol of a run, checked."""

    start: dt.date | None
    end: dt.date | None
    interval: str
    price: str
    retry_seconds: float
    now: Callable[[], dt.datetime]


class Brake:
    """Stops a run early: when Yahoo limits the rate, is out of reach, or the caller has left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unreachable = 0
        self._reason: ForecasterError | None = None
        self.left = threading.Event()

    def check(self) -> None:
        """Raise the reason why nothing more should be asked, if there is one."""
        if self.left.is_set():
            raise TemporaryError("The fetch was stopped.")
        if self._reason:
            raise TemporaryError(f"Not asked: {self._reason.message}", self._reason.hint)

    def reached(self) -> None:
        """Note that Yahoo answered."""
        with self._lock:
            self._unreachable = 0

    def failed(self, error: ForecasterError, *, rate_limited: bool) -> None:
        """Note a failure that outlasted its retries."""
        with self._lock:
            self._unreachable += 1
            if rate_limited or self._unreachable >= UNREACHABLE_LIMIT:
                self._reason = self._reason or error


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
    request = checked(start, end, interval, price, retry_seconds, now)
    if workers < 1 or timeout <= 0:
        raise InvalidInputError(
            f"workers and timeout must be positive, got workers {workers} and timeout {timeout}."
        )
    wanted = list(dict.fromkeys(symbol.strip().upper() for symbol in symbols))
    return run(wanted, request, stored, workers, timeout)


def checked(
    start: dt.date | str | None,
    end: dt.date | str | None,
    interval: str,
    price: str,
    retry_seconds: float | None,
    now: Callable[[], dt.datetime],
) -> Request:
    """Check the choices that all symbols share."""
    from forecaster.sources.yahoo_bars import INTERVALS, PRICES

    if interval not in INTERVALS:
        raise InvalidInputError(
            f"interval must be one of {', '.join(INTERVALS)}, got {interval!r}."
        )
    if price not in PRICES:
        raise InvalidInputError(f"price must be one of {', '.join(PRICES)}, got {price!r}.")
    first, last = as_date("start", start), as_date("end", end)
    if first and last and first >= last:
        raise InvalidInputError(f"start must be before end, got start {first} and end {last}.")
    if first and first > now().date():
        raise InvalidInputError(f"start must not be in the future, got {first}.")
    if retry_seconds is None:
        text = os.environ.get("FORECAST_RETRY_SECONDS", "30")
        try:
            retry_seconds = float(text)
        except ValueError:
            retry_seconds = -1.0
        if not 0 <= retry_seconds < float("inf"):
            raise InvalidInputError(
                f"FORECAST_RETRY_SECONDS must be a number of seconds, got {text!r}."
            )
    return Request(first, last, interval, price, retry_seconds, now)


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


def check_symbol(symbol: str) -> None:
    """Refuse what cannot be a symbol before it is put in an address."""
    if not symbol or re.search(r"[\s/?#%\\]", symbol):
        raise InvalidInputError(f"A Yahoo symbol such as AAPL or ^GSPC is needed, got {symbol!r}.")
    if ISIN.fullmatch(symbol):
        raise InvalidInputError(
            f"A Yahoo symbol is needed, got the ISIN {symbol}.", "Look it up on finance.yahoo.com."
        )


class Fetch:
    """The steps for one symbol, and the notices that they leave."""

    def __init__(self, symbol: str, request: Request, brake: Brake) -> None:
        self.symbol = symbol
        self.request = request
        self.brake = brake
        self.notices: list[str] = []
        self.first_trade: dt.date | None = None

    def settle(self, stored: Stored) -> SymbolResult:
        """Continue the stored series when that is sound, else fetch the whole."""
        from forecaster.sources.yahoo_bars import mismatch

        try:
            past = stored(self.symbol)
        except DamagedError as error:
            self.notices.append(f"{self.symbol}: fetched again, since {error.message}")
            past = None
        if past is None or past.empty:
            frame = self.bars(self.request.start)
            return self.result(frame, "new", len(frame))
        past = past.sort_values("ds", ignore_index=True)
        reason = mismatch(past, self.request.interval, self.request.price)
        if reason:
            return self.replace(past, reason, continuing=False)
        return self.proceed(past)

    def proceed(self, past: pd.DataFrame) -> SymbolResult:
        """Ask for the last stored rows and what follows; append when they agree."""
        from forecaster.sources.yahoo_bars import MINUTES, extended, revision

        start, end = self.request.start, self.request.end
        if end and past["ds"].iloc[-1].date() >= end:
            return self.result(past, "unchanged", 0)
        overlap = past["ds"].iloc[-min(OVERLAP, len(past))]
        within = self.request.interval in MINUTES
        recent = self.bars(overlap.to_pydatetime() if within else overlap.date())
        reason = revision(past, recent)
        if reason:
            return self.replace(past, reason, continuing=True)
        if start and self.could_start_earlier(past, start):
            recent = self.bars(start)
            if recent["ds"].iloc[0] < past["ds"].iloc[0]:
                return self.replace(past, f"it now starts from {start}", continuing=True)
        frame, added = extended(past, recent)
        return self.result(frame, "appended" if added else "unchanged", added)

    def could_start_earlier(self, past: pd.DataFrame, start: dt.date) -> bool:
        """Tell whether Yahoo may have rows between `start` and the first stored one."""
        candidates = [start, self.first_trade or start]
        limit = self.served_from()
        if limit:
            candidates.append(limit.date())
        return bool(past["ds"].iloc[0].date() - max(candidates) > START_SLACK)

    def replace(self, past: pd.DataFrame, reason: str, *, continuing: bool) -> SymbolResult:
        """Fetch the whole series again, from where the stored one starts or earlier."""
        from forecaster.sources.yahoo_bars import MINUTES, with_unserved

        first = past["ds"].iloc[0].date()
        self.notices.append(f"{self.symbol}: fetched the whole series again, since {reason}.")
        frame = self.bars(min(first, self.request.start or first))
        if continuing and frame["ds"].iloc[-1] < past["ds"].iloc[-1]:
            raise TemporaryError(
                f"The whole history of {self.symbol!r} that Yahoo sent ends on "
                f"{frame['ds'].iloc[-1]}, before the stored series ({past['ds'].iloc[-1]}).",
                "The stored series is kept. Try again later.",
            )
        if continuing and self.request.interval in MINUTES:
            frame, kept = with_unserved(past, frame)
            self.notices.extend([f"{self.symbol}: {kept}."] if kept else [])
        added = len(frame) if not continuing else int((~frame["ds"].isin(past["ds"])).sum())
        return self.result(frame, "replaced", added)

    def result(self, frame: pd.DataFrame, action: Action, added: int) -> SymbolResult:
        """Put the outcome together; the same notice of two requests is given once."""
        return SymbolResult(
            self.symbol, frame, action, added, notices=tuple(dict.fromkeys(self.notices))
        )

    def served_from(self) -> dt.datetime | None:
        """Give the earliest time that Yahoo serves at this interval; None: no limit."""
        from forecaster.sources.yahoo_bars import DAYS_SERVED

        days = DAYS_SERVED.get(self.request.interval)
        # Some minutes less, for the time until the request arrives.
        return self.request.now() - dt.timedelta(days=days, minutes=-10) if days else None

    def bars(self, start: dt.date | None) -> pd.DataFrame:
        """Fetch and tidy the bars from `start` on, as far back as Yahoo serves the interval."""
        from forecaster.sources.yahoo_bars import tidy

        start = self.within_limit(start)
        reply = self.ask(start)
        if reply.first_trade is not None:
            self.first_trade = reply.first_trade.date()
        frame, notices = tidy(
            self.symbol,
            reply.bars,
            interval=self.request.interval,
            price=self.request.price,
            session=reply.session,
            now=self.request.now(),
        )
        self.notices.extend(notices)
        return frame

    def within_limit(self, start: dt.date | None) -> dt.date | None:
        """Move `start` to the first time that Yahoo serves, and say so when it was asked for."""
        limit = self.served_from()
        if limit is None:
            return start
        interval, end = self.request.interval, self.request.end
        if end and end <= limit.date():
            raise InvalidInputError(
                f"Yahoo serves {interval} bars from {limit:%Y-%m-%d} on, but end is {end}.",
                "Ask for a later end or for --interval 1d.",
            )
        if start is None:
            return limit
        asked = start if isinstance(start, dt.datetime) else dt.datetime.combine(start, dt.time())
        if (asked if asked.tzinfo else asked.replace(tzinfo=dt.UTC)) >= limit:
            return start
        if start == self.request.start:
            self.notices.append(
                f"{self.symbol}: Yahoo serves {interval} bars from {limit:%Y-%m-%d} on, "
                f"not from {start}."
            )
        return limit

    def ask(self, start: dt.date | None) -> Reply:
        """Send the request, again with growing jittered pauses while that may help."""
        import stamina

        from forecaster.sources import yahoo_session as wire

        budget = self.request.retry_seconds
        pauses = stamina.retry_context(
            on=wire.worth_retrying,
            attempts=ATTEMPTS if budget else 1,
            timeout=budget or None,
            wait_initial=min(1.0, budget / 8),
            wait_jitter=min(1.0, budget / 8),
            wait_max=budget / 2,
        )
        try:
            for attempt in pauses:
                with attempt:
                    self.brake.check()
                    reply = wire.request_history(
                        self.symbol, self.request.interval, start, self.request.end
                    )
        except ForecasterError:
            raise
        except Exception as error:
            explained = wire.explain(self.symbol, error)
            if wire.out_of_reach(error) or wire.rate_limited(error):
                self.brake.failed(explained, rate_limited=wire.rate_limited(error))
            else:
                self.brake.reached()
            raise explained from error
        self.brake.reached()
        return reply
