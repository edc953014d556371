"""What each cell remembers: networks trained on the memory tasks, scored on sequences of their own.

They are the networks of `builder.build`, trained by the same compiled step and scored by the same
ONNX graph as any other; all that differs between two of them is the cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecaster import backend, compiling, presets, training
from forecaster.config import Config
from forecaster.memory.remembered import Memory, Remembered
from forecaster.memory.sequences import TRAIN, Sequences, sequences_of
from forecaster.memory.tasks import DEFAULTS, OWN, Task
from forecaster.networks.gradients import gradient_by_step
from forecaster.networks.onnx_graph import to_onnx
from forecaster.planning import Search
from forecaster.runtime import Network
from forecaster.series import Panel
from forecaster.shrinking import linear_weights
from forecaster.words import counted

if TYPE_CHECKING:
    from forecaster.planning import OnEpoch, OnRun

keras = backend.import_keras()
KerasCallback: Any = keras.callbacks.Callback

GRADIENTS = 128  # test sequences over which gradients are averaged
LEARNT = 0.02  # error on validation, in that of the best constant, at which a training ends
FIXED = {  # the textbook's network: a step is a step, and the forecast comes from the last state
    "preset": "classic",
    "season_length": 1,
    "horizon": 1,
    "loss": "mse",
    "ensemble": 1,
    "refit_all": False,
}


class UntilLearnt(Search):
    """Train until the answers to validation sequences are learnt, or to the end."""

    def __init__(
        self, sequences: Sequences, config: Config, goal: float, on_epoch: OnEpoch
    ) -> None:
        super().__init__(sequences.train, sequences.val, config, on_epoch, 1.0)
        self.learnt = _Learnt(goal)

    @property
    def callbacks(self) -> list[Any]:
        """What Keras calls while it fits."""
        return [*super().callbacks, self.learnt]

    @property
    def stopped_by(self) -> str:
        """What ended the fit, in words."""
        return "solution" if self.learnt.reached else super().stopped_by


class _Learnt(KerasCallback):  # type: ignore[misc]
    """Stops a training whose validation loss is low enough."""

    def __init__(self, goal: float) -> None:
        super().__init__()
        self.goal, self.reached = goal, False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        del epoch
        if (logs or {})["val_loss"] <= self.goal:
            self.reached = self.model.stop_training = True


def remember(
    task: Task,
    cells: Sequence[str],
    lengths: Sequence[int],
    seeds: int,
    config: Config,
    on_run: OnRun = lambda _: lambda _: None,
) -> Memory:
    """Train networks of each cell at each length and say how much they remember.

    Stopped by KeyboardInterrupt, it returns the lengths that all were trained at.

    Args:
        task: What is asked for.
        cells: Recurrent cells.
        lengths: Steps of the sequences.
        seeds: Networks of each cell and length, from the seed of the settings on; their weights and
            the order of training differ, the sequences do not.
        config: Those of `OWN` are used, the same for all networks; where one is open, `DEFAULTS`.
        on_run: Told what is trained next.

    Raises:
        MissingDependencyError: A GPU was asked for and there is none.
        ForecasterError: Training diverged.
        KeyboardInterrupt: No length is finished yet.
    """
    # all of them first, so that what cannot be built is refused before any is trained
    each = {(length, cell): resolved(config, cell, length) for length in lengths for cell in cells}
    usual = next(iter(each.values())).flat()
    done: list[Remembered] = []
    interrupted = False
    try:
        with backend.repeatable(config.training.deterministic):
            for length in lengths:
                compiling.forget()  # nothing of another length serves this one
                sequences = sequences_of(task, length, config.training.seed)
                found: list[Remembered] = []
                for cell in cells:
                    found += _networks(task, sequences, each[length, cell], seeds, on_run)
                done += found
    except KeyboardInterrupt:
        if not done:
            raise
        interrupted = True
    return Memory(task, tuple(done), {name: usual[name] for name in OWN}, interrupted)


def cost(
    task: Task, cells: Sequence[str], lengths: Sequence[int], seeds: int, config: Config
) -> str:
    """Say beforehand what `remember` will take at most."""
    spec = resolved(config, cells[0], lengths[0]).training
    networks, budget = len(cells) * len(lengths) * seeds, float(spec.time_budget or 0)
    return (
        f"{task.name}: {counted(networks, 'network')} to train, each until it has solved the task, "
        f"for {counted(int(spec.epochs or 1), 'epoch')} of {TRAIN:,} sequences, or for {budget:g} s: "
        f"{math.ceil(networks * budget / 60):,} min in all at most, and some seconds each to compile."
    )


def resolved(config: Config, cell: str, length: int) -> Config:
    """Return all settings of the network that a cell and a length ask for.

    Raises:
        InvalidInputError: Settings that contradict each other, or no such cell.
    """
    asked = config.flat()
    own = {name: DEFAULTS.get(name) if asked[name] is None else asked[name] for name in OWN}
    sizes = {"cell": cell, "lookback": length, "patience": own["epochs"]}
    rows = 4 * length  # room for the parts of a series that sequences do not have
    shape = Panel(
        ids=("sequence",),
        offsets=np.array([0, rows]),
        ds=pd.RangeIndex(rows),
        y=np.zeros(rows),
        filled=np.zeros(rows, dtype=bool),
        covariates=np.zeros((rows, 0)),
    )
    return presets.resolve(Config.of(**FIXED, **own, **sizes), shape)


def _networks(
    task: Task, sequences: Sequences, config: Config, seeds: int, on_run: OnRun
) -> Iterator[Remembered]:
    """Train and score networks that differ by their seed; one is compiled and serves all."""
    spec, rows = config.training, sequences.rows
    cell, length = config.network.cell, int(config.network.lookback or 0)
    device = backend.select_device(spec.device)
    with backend.device_scope(device):
        windows = len(sequences.train)
        xla = compiling.xla_pays(config, windows)
        windowed = compiling.compiled(rows, config, windows, xla)
    for seed in map(spec.seed_after, range(seeds)):
        on_epoch = on_run(f"{cell}, {length:,} steps, seed {seed}")
        with backend.memory_kept(), backend.device_scope(device):
            keras.utils.set_random_seed(seed)
            plan = UntilLearnt(sequences, config, LEARNT * task.variance, on_epoch)
            network = compiling.build_for(rows, config)
            compiling.start_anew(windowed, network, float(spec.learning_rate or 0))
            untrained = _gradient(with_random_head(network), sequences)
            member = training.run_plan(windowed, config, plan, seed, linear_weights(network))
            network.set_weights(windowed.network.get_weights())
            inputs, answers = sequences.tested
            told = Network(to_onnx([network]))(inputs)[:, 0, 0]
            trained = _gradient(network, sequences)
        yield Remembered(
            cell=cell,
            length=length,
            seed=seed,
            parameters=int(network.count_params()),
            epochs=member.epochs,
            seconds=member.seconds,
            stopped_by=member.stopped_by,
            accuracy=float(task.right(answers, told).mean()),
            error=float(np.mean((told - answers) ** 2) / task.variance),
            gradient_untrained=untrained,
            gradient_trained=trained,
        )


def with_random_head(network: Any) -> Any:
    """Draw the kernel of the head as Keras draws one by default.

    The builder's is zero to begin with, which lets no gradient through.
    """
    kernel = network.get_layer("head").kernel
    kernel.assign(keras.initializers.GlorotUniform()(kernel.shape))
    return network


def _gradient(network: Any, sequences: Sequences) -> tuple[float, ...]:
    """Return the norm of the gradient at each step, averaged over a few test sequences."""
    inputs, answers = (part[:GRADIENTS] for part in sequences.tested)
    return tuple(map(float, gradient_by_step(network, inputs, answers[:, None])))
