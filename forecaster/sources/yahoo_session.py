"""One request to Yahoo through yfinance, made to fail loudly.

yfinance by default answers an empty frame to an unknown symbol, a server error, a truncated body
and a time-out alike. The session here tells them apart before yfinance sees the reply.

Importing this module imports yfinance (about a second), so `yahoo` does it inside its functions.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
import warnings
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yfinance as yf
from curl_cffi.requests import Session
from yfinance.cache import get_cookie_cache, get_tz_cache
from yfinance.data import YfData
from yfinance.exceptions import (
    YFDataException,
    YFPricesMissingError,
    YFRateLimitError,
    YFTzMissingError,
)

from forecaster.errors import ForecasterError, InvalidInputError, NotFoundError, TemporaryError
from forecaster.processes import scratch_folder

CHART_PATH = "/v8/finance/chart/"
CRUMB_PATH = "/v1/test/getcrumb"
# yfinance answers these itself: it changes its cookie and asks once more.
COOKIE_STATUSES = {401, 403, 429}


class UnknownSymbolError(Exception):
    """Yahoo has no such symbol (HTTP 404)."""


class RefusedRequestError(Exception):
    """Yahoo understood the symbol and refused the request, such as a range it does not serve."""


class MalformedReplyError(Exception):
    """A chart whose parts do not fit together."""


class UpstreamError(OSError):
    """A 5xx reply or a body that is no chart: worth another try, as a network failure is."""


@dataclass(frozen=True)
class Reply:
    """What Yahoo said about one symbol.

    Attributes:
        bars: `(bar, field)` with Yahoo's own column names, null rows included, indexed by
            exchange time.
        session: Start and end of the current regular trading session, when Yahoo tells it.
        first_trade: When the symbol was first traded, when Yahoo tells it.
    """

    bars: pd.DataFrame
    session: tuple[pd.Timestamp, pd.Timestamp] | None
    first_trade: pd.Timestamp | None


class LoudSession(Session):  # type: ignore[misc]  # curl_cffi is not type-checked
    """A curl session with a ceiling on every time-out and errors that say what went wrong."""

    longest = 10.0

    def request(self, method: str, url: str, **options: Any) -> Any:
        """Send one request; see `curl_cffi.requests.Session.request`."""
        asked = options.get("timeout")
        plain = isinstance(asked, int | float)
        options["timeout"] = min(asked, self.longest) if plain else self.longest  # type: ignore[type-var]
        response = super().request(method, url, **options)
        if CHART_PATH in url:
            check_chart(response)
        elif CRUMB_PATH in url and response.status_code >= 500:
            # Its text would otherwise be sent as the crumb for the rest of the process.
            raise UpstreamError(f"HTTP {response.status_code} for the crumb")
        return response


def check_chart(response: Any) -> None:
    """Raise when a chart reply is not one that yfinance can be trusted with."""
    status = response.status_code
    if status in COOKIE_STATUSES:
        return
    if status >= 500:
        raise UpstreamError(f"HTTP {status}")
    try:
        chart = response.json()["chart"]
        described = (chart.get("error") or {}).get("description") or ""
        results = chart.get("result") or []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if status == 404:
            raise UnknownSymbolError from error
        raise UpstreamError(f"HTTP {status} with a body that is no chart JSON") from error
    if status == 404:
        raise UnknownSymbolError(described)
    if status >= 400:
        raise RefusedRequestError(described or f"HTTP {status}")
    for result in results:
        check_lengths(result)


def check_lengths(result: dict[str, Any]) -> None:
    """Raise when the arrays of one chart are not all as long as its timestamps."""
    indicators = result.get("indicators") or {}
    parts = [*(indicators.get("quote") or []), *(indicators.get("adjclose") or [])]
    arrays = {name: len(values or ()) for part in parts for name, values in (part or {}).items()}
    rows = len(result.get("timestamp") or ())
    wrong = {name: length for name, length in arrays.items() if length != rows}
    if wrong:
        raise MalformedReplyError(
            f"{rows} timestamps, but "
            + ", ".join(f"{length} values of {name}" for name, length in sorted(wrong.items()))
        )


@functools.cache
def connect() -> LoudSession:
    """Configure yfinance once for the process and open the session that all requests share.

    Not safe to call for the first time from two threads at once.
    """
    # The shared cache on disk may be locked or damaged by another process.
    yf.set_tz_cache_location(str(scratch_folder()))
    for cache in (get_tz_cache(), get_cookie_cache()):
        cache.lookup("")  # creates the tables now, before the threads race to do it
    yf.config.debug.hide_exceptions = False
    for name in ("yfinance", "stamina"):
        # Keeps their warnings off stderr; the user gets errors and notices instead.
        logging.getLogger(name).addHandler(logging.NullHandler())
    return LoudSession(impersonate="chrome")


def begin(timeout: float) -> None:
    """Prepare for a run: forget replies that yfinance kept and set the longest time-out, in s."""
    connect().longest = timeout
    # yfinance turns its own deprecation warnings on, which would land on the user's stderr.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="yfinance")
    # A past range is kept in memory for the life of the process, yet it can be revised.
    YfData.cache_get.cache_clear()


def request_history(
    symbol: str,
    interval: str,
    start: dt.date | dt.datetime | None,
    end: dt.date | None,
) -> Reply:
    """Ask once for the bars of a symbol from `start` to `end` (exclusive).

    Raises:
        Exception: Any of yfinance, curl_cffi and this module; `explain` puts it into words.
    """
    ticker = yf.Ticker(symbol, session=connect())
    first = {"period": "max"} if start is None else {"start": start}
    bars = ticker.history(
        **first,
        end=end,
        interval=interval,
        auto_adjust=False,
        actions=True,
        # Null rows are kept to be counted. yfinance makes 30m bars from 15m ones, and with them
        # an empty row for each half hour of the night.
        keepna=interval != "30m",
    )
    facts = ticker.get_history_metadata()
    regular = (facts.get("currentTradingPeriod") or {}).get("regular") or {}
    known = isinstance(regular.get("start"), pd.Timestamp) and "end" in regular
    first_trade = facts.get("firstTradeDate")
    return Reply(
        bars=bars,
        session=(regular["start"], regular["end"]) if known else None,
        first_trade=first_trade if isinstance(first_trade, pd.Timestamp) else None,
    )


def worth_retrying(error: Exception) -> bool:
    """Tell whether the same request may succeed a little later."""
    return isinstance(error, YFRateLimitError | YFDataException | OSError)


def rate_limited(error: Exception) -> bool:
    """Tell whether Yahoo asked us to slow down."""
    return isinstance(error, YFRateLimitError)


def out_of_reach(error: Exception) -> bool:
    """Tell whether no answer came at all."""
    return isinstance(error, OSError) and not isinstance(error, UpstreamError)


def explain(symbol: str, error: Exception) -> ForecasterError:
    """Turn what a request raised into an error for the user."""
    if worth_retrying(error):
        return temporary(symbol, error)
    if isinstance(error, UnknownSymbolError):
        detail = f" ({error})" if str(error) else ""
        return NotFoundError(
            f"Yahoo has no symbol {symbol!r}{detail}.",
            "Check the spelling on finance.yahoo.com; exchanges outside the US need a suffix, "
            "such as SAP.DE.",
        )
    if isinstance(error, YFPricesMissingError | YFTzMissingError):
        reason = getattr(error, "yahoo_reason", None)
        return InvalidInputError(
            f"Yahoo sent no rows for symbol {symbol!r} in the asked range"
            + (f": {reason}." if reason else "."),
            "Ask for an earlier start or another interval.",
        )
    if isinstance(error, RefusedRequestError):
        return InvalidInputError(
            f"Yahoo refused the request for symbol {symbol!r}: {error}.",
            "Ask for a later start or another interval.",
        )
    return InvalidInputError(
        f"Yahoo's reply for symbol {symbol!r} cannot be used ({type(error).__name__}: {error}).",
        "Try again; if it persists, leave the symbol out.",
    )


def temporary(symbol: str, error: Exception) -> TemporaryError:
    """Say which trouble of the network or of Yahoo will pass."""
    if rate_limited(error):
        return TemporaryError(
            f"Yahoo limits the rate of requests (HTTP 429), met at symbol {symbol!r}.",
            "Wait some minutes, then run the same command again.",
        )
    if not out_of_reach(error):
        return TemporaryError(
            f"Yahoo did not serve symbol {symbol!r}: {error}.", "Try again in a few minutes."
        )
    reason = str(error).split(" See https://curl.se", maxsplit=1)[0].rstrip(".")
    return TemporaryError(
        f"Yahoo could not be reached for symbol {symbol!r}: {reason}.",
        "Check the network and any HTTPS_PROXY, then try again.",
    )
