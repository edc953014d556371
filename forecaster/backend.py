"""The Keras backend: imported quietly, put on the asked device, seeded.

Keras is imported here and nowhere earlier, so that whoever needs no training never pays for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from forecaster.errors import MissingDependencyError

LOG_LINE = re.compile(
    rb"[IWE]\d{4} \d\d:|WARNING: All log messages before absl|\d{4}-\d\d-\d\d .*: [IWE] "
)

GLIBC = ("mallopt", "malloc_trim")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # malloc.h, as the numbers below
USUAL = {M_MMAP_MAX: 2**16, M_MMAP_THRESHOLD: 2**25, M_TRIM_THRESHOLD: 2**26}
GPU_PACKAGES = {"tensorflow": "'forecaster[gpu]'", "jax": "'jax[cuda12]'", "torch": "torch"}
OUT_OF_MEMORY = ("ResourceExhausted", "OutOfMemory", "RESOURCE_EXHAUSTED", "out of memory")


@dataclass(frozen=True)
class Device:
    """Where a network runs: `kind` is cpu or gpu, `name` is what the backend calls it."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.name})"


def import_keras() -> Any:
    """Import Keras without the start-up log lines of its backend.

    Raises:
        MissingDependencyError: Keras or the backend that it is told to use is not installed.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "keras" in sys.modules:
        return sys.modules["keras"]
    with contextlib.suppress(ImportError):
        # TensorFlow carries a libcurl whose symbols would shadow those of the Yahoo client's, which
        # then fails in the same process; whichever is loaded first keeps its own.
        import curl_cffi  # noqa: F401
    try:
        with quiet():
            import keras
    except (ImportError, ValueError) as error:  # not installed; of no such name
        raise MissingDependencyError(
            f"Keras with the {os.environ['KERAS_BACKEND']} backend is needed to train: {error}.",
            "Name an installed one in KERAS_BACKEND: tensorflow comes with this program, jax and torch "
            "are yours to install.",
        ) from error
    # Each fold of a backtest is a new network: that it is traced anew is no mistake to warn of.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    keras.config.disable_interactive_logging()  # "Invalid loss" would come between results on stdout
    return keras


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the log lines that compiled code writes to file descriptor 2 off the terminal.

    TensorFlow's first lines come before any setting of its own is read. All is held back, and what
    is no such log line is let through at the end; if the process ends hard, it is lost: this is for
    imports and the start of devices, after which TF_CPP_MIN_LOG_LEVEL is heeded. Python's own
    `sys.stderr` keeps working.
    """
    try:
        terminal = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    original = sys.stderr
    original.flush()
    with tempfile.TemporaryFile() as held, os.fdopen(terminal, "w", buffering=1) as direct:
        os.dup2(held.fileno(), 2)
        stand_in = _StandIn(direct)
        if original is sys.__stderr__:
            sys.stderr = stand_in
        try:
            yield
        finally:
            sys.stderr = original
            stand_in.target = original
            os.dup2(terminal, 2)
            held.seek(0)
            os.write(2, b"".join(line for line in held if not LOG_LINE.match(line)))


@contextlib.contextmanager
def memory_kept() -> Iterator[None]:
    """Have the C library keep what is freed; before and after, give it back to the system.

    TensorFlow allocates the same tens of megabytes for every batch; fresh from the system, each page
    of them is cleared and mapped again, a third of the time of a small network's step. Other
    libraries than glibc are left as they are. What is set ends glibc's own adjusting to the sizes
    that a program frees (mallopt(3)); afterwards its thresholds are where that would end at most.
    """
    import pyarrow

    pyarrow.default_memory_pool().release_unused()  # texts of frames that are gone by now
    library = _glibc()
    if library is None:
        yield
        return
    library.malloc_trim(0)
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        for option, value in USUAL.items():
            library.mallopt(option, value)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library where it is glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if all(hasattr(library, name) for name in GLIBC) else None


class _StandIn:
    """A stream that outlives `quiet`: log handlers made inside may keep it."""

    def __init__(self, target: TextIO) -> None:
        self.target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out, which each backend says in a class of its own."""
    said = f"{type(error).__name__} {error}"
    return isinstance(error, MemoryError) or any(sign in said for sign in OUT_OF_MEMORY)


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

    with quiet():  # whoever looks for GPUs first starts their driver
        found = gpus()
    if wanted == "gpu" and not found:
        raise MissingDependencyError(
            "--device gpu needs a GPU, but the Keras backend finds none.",
            f"See `forecast doctor`; {gpu_advice()}.",
        )
    _grow_memory()
    if wanted == "cpu" or not found:
        return Device("cpu", f"{platform.machine()}, {os.cpu_count()} cores")
    return Device("gpu", found[0])


def gpu_advice() -> str:
    """Say what to install so that the backend finds a GPU."""
    package = GPU_PACKAGES[import_keras().backend.backend()]
    return f"on Linux with an NVIDIA GPU: pip install {package}"


def device_scope(device: Device) -> Any:
    """Return the context in which a network is built and trained on `device`.

    Only the wish for the CPU beside a GPU needs one: the rest is where backends put things anyway,
    and inside a scope the torch backend cannot make the integer state of a dropout layer.
    """
    if device.kind == "gpu" or not gpus():
        return contextlib.nullcontext()
    return import_keras().device("cpu:0")


def _grow_memory() -> None:
    """Let TensorFlow take GPU memory as it needs it, not all at once."""
    if import_keras().backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # already initialised: too late, not wrong
            tf.config.experimental.set_memory_growth(gpu, True)


def is_deterministic() -> bool:
    """Tell whether TensorFlow or torch is told to compute the same on every run."""
    backend = import_keras().backend.backend()
    if backend == "tensorflow":
        from tensorflow.python.framework.config import is_op_determinism_enabled

        return bool(is_op_determinism_enabled())
    if backend == "torch":
        import torch

        return bool(torch.are_deterministic_algorithms_enabled())
    return False


@contextlib.contextmanager
def repeatable(asked: bool) -> Iterator[None]:
    """Have TensorFlow or torch compute the same on every run when asked, and afterwards as before."""
    if not asked or is_deterministic():
        yield
        return
    _set_deterministic(True)
    try:
        yield
    finally:
        _set_deterministic(False)


def _set_deterministic(value: bool) -> None:
    backend = import_keras().backend.backend()
    if backend == "tensorflow":
        from tensorflow.python.framework import config  # in public it can only be turned on

        (config.enable_op_determinism if value else config.disable_op_determinism)()
    elif backend == "torch":
        import torch

        torch.use_deterministic_algorithms(value)
