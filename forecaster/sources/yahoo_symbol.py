"""One symbol of Yahoo: fetch it whole, continue it, or replace it when its past was rewritten."""

from __future__ import annotations

import datetime as dt
import re
import threading
import time
from collections.abc import Callable
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
        self._last_reached = float("-inf")
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
            self._last_reached = time.monotonic()

    def rate_limited(self, error: ForecasterError) -> None:
        """Note that Yahoo refuses more requests: nothing else is worth asking."""
        self._reason = self._reason or error

    def unreachable(self, error: ForecasterError, since: float) -> None:
        """Note that nobody answered since a time; several such symbols in a row mean no network."""
        with self._lock:
            # Hanging symbols end together; an answer to another one in between clears them all.
            self._unreachable = self._unreachable + 1 if self._last_reached < since else 0
            if self._unreachable >= UNREACHABLE_LIMIT:
                self._reason = self._reason or error


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
        from forecaster.sources.yahoo_bars import is_within_days, mismatch

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
        if reason and is_within_days(past) and len(past) > 1:
            raise InvalidInputError(
                f"{self.symbol!r} is stored as {len(past):,} bars within days, of which Yahoo serves the "
                f"last weeks only, and cannot be continued: {reason}.",
                "Ask for what is stored; or export it, drop it (forecast data drop) and fetch anew.",
            )
        if reason:
            return self.replace(past, reason, continuing=False)
        return self.proceed(past)

    def proceed(self, past: pd.DataFrame) -> SymbolResult:
        """Ask for the last stored rows and what follows; append when they agree."""
        from forecaster.sources.yahoo_bars import MINUTES, extended, revision

        start, end = self.request.start, self.request.end
        if end and past["ds"].iloc[-1].date() >= end:
            if start and self.could_start_earlier(past, start):
                self.notices.append(
                    f"{self.symbol}: stored from {past['ds'].iloc[0]:%Y-%m-%d} to beyond {end}, and not "
                    f"fetched from {start} on. To have it whole, leave --end out."
                )
            return self.result(past, "unchanged", 0)
        overlap = past["ds"].iloc[-min(OVERLAP, len(past))]
        within = self.request.interval in MINUTES
        recent = self.bars(overlap.to_pydatetime() if within else overlap.date())
        # The store may keep another unit or time zone than the exchange's.
        past["ds"] = past["ds"].astype(recent["ds"].dtype)
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

        began = time.monotonic()
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
            if wire.rate_limited(error):
                self.brake.rate_limited(explained)
            elif wire.out_of_reach(error):
                self.brake.unreachable(explained, began)
            else:
                self.brake.reached()
            raise explained from error
        self.brake.reached()
        return reply
