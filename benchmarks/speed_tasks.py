"""What is timed, each in a process of its own: `python speed_tasks.py TASK [NUMBER ...]`.

Each task prints one number. Those of other libraries need nothing of the program, and run in the
environment of the peers. The network is the textbook's: two layers of 50 LSTM cells, 60 steps of
one feature, one output.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

LOOKBACK, UNITS = 60, 50
WINDOWS = 16_384
EPOCHS = 5  # the first one is left out: it compiles
STEPS_OF_MATMUL = 2_000


def main() -> None:
    """Run one task and print what it measured."""
    name, *numbers = sys.argv[1:]
    print(TASKS[name](*map(int, numbers)))


def series(rows: int) -> np.ndarray:
    """Return a random walk of about unit size `(row,)`."""
    return np.random.default_rng(1).normal(size=rows).cumsum().astype("float32") / 100


def windows(count: int, lookback: int = LOOKBACK) -> tuple[np.ndarray, np.ndarray]:
    """Return contexts `(window, lookback, 1)` and targets `(window, 1)`, copied out as textbooks do."""
    y = series(count + lookback)
    contexts = np.lib.stride_tricks.sliding_window_view(y, lookback)[:count]
    return np.ascontiguousarray(contexts[:, :, None]), y[lookback:, None]


def panel(rows: int, count: int = 1) -> Any:
    """Return regular hourly series as the program holds them."""
    import pandas as pd

    from forecaster.config import DataSpec
    from forecaster.series import prepare

    ids = [f"s{number:05d}" for number in range(count)]
    frame = pd.DataFrame(
        {
            "unique_id": pd.array(ids, "str").repeat(rows),
            "ds": np.tile(pd.date_range("1900-01-01", periods=rows, freq="h"), count),
            "y": np.tile(series(rows), count),
        }
    )
    return prepare(frame, DataSpec(frequency="h"))


def settings(**changed: Any) -> Any:
    """Return the textbook network's settings."""
    from forecaster.config import Config

    usual = {
        **{"preset": "classic", "cell": "lstm", "layers": (UNITS, UNITS), "dropout": 0.0},
        **{"lookback": LOOKBACK, "horizon": 1, "normalise": "none", "quantiles": ()},
        **{"loss": "mse", "epochs": EPOCHS, "patience": EPOCHS, "val_size": 1, "folds": 1},
        **{"ensemble": 1, "shrink": False, "refit_all": False, "transform": "none"},
    }
    return Config.of(**usual | changed)


def fit(rows: int, count: int = 1, **changed: Any) -> tuple[Any, list[float]]:
    """Train the program's network; return the model and the time of each epoch's end."""
    from forecaster import presets, splits, training

    regular = panel(rows, count)
    config = presets.resolve(settings(**changed), regular)
    ends = [time.perf_counter()]
    model = training.fit(
        regular,
        config,
        splits.of_config(regular, config),
        on_epoch=lambda _: ends.append(time.perf_counter()),
    )
    return model, ends


def train_ours(batch: int) -> float:
    """Windows a second after the first epoch."""
    from forecaster.presets import EPOCH_WINDOWS

    rows = WINDOWS + LOOKBACK + 2
    _, ends = fit(rows, batch_size=batch)
    steps = -(-min(WINDOWS, EPOCH_WINDOWS) // batch)
    return steps * batch / float(np.median(np.diff(ends[1:])))


def compile_ours() -> float:
    """Seconds that the first epoch takes longer than the others."""
    _, ends = fit(WINDOWS, batch_size=256)
    seconds = np.diff(ends)
    return float(seconds[0] - np.median(seconds[1:]))


def keras_network(
    cell: str = "LSTM", units: int = UNITS, lookback: int = LOOKBACK, **options: Any
) -> Any:
    """Return the network of two layers, compiled as Keras does by itself; with options of the layers."""
    import keras

    layer = getattr(keras.layers, cell)
    network = keras.Sequential(
        [
            keras.Input((lookback, 1)),
            layer(units, return_sequences=True, **options),
            layer(units, **options),
            keras.layers.Dense(1),
        ]
    )
    network.compile("adam", "mse")
    return network


def train_keras(batch: int) -> float:
    """Windows a second of `model.fit` on arrays, after the first epoch."""
    import keras

    ends: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    x, y = windows(WINDOWS)
    keras_network().fit(x, y, batch_size=batch, epochs=EPOCHS, verbose=0, callbacks=[watch])
    return len(x) / float(np.median(np.diff(ends)))


def _torch_network() -> Any:
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = torch.nn.LSTM(1, UNITS, num_layers=2, batch_first=True)
            self.head = torch.nn.Linear(UNITS, 1)

        def forward(self, x: Any) -> Any:
            return self.head(self.cells(x)[0][:, -1])

    return Network()


def train_torch(batch: int) -> float:
    """Windows a second of a bare loop, after the first epoch."""
    import torch

    x, y = map(torch.from_numpy, windows(WINDOWS))
    network = _torch_network()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    ends = []
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x)).split(batch):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(network(x[chosen]), y[chosen]).backward()
            optimiser.step()
        ends.append(time.perf_counter())
    return len(x) / float(np.median(np.diff(ends)))


