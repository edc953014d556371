"""One fit: windows gathered inside the compiled step, stopped early, calibrated, exported."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import h5py
import numpy as np

from forecaster import backend, scaling, splits
from forecaster.arrays import Ints
from forecaster.config import Config
from forecaster.errors import DamagedError, ForecasterError
from forecaster.intervals import uncalibrated
from forecaster.known import input_features
from forecaster.losses import Sizes
from forecaster.model import Member, Model, Trained
from forecaster.networks.builder import build
from forecaster.networks.onnx_graph import to_onnx
from forecaster.networks.windowed import Rows, Shuffled, Windowed
from forecaster.series import Panel
from forecaster.windows import spread

keras = backend.import_keras()
KerasCallback: Any = keras.callbacks.Callback

XLA_PAYS = (
    1.2e6  # recurrent steps x windows in a run, under which compiling costs more than it saves
)
USUAL_EPOCHS = 20
EPOCH_WINDOWS = 2**16  # validation comes at least so often; an epoch of more is cut into several
STEPS_AT_ONCE = 16
SEARCH_SHARE = 0.6  # of the time budget, when a refit on all rows follows
VAL_BATCH = 1024
MIN_LEARNING_RATE = 1e-5
SHARES = np.linspace(0, 1, 11)  # of what was learnt, tried on validation
SHARE_WINDOWS = 4 * VAL_BATCH
SMALLEST_UNIT = 0.1  # of the usual unit: no series counts more than ten times in a scaled loss


@dataclass(frozen=True)
class Progress:
    """What a caller may show after each epoch."""

    network: int
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
    plans = [
        _Search(train, val, config, partial(_numbered, on_epoch, number))
        for number in range(1, config.training.ensemble + 1)
    ]
    model = _train(panel, config, state, plans)
    if config.evaluation.fallback == "baseline":
        model = model.with_fallback(panel, val)
    return model.calibrated(panel, val)


def refit(panel: Panel, judged: Model, on_epoch: OnEpoch = lambda _: None) -> Model:
    """Train again on every row, for the epochs that early stopping found best on fewer rows.

    The learning rates of those epochs are repeated, and as much of what is learnt is kept. The
    intervals are those of the judged model: nothing is left that the new one has not seen.

    Args:
        panel: Regular series, all rows.
        judged: The model that early stopping chose.
        on_epoch: Called after each epoch.
    """
    config = judged.config
    parts = splits.split(panel, val_size=0, test_size=0, gap=0)
    train = splits.train_cutoffs(panel, parts, judged.lookback, judged.horizon)
    state = scaling.fit(panel, config.scaling)
    plans = [
        _Replay(train, member, config, partial(_numbered, on_epoch, number))
        for number, member in enumerate(judged.trained.members, 1)
    ]
    model = _train(panel, config, state, plans)
    return replace(model, conformal=judged.conformal, fallback=judged.fallback)


def _numbered(on_epoch: OnEpoch, number: int, progress: Progress) -> None:
    """Say which network of the ensemble an epoch belongs to."""
    on_epoch(replace(progress, network=number))


def _train(
    panel: Panel, config: Config, state: scaling.Scaling, plans: Sequence[_Search | _Replay]
) -> Model:
    """Train a network by each plan and put them into a model without intervals.

    One compiled network serves all: each member starts it anew and takes its weights away.
    """
    spec = config.training
    begin = time.monotonic()
    with backend.quiet():
        device = backend.select_device(spec.device)
        with backend.device_scope(device):
            rows = _rows(panel, config, state)
            backend.seed(spec.seed, spec.deterministic)
            compiled = device.kind == "cpu" and _xla_pays(config, len(plans[0].train))
            windowed = _compiled(rows, config, plans[0], compiled)
            members, networks = [], []
            for number, plan in enumerate(plans):
                seed = spec.seed + number
                backend.seed(seed, spec.deterministic)
                network = _build(rows, config)
                _start_anew(windowed, network, spec.learning_rate)
                members.append(_run(windowed, config, plan, seed))
                network.set_weights(windowed.network.get_weights())
                networks.append(network)
        trained = Trained(
            windows=len(plans[0].train),
            val_windows=len(plans[0].val),
            parameters=sum(int(network.count_params()) for network in networks),
            seconds=round(time.monotonic() - begin, 2),
            compiled=compiled,
            device=str(device),
            members=tuple(members),
        )
        nothing = uncalibrated(len(state.ids), int(config.network.horizon or 0))
        return Model(config, state, nothing, to_onnx(networks), weights_of(networks), trained)


def _rows(panel: Panel, config: Config, state: scaling.Scaling) -> Rows:
    """Return what is held on the device while a panel is trained on."""
    unit = state.error_unit / state.scale
    features, known = input_features(panel, state, config)
    return Rows(
        features=features,
        known=known,
        static=state.static_features(panel),
        series=np.repeat(np.arange(len(panel.ids)), panel.lengths),
        sizes=Sizes(  # a loss is the same for values of any unit: float32 holds what is left
            scale=np.where(state.log, state.scale, 1.0),
            center=np.where(state.log, state.center, state.center / state.scale),
            log=state.log,
            unit=np.maximum(unit, SMALLEST_UNIT * np.median(unit)),
        ),
    )


def _build(rows: Rows, config: Config) -> Any:
    """Build the network that fits the rows."""
    known, static = (0 if part is None else part.shape[1] for part in (rows.known, rows.static))
    series = len(rows.sizes.scale) if config.network.series_vectors else 0
    return build(config.network, rows.features.shape[1], known, series, static)


def _compiled(rows: Rows, config: Config, plan: _Search | _Replay, xla: bool) -> Windowed:
    """Wrap a network and compile it; on a GPU cuDNN's kernels beat what XLA compiles."""
    spec = config.training
    windowed = Windowed(_build(rows, config), rows, config)
    windowed.compile(
        optimizer=keras.optimizers.Adam(spec.learning_rate, global_clipnorm=spec.clip_norm),
        jit_compile=xla,
        steps_per_execution=_steps_at_once(len(plan.train) // int(spec.batch_size or 32)),
    )
    # Variables that are made inside a TensorFlow function have it traced twice.
    windowed.optimizer.build(windowed.trainable_variables)
    return windowed


def _start_anew(windowed: Windowed, network: Any, learning_rate: float) -> None:
    """Give the compiled network another one's first weights, and its optimiser a blank memory."""
    windowed.network.set_weights(network.get_weights())
    for variable in windowed.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))
    windowed.optimizer.learning_rate = learning_rate


