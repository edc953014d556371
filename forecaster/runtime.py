"""Inference with ONNX Runtime: no TensorFlow, no Keras."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from forecaster.arrays import Floats, Ints
from forecaster.errors import DamagedError

SILENCE = "ORT_DISABLE_TELEMETRY"  # read when ONNX Runtime is imported
BATCH = 256  # windows that stay in cache; 16,384 at once were three times slower
ROUNDS = 7  # of measuring


def import_onnxruntime() -> Any:
    """Import ONNX Runtime without its reports to its maker, unless the environment says otherwise."""
    os.environ.setdefault(SILENCE, "1")
    import onnxruntime

    return onnxruntime


class Network:
    """A network ready to predict.

    Args:
        graph: A serialised ONNX model from `networks.onnx_graph.to_onnx`.
        together: Windows that it takes as one: the series of a joint network.

    Raises:
        DamagedError: The bytes are no model that ONNX Runtime can run.
    """

    def __init__(self, graph: bytes, together: int = 1) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # fatal only: every failure is raised as well
        options.intra_op_num_threads = 1  # batches run side by side instead, and need not wait
        try:
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises classes of its own, by message only
            raise DamagedError(f"The network's ONNX graph cannot be read: {error}.") from error
        inputs = {value.name: value.shape for value in self._session.get_inputs()}
        self.together = together
        self.context_shape: tuple[int, int] = tuple(inputs["context"][1:])
        self.future_features: int = inputs["future"][2] if "future" in inputs else 0
        self.knows_series = "series" in inputs
        self.takes_length = "length" in inputs
        self.static_features: int = inputs["static"][1] if "static" in inputs else 0
        self.output_shape: tuple[int, int] = tuple(self._session.get_outputs()[0].shape[1:])

    def random_inputs(self, windows: int) -> dict[str, Any]:
        """Return the inputs of some windows of noise, or of a few more that it takes as one.

        They are always the same.
        """
        windows += -windows % self.together
        random = np.random.default_rng(0)
        shapes = {"context": self.context_shape}
        if self.future_features:
            shapes["future"] = (self.output_shape[0], self.future_features)
        arrays: dict[str, Any] = {
            name: random.normal(size=(windows, *shape)).astype(np.float32)
            for name, shape in shapes.items()
        }
        if self.knows_series:
            arrays["series"] = np.minimum(np.arange(windows) - 1, 0)
        if self.static_features:
            noise = random.normal(size=(windows, self.static_features))
            arrays["static"] = noise.astype(np.float32)
        if self.takes_length:
            arrays["length"] = np.maximum(1, self.context_shape[0] // (1 + np.arange(windows)))
        return arrays

    def __call__(
        self,
        context: Floats,
        future: Floats | None = None,
        series: Ints | None = None,
        static: Floats | None = None,
        length: Ints | None = None,
    ) -> Floats:
        """Forecast windows.

        Args:
            context: `(window, lookback, feature)`, float32; of a joint network the windows of all
                series in their order, time by time.
            future: `(window, horizon, future feature)`, float32, for a network that takes one.
            series: Place of each window's series among those trained on, -1 for a new one
                `(window,)`, for a network that has learnt vectors of them.
            static: `(window, static feature)`, float32, for a network that takes any.
            length: Rows of each context that its series has `(window,)`, for a network that masks
                the others.

        Returns:
            `(window, horizon, output)`: the point and the quantiles in the units of the inputs,
            then, for a network that says one, the chance of a step up.
        """
        feeds: dict[str, Any] = {"context": context}
        if self.future_features:
            feeds["future"] = future
        if self.knows_series and series is not None:
            feeds["series"] = series.astype(np.int32)[:, None]
        if self.static_features:
            feeds["static"] = static
        if self.takes_length and length is not None:
            feeds["length"] = length.astype(np.int32)[:, None]
        result = np.empty((len(context), *self.output_shape), dtype=np.float32)

        def run(part: slice) -> None:
            batch = {name: values[part] for name, values in feeds.items()}
            result[part] = self._session.run(None, batch)[0]

        self.in_batches(len(context), run)
        return result

    def in_batches(self, windows: int, run: Callable[[slice], None]) -> None:
        """Call a function for each batch of so many windows, on every core at a time."""
        size = max(1, BATCH // self.together) * self.together
        parts = [slice(begin, begin + size) for begin in range(0, windows, size)]
        if len(parts) < 2:
            list(map(run, parts))
            return
        with ThreadPoolExecutor(_cores()) as threads:
            list(threads.map(run, parts))  # raises what one of them has raised


def seconds_per_window(network: Network) -> float:
    """Measure how long a network takes for a window, in batches of 256 of made-up values.

    The quickest of a few rounds counts: whatever else the machine does only makes one slower.
    """
    inputs = network.random_inputs(BATCH)
    taken = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        network(**inputs)
        taken.append(time.perf_counter() - begin)
    return min(taken) / len(inputs["context"])


def _cores() -> int:
    """Return the cores this process may use, which ONNX Runtime does not ask for itself."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
