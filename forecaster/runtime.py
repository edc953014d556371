"""Inference with ONNX Runtime: no TensorFlow, no Keras."""

from __future__ import annotations

import os

import numpy as np

from forecaster.arrays import Floats
from forecaster.errors import DamagedError

BATCH = 256  # windows that stay in cache; 16,384 at once were three times slower


class Network:
    """A network ready to predict.

    Args:
        graph: A serialised ONNX model from `networks.onnx_graph.to_onnx`.

    Raises:
        DamagedError: The bytes are no model that ONNX Runtime can run.
    """

    def __init__(self, graph: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # fatal only: every failure is raised as well
        options.intra_op_num_threads = _cores()
        try:
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises classes of its own, by message only
            raise DamagedError(f"The network's ONNX graph cannot be read: {error}.") from error
        self._inputs = [value.name for value in self._session.get_inputs()]
        self.context_shape: tuple[int, int] = tuple(self._session.get_inputs()[0].shape[1:])
        future = self._session.get_inputs()[1:]
        self.future_features: int = future[0].shape[2] if future else 0
        self.horizon: int = self._session.get_outputs()[0].shape[1]

    def __call__(self, context: Floats, future: Floats | None = None) -> Floats:
        """Forecast windows.

        Args:
            context: `(window, lookback, feature)`, float32.
            future: `(window, horizon, future feature)`, float32, for a network that takes one.

        Returns:
            `(window, horizon)`, in the units of the inputs.
        """
        result = np.empty((len(context), self.horizon), dtype=np.float32)
        for begin in range(0, len(context), BATCH):
            part = slice(begin, begin + BATCH)
            feeds = {self._inputs[0]: context[part]}
            if future is not None:
                feeds[self._inputs[1]] = future[part]
            result[part] = self._session.run(None, feeds)[0]
        return result


def _cores() -> int:
    """Return the cores this process may use, which ONNX Runtime does not ask for itself."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