Weights = dict[str, list[Any]]


class _Search:
    """Train until the validation loss stops falling, and keep the best epoch's weights."""

    def __init__(self, train: Ints, val: Ints, config: Config, on_epoch: OnEpoch) -> None:
        spec = config.training
        self.train, self.val, self.epochs = train, val, spec.epochs
        self.monitor = "val_loss" if len(val) else "loss"
        self.shrinkage = None if spec.shrink else 1.0  # None: found on validation
        share = (SEARCH_SHARE if spec.refit_all else 1.0) / spec.ensemble
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

    def __init__(self, train: Ints, earlier: Member, config: Config, on_epoch: OnEpoch) -> None:
        self.train, self.val, self.epochs = train, train[:0], earlier.best_epoch
        self.shrinkage = earlier.shrinkage
        rates = earlier.history["learning_rate"]
        budget = config.training.time_budget
        share = (1 - SEARCH_SHARE) / config.training.ensemble
        self.watch = _Watch(None if budget is None else budget * share, self.epochs, on_epoch)
        self.schedule = keras.callbacks.LearningRateScheduler(lambda epoch, _: rates[epoch])

    @property
    def callbacks(self) -> list[Any]:
        return [self.schedule, self.watch]

    @property
    def stopped_by(self) -> str:
        return self.watch.stopped_by or "epochs"


