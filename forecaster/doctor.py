"""What `forecast doctor` looks at: whether this machine and this workspace can run forecasts."""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from typing import Any, Literal, NamedTuple

from forecaster import presets
from forecaster.config import Config
from forecaster.errors import ForecasterError
from forecaster.registry import Registry
from forecaster.runtime import import_onnxruntime
from forecaster.store import Store
from forecaster.workspace import Workspace, load_config

PYTHON_NEEDED = (3, 11)
DISK_NEEDED = 100e6  # bytes: one version of a large model and its temporary copy
DISK_COMFORTABLE = 1e9
CUDNN_CELLS = {"tensorflow": ("LSTM", "GRU"), "torch": ("LSTM", "GRU"), "jax": ("LSTM",)}


class Check(NamedTuple):
    """One finding.

    Attributes:
        name: What was looked at.
        state: `fail` stops a run, `warn` makes it slower or unsafe.
        found: What was found.
        advice: What to do about it; empty when all is well.
    """

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def examine(workspace: Workspace) -> Iterator[Check]:
    """Look at everything a run needs; each finding comes as soon as it is made.

    The Keras backend comes last: importing it takes nearly all of the time. Never raises for what
    is wrong: that is what the checks tell.
    """
    yield from _python()
    yield from _packages()
    config, check = _configuration(workspace)
    yield check
    yield from _folder(workspace)
    yield from _stored(workspace)
    yield from _onnxruntime()
    yield from _backend(config)


def _python() -> Iterator[Check]:
    version = platform.python_version()
    found = f"{version} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if sys.version_info < PYTHON_NEEDED:
        yield Check("python", "fail", found, "Install Python 3.11 or later.")
    else:
        yield Check("python", "ok", found)


def _packages() -> Iterator[Check]:
    """Compare what the package says it needs with what is installed.

    TensorFlow is not needed where Keras is told to use another backend.
    """
    versions, missing = [], []
    for requirement in metadata.requires("forecaster") or []:
        if ";" in requirement:  # extras
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement)[0]
        if name == "tensorflow" and os.environ.get("KERAS_BACKEND", name) != name:
            continue
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        advice = f"Install them: pip install {' '.join(missing)}"
        yield Check("packages", "fail", f"missing: {', '.join(missing)}", advice)
    yield Check("packages", "ok", ", ".join(versions))


def _backend(config: Config) -> Iterator[Check]:
    from forecaster.backend import gpus, import_keras, quiet

    try:
        keras = import_keras()
        with quiet():
            found = gpus()
    except ForecasterError as error:
        yield Check("keras", "fail", error.message, error.hint)
        return
    except Exception as error:  # a broken driver raises anything: it is a finding here
        yield Check("keras", "fail", f"{type(error).__name__}: {error}", "Install it again.")
        return
    backend = keras.backend.backend()
    yield Check("keras", "ok", f"{keras.__version__} with the {backend} backend")
    yield _devices(config, found)
    with quiet():
        checks = [*_fast_path(config, bool(found))]
        if backend == "tensorflow":
            checks = [*_tensorflow(), *checks]
    yield from checks


def _devices(config: Config, found: list[str]) -> Check:
    from forecaster.backend import gpu_advice

    if found:
        return Check("devices", "ok", ", ".join(found))
    if config.training.device == "gpu":
        advice = f"Set device to auto, or {gpu_advice()}"
        return Check("devices", "fail", "device = gpu, but the backend finds no GPU", advice)
    return Check("devices", "ok", "no GPU; training runs on the CPU")


def _tensorflow() -> Iterator[Check]:
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    if build.get("is_cuda_build"):
        versions = f"CUDA {build.get('cuda_version')}, cuDNN {build.get('cudnn_version')}"
        yield Check("cuda", "ok", f"built for {versions}")
    else:
        yield Check("cuda", "ok", "this TensorFlow is built without CUDA")
    for device in tf.config.list_physical_devices("GPU"):
        grows = tf.config.experimental.get_memory_growth(device)
        state = "on" if grows else "off now; training switches it on"
        yield Check("memory growth", "ok", f"{device.name}: {state}")
    try:
        tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1.0))
    except Exception as error:  # any failure of the compiler means the same here
        found = f"does not compile: {str(error).splitlines()[0]}"
        yield Check("xla", "warn", found, "Training works, but slower.")
    else:
        yield Check("xla", "ok", "compiles")


def _fast_path(config: Config, has_gpu: bool) -> Iterator[Check]:
    """Say for each recurrent layer of the configured network whether cuDNN can run it."""
    from forecaster.backend import import_keras
    from forecaster.networks.builder import build

    backend = import_keras().backend.backend()
    filled = _filled(config)
    without = ", without XLA" if backend == "tensorflow" else ""
    for each in build(filled.network, 1).layers:
        layer = getattr(each, "forward_layer", each)  # of one that reads both ways
        layer = getattr(layer, "recurrent", layer)  # of a recurrent decoder
        if not hasattr(layer, "recurrent_dropout"):
            continue
        name = f"cudnn {each.name}"
        kind = f"{type(layer).__name__}({layer.units})"
        reasons = cudnn_obstacles(layer, backend)
        masked = filled.network.padding == "mask" and not each.name.endswith("decoder")
        if masked and backend != "tensorflow":
            reasons.append(f"padding is mask, needs repeat with {backend}")
        if hasattr(each, "recurrent") and config.training.teacher_forcing != 1:
            reasons.append("each step waits for the output of the one before")
        if reasons:
            found = f"{kind} cannot use the fast path: {'; '.join(reasons)}"
            advice = "It runs, but several times slower on a GPU." if has_gpu else ""
            yield Check(name, "warn" if has_gpu else "ok", found, advice)
        else:
            yield Check(name, "ok", f"{kind} can use the fast path on a GPU{without}")


