"""Small weights made zero, and kept so while the others are trained on.

Magnitude pruning (Zhu and Gupta 2017, arXiv 1710.01878): of each kernel the weights nearest to zero
go, a few at a time, and training in between lets the others make up for them.
"""

from __future__ import annotations

import io
from typing import Any

import h5py
import numpy as np

from forecaster import backend

keras = backend.import_keras()
ops = keras.ops
Adam: Any = keras.optimizers.Adam

ROUNDS = 3  # of pruning and training


def shares(final: float) -> list[float]:
    """Return the share that is zero after each round: most go at first (eq. 1).

    >>> [round(share, 3) for share in shares(0.5)]
    [0.352, 0.481, 0.5]
    """
    return [final * (1 - (1 - done / ROUNDS) ** 3) for done in range(1, ROUNDS + 1)]


def pruned(weights: bytes, share: float) -> bytes:
    """Make a share of each kernel zero, the smallest weights first.

    Args:
        weights: As `weights.weights_of` writes them.
        share: Between 0 and 1.
    """
    buffer = io.BytesIO(weights)
    with h5py.File(buffer, "r+") as file:
        for dataset in _kernels(file):
            kernel = dataset[()]
            order = np.argsort(np.abs(kernel), axis=None, kind="stable")
            kernel.ravel()[order[: round(share * kernel.size)]] = 0.0
            dataset[...] = kernel
    return buffer.getvalue()


def zeros(weights: bytes) -> float:
    """Return the share of the weights of all kernels that is zero."""
    with h5py.File(io.BytesIO(weights), "r") as file:
        kernels = [dataset[()] for dataset in _kernels(file)]
    return sum(int((kernel == 0).sum()) for kernel in kernels) / sum(map(np.size, kernels))


def _kernels(file: Any) -> list[Any]:
    each = [dataset for member in file.values() for dataset in member.values()]
    return [dataset for dataset in each if str(dataset.attrs["name"]).endswith("kernel")]


class KeepZeros(Adam):  # type: ignore[misc]
    """Adam that trains no weight that is zero: without a gradient it stays as it is."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Update the weights.

        Args:
            grads: One a variable.
            trainable_variables: Those of the optimiser when None.
        """
        variables = trainable_variables
        if variables is None:
            variables = self._trainable_variables
        kept = [
            grad * ops.cast(ops.not_equal(variable, 0), grad.dtype)
            for grad, variable in zip(grads, variables, strict=True)
        ]
        super().apply(kept, trainable_variables)
