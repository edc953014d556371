"""The Keras backend: imported quietly, put on the asked device, seeded.

Keras is imported here and nowhere earlier, so that whoever needs no training never pays for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import ModuleType

from forecaster.errors import MissingDependencyError


@dataclass(frozen=True)
class Device:
    """Where a network runs: `kind` is cpu or gpu, `name` is what the backend calls it."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.name})"


def import_keras() -> ModuleType:
    """Import Keras without the start-up log lines of its backend."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import keras
    except ImportError as error:
        raise MissingDependencyError(
            f"Keras with the {os.environ['KERAS_BACKEND']} backend is needed to train: {error}.",
            "Install the package again, or choose a backend that is installed by KERAS_BACKEND.",
        ) from error
    return keras


def gpus() -> list[str]:
    """Return the names of the GPUs that the backend can use."""
    keras = import_keras()
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return [device.name for device in tf.config.list_physical_devices("GPU")]
    if backend == "jax":
        import jax

        return [str(device) for device in jax.devices() if device.platform == "gpu"]
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def select_device(wanted: str) -> Device:
    """Choose where to train: `auto` takes a GPU when there is one.

    Raises:
        MissingDependencyError: A GPU was asked for and the backend finds none.
    """
    import platform

    found = gpus()
    if wanted == "gpu" and not found:
        raise MissingDependencyError(
            "--device gpu needs a GPU, but the Keras backend finds none.",
            "See `forecast doctor`; on Linux with an NVIDIA GPU: pip install 'forecaster[gpu]'.",
        )
    if wanted == "cpu" or not found:
        return Device("cpu", f"{platform.machine()}, {os.cpu_count()} cores")
    _grow_memory()
    return Device("gpu", found[0])


def device_scope(device: Device) -> object:
    """Return the context in which a network is built and trained on `device`."""
    return import_keras().device(f"{device.kind}:0")


def _grow_memory() -> None:
    """Let TensorFlow take GPU memory as it needs it, not all at once."""
    if import_keras().backend.backend() != "tensorflow":
        return
    import contextlib

    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # already initialised: too late, not wrong
            tf.config.experimental.set_memory_growth(gpu, True)


def seed(value: int, deterministic: bool) -> None:
    """Seed Python, NumPy and the backend; demand repeatable operations when asked."""
    keras = import_keras()
    keras.utils.set_random_seed(value)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if deterministic:
            tf.config.experimental.enable_op_determinism()
    elif deterministic and keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