def cudnn_obstacles(layer: Any, backend: str = "tensorflow") -> list[str]:
    """Return why cuDNN cannot run a recurrent layer of Keras; nothing when it can.

    The conditions are those of Keras 3.15 (`keras/src/layers/rnn/lstm.py` and
    `keras/src/backend/*/rnn.py`): LSTM or GRU, with JAX only LSTM, in float32; activation tanh,
    recurrent_activation sigmoid, recurrent_dropout 0, unroll False, use_bias True, reset_after True
    for GRU. Dropout between layers is no obstacle. TensorFlow also takes inputs that are masked where
    the padding is on the right, as that of `networks.layers.KnownFirst` is; the others take no mask.
    cuDNN and XLA go together with JAX only: it is not for TensorFlow's `jit_compile`, nor
    `torch.compile`.

    Args:
        layer: The layer.
        backend: Of Keras.
    """
    cells = CUDNN_CELLS[backend]
    if type(layer).__name__ not in cells:
        return [f"cuDNN in Keras with {backend} runs only {' and '.join(cells)}"]
    found = {
        "activation": getattr(layer.activation, "__name__", "?"),
        "recurrent_activation": getattr(layer.recurrent_activation, "__name__", "?"),
        "recurrent_dropout": layer.recurrent_dropout,
        "unroll": layer.unroll,
        "use_bias": layer.use_bias,
        "reset_after": getattr(layer, "reset_after", True),
    }
    needed = {
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "recurrent_dropout": 0,
        "unroll": False,
        "use_bias": True,
        "reset_after": True,
    }
    if backend == "jax":  # its kernel reads whatever it is given as float32
        found["compute_dtype"], needed["compute_dtype"] = layer.compute_dtype, "float32"
    return [
        f"{name} is {found[name]}, needs {value}"
        for name, value in needed.items()
        if found[name] != value
    ]


def _filled(config: Config) -> Config:
    """Give what is chosen from the data a small value: only the kinds of layer matter here."""
    textbook = config.network.preset == "classic"
    decoders = {"classic": "direct", "seq2seq": "recurrent"}
    segment = config.network.segment or 1
    small = {
        "layers": presets.default_layers(config.network),
        "segment": segment,
        "lookback": 2 * segment * math.lcm(*config.network.dilations),
        "horizon": segment,
        "normalise": "none" if textbook else "last",
        "decoder": decoders.get(config.network.preset, "parallel"),
        "dropout": (0.1,),
    }
    always = ("lookback", "horizon")  # they must agree with the segment
    network = config.network
    chosen = {k: v for k, v in small.items() if k in always or getattr(network, k) is None}
    return config.replace(**chosen, skip_lag=1)  # a season may be longer than this lookback


def _onnxruntime() -> Iterator[Check]:
    try:
        onnxruntime = import_onnxruntime()
    except ImportError as error:
        yield Check("onnxruntime", "fail", str(error), "Install it: pip install onnxruntime")
        return
    providers = ", ".join(onnxruntime.get_available_providers())
    yield Check("onnxruntime", "ok", f"{onnxruntime.__version__} with {providers}")


def _configuration(workspace: Workspace) -> tuple[Config, Check]:
    try:
        config, origins = load_config(workspace)
    except ForecasterError as error:
        return Config(), Check("config", "fail", error.message, error.hint)
    given = sum(origin != "default" for origin in origins.values())
    return config, Check("config", "ok", f"valid; {given} of {len(origins)} settings given")


def _folder(workspace: Workspace) -> Iterator[Check]:
    for folder in (workspace.folder, workspace.data, workspace.models):
        if not folder.exists():  # made by the first command that writes there
            continue
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            advice = "Change its permissions, or use another --workspace."
            yield Check("workspace", "fail", f"'{folder}' is not writable: {error}", advice)
            return
    yield Check("workspace", "ok", f"'{workspace.folder}' is writable")
    free = shutil.disk_usage(workspace.folder).free
    found = f"{free / 1e9:.1f} GB free"
    if free < DISK_NEEDED:
        yield Check("disk", "fail", found, "Free some space.")
    elif free < DISK_COMFORTABLE:
        yield Check("disk", "warn", found, "Free some space soon.")
    else:
        yield Check("disk", "ok", found)


def _stored(workspace: Workspace) -> Iterator[Check]:
    try:
        series = len(Store(workspace.data).ids())
        models = len(Registry(workspace.models).names())
    except ForecasterError as error:
        yield Check("stored", "fail", error.message, error.hint)
        return
    advice = "" if series else "Fetch some: forecast fetch --sample air-passengers"
    yield Check("stored", "ok", f"{series} series, {models} models", advice)
