"""One fit: windows gathered inside the compiled step, stopped early, calibrated, exported."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forecaster import backend, scaling, splits
from forecaster.arrays import Ints
from forecaster.calendars import calendar_features
from forecaster.config import Config
from forecaster.errors import DamagedError, ForecasterError
from forecaster.intervals import Conformal
from forecaster.model import Model, Trained, input_features
from forecaster.networks.builder import build
from forecaster.networks.onnx_graph import to_onnx
from forecaster.networks.windowed import Windowed
from forecaster.series import Panel

keras = backend.import_keras()
KerasCallback: Any = keras.callbacks.Callback

XLA_PAYS = (
    1.2e6  # recurrent steps x windows in a run, under which compiling costs more than it saves
)
USUAL_EPOCHS = 20
STEPS_AT_ONCE = 16
VAL_BATCH = 1024
MIN_LEARNING_RATE = 1e-5


@dataclass(frozen=True)
class Progress:
    """What a caller may show after each epoch."""

    epoch: int
    epochs: int
    loss: float
    val_loss: float | None


OnEpoch = Callable[[Progress], None]


def fit(
    panel: Panel, config: Config, parts: splits.Split, on_epoch: OnEpoch = lambda _: None
) -> Model:
    """Train one network on the train rows of a panel.

    Args:
        panel: Regular series; rows from `parts.val_stop` on are cut off before anything is fitted.
        config: Resolved settings (`presets.resolve`).
        parts: What is train and what validation.
        on_epoch: Called after each epoch.

    Raises:
        InvalidInputError: No training window fits.
        MissingDependencyError: A GPU was asked for and there is none.
        ForecasterError: Training diverged.
    """
    lookback, horizon = int(config.network.lookback or 0), int(config.network.horizon or 0)
    splits.require_windows(panel, parts, lookback, horizon)
    panel = panel.head(parts.val_stop)
    state = scaling.fit(panel.head(parts.train_stop), config.scaling)
    train = splits.train_cutoffs(panel, parts, lookback, horizon)
    val = splits.val_cutoffs(panel, parts, lookback, horizon)
    with backend.quiet():
        device = backend.select_device(config.training.device)
        backend.seed(config.training.seed, config.training.deterministic)
        with backend.device_scope(device):
            features = input_features(panel, state, config)
            known = None
            if config.network.calendar_features:
                known = calendar_features(panel.ds, panel.frequency)[0]
            network = build(
                config.network, features.shape[1], 0 if known is None else known.shape[1]
            )
            windowed = Windowed(network, features, known, config.training.loss)
            record = _run(windowed, config, train, val, on_epoch)
        trained = Trained(
            windows=len(train),
            val_windows=len(val),
            parameters=int(network.count_params()),
            device=str(device),
            **record,
        )
        model = Model(
            config,
            state,
            Conformal(0, np.empty((0, horizon))),
            to_onnx(network),
            weights_of(network),
            trained,
        )
    return model.calibrated(panel, val)


def _run(
    windowed: Windowed, config: Config, train: Ints, val: Ints, on_epoch: OnEpoch
) -> dict[str, Any]:
    """Train with early stopping, best weights restored; return the record."""
    spec = config.training
    batch = int(spec.batch_size or 32)
    compiled = _xla_pays(config, len(train))
    windowed.compile(
        optimizer=keras.optimizers.Adam(spec.learning_rate, global_clipnorm=spec.clip_norm),
        jit_compile=compiled,
        steps_per_execution=_steps_at_once(len(train) // batch),
    )
    monitor = "val_loss" if len(val) else "loss"
    watch = _Watch(spec.time_budget, spec.epochs, on_epoch)
    stopper = keras.callbacks.EarlyStopping(
        monitor=monitor, patience=spec.patience, restore_best_weights=True
    )
    slower = keras.callbacks.ReduceLROnPlateau(
        monitor=monitor, factor=0.5, patience=max(1, spec.patience // 3), min_lr=MIN_LEARNING_RATE
    )
    begin = time.monotonic()
    windowed.fit(
        _whole_batches(train, batch),
        batch_size=batch,
        epochs=spec.epochs,
        validation_data=(_whole_batches(val, _val_batch(len(val))), None) if len(val) else None,
        validation_batch_size=_val_batch(len(val)),
        callbacks=[stopper, slower, keras.callbacks.TerminateOnNaN(), watch],
        verbose=0,
    )
    history = watch.history
    if not all(np.isfinite(history["loss"])):
        raise ForecasterError(
            f"Training diverged: the loss is {history['loss'][-1]} in epoch "
            f"{len(history['loss'])}.",
            "Lower --learning-rate or --clip-norm, or scale the data (--scaler standard).",
        )
    best = int(np.argmin(history[monitor]))
    return {
        "epochs": len(history["loss"]),
        "best_epoch": best + 1,
        "best_val_loss": history["val_loss"][best] if len(val) else None,
        "seconds": round(time.monotonic() - begin, 2),
        "compiled": compiled,
        "stopped_by": watch.stopped_by or ("early stopping" if stopper.stopped_epoch else "epochs"),
        "history": history,
    }


class _Watch(KerasCallback):  # type: ignore[misc]
    """Reports epochs and stops when the time is up."""

    def __init__(self, budget: float | None, epochs: int, on_epoch: OnEpoch) -> None:
        super().__init__()
        self.deadline = None if budget is None else time.monotonic() + budget
        self.epochs = epochs
        self.on_epoch = on_epoch
        self.stopped_by = ""
        self.history: dict[str, list[float]] = {"loss": [], "val_loss": []}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        del batch, logs
        if self.deadline is not None and time.monotonic() > self.deadline:
            self.stopped_by = "time budget"
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        self.history["loss"].append(float(logs["loss"]))
        val_loss = logs.get("val_loss")
        if val_loss is not None:
            self.history["val_loss"].append(float(val_loss))
        self.on_epoch(Progress(epoch + 1, self.epochs, float(logs["loss"]), val_loss))


def _xla_pays(config: Config, windows: int) -> bool:
    """Tell whether the run is long enough to earn back the seconds of compiling."""
    if keras.backend.backend() != "tensorflow":
        return bool(keras.backend.backend() == "jax")
    network, spec = config.network, config.training
    steps = int(network.lookback or 0) // int(network.segment or 1) * len(network.layers or ())
    return steps * windows * min(USUAL_EPOCHS, spec.epochs) > XLA_PAYS


def _steps_at_once(steps: int) -> int:
    """Return how many batches one call into TensorFlow runs: fewer calls, less overhead."""
    return max(1, min(STEPS_AT_ONCE, steps)) if keras.backend.backend() == "tensorflow" else 1


def _val_batch(windows: int) -> int:
    """Return the size of equal validation batches of at most `VAL_BATCH` windows."""
    return -(-windows // -(-windows // VAL_BATCH)) if windows else 1


def _whole_batches(cutoffs: Ints, batch: int) -> Ints:
    """Repeat a few windows, spread evenly, so that all batches have one shape: one compilation."""
    missing = -len(cutoffs) % batch
    if not len(cutoffs) or not missing:
        return cutoffs
    repeated = cutoffs[np.linspace(0, len(cutoffs) - 1, missing).astype(int)]
    return np.concatenate([cutoffs, repeated])


def weights_of(network: Any) -> bytes:
    """Return a network's weights as Keras' HDF5 file: numbers and names, no code."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.weights.h5"
        network.save_weights(path)
        return path.read_bytes()


def network_of(model: Model) -> Any:
    """Build a model's Keras network again from its own settings and read its weights into it.

    Raises:
        DamagedError: The weights do not belong to the network that the settings describe.
    """
    known = model.network.future_features
    network = build(model.config.network, model.network.context_shape[1], known)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.weights.h5"
        path.write_bytes(model.weights)
        try:
            network.load_weights(path)
        except (ValueError, OSError) as error:
            raise DamagedError(f"The stored weights do not fit the network: {error}.") from error
    return network
