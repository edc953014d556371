"""Small series for tests: made, seeded, with a signal that a network can learn."""

import numpy as np
import pandas as pd

from forecaster.config import DataSpec
from forecaster.series import prepare


def seasonal(rows=160, season=8, start="2024-01-01", frequency="D", noise=0.05, seed=0, level=5.0):
    """Return times and values of a sine with noise around a level above zero."""
    random = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * np.arange(rows) / season)
    ds = pd.date_range(start, periods=rows, freq=frequency)
    return ds, level + wave + random.normal(0, noise, rows)


def frame_of(*ids, rows=160, **options):
    """Return a long frame of several seasonal series, each with its own level and noise."""
    pieces = []
    for number, uid in enumerate(ids or ("one",)):
        ds, y = seasonal(rows, seed=number, level=5.0 + 3 * number, **options)
        pieces.append(pd.DataFrame({"unique_id": uid, "ds": ds, "y": y}))
    return pd.concat(pieces, ignore_index=True)


def panel_of(*ids, rows=160, **options):
    """Return the same as a panel."""
    return prepare(frame_of(*ids, rows=rows, **options), DataSpec())


QUICK = {
    "preset": "segment",
    "lookback": 16,
    "horizon": 4,
    "segment": 4,
    "layers": (8,),
    "epochs": 3,
    "batch_size": 32,
    "season_length": 8,
    "val_size": 16,
    "folds": 2,
}
