"""How fast training and forecasting are on a GPU, beside plain Keras and the chip's own ceilings.

    python benchmarks/gpu.py --limit 1500 --json gpu.json
    python benchmarks/gpu.py --backends jax torch --cells lstm --units 256 --batches 256 8192

Each backend of Keras that is installed gets a process of its own, and a new one when it dies. Two
layers of one cell, one feature, one output, as in `speed.py`: ours trains on window numbers by the
program's compiled step, plain Keras by `fit` on arrays of windows.

Work and traffic are counted from the shapes. Of the matrix products a forward pass has
2 x gates x units x (inputs + units) operations for each step and layer, training thrice as many. A
step that keeps nothing on the chip reads its weights and inputs and both writes and reads its gates
and states; training moves thrice as much. Where weights stay on the chip the true traffic is less.
Ceilings are the best rates of products of large square matrices, float32 as TF32 where the chip has
it, and of adding one to a large array.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np

HERE = Path(__file__).parent
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
BYTES = {"float32": 4, "mixed_bfloat16": 2}
TIMES = 3  # training beside a forward pass
COLUMNS = (
    ("train", "windows/s"),
    ("train", "of arithmetic"),
    ("train", "of bandwidth"),
    ("keras train", "windows/s"),
    ("forward", "windows/s"),
    ("forward", "of arithmetic"),
    ("forward", "of bandwidth"),
    ("keras forward", "windows/s"),
)


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
        cell: Of both layers.
        precision: Keras' policy; weights are float32.
        cudnn: Whether layers may use cuDNN.
        lookback: Steps of a window.
        units: Of each layer.
        batch: Windows of a step of training.
    """

    cell: str
    precision: str
    cudnn: str
    lookback: int
    units: int
    batch: int

    @property
    def work(self) -> float:
        """Floating-point operations of a window's forecast."""
        from speed_tasks import flops

        return flops(GATES[self.cell], self.units, self.lookback) / TIMES

    @property
    def traffic(self) -> float:
        """Bytes that the forecast of a window moves when nothing stays on the chip between steps."""
        gates, units = GATES[self.cell], self.units
        weights = sum(gates * units * (inputs + units) for inputs in (1, units))
        passing = sum(inputs + 2 * (gates + 1) * units for inputs in (1, units))
        return self.lookback * (weights / self.batch + passing) * BYTES[self.precision]


