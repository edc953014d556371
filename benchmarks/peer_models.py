"""Forecasts of other libraries, made in an environment of their own (`requirements-peers.txt`).

    PEERS/bin/python benchmarks/peer_models.py MODEL FOLDER

`accuracy.py --peers PEERS/bin/python` calls this, once a model. FOLDER holds `problem.json` and
`series.npz` (`y`: all rows of all series; `offsets`: where each begins); `forecast.npz` (`values`
and, where the model has intervals, `lo-80`, `hi-80` and so on, each `(series, window, horizon)`) and
`about.json` are written beside them. Nothing of `forecaster` is imported.

Every model is fitted once, on the rows before those held out, and forecasts all windows without
being fitted again: the networks as they are, the statistical models with the parameters they found
and their states brought up to each cutoff. What is set beyond the libraries' defaults stands in the
functions below, the same for all benchmarks; only the steps of the optimiser are asked for.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Arrays = dict[str, Floats]

LEVELS = (80, 95)  # in percent, for the models that have intervals of their own
BATCH = 128  # windows in a step: neuralforecast's default, given to darts too


@dataclass(frozen=True)
class Task:
    """What is asked: forecasts of `horizon` rows from every cutoff in the last `test_size` rows."""

    series: list[Floats]
    horizon: int
    test_size: int
    season: int
    lookback: int
    seed: int
    steps: int

    def frame(self) -> pd.DataFrame:
        """Return the rows of all series as Nixtla's tools read them, times as whole numbers."""
        lengths = [len(y) for y in self.series]
        longest = max(lengths)
        return pd.DataFrame(
            {
                "unique_id": np.repeat(np.arange(len(lengths)), lengths),
                "ds": np.concatenate([np.arange(longest - n, longest) for n in lengths]),
                "y": np.concatenate(self.series),
            }
        )

    def stacked(self, table: pd.DataFrame, column: str) -> Floats:
        """Turn a cross-validation table into `(series, window, horizon)`."""
        table = table.reset_index().sort_values(["unique_id", "cutoff", "ds"])
        return table[column].to_numpy(float).reshape(len(self.series), -1, self.horizon)


def neuralforecast(network: str, task: Task) -> Arrays:
    """Forecast by a global network of neuralforecast: its defaults, MAE, robust scaling.

    Series shorter than a window are padded at the front, as the library offers.
    """
    from neuralforecast import NeuralForecast, models

    model = getattr(models, network)(
        h=task.horizon,
        input_size=task.lookback,
        max_steps=task.steps,
        windows_batch_size=BATCH,
        start_padding_enabled=True,
        random_seed=task.seed,
        **_trainer(),
    )
    table = NeuralForecast([model], freq=1).cross_validation(
        task.frame(), n_windows=None, test_size=task.test_size, step_size=1, refit=False
    )
    return {"values": task.stacked(table, network)}


def darts(cell: str, task: Task) -> Arrays:
    """Forecast by the global BlockRNN of darts: two layers of 128, reversible norm, MAE.

    The library's own defaults (one layer of 25, no scaling of any kind) are no match for series
    of different sizes.
    """
    import torch
    from darts import TimeSeries
    from darts.models import BlockRNNModel

    model = BlockRNNModel(
        input_chunk_length=task.lookback,
        output_chunk_length=task.horizon,
        model=cell,
        hidden_dim=128,
        n_rnn_layers=2,
        use_reversible_instance_norm=True,
        loss_fn=torch.nn.L1Loss(),
        batch_size=BATCH,
        n_epochs=task.steps,  # an epoch is at least one step: `max_steps` ends the training
        random_state=task.seed,
        pl_trainer_kwargs={"max_steps": task.steps, **_trainer()},
    )
    rows = [TimeSeries.from_values(y.astype(np.float32)) for y in task.series]
    train = [y[: -task.test_size] for y in rows]
    needed = task.lookback + task.horizon
    model.fit([y for y in train if len(y) >= needed])
    forecasts = model.historical_forecasts(
        [y[-task.test_size - task.lookback :] for y in rows],
        start=task.lookback,
        start_format="position",
        forecast_horizon=task.horizon,
        retrain=False,
        last_points_only=False,
    )
    values = [[window.values()[:, 0] for window in windows] for windows in forecasts]
    return {"values": np.stack(values)}


def statsforecast(name: str, task: Task) -> Arrays:
    """Forecast by a statistical model of statsforecast, a series at a time, with its defaults.

    The intervals are its own.
    """
    from statsforecast import StatsForecast, models

    model = getattr(models, name)(season_length=task.season)
    table = StatsForecast([model], freq=1).cross_validation(
        h=task.horizon,
        df=task.frame(),
        test_size=task.test_size,
        n_windows=None,
        step_size=1,
        refit=task.test_size == task.horizon,
        level=list(LEVELS),
    )
    bounds = [f"{side}-{level}" for level in LEVELS for side in ("lo", "hi")]
    found = {bound: task.stacked(table, f"{name}-{bound}") for bound in bounds}
    return {"values": task.stacked(table, name), **found}


MODELS: dict[str, Callable[[Task], Arrays]] = {
    "statsforecast-SeasonalNaive": partial(statsforecast, "SeasonalNaive"),
    "statsforecast-DynamicOptimizedTheta": partial(statsforecast, "DynamicOptimizedTheta"),
    "statsforecast-AutoETS": partial(statsforecast, "AutoETS"),
    "darts-BlockRNN": partial(darts, "LSTM"),
    "neuralforecast-LSTM": partial(neuralforecast, "LSTM"),
    "neuralforecast-GRU": partial(neuralforecast, "GRU"),
}


def _trainer() -> dict[str, Any]:
    """Tell Lightning to train on the CPU, write no files and say how far it is."""
    from pytorch_lightning.callbacks import LambdaCallback

    def tell(trainer: Any, *_: Any) -> None:
        if trainer.global_step % 50 == 0:
            print(f"  step {trainer.global_step}", file=sys.stderr, flush=True)

    return {
        "accelerator": "cpu",
        "callbacks": [LambdaCallback(on_train_batch_end=tell)],
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "logger": False,
    }


def main() -> None:
    """Run one model on the problem of a folder."""
    model, folder = sys.argv[1], Path(sys.argv[2])
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with np.load(folder / "series.npz") as stored:
        series = np.split(stored["y"], stored["offsets"][1:-1])
    task = Task(series, **json.loads((folder / "problem.json").read_text()))
    begin = time.monotonic()
    forecast = MODELS[model](task)
    seconds = time.monotonic() - begin
    library = model.split("-")[0]
    about = {"seconds": seconds, "library": f"{library} {version(library)}"}
    if library != "statsforecast":
        about |= {"steps": task.steps, "lookback": task.lookback, "torch": version("torch")}
    np.savez(folder / "forecast.npz", **forecast)  # type: ignore[arg-type]
    (folder / "about.json").write_text(json.dumps(about))


if __name__ == "__main__":
    main()
