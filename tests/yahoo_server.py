"""A Yahoo on loopback: a CONNECT proxy that ends TLS itself and answers the hosts of yfinance.

The real client runs against it through environment variables alone, in this process or another.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

import trustme

CHART = "/v8/finance/chart/"
HOSTS = ("yahoo.com", "*.yahoo.com", "*.finance.yahoo.com")


@dataclass
class Listing:
    """The bars of one symbol, which a test may change between fetches.

    `times` are Unix seconds; a None in `close` is a null row.
    """

    times: list[int]
    close: list[float | None]
    adjusted: list[float | None]
    volume: list[int | None]
    zone: str = "America/New_York"
    dividends: dict[int, float] = field(default_factory=dict)
    splits: dict[int, tuple[int, int]] = field(default_factory=dict)
    # Start and end of the session that Yahoo calls the current one.
    session: tuple[int, int] = (0, 0)

    @classmethod
    def daily(cls, first: date, closes: list[float | None]) -> Listing:
        """Weekday bars from `first` on, stamped 09:30 in New York as Yahoo does."""
        zone = ZoneInfo("America/New_York")
        days = [first + timedelta(days=n) for n in range(2 * len(closes) + 7)]
        days = [day for day in days if day.weekday() < 5][: len(closes)]
        opens = [datetime(d.year, d.month, d.day, 9, 30, tzinfo=zone) for d in days]
        times = [int(opening.timestamp()) for opening in opens]
        volume = [None if close is None else 1000 for close in closes]
        session = (times[-1], times[-1] + 23_400) if times else (0, 0)
        return cls(times, list(closes), list(closes), volume, session=session)

    @classmethod
    def every(cls, minutes: int, first: datetime, closes: list[float | None]) -> Listing:
        """Bars within a day, around the clock in UTC."""
        start = int(first.replace(tzinfo=UTC).timestamp())
        times = [start + 60 * minutes * n for n in range(len(closes))]
        day = times[-1] - times[-1] % 86_400
        return cls(
            times, list(closes), list(closes), [1] * len(closes), "UTC", session=(day, day + 86_340)
        )

    def scale(self, factor: float, *, rows: int | None = None) -> None:
        """Multiply the first `rows` closes and adjusted closes, as a split does."""
        for values in (self.close, self.adjusted):
            values[:rows] = [v if v is None else v * factor for v in values[:rows]]


@dataclass
class Failure:
    """How a symbol goes wrong, and how many more times (None: always)."""

    kind: str
    times: int | None = None
    only_bars: bool = False


@dataclass
class Seen:
    """One chart request."""

    symbol: str
    query: dict[str, str]
    at: float

    @property
    def start(self) -> date | None:
        """The day of `period1` in New York; None when none was sent."""
        if "period1" not in self.query:
            return None
        zone = ZoneInfo("America/New_York")
        return datetime.fromtimestamp(int(self.query["period1"]), zone).date()


class Load:
    """How many requests are being answered, and the most there were at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = 0
        self.most = 0

    def enter(self) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def leave(self) -> None:
        with self.lock:
            self.now -= 1


