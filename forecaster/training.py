"""One fit: windows gathered inside the compiled step, stopped early, calibrated, exported."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from forecaster import backend, compiling, joint, scaling, splits
from forecaster.arrays import Ints
from forecaster.chances import Chances, ups
from forecaster.config import Config
from forecaster.continuing import Start
from forecaster.errors import ForecasterError
from forecaster.intervals import uncalibrated
from forecaster.known import input_features
from forecaster.losses import Sizes
from forecaster.model import Member, Model, Trained
from forecaster.networks.onnx_graph import to_onnx
from forecaster.networks.windowed import Rows, Shuffled, Windowed, untuned
from forecaster.planning import OnEpoch, Plan, Progress, Replay, Search
from forecaster.presets import EPOCH_WINDOWS
from forecaster.series import Panel
from forecaster.shrinking import Weights, best_share, keep, linear_weights
from forecaster.statistical import OnWindow, silent
from forecaster.weights import continue_from, weights_of

keras = backend.import_keras()

SMALLEST_UNIT = 0.1  # of the usual unit: no series counts more than ten times in a scaled loss


@dataclass(frozen=True)
class Method:
    """What a fit keeps to besides the data.

    Attributes:
        teacher: A model whose forecasts of the train windows count as much as the truth.
        keep_zeros: Whether weights that are zero stay so.
    """

    teacher: Model | None = None
    keep_zeros: bool = False


PLAIN = Method()


def fit(
    panel: Panel,
    config: Config,
    parts: splits.Split,
    on_epoch: OnEpoch = lambda _: None,
    start: Start | None = None,
    on_window: OnWindow = silent,
    share: float = 1.0,
    method: Method = PLAIN,
) -> Model:
    """Train one network on the train rows of a panel.

    Args:
        panel: Regular series; rows from `parts.val_stop` on are cut off before anything is fitted.
        config: Resolved settings (`presets.resolve`).
        parts: What is train and what validation.
        on_epoch: Called after each epoch.
        start: What to continue from; random weights and fresh scalers when None.
        on_window: Called after each window that Theta or ETS is fitted to, to be a fallback.
        share: Of the time budget, that is left for this fit and its refit.
        method: What else is kept to while training.

    Raises:
        InvalidInputError: No training window fits.
        MissingDependencyError: A GPU was asked for and there is none.
        ForecasterError: Training diverged.
    """
    context, horizon = config.context_rows, int(config.network.horizon or 0)
    splits.require_windows(panel, parts, context, horizon)
    state = _state(panel.head(splits.rows_to_scale(parts, context + horizon)), config, start)
    panel = panel.head(parts.val_stop)
    train = splits.train_cutoffs(panel, parts, context, horizon)
    val = splits.val_cutoffs(panel, parts, context, horizon)
    times = partial(_times, panel=panel, config=config)
    plans = [
        Search(times(train), times(val), config, partial(_numbered, on_epoch, number), share)
        for number in range(1, int(config.training.ensemble or 1) + 1)
    ]
    model = _train(panel, config, state, plans, start, method)
    if config.network.direction:
        known = panel.head(parts.train_stop)  # one rate serves all: no row that only scales counts
        model = replace(model, chances=Chances.of_train(known.y, known.offsets))
    if config.evaluation.fallback == "baseline":
        model = model.with_fallback(panel, val, on_window)
    return model.calibrated(panel, val)


def refit(
    panel: Panel,
    judged: Model,
    on_epoch: OnEpoch = lambda _: None,
    start: Start | None = None,
    share: float = 1.0,
    method: Method = PLAIN,
) -> Model:
    """Train again on every row of a panel, for the epochs that early stopping found best on fewer.

    The learning rates of those epochs are repeated, and as much of what is learnt is kept. The
    intervals are those of the judged model: nothing of the panel is left that the new one has not seen.

    Args:
        panel: Regular series, as many rows as are to be trained on.
        judged: The model that early stopping chose.
        on_epoch: Called after each epoch.
        start: What to continue from; random weights and fresh scalers when None.
        share: Of the time budget, as the fit had it.
        method: What else is kept to while training.
    """
    config = judged.config
    parts = splits.split(panel, val_size=0, test_size=0, gap=0)
    train = splits.train_cutoffs(panel, parts, config.context_rows, judged.horizon)
    train = _times(train, panel, config)
    state = _state(panel, config, start)
    plans = [
        Replay(train, member, config, partial(_numbered, on_epoch, number), share)
        for number, member in enumerate(judged.trained.members, 1)
    ]
    model = _train(panel, config, state, plans, start, method)
    return replace(
        model, conformal=judged.conformal, fallback=judged.fallback, chances=judged.chances
    )


def _numbered(on_epoch: OnEpoch, number: int, progress: Progress) -> None:
    """Say which network of the ensemble an epoch belongs to."""
    on_epoch(replace(progress, network=number))


def _times(cutoffs: Ints, panel: Panel, config: Config) -> Ints:
    """Return what training goes through: each cutoff, or of a joint network each time once."""
    return joint.of_first(cutoffs, panel) if config.network.joint else cutoffs


def _state(train: Panel, config: Config, start: Start | None) -> scaling.Scaling:
    """Fit the scalers on train rows; those that training starts with stay as they are."""
    if start is None:
        return scaling.fit(train, config.scaling, int(config.data.season_length or 1))
    return start.scaling.align(train, config.scaling)


def _train(
    panel: Panel,
    config: Config,
    state: scaling.Scaling,
    plans: Sequence[Plan],
    start: Start | None,
    method: Method = PLAIN,
) -> Model:
    """Train a network by each plan and put them into a model without intervals.

    One compiled network serves all: each member starts it anew and takes its weights away.
    """
    spec = config.training
    begin = time.monotonic()
    rows = _rows(panel, config, state)
    if method.teacher is not None:
        rows = _taught(rows, method.teacher, panel, plans[0].train)
    device = backend.select_device(spec.device)
    with backend.memory_kept(), backend.repeatable(spec.deterministic):
        with backend.device_scope(device):
            keras.utils.set_random_seed(spec.seed)
            windows = len(plans[0].train)
            xla = compiling.xla_pays(config, windows)
            windowed = compiling.compiled(rows, config, windows, xla, method.keep_zeros)
            members, networks = [], []
            for number, plan in enumerate(plans):
                seed = spec.seed_after(number)
                keras.utils.set_random_seed(seed)
                network = compiling.build_for(rows, config)
                untrained = linear_weights(network)
                if start is not None and start.weights:
                    continue_from(network, start, number, state)
                compiling.start_anew(windowed, network, float(spec.learning_rate or 0))
                members.append(run_plan(windowed, config, plan, seed, untrained))
                network.set_weights(windowed.network.get_weights())
                networks.append(network)
        trained = Trained(
            windows=windows,
            val_windows=len(plans[0].val),
            parameters=sum(int(network.count_params()) for network in networks),
            seconds=round(time.monotonic() - begin, 2),
            compiled=xla,
            device=str(device),
            members=tuple(members),
        )
        nothing = uncalibrated(len(state.ids), int(config.network.horizon or 0))
        return Model(config, state, nothing, to_onnx(networks), weights_of(networks), trained)


def _rows(panel: Panel, config: Config, state: scaling.Scaling) -> Rows:
    """Return what is held on the device while a panel is trained on."""
    unit = state.error_unit / state.scale
    # the scalers of a series without a window may have seen rows that come after the others'
    trained = panel.lengths >= config.context_rows + int(config.network.horizon or 0)
    features, known = input_features(panel, state, config)
    return Rows(
        features=features,
        known=known,
        static=state.static_features(panel),
        series=np.repeat(np.arange(len(panel.ids), dtype=np.int32), panel.lengths),
        starts=panel.offsets[:-1],
        sizes=Sizes(  # a loss is the same for values of any unit: float32 holds what is left
            scale=np.where(state.log, state.scale, 1.0),
            center=np.where(state.log, state.center, state.center / state.scale),
            log=state.log,
            unit=np.maximum(unit, SMALLEST_UNIT * np.median(unit[trained])),
        ),
        up=ups(panel.y, panel.offsets).astype(np.float32) if config.network.direction else None,
    )


def _taught(rows: Rows, teacher: Model, panel: Panel, cutoffs: Ints) -> Rows:
    """Put a teacher's outputs of windows beside the rows; of a joint one, those of all series."""
    if teacher.config.network.joint:
        cutoffs, _ = joint.of_all(cutoffs, panel.offsets)
    lessons = np.zeros(len(panel.y), dtype=np.int32)
    lessons[cutoffs] = np.arange(len(cutoffs))
    return replace(rows, taught=teacher.outputs(panel, cutoffs), lessons=lessons)


