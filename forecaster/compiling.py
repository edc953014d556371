"""Networks wrapped, compiled, and kept for the next fit of the same shape.

Tracing and compiling take longer than a small training does. A candidate, the same with logarithms,
the fit that is judged, its refit and the members of an ensemble are often one network on other rows
and from other weights: they share what was compiled.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from forecaster import backend
from forecaster.config import Config
from forecaster.networks.builder import build
from forecaster.networks.windowed import Held, Rows, Windowed
from forecaster.pruning import KeepZeros

keras = backend.import_keras()

XLA_PAYS = (
    1.2e6  # recurrent steps x windows in a run, under which compiling costs more than it saves
)
USUAL_EPOCHS = 20
STEPS_AT_ONCE = 16
KEPT = 8  # compiled networks; their rows are held once

_compiled: OrderedDict[tuple[Any, ...], Windowed] = OrderedDict()


def build_for(rows: Rows, config: Config, teacher_forcing: float = 0.0) -> Any:
    """Build the network that fits the rows; see `builder.build` for teacher forcing."""
    known, static = (0 if part is None else part.shape[1] for part in (rows.known, rows.static))
    series = len(rows.sizes.scale) if config.network.series_vectors else 0
    together = len(rows.starts) if config.network.joint else 1
    sizes = rows.features.shape[1], known, series, static
    return build(config.network, *sizes, together=together, teacher_forcing=teacher_forcing)


def compiled(
    rows: Rows, config: Config, windows: int, xla: bool, keep_zeros: bool = False
) -> Windowed:
    """Return a compiled network that holds the rows; its weights are whatever they are.

    Args:
        rows: What it is trained on.
        config: Resolved settings.
        windows: Number of training windows.
        xla: Whether to compile with XLA; see `xla_pays`.
        keep_zeros: Whether weights that are zero stay so.
    """
    spec = config.training
    batch = int(spec.batch_size or 32)
    steps = _steps_at_once(windows // batch)
    clipping = {"global_clipnorm": spec.clip_norm, "clipvalue": spec.clip_value}
    shape: tuple[Any, ...] = (config.network, config.context_season, rows.shape)
    forced = float(spec.teacher_forcing or 0)
    device = (spec.device, spec.deterministic)
    halved = xla and _can_be_halved(batch)
    key = (*shape, spec.loss, *clipping.items(), forced, steps, xla, halved, *device, keep_zeros)
    if keras.backend.backend() == "jax":  # compiles the rows in as constants
        _compiled.clear()
    held = _held(rows, spec.device)
    if key in _compiled:
        _compiled.move_to_end(key)
        return _compiled[key]
    windowed = _wrapped(build_for(rows, config, forced), held, config, halved)
    optimizer = KeepZeros if keep_zeros else keras.optimizers.Adam
    windowed.compile(
        optimizer=optimizer(float(spec.learning_rate or 0), **clipping),
        jit_compile=xla and not halved,
        steps_per_execution=steps,
    )
    # Variables that are made inside a TensorFlow function have it traced twice.
    windowed.optimizer.build(windowed.trainable_variables)
    _compiled[key] = windowed
    while len(_compiled) > KEPT:
        _compiled.popitem(last=False)
    return windowed


def _wrapped(network: Any, held: Held, config: Config, halved: bool) -> Windowed:
    if not halved:
        return Windowed(network, held, config)
    from forecaster.networks.halved import Halved  # needs TensorFlow

    return Halved(network, held, config)


def _can_be_halved(batch: int) -> bool:
    """Tell whether the steps of `Halved` run: beside a GPU layers ask for cuDNN, unknown to XLA."""
    return keras.backend.backend() == "tensorflow" and not backend.gpus() and batch % 2 == 0


def forget() -> None:
    """Drop what was compiled, so that the next fit takes as long as in a process of its own."""
    _compiled.clear()


def _held(rows: Rows, device: str) -> Held:
    """Put rows where others of their shape were; all that is compiled for that shape reads them.

    Those that another device was asked for lie there, and stay.
    """
    for windowed in _compiled.values():
        if (windowed.held.shape, windowed.held.device) == (rows.shape, device):
            windowed.held.put(rows)
            return windowed.held
    return Held(rows, device)


def start_anew(windowed: Windowed, network: Any, learning_rate: float) -> None:
    """Give a compiled network another one's first weights and seeds, and its optimiser a blank memory."""
    for variable, first in zip(windowed.network.variables, network.variables, strict=True):
        variable.assign(first)
    for variable in windowed.optimizer.variables:
        variable.assign(keras.ops.zeros(variable.shape, dtype=variable.dtype))
    windowed.optimizer.learning_rate = learning_rate


def xla_pays(config: Config, windows: int) -> bool:
    """Tell whether the run is long enough to earn back the seconds of compiling.

    With JAX it always is: what is not compiled runs operation by operation, on a GPU too, where cuDNN's
    kernels are part of what is compiled. torch compiles nothing. With TensorFlow beside a GPU, LSTM
    and GRU ask for cuDNN, which XLA does not know, and which beats what XLA compiles.
    """
    if keras.backend.backend() != "tensorflow":
        return bool(keras.backend.backend() == "jax")
    if backend.is_deterministic():
        return False  # Keras refuses to compile with XLA then
    network, spec = config.network, config.training
    if backend.gpus() and any(layer.cell != "rnn" for layer in network.stack):
        return False
    segment = int(network.segment or 1)
    steps = int(network.lookback or 0) // segment * len(network.layers or ())
    if network.decoder == "recurrent":
        steps += int(network.horizon or 0) // segment
    return steps * windows * min(USUAL_EPOCHS, int(spec.epochs or 1)) > XLA_PAYS


def _steps_at_once(steps: int) -> int:
    """Return how many batches one call into TensorFlow runs: fewer calls, less overhead.

    It is a power of two, so that fits of about as many windows share what was compiled.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    return 1 << (max(1, min(STEPS_AT_ONCE, steps)).bit_length() - 1)