def _throughput(call: Callable[[], Any]) -> float:
    """Windows a second of a call that forecasts `WINDOWS`, once warm: the best of three."""
    call()
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return WINDOWS / min(seconds)


def predict_ours() -> float:
    """Windows a second."""
    model, _ = fit(400, epochs=1)
    network, contexts = model.network, windows(WINDOWS)[0]
    return _throughput(lambda: network(contexts))


def predict_keras() -> float:
    """Windows a second of `model.predict`."""
    network, contexts = keras_network(), windows(WINDOWS)[0]
    return _throughput(lambda: network.predict(contexts, batch_size=1024, verbose=0))


def predict_torch() -> float:
    """Windows a second, eager, 1,024 at a time."""
    import torch

    network, contexts = _torch_network().eval(), torch.from_numpy(windows(WINDOWS)[0])

    def call() -> None:
        with torch.inference_mode():
            for part in contexts.split(1024):
                network(part)

    return _throughput(call)


def flops(gates: int = 4, units: int = UNITS, lookback: int = LOOKBACK) -> float:
    """Floating-point operations of one window's training: thrice those of its forecast."""
    by_layer = [2 * gates * units * (inputs + units) for inputs in (1, units)]
    return 3.0 * lookback * sum(by_layer)


def ceiling(batch: int) -> float:
    """Windows a second if the recurrent matrix products were all there is to do."""
    states, kernel = (
        np.ones((batch, 2 * UNITS), "float32"),
        np.ones((2 * UNITS, 4 * UNITS), "float32"),
    )
    out = np.empty((batch, 4 * UNITS), "float32")
    for _ in range(100):
        np.matmul(states, kernel, out=out)
    begin = time.perf_counter()
    for _ in range(STEPS_OF_MATMUL):
        np.matmul(states, kernel, out=out)
    seconds = (time.perf_counter() - begin) / STEPS_OF_MATMUL
    return 2 * batch * kernel.size / seconds / flops()


def memory(rows: int) -> float:
    """Peak megabytes over those after import, of training on one long series, 720 rows a context."""
    from forecaster import training  # noqa: F401

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    imported = peak()
    fit(rows, lookback=720, horizon=24, preset="segment", epochs=1, layers=(16,), val_size=24)
    return peak() - imported


def epoch(rows: int, lookback: int, count: int) -> float:
    """Seconds of an epoch for each window in it."""
    from forecaster.presets import EPOCH_WINDOWS

    _, ends = fit(rows, count, lookback=lookback, layers=(16,), batch_size=64)
    inside = min(count * (rows - lookback - 2), EPOCH_WINDOWS)
    return float(np.median(np.diff(ends[1:]))) / inside


def backtest(how: str, passes: int) -> float:
    """Seconds for 2,785 cutoffs x 7 series x 96 steps.

    All `at-once`, or one cutoff after another: by `predict` on the rows up to each (`loop-predict`), or
    by the function that forecasts them at once, on all rows (`loop-forecast`). Of several passes the
    last is measured: the first one loads the network and touches new memory.
    """
    from forecaster.predicting import predict

    model, _ = fit(
        4_000, 7, preset="segment", lookback=96, horizon=96, segment=24, epochs=1, layers=(64,),
        val_size=96,
    )  # fmt: skip
    regular = panel(4_000, 7)
    last = 4_000 - 96 - 1
    cutoffs = np.arange(last - 2_785, last)[:, None] + regular.offsets[:-1]
    parts = [cutoffs.T.ravel()] if how == "at-once" else cutoffs
    for _ in range(passes):
        begin = time.perf_counter()
        for part in parts:
            if how == "loop-predict":
                seen = regular.head(part + 1 - regular.offsets[:-1])
                assert len(predict(model, seen, level=(), adaptive=False).frame) == 7 * 96
            else:
                assert model.forecast(regular, part).values.shape[1] == 96
        seconds = time.perf_counter() - begin
    return seconds


TASKS: dict[str, Callable[..., float]] = {
    "train-ours": train_ours,
    "train-keras": train_keras,
    "train-torch": train_torch,
    "predict-ours": predict_ours,
    "predict-keras": predict_keras,
    "predict-torch": predict_torch,
    "compile-ours": compile_ours,
    "ceiling": ceiling,
    "memory": memory,
    "epoch": epoch,
    **{how: partial(backtest, how) for how in ("at-once", "loop-forecast", "loop-predict")},
}


if __name__ == "__main__":
    main()