def main() -> None:
    """Measure, print Markdown, and write every figure as JSON after each row."""
    asked = _arguments()
    if asked.worker:
        _work(asked)
        return
    end = time.monotonic() + asked.limit
    document: dict[str, Any] = {"command": sys.argv, "backends": {}}
    names = ["backend", *Case.__dataclass_fields__, *map(" ".join, COLUMNS)]
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for place, backend in enumerate(asked.backends):
        share = (end - time.monotonic()) / (len(asked.backends) - place)
        found = document["backends"][backend] = {"about": {}, "rows": []}
        for line in _of_backend(backend, asked, time.monotonic() + share):
            if "about" in line:
                found["about"] = line["about"]
            else:
                found["rows"].append(line)
                print(_row(backend, line, found["about"]), flush=True)
            asked.json.write_text(json.dumps(document, indent=1))
    for backend, found in document["backends"].items():
        print(f"\n{backend}: {json.dumps(found['about'])}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    installed = [name for name in ("jax", "torch", "tensorflow") if importlib.util.find_spec(name)]
    some = partial(parser.add_argument, nargs="+")
    some("--backends", default=installed, help=f"of Keras (default: {' '.join(installed)})")
    some("--cells", choices=list(GATES), default=["lstm", "gru"])
    some("--units", type=int, default=[50, 256, 1024])
    some("--lookbacks", type=int, default=[60, 720])
    some("--batches", type=int, default=[32, 256, 2048, 8192])
    some("--precisions", choices=list(BYTES), default=list(BYTES))
    some("--cudnn", choices=["on", "off"], default=["on", "off"])
    parser.add_argument(
        "--steps", type=int, default=32, help="of training in an epoch (default: 32)"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each figure (default: 2)")
    parser.add_argument(
        "--limit", type=float, default=1500.0, help="seconds in all (default: 1500)"
    )
    parser.add_argument("--json", type=Path, default=HERE / "gpu.json")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def _of_backend(backend: str, asked: argparse.Namespace, end: float) -> Iterator[dict[str, Any]]:
    """Yield what its processes tell; a case at which one dies has a row that says so.

    A new process goes on with the case after that, unless the dead one never began.
    """
    grid = (asked.cells, asked.precisions, asked.cudnn, asked.lookbacks, asked.units, asked.batches)
    cases = [asdict(Case(*values)) for values in itertools.product(*grid)]
    failed = "no time left"
    while cases and (left := end - time.monotonic()) > 0:
        command = [sys.executable, __file__, *sys.argv[1:], "--worker", json.dumps(cases)]
        environment = os.environ | {"KERAS_BACKEND": backend}
        began = False
        pipe = {"stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=environment, **pipe) as worker:
            timer = Timer(left, worker.kill)
            timer.start()
            for line in worker.stdout or ():
                if line.startswith("{"):
                    told = json.loads(line)
                    yield told
                    began = True
                    cases = cases[0 if "about" in told else 1 :]
            timer.cancel()
        if cases and time.monotonic() < end:
            failed = f"its process ended with {worker.returncode}"
            if not began:
                break
            yield {"case": cases.pop(0), "failed": failed}
            failed = "no time left"
    yield from ({"case": case, "failed": failed} for case in cases)


def _row(backend: str, line: dict[str, Any], about: dict[str, Any]) -> str:
    """Return a line of the table."""
    start = f"| {backend} | {' | '.join(map(str, line['case'].values()))}"
    if "failed" in line:
        return f"{start} | {line['failed'].replace('|', '/')} |{' |' * (len(COLUMNS) - 1)}"
    cells = []
    for what, unit in COLUMNS:
        figure = line[what]
        if isinstance(figure, str):
            cells.append(figure if unit == "windows/s" else "")
        elif unit == "windows/s":
            cells.append(f"{figure:,.0f}")
        else:
            cells.append(f"{_shares(line, about, what)[unit]:.2%}")
    return f"{start} | {' | '.join(cells)} |"


def _shares(line: dict[str, Any], about: dict[str, Any], what: str) -> dict[str, float]:
    """Return the shares of the ceilings that a rate of windows comes to."""
    case, rate = Case(**line["case"]), line[what] * (TIMES if what.endswith("train") else 1)
    return {
        "of arithmetic": rate * case.work / about["operations/s"][case.precision],
        "of bandwidth": rate * case.traffic / about["bytes/s"],
    }


def _work(asked: argparse.Namespace) -> None:
    """Measure ceilings, then one case after the other, and tell each as a line of JSON."""
    from forecaster.backend import import_keras

    keras = import_keras()
    _tell({"about": _about(keras, asked)})
    for values in json.loads(asked.worker):
        case = Case(**values)
        keras.config.set_dtype_policy(case.precision)
        _tell({"case": values} | _measured(case, asked.steps, asked.seconds))
        keras.utils.clear_session()


def _tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _about(keras: Any, asked: argparse.Namespace) -> dict[str, Any]:
    """Say what is measured on, and its ceilings."""
    from importlib.metadata import version

    from forecaster import backend

    name = keras.backend.backend()
    device = backend.select_device("auto")
    if name == "torch":  # cuDNN may round to TF32 whatever this says
        import torch

        torch.backends.cuda.matmul.allow_tf32 = True
    return {
        "device": str(device),
        "versions": {each: version(each) for each in ("keras", name)},
        "operations/s": {each: _products(keras, each, asked.seconds) for each in asked.precisions},
        "bytes/s": _copies(keras, asked.seconds),
    }


def _products(keras: Any, precision: str, seconds: float) -> float:
    """Operations a second of products of square matrices, of the size at which they are fastest."""
    dtype = precision.removeprefix("mixed_")

    def rate(size: int) -> float:
        matrix = keras.ops.ones((size, size), dtype=dtype)
        return 2 * size**3 * _rate(keras, lambda: keras.ops.matmul(matrix, matrix), seconds)

    return _best(rate, 1024, seconds)


def _copies(keras: Any, seconds: float) -> float:
    """Bytes a second, read and written, of adding one to an array, at the fastest size."""

    def rate(size: int) -> float:
        array = keras.ops.zeros((size, 1024), dtype="float32")
        return 2 * 4 * 1024 * size * _rate(keras, lambda: keras.ops.add(array, 1.0), seconds)

    return _best(rate, 2**14, seconds)


def _best(rate: Callable[[int], float], size: int, seconds: float) -> float:
    """Return the best rate of ever larger sizes, until one fills the time or the memory."""
    from forecaster import backend

    best, begin = 0.0, time.perf_counter()
    while time.perf_counter() - begin < 5 * seconds:
        try:
            best = max(best, rate(size))
        except Exception as error:
            if not backend.is_out_of_memory(error):
                raise
            break
        size *= 2
    return best


def _rate(keras: Any, call: Callable[[], Any], seconds: float) -> float:
    """Calls a second, three at least, once warm; a value of the last is fetched, so that all are done."""

    def run(times: int) -> float:
        begin = time.perf_counter()
        for _ in range(times):
            out = call()
        keras.ops.convert_to_numpy(out[:1, :1])
        return time.perf_counter() - begin

    run(1)
    times = min(1000, max(3, int(seconds / run(1))))
    return times / run(times)


def _measured(case: Case, steps: int, seconds: float) -> dict[str, Any]:
    """Return windows a second of each kind, or in words why there is none."""
    from forecaster import backend, compiling
    from forecaster.doctor import cudnn_obstacles
    from forecaster.networks import encoder

    layer = encoder.CELLS[case.cell]
    reasons = cudnn_obstacles(layer(1), os.environ["KERAS_BACKEND"])
    if case.cudnn == "on" and reasons:
        return {"failed": "; ".join(reasons)}
    cell, options = layer, {}
    if case.cudnn == "off" and case.cell != "rnn":
        options = {"use_cudnn": False}
        cell = partial(layer, **options)
    found: dict[str, Any] = {}
    encoder.CELLS[case.cell] = cell
    try:
        for name, contender in {"": _ours, "keras ": partial(_keras, options=options)}.items():
            try:
                train, forward = contender(case, steps, seconds)
                found[f"{name}train"] = train()
                found[f"{name}forward"] = forward()
            except Exception as error:  # whatever a backend raises is what the row tells
                memory = backend.is_out_of_memory(error)
                words = "out of memory" if memory else f"{type(error).__name__}: {error}"[:200]
                told = dict.fromkeys((f"{name}train", f"{name}forward"), " ".join(words.split()))
                found = told | found
            compiling.forget()
    finally:
        encoder.CELLS[case.cell] = layer
    return found


Timed = tuple[Callable[[], float], Callable[[], float]]


def _ours(case: Case, steps: int, seconds: float) -> Timed:
    """Return what trains and what forecasts by the program's own compiled step."""
    from forecaster import backend, compiling, presets
    from forecaster.losses import Sizes
    from forecaster.networks.windowed import Rows, Shuffled
    from speed_tasks import panel, series, settings

    changed = {"cell": case.cell, "layers": (case.units,) * 2, "batch_size": case.batch}
    config = settings(lookback=case.lookback, **changed)
    config = presets.resolve(config, panel(4 * case.lookback))
    windows, zero, one = steps * case.batch, np.zeros(1), np.ones(1)
    y = series(windows + case.lookback)
    rows = Rows(
        features=y[:, None],
        known=None,
        static=None,
        series=np.zeros(len(y), dtype=np.int32),
        starts=np.zeros(1, dtype=np.int32),
        sizes=Sizes(scale=one, center=zero, log=zero, unit=one),
    )
    # without cuDNN Keras compiles with XLA by itself where there is a GPU
    plain = case.cudnn == "off" and os.environ["KERAS_BACKEND"] == "tensorflow"
    with backend.quiet():
        xla = plain or compiling.xla_pays(config, windows)
        windowed = compiling.compiled(rows, config, windows, xla)
    cutoffs = np.arange(case.lookback - 1, case.lookback - 1 + windows)
    data = Shuffled(cutoffs, case.batch, windows, seed=1)
    return _timed(windowed, (data,), {}, (cutoffs, case.batch), seconds)


def _keras(case: Case, steps: int, seconds: float, options: dict[str, Any]) -> Timed:
    """Return what trains and what forecasts by `fit` and `predict` on arrays of windows."""
    from speed_tasks import keras_network, windows

    name = {"rnn": "SimpleRNN"}.get(case.cell, case.cell.upper())
    network = keras_network(name, case.units, case.lookback, **options)
    x, y = windows(steps * case.batch, case.lookback)
    return _timed(network, (x, y), {"batch_size": case.batch}, (x, case.batch), seconds)


def _timed(
    network: Any, data: tuple[Any, ...], how: dict[str, int], seen: tuple[Any, int], seconds: float
) -> Timed:
    """Return what measures windows a second in training on data, and in forecasts of what is seen.

    Two epochs and the first pass compile, and are left out.
    """
    import keras

    inputs, batch = seen
    ends: list[float] = []

    def on_epoch_end(*_: Any) -> None:
        ends.append(time.perf_counter())
        network.stop_training = len(ends) > 2 and ends[-1] - ends[1] > seconds

    def train() -> float:
        watch = keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)
        network.fit(*data, epochs=10**6, callbacks=[watch], verbose=0, **how)
        return len(inputs) * (len(ends) - 2) / (ends[-1] - ends[1])

    def forward() -> float:
        passes, begin = -1, 0.0
        while passes < 1 or time.perf_counter() - begin < seconds:
            network.predict(inputs, batch_size=batch, verbose=0)
            passes += 1
            begin = begin if passes else time.perf_counter()
        return len(inputs) * passes / (time.perf_counter() - begin)

    return train, forward


if __name__ == "__main__":
    main()
