"""What came of a memory task: each network's answers, and what they say of the cells."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from forecaster.memory.tasks import SOLVED, Task
from forecaster.words import counted

REACHES = ("reach_untrained", "reach_trained")


@dataclass(frozen=True)
class Remembered:
    """One network, trained and scored.

    Attributes:
        cell: What it is made of.
        length: Steps of its sequences.
        seed: Of its weights and of the order of training.
        parameters: Its weights.
        epochs: How long it was trained.
        seconds: How long that took; with the first seed it compiles, for the others too.
        stopped_by: What ended its training.
        accuracy: Share of right answers on test sequences.
        error: Their mean squared error over that of the best constant.
        gradient_untrained: Norm of d loss / d input at each step, before training.
        gradient_trained: The same after training.
    """

    cell: str
    length: int
    seed: int
    parameters: int
    epochs: int
    seconds: float
    stopped_by: str
    accuracy: float
    error: float
    gradient_untrained: tuple[float, ...]
    gradient_trained: tuple[float, ...]

    @property
    def solved(self) -> bool:
        """Whether enough answers are right."""
        return self.accuracy >= SOLVED

    @property
    def reach_untrained(self) -> float:
        """Gradient at the first step over that at the last, before training: 1 if none vanishes."""
        return _reach(self.gradient_untrained)

    @property
    def reach_trained(self) -> float:
        """The same after training."""
        return _reach(self.gradient_trained)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return asdict(self) | {name: getattr(self, name) for name in ("solved", *REACHES)}


@dataclass(frozen=True)
class Memory:
    """What cells remember of one task.

    Attributes:
        task: What was asked for.
        networks: Each one that was trained and scored.
        settings: What all of them were trained with.
        interrupted: Whether it was stopped before all lengths were done.
    """

    task: Task
    networks: tuple[Remembered, ...]
    settings: dict[str, Any]
    interrupted: bool = False

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order in which they came."""
        return tuple(dict.fromkeys(each.cell for each in self.networks))

    @property
    def lengths(self) -> tuple[int, ...]:
        """From short to long."""
        return tuple(sorted({each.length for each in self.networks}))

    def of(self, cell: str, length: int) -> list[Remembered]:
        """Return the networks of a cell and a length, one a seed."""
        return [each for each in self.networks if (each.cell, each.length) == (cell, length)]

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each network; gradients are in `to_dict` only."""
        left_out = {"gradient_untrained", "gradient_trained"}
        rows = [
            {key: value for key, value in each.to_dict().items() if key not in left_out}
            for each in self.networks
        ]
        frame = pd.DataFrame(rows)
        frame.insert(0, "task", self.task.name)
        return frame

    def verdict(self) -> list[str]:
        """Say of each cell up to which length every network of it solved the task."""
        return [self._verdict(cell) for cell in self.cells]

    def _verdict(self, cell: str) -> str:
        solved = [all(each.solved for each in self.of(cell, length)) for length in self.lengths]
        first = solved.index(False) if False in solved else len(solved)
        if first == len(solved):
            return f"{cell} solved every length, up to {counted(self.lengths[-1], 'step')}."
        found = self.of(cell, self.lengths[first])
        share = f"{sum(each.solved for each in found)} of {counted(len(found), 'network')}"
        before = f"up to {self.lengths[first - 1]:,} steps" if first else "no length"
        if any(solved[first:]):
            done = [f"{n:,}" for n, each in zip(self.lengths, solved, strict=True) if each]
            before = f"{', '.join(done)} steps, not every shorter length"
        return f"{cell} solved {before} ({self.lengths[first]:,} steps: {share})."

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {
            "task": self.task.name,
            "chance": self.task.chance,
            "solved_from": SOLVED,
            "settings": self.settings,
            "interrupted": self.interrupted,
            "summary": self.summary(),
            "verdict": self.verdict(),
            "networks": [each.to_dict() for each in self.networks],
        }

    def summary(self) -> list[dict[str, Any]]:
        """Return the means over seeds at each length of each cell, some with their spread."""
        return [self._summary(cell, length) for length in self.lengths for cell in self.cells]

    def _summary(self, cell: str, length: int) -> dict[str, Any]:
        found = self.of(cell, length)
        figures = {
            name: np.array([getattr(each, name) for each in found])
            for name in ("parameters", "epochs", "seconds", "accuracy", "error", *REACHES)
        }
        return {
            **{"length": length, "cell": cell, "seeds": len(found)},
            "solved": sum(each.solved for each in found),
            **{name: float(values.mean()) for name, values in figures.items()},
            **{f"{name}_spread": _spread(figures[name]) for name in ("accuracy", "error")},
        }


def _reach(gradient: tuple[float, ...]) -> float:
    """Return the first step's share of the last step's gradient; 0 where nothing flows at all."""
    return gradient[0] / gradient[-1] if gradient[-1] else 0.0


def _spread(values: Any) -> float | None:
    """Return the standard deviation over seeds; None of one."""
    return float(values.std(ddof=1)) if len(values) > 1 else None
