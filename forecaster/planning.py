"""How long a network trains and at what rates: searched on validation, or as a search found best."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from forecaster import backend
from forecaster.arrays import Ints
from forecaster.config import Config
from forecaster.model import Member

keras = backend.import_keras()
KerasCallback: Any = keras.callbacks.Callback

SEARCH_SHARE = 0.6  # of the time budget, when a refit on all rows follows
MIN_LEARNING_RATE = 1e-5


@dataclass(frozen=True)
class Progress:
    """What a caller may show after each epoch.

    Attributes:
        network: Number in the ensemble, from 1.
        epoch: From 1.
        epochs: At most.
        loss: Of the train windows.
        val_loss: Of the validation windows, where there are any.
        stage: What is trained, where it is not the network that is judged.
    """

    network: int
    epoch: int
    epochs: int
    loss: float
    val_loss: float | None
    stage: str = ""


OnEpoch = Callable[[Progress], None]
OnRun = Callable[[str], OnEpoch]  # told what is trained next, gives what is told of its epochs


def staged(on_epoch: OnEpoch, stage: str, progress: Progress) -> None:
    """Say what is trained, where it is not the network that is judged."""
    on_epoch(replace(progress, stage=stage))


class Search:
    """Train until the validation loss stops falling, and keep the best epoch's weights."""

    def __init__(
        self, train: Ints, val: Ints, config: Config, on_epoch: OnEpoch, share: float
    ) -> None:
        spec = config.training
        self.train, self.val, self.epochs = train, val, int(spec.epochs or 1)
        self.monitor = "val_loss" if len(val) else "loss"
        self.shrinkage = None if spec.shrink else 1.0  # None: found on validation
        share *= (SEARCH_SHARE if spec.refit_all else 1.0) / int(spec.ensemble or 1)
        self.watch = _Watch(spec.time_budget, share, self.epochs, on_epoch)
        self.stopper = keras.callbacks.EarlyStopping(
            monitor=self.monitor, patience=spec.patience, restore_best_weights=True
        )
        self.slower = (
            keras.callbacks.LearningRateScheduler(
                partial(self._along_a_cosine, float(spec.learning_rate or 0))
            )
            if spec.schedule == "cosine"
            else keras.callbacks.ReduceLROnPlateau(
                monitor=self.monitor,
                factor=0.5,
                patience=max(1, spec.patience // 3),
                min_lr=MIN_LEARNING_RATE,
            )
        )

    def _along_a_cosine(self, first: float, epoch: int, _: float) -> float:
        """Return the learning rate of an epoch, or of a later one when time is short."""
        return _cosine(first, max(epoch / self.epochs, self.watch.share_used))

    @property
    def callbacks(self) -> list[Any]:
        """What Keras calls while it fits."""
        return [self.stopper, self.slower, self.watch]

    @property
    def stopped_by(self) -> str:
        """What ended the fit, in words."""
        return self.watch.stopped_by or (
            "early stopping" if self.stopper.stopped_epoch else "epochs"
        )


class Replay:
    """Train for a known number of epochs, at the learning rates of then or down to the end of a cosine.

    A network that stopped early along a cosine stopped at a high rate, which leaves its weights
    where the last batches threw them: the rates of a refit fall over the epochs that it has.
    """

    monitor = "loss"

    def __init__(
        self, train: Ints, earlier: Member, config: Config, on_epoch: OnEpoch, share: float
    ) -> None:
        self.train, self.val, self.epochs = train, train[:0], earlier.best_epoch
        self.shrinkage = earlier.shrinkage
        self.rates = earlier.history["learning_rate"]
        if config.training.schedule == "cosine":
            done = [epoch / self.epochs for epoch in range(self.epochs)]
            self.rates = [_cosine(self.rates[0], share) for share in done]
        share *= (1 - SEARCH_SHARE) / int(config.training.ensemble or 1)
        self.watch = _Watch(config.training.time_budget, share, self.epochs, on_epoch)
        self.schedule = keras.callbacks.LearningRateScheduler(self._as_planned)

    def _as_planned(self, epoch: int, _: float) -> float:
        """Return the learning rate of an epoch, or a later one when the time runs out before."""
        return self.rates[
            min(self.epochs - 1, max(epoch, int(self.watch.share_used * self.epochs)))
        ]

    @property
    def callbacks(self) -> list[Any]:
        """What Keras calls while it fits."""
        return [self.schedule, self.watch]

    @property
    def stopped_by(self) -> str:
        """What ended the fit, in words."""
        return self.watch.stopped_by or "epochs"


Plan = Search | Replay


def _cosine(first: float, done: float) -> float:
    """Return the learning rate at a share of a fit (Loshchilov & Hutter 2017, without restarts)."""
    return first * (1 + math.cos(math.pi * min(1.0, done))) / 2


class _Watch(KerasCallback):  # type: ignore[misc]
    """Reports epochs and stops when the time is up."""

    def __init__(self, budget: float | None, share: float, epochs: int, on_epoch: OnEpoch) -> None:
        super().__init__()
        self.seconds = None if budget is None else budget * share
        self.deadline = float("inf")
        self.epochs = epochs
        self.on_epoch = on_epoch
        self.stopped_by = ""
        self.history: dict[str, list[float]] = {"loss": [], "val_loss": [], "learning_rate": []}

    @property
    def share_used(self) -> float:
        """How much of the time is up; 0 without a budget and before the clock starts."""
        if not self.seconds:
            return 0.0
        return max(0.0, 1 - (self.deadline - time.monotonic()) / self.seconds)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Start the clock once the first batch is through, which compiles; stop when time is up."""
        del batch, logs
        now = time.monotonic()
        if self.seconds is not None and self.deadline == float("inf"):
            self.deadline = now + self.seconds
        elif now > self.deadline:
            self.stopped_by = "time budget"
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        val_loss = logs.get("val_loss")
        for name in self.history.keys() & logs.keys():
            self.history[name].append(float(logs[name]))
        self.on_epoch(Progress(1, epoch + 1, self.epochs, float(logs["loss"]), val_loss))