def _run(windowed: Windowed, config: Config, plan: _Search | _Replay, seed: int) -> Member:
    """Train one network by a plan and return the record.

    Raises:
        ForecasterError: The loss is not a number any more.
    """
    val_batch = _val_batch(len(plan.val))
    validation = _whole_batches(plan.val, val_batch)
    start = _weights(windowed.network)
    begin = time.monotonic()
    plan.watch.begin()
    windowed.fit(
        Shuffled(plan.train, int(config.training.batch_size or 32), EPOCH_WINDOWS, seed),
        epochs=plan.epochs,
        validation_data=(validation, None) if len(plan.val) else None,
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
    shrinkage = plan.shrinkage
    if shrinkage is None:
        shrinkage = _best_share(windowed, start, plan.val) if len(plan.val) else 1.0
    _keep(windowed.network, start, _weights(windowed.network), shrinkage)
    best = int(np.argmin(history[plan.monitor]))
    return Member(
        seed=seed,
        epochs=len(history["loss"]),
        best_epoch=best + 1,
        best_val_loss=history["val_loss"][best] if len(plan.val) else None,
        seconds=round(time.monotonic() - begin, 2),
        stopped_by=plan.stopped_by,
        shrinkage=shrinkage,
        history=history,
    )


def _linear(network: Any) -> dict[str, Any]:
    """Return the layers in whose weights a forecast is linear: the head, and a learnt skip."""
    return {
        layer.name: layer
        for layer in network.layers
        if layer.name in {"head", "skip"} and layer.get_weights()
    }


def _weights(network: Any) -> Weights:
    return {name: layer.get_weights() for name, layer in _linear(network).items()}


def _best_share(windowed: Windowed, start: Weights, val: Ints) -> float:
    """Return the share of what was learnt that validation likes best, the smaller of equals.

    It only ever sees the windows that early stopping has seen.
    """
    some = spread(val, SHARE_WINDOWS)
    learnt = _weights(windowed.network)
    whole = _forecasts(windowed, some)
    _keep(windowed.network, start, learnt, 0.0)
    shift = whole - _forecasts(windowed, some)  # what was learnt, for the point and as much for all
    _keep(windowed.network, start, learnt, 1.0)
    losses = [
        float(windowed.compute_loss(some, y_pred=whole - (1 - share) * shift)) for share in SHARES
    ]
    return float(SHARES[int(np.argmin(losses))])


def _forecasts(windowed: Windowed, cutoffs: Ints) -> Any:
    """Forecast windows without tracing a function for it."""
    parts = np.array_split(cutoffs, -(-len(cutoffs) // VAL_BATCH))
    return np.concatenate([keras.ops.convert_to_numpy(windowed(part)) for part in parts])


def _keep(network: Any, start: Weights, learnt: Weights, share: float) -> None:
    """Keep a share of what the point forecast learnt; the quantiles keep their distance to it."""
    outputs = network.output_shape[-1]
    for name, layer in _linear(network).items():
        weights = []
        for first, last in zip(start[name], learnt[name], strict=True):
            gap = last - first
            if name == "head":  # its last axis is (step, output): the point is every first output
                points = gap.reshape(*gap.shape[:-1], -1, outputs)[..., :1]
                gap = np.repeat(points, outputs, axis=-1).reshape(gap.shape)
            weights.append(last - (1 - share) * gap)
        layer.set_weights(weights)


class _Watch(KerasCallback):  # type: ignore[misc]
    """Reports epochs and stops when the time is up."""

    def __init__(self, budget: float | None, epochs: int, on_epoch: OnEpoch) -> None:
        super().__init__()
        self.budget, self.deadline = budget, float("inf")
        self.epochs = epochs
        self.on_epoch = on_epoch
        self.stopped_by = ""
        self.history: dict[str, list[float]] = {"loss": [], "val_loss": [], "learning_rate": []}

    def begin(self) -> None:
        """Start the clock."""
        if self.budget is not None:
            self.deadline = time.monotonic() + self.budget

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        del batch, logs
        if time.monotonic() > self.deadline:
            self.stopped_by = "time budget"
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        val_loss = logs.get("val_loss")
        for name in self.history.keys() & logs.keys():
            self.history[name].append(float(logs[name]))
        self.on_epoch(Progress(1, epoch + 1, self.epochs, float(logs["loss"]), val_loss))


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


def networks_of(model: Model) -> list[Any]:
    """Build a model's Keras networks again from its own settings and read their weights.

    Raises:
        DamagedError: The weights do not belong to the network that the settings describe.
    """
    runtime = model.network
    series = len(model.scaling.ids) if runtime.knows_series else 0
    networks = []
    try:
        with h5py.File(io.BytesIO(model.weights), "r") as file:
            for member in sorted(file):
                network = build(
                    model.config.network,
                    runtime.context_shape[1],
                    runtime.future_features,
                    series,
                    runtime.static_features,
                )
                network.set_weights([file[member][name][()] for name in sorted(file[member])])
                networks.append(network)
    except (ValueError, OSError) as error:
        raise DamagedError(f"The stored weights do not fit the network: {error}.") from error
    return networks
