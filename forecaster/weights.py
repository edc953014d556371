"""Weights as bytes, and back into networks."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from forecaster import backend
from forecaster.continuing import Start
from forecaster.errors import DamagedError
from forecaster.model import Model
from forecaster.networks.builder import build
from forecaster.scaling import Scaling

keras = backend.import_keras()


def weights_of(networks: Sequence[Any]) -> bytes:
    """Return the networks' weights as an HDF5 file: arrays in the order of the layers, no code.

    It is made in memory, because the HDF5 library crashes when the disk under it is full.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for member, network in enumerate(networks):
            for number, weight in enumerate(network.weights):
                dataset = file.create_dataset(f"{member:03d}/{number:03d}", data=np.asarray(weight))
                dataset.attrs["name"] = weight.path
    return buffer.getvalue()


def stored_weights(content: bytes) -> list[list[Any]]:
    """Read what `weights_of` wrote: the arrays of each network."""
    with h5py.File(io.BytesIO(content), "r") as file:
        return [
            [file[member][name][()] for name in sorted(file[member])] for member in sorted(file)
        ]


def networks_of(model: Model) -> list[Any]:
    """Build a model's Keras networks again from its own settings and read their weights.

    Raises:
        DamagedError: The weights do not belong to the network that the settings describe.
    """
    runtime = model.network
    series = len(model.scaling.ids) if runtime.knows_series else 0
    networks = []
    with _fitting():
        for weights in stored_weights(model.weights):
            network = build(
                model.config.network,
                runtime.context_shape[1],
                runtime.future_features,
                series,
                runtime.static_features,
                together=runtime.together,
            )
            network.set_weights(weights)
            networks.append(network)
    return networks


def continue_from(network: Any, start: Start, member: int, state: Scaling) -> None:
    """Give a network the weights of a member to start from; vectors of new series stay random."""
    places = start.scaling.rows_of(state.ids)
    known = places >= 0
    with _fitting():
        weights = stored_weights(start.weights)[member]
        for number, weight in enumerate(network.weights):
            if weight.path.startswith("series_vectors/"):
                vectors = np.array(keras.ops.convert_to_numpy(weight))
                vectors[known] = weights[number][places[known]]
                weights[number] = vectors
        network.set_weights(weights)


@contextmanager
def _fitting() -> Iterator[None]:
    """Say of stored weights that they belong to another network than the one they are given to."""
    try:
        yield
    except (ValueError, IndexError, OSError) as error:
        raise DamagedError(f"The stored weights do not fit the network: {error}.") from error