def run_plan(
    windowed: Windowed, config: Config, plan: Plan, seed: int, untrained: Weights
) -> Member:
    """Train one network by a plan and return the record.

    Args:
        windowed: The compiled network.
        config: Resolved settings.
        plan: How long, and at what learning rates.
        seed: Of the order of windows.
        untrained: What the forecast is pulled towards.

    Raises:
        ForecasterError: The loss is not a number any more.
    """
    val_batch = _val_batch(len(plan.val), windowed.at_once)
    validation = _whole_batches(plan.val, val_batch)
    begin = time.monotonic()
    batches = Shuffled(plan.train, int(config.training.batch_size or 32), EPOCH_WINDOWS, seed)
    windowed.fit(
        untuned(batches),
        epochs=plan.epochs,
        shuffle=False,  # they are
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
            "Lower --learning-rate, --clip-norm or --clip-value, or scale the data (--scaler standard).",
        )
    shrinkage = plan.shrinkage
    if shrinkage is None:
        shrinkage = best_share(windowed, config, untrained, plan.val) if len(plan.val) else 1.0
    keep(windowed.network, untrained, linear_weights(windowed.network), shrinkage)
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


def _val_batch(windows: int, most: int) -> int:
    """Return the size of equal validation batches of at most so many windows."""
    return -(-windows // -(-windows // most)) if windows else 1


def _whole_batches(cutoffs: Ints, batch: int) -> Ints:
    """Repeat a few windows, spread evenly, so that all batches have one shape: one compilation."""
    missing = -len(cutoffs) % batch
    if not len(cutoffs) or not missing:
        return cutoffs
    repeated = cutoffs[np.linspace(0, len(cutoffs) - 1, missing).astype(int)]
    return np.concatenate([cutoffs, repeated])