class Yahoo:
    """The server, its script, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        bundle = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(bundle))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*HOSTS).configure_cert(self.tls)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.yahoo = self  # type: ignore[attr-defined]
        url = f"http://127.0.0.1:{self.server.server_port}"
        self.environment = {
            "HTTPS_PROXY": url,
            "https_proxy": url,
            "NO_PROXY": "",
            "no_proxy": "",
            "REQUESTS_CA_BUNDLE": str(bundle),
            "CURL_CA_BUNDLE": str(bundle),
            "XDG_CACHE_HOME": str(folder),
            "FORECAST_RETRY_SECONDS": "0.4",
        }
        self.closing = threading.Event()
        self.reset()
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def reset(self) -> None:
        """Forget the script and the log, and let go of hanging requests."""
        self.closing.set()
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.listings: dict[str, Listing] = {}
        self.failures: dict[str, Failure] = {}
        self.seen: list[Seen] = []
        self.delay = 0.0
        self.load = Load()

    def close(self) -> None:
        """Stop serving."""
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def daily(self, symbol: str, first: str, closes: list[float | None]) -> Listing:
        """List a symbol with weekday bars."""
        self.listings[symbol] = Listing.daily(date.fromisoformat(first), closes)
        return self.listings[symbol]

    def fail(
        self, symbol: str, kind: str, times: int | None = None, *, only_bars: bool = False
    ) -> None:
        """Make a symbol fail.

        Kinds: `404`, `429`, `500`, `garbage`, `hang`, `drop`, `truncated`, `empty`, `ragged`,
        `refused_range`.
        """
        self.failures[symbol] = Failure(kind, times, only_bars)

    def asked(self, symbol: str | None = None) -> list[Seen]:
        """The requests for bars, without those that ask for the time zone alone."""
        return [one for one in self.seen if symbol in (None, one.symbol) and "period1" in one.query]

    def failure_of(self, seen: Seen) -> str | None:
        """Take one of the scripted failures, if any is left."""
        with self.lock:
            failure = self.failures.get(seen.symbol)
            if failure is None or failure.times == 0:
                return None
            if failure.only_bars and "period1" not in seen.query:
                return None
            if failure.times is not None:
                failure.times -= 1
            return failure.kind


class Handler(BaseHTTPRequestHandler):
    """The proxy before CONNECT and every Yahoo host after it, on one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the second packet of each reply waits for 40 ms
    host = ""

    @property
    def yahoo(self) -> Yahoo:
        return self.server.yahoo  # type: ignore[attr-defined]

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the client hung up, as its time-out makes it

    def finish(self) -> None:
        try:
            super().finish()
        except OSError:
            pass
        finally:
            self.connection.close()

    def do_CONNECT(self) -> None:
        self.host = self.path.rpartition(":")[0]
        if not self.host.endswith("yahoo.com"):
            self.reply(502, "no such host here")
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.yahoo.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)  # type: ignore[assignment]
        self.close_connection = False

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if self.host == "fc.yahoo.com":
            cookie = "A3=test; Max-Age=31557600; Domain=.yahoo.com; Path=/; Secure"
            self.reply(404, "", cookie=cookie)
        elif parts.path.endswith("/getcrumb"):
            self.reply(200, "crumb")
        elif parts.path.startswith(CHART):
            seen = Seen(unquote(parts.path.removeprefix(CHART)), query, time.monotonic())
            self.chart(seen)
        else:
            self.reply(404, "{}")

    def chart(self, seen: Seen) -> None:
        yahoo, load = self.yahoo, self.yahoo.load
        yahoo.seen.append(seen)
        load.enter()
        try:
            yahoo.closing.wait(yahoo.delay)
            self.answer(seen, yahoo.failure_of(seen))
        finally:
            load.leave()

    def answer(self, seen: Seen, failure: str | None) -> None:
        listing = self.yahoo.listings.get(seen.symbol)
        if failure == "hang":
            self.yahoo.closing.wait(30)
            self.close_connection = True
        elif failure == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif failure == "429":
            self.reply(429, "Too Many Requests")
        elif failure == "500":
            self.reply(500, "Internal Server Error")
        elif failure == "garbage":
            self.reply(200, "<html>Our engineers are working on it.</html>")
        elif failure == "404" or listing is None:
            self.reply(404, problem("Not Found", "No data found, symbol may be delisted"))
        elif failure == "refused_range":
            self.reply(422, problem("Unprocessable Entity", "15m data not available"))
        else:
            body = json.dumps(chart(listing, seen, failure))
            self.reply(200, body[: len(body) // 2] if failure == "truncated" else body)

    def reply(self, status: int, body: str, cookie: str = "") -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        self.wfile.write(data)


def problem(code: str, description: str) -> str:
    """An error in Yahoo's words."""
    return json.dumps(
        {"chart": {"result": None, "error": {"code": code, "description": description}}}
    )


def chart(listing: Listing, seen: Seen, failure: str | None) -> dict[str, Any]:
    """The chart reply for the bars between `period1` and `period2`."""
    low = int(seen.query.get("period1", -(10**11)))
    high = int(seen.query.get("period2", 10**11))
    rows = [n for n, moment in enumerate(listing.times) if low <= moment < high]
    if "period1" not in seen.query:
        rows = rows[-1:]
    dividends = [
        {"date": moment, "amount": amount}
        for moment, amount in listing.dividends.items()
        if low <= moment < high
    ]
    splits = [
        {"date": moment, "numerator": up, "denominator": down, "splitRatio": f"{up}:{down}"}
        for moment, (up, down) in listing.splits.items()
        if low <= moment < high
    ]
    period = {
        "timezone": "X",
        "start": listing.session[0],
        "end": listing.session[1],
        "gmtoffset": 0,
    }
    meta = {
        "currency": "USD",
        "symbol": seen.symbol,
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": listing.zone,
        "priceHint": 2,
        "firstTradeDate": listing.times[0] if listing.times else None,
        "regularMarketTime": listing.times[-1] if listing.times else 0,
        "currentTradingPeriod": {name: dict(period) for name in ("pre", "regular", "post")},
        "tradingPeriods": trading_periods(listing),
        "validRanges": ["1d", "5d", "1mo", "max"],
    }
    result: dict[str, Any] = {
        "meta": meta,
        "events": {
            "dividends": {str(event["date"]): event for event in dividends},
            "splits": {str(event["date"]): event for event in splits},
        },
        "indicators": {"quote": [{}], "adjclose": [{}]},
    }
    if rows and failure != "empty":
        closes = [listing.close[n] for n in rows]
        quote = {name: list(closes) for name in ("open", "high", "low", "close")}
        quote["volume"] = [listing.volume[n] for n in rows]
        if failure == "ragged":
            quote["close"].pop()
        result["timestamp"] = [listing.times[n] for n in rows]
        result["indicators"] = {
            "quote": [quote],
            "adjclose": [{"adjclose": [listing.adjusted[n] for n in rows]}],
        }
    return {"chart": {"result": [result], "error": None}}


def trading_periods(listing: Listing) -> list[list[dict[str, Any]]]:
    """One period a day around the clock, which intraday replies carry."""
    days = sorted({moment - moment % 86_400 for moment in listing.times})
    return [[{"timezone": "X", "start": d, "end": d + 86_400, "gmtoffset": 0}] for d in days]
