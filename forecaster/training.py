"""One fit: windows gathered inside the compiled step, stopped early, calibrated, exported."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np

from forecaster import backend, scaling, splits
from forecaster.arrays import Ints
from forecaster.config import Config
from forecaster.errors import DamagedError, ForecasterError
from forecaster.intervals import Conformal
from forecaster.model import Model, Trained, input_features, known_ahead
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
SEARCH_SHARE = 0.6  # of the time budget, when a refit on all rows follows
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
    model = _train(panel, config, state, _Search(train, val, config, on_epoch))
    return model.calibrated(panel, val)


def refit(panel: Panel, judged: Model, on_epoch: OnEpoch = lambda _: None) -> Model:
    """Train again on every row, for the epochs that early stopping found best on fewer rows.

    The learning rates of those epochs are repeated. The intervals are those of the judged model:
    nothing is left that the new one has not seen.

    Args:
        panel: Regular series, all rows.
        judged: The model that early stopping chose.
        on_epoch: Called after each epoch.
    """
    config = judged.config
    parts = splits.split(panel, val_size=0, test_size=0, gap=0)
    train = splits.train_cutoffs(panel, parts, judged.lookback, judged.horizon)
    state = scaling.fit(panel, config.scaling)
    replay = _Replay(train, judged.trained, config, on_epoch)
    return replace(_train(panel, config, state, replay), conformal=judged.conformal)


def _train(panel: Panel, config: Config, state: scaling.Scaling, plan: _Search | _Replay) -> Model:
    """Build a network, train it by a plan and put it into a model without intervals."""
    spec = config.training
    with backend.quiet():
        device = backend.select_device(spec.device)
        backend.seed(spec.seed, spec.deterministic)
        with backend.device_scope(device):
            features = input_features(panel, state, config)
            known = known_ahead(panel.ds, panel.frequency, config)
            width = 0 if known is None else known.shape[1]
            network = build(config.network, features.shape[1], width)
            windowed = Windowed(network, features, known, spec.loss)
            record = _run(windowed, config, plan, device)
        trained = Trained(
            windows=len(plan.train),
            val_windows=len(plan.val),
            parameters=int(network.count_params()),
            device=str(device),
            **record,
        )
        nothing = Conformal(0, np.empty((0, int(config.network.horizon or 0))))
        return Model(config, state, nothing, to_onnx(network), weights_of(network), trained)


class _Search:
    """Train until the validation loss stops falling, and keep the best epoch's weights."""

    def __init__(self, train: Ints, val: Ints, config: Config, on_epoch: OnEpoch) -> None:
        spec = config.training
        self.train, self.val, self.epochs = train, val, spec.epochs
        self.monitor = "val_loss" if len(val) else "loss"
        share = SEARCH_SHARE if spec.refit_all else 1.0
        budget = None if spec.time_budget is None else spec.time_budget * share
        self.watch = _Watch(budget, self.epochs, on_epoch)
        self.stopper = keras.callbacks.EarlyStopping(
            monitor=self.monitor, patience=spec.patience, restore_best_weights=True
        )
        self.slower = keras.callbacks.ReduceLROnPlateau(
            monitor=self.monitor,
            factor=0.5,
            patience=max(1, spec.patience // 3),
            min_lr=MIN_LEARNING_RATE,
        )

    @property
    def callbacks(self) -> list[Any]:
        return [self.stopper, self.slower, self.watch]

    @property
    def stopped_by(self) -> str:
        return self.watch.stopped_by or (
            "early stopping" if self.stopper.stopped_epoch else "epochs"
        )


class _Replay:
    """Train for a known number of epochs at known learning rates."""

    monitor = "loss"

    def __init__(self, train: Ints, earlier: Trained, config: Config, on_epoch: OnEpoch) -> None:
        self.train, self.val, self.epochs = train, train[:0], earlier.best_epoch
        rates = earlier.history["learning_rate"]
        budget = config.training.time_budget
        self.watch = _Watch(
            None if budget is None else budget * (1 - SEARCH_SHARE), self.epochs, on_epoch
        )
        self.schedule = keras.callbacks.LearningRateScheduler(lambda epoch, _: rates[epoch])

    @property
    def callbacks(self) -> list[Any]:
        return [self.schedule, self.watch]

    @property
    def stopped_by(self) -> str:
        return self.watch.stopped_by or "epochs"


def _run(
    windowed: Windowed, config: Config, plan: _Search | _Replay, device: backend.Device
) -> dict[str, Any]:
    """Train by a plan and return the record; on a GPU cuDNN's kernels beat what XLA compiles.

    Raises:
        ForecasterError: The loss is not a number any more.
    """
    spec = config.training
    batch = int(spec.batch_size or 32)
    compiled = device.kind == "cpu" and _xla_pays(config, len(plan.train))
    windowed.compile(
        optimizer=keras.optimizers.Adam(spec.learning_rate, global_clipnorm=spec.clip_norm),
        jit_compile=compiled,
        steps_per_execution=_steps_at_once(len(plan.train) // batch),
    )
    val_batch = _val_batch(len(plan.val))
    begin = time.monotonic()
    windowed.fit(
        _whole_batches(plan.train, batch),
        batch_size=batch,
        epochs=plan.epochs,
        validation_data=(_whole_batches(plan.val, val_batch), None) if len(plan.val) else None,
        validation_batch_size=val_batch,
        callbacks=[*plan.callbacks, keras.callbacks.TerminateOnNaN()],
        verbose=0,
    )
    history = plan.watch.history
    losses = [*history["loss"], *history["val_loss"]]
    if not all(np.isfinite(losses)):
        raise ForecasterError(
            f"Training diverged: the loss is {history['loss'][-1]} in epoch "
            f"{len(history['loss'])}.",
            "Lower --learning-rate or --clip-norm, or scale the data (--scaler standard).",
        )
    best = int(np.argmin(history[plan.monitor]))
    return {
        "epochs": len(history["loss"]),
        "best_epoch": best + 1,
        "best_val_loss": history["val_loss"][best] if len(plan.val) else None,
        "seconds": round(time.monotonic() - begin, 2),
        "compiled": compiled,
        "stopped_by": plan.stopped_by,
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
        self.history: dict[str, list[float]] = {"loss": [], "val_loss": [], "learning_rate": []}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        del batch, logs
        if self.deadline is not None and time.monotonic() > self.deadline:
            self.stopped_by = "time budget"
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        val_loss = logs.get("val_loss")
        for name in self.history.keys() & logs.keys():
            self.history[name].append(float(logs[name]))
        self.on_epoch(Progress(epoch + 1, self.epochs, float(logs["loss"]), val_loss))


def _xla_pays(config: Config, windows: int) -> bool:
    """Tell whether the run is long enough to earn back the seconds of compiling."""
    if keras.backend.backend() != "tensorflow":
        return bool(keras.backend.backend() == "jax")
    if backend.is_deterministic():
        return False  # Keras refuses to compile with XLA then
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
    """Return a network's weights as an HDF5 file: arrays in the order of the layers, no code.

    It is made in memory, because the HDF5 library crashes when the disk under it is full.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for number, weight in enumerate(network.weights):
            dataset = file.create_dataset(f"{number:03d}", data=np.asarray(weight))
            dataset.attrs["name"] = weight.path
    return buffer.getvalue()


def network_of(model: Model) -> Any:
    """Build a model's Keras network again from its own settings and read its weights into it.

    Raises:
        DamagedError: The weights do not belong to the network that the settings describe.
    """
    runtime = model.network
    network = build(model.config.network, runtime.context_shape[1], runtime.future_features)
    try:
        with h5py.File(io.BytesIO(model.weights), "r") as file:
            network.set_weights([file[name][()] for name in sorted(file)])
    except (ValueError, OSError) as error:
        raise DamagedError(f"The stored weights do not fit the network: {error}.") from error
    return network
