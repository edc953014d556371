"""What came of a study: its trials, the best of them, and how much of that may be luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from forecaster.metrics import SIGNIFICANCE, DieboldMariano, p_text, same_accuracy
from forecaster.words import as_flag, counted

COMPLETE, PRUNED, FAILED, RUNNING = "complete", "pruned", "failed", "running"


@dataclass(frozen=True)
class Trial:
    """One configuration that was tried.

    Attributes:
        number: From 0 in the order of their beginnings.
        state: complete, pruned (stopped early because it looked hopeless), failed or running.
        default: Whether it is the configuration that no search has changed.
        score: Mean of MASE over the inner folds; None unless complete.
        folds: MASE on each inner fold, as far as it came.
        losses: Of all folds by time, to compare trials pair by pair.
        settings: What it set.
        seconds: How long it took; None while it runs.
        reason: Why it was pruned or failed.
    """

    number: int
    state: str
    default: bool
    score: float | None
    folds: tuple[float, ...]
    losses: tuple[float, ...]
    settings: dict[str, Any]
    seconds: float | None
    reason: str


@dataclass(frozen=True)
class Tuned:
    """A study, ready to be reported.

    Attributes:
        study: Its name.
        storage: Its file; None when it was kept in memory.
        trials: All of them, in the order of their beginnings.
        space: What was searched, in words, by setting.
        start: What `auto` chose for all trials, on rows before the first inner fold.
        folds: How many inner folds there are.
        block: Rows of each.
        horizon: Steps forecast, and steps between the times of losses.
        importances: Share of the scores' variance by setting; None when it cannot be told.
        out_of_time: Whether the time ended the run before its trials were done.
        interrupted: Whether the run was interrupted.
    """

    study: str
    storage: str | None
    trials: tuple[Trial, ...]
    space: dict[str, str]
    start: dict[str, Any]
    folds: int
    block: int
    horizon: tuple[int, int]
    importances: dict[str, float] | None
    out_of_time: bool = False
    interrupted: bool = False

    @property
    def ranked(self) -> list[Trial]:
        """The completed trials, the best one first; of equals the earlier one."""
        done = [
            (trial.score, trial.number, trial) for trial in self.trials if trial.score is not None
        ]
        return [trial for _, _, trial in sorted(done, key=lambda row: row[:2])]

    @property
    def best(self) -> Trial | None:
        """The trial with the lowest score; None while none is complete."""
        return next(iter(self.ranked), None)

    @property
    def default(self) -> Trial | None:
        """The default configuration's trial; None while it is not complete."""
        return next((trial for trial in self.ranked if trial.default), None)

    @property
    def test(self) -> DieboldMariano | None:
        """The Diebold-Mariano test between best and default; None when one of them is missing."""
        if self.best is None or self.default is None:
            return None
        losses = np.array(self.best.losses), np.array(self.default.losses)
        return same_accuracy(*losses, *self.horizon)

    def count(self, state: str) -> int:
        """Count the trials of a state."""
        return sum(trial.state == state for trial in self.trials)

    @property
    def verdict(self) -> str:
        """Say in words what the search has gained, and how far that can be trusted."""
        best, default = self.best, self.default
        if best is None or best.score is None:
            return "No trial was completed: there is nothing to choose from."
        if best is default and len(self.ranked) == 1:
            return "Only the default was completed: there is nothing to compare it with."
        if best is default:
            return f"The default is the best of {counted(len(self.trials), 'trial')}: keep it."
        test = self.test
        if test is None or default is None or not default.score:
            return "The default was not completed, so that the best is compared with nothing."
        gain, p_value = 1 - best.score / default.score, test.p_value
        figures = (
            f"trial {best.number} has {gain:.1%} less error than the default on the inner folds "
            f"(MASE {best.score:.4g} against {default.score:.4g}"
        )
        if test.is_open:
            return f"Not told from noise: {figures}), but {test.note}."
        word = "Better" if p_value < SIGNIFICANCE else "Within noise"
        return f"{word}: {figures}; Diebold-Mariano {p_text(p_value)})."

    @property
    def caution(self) -> str:
        """Say that what was chosen by its score has a flattering one."""
        return (
            f"The best of {counted(len(self.trials), 'trial')} was picked by this score, which is "
            "therefore optimistic, and so is p. The honest figure is the one on the test folds, which "
            "no trial has seen: forecast train."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        best, default = self.best, self.default
        states = {state: self.count(state) for state in (COMPLETE, PRUNED, FAILED, RUNNING)}
        trials = [asdict(trial) for trial in self.trials]
        for trial in trials:
            del trial["losses"]
        return {
            "study": self.study,
            "storage": self.storage,
            "interrupted": self.interrupted,
            "out_of_time": self.out_of_time,
            "inner_folds": {"folds": self.folds, "rows": self.block},
            "space": self.space,
            "start": self.start,
            "counts": states,
            "best": best and best.number,
            "default": default and default.number,
            "p_value": None if self.test is None else self.test.p_value,
            "verdict": self.verdict,
            "importances": self.importances,
            "trials": trials,
        }

    def to_frame(self) -> pd.DataFrame:
        """Return a row a trial: what it set, what it scored, why it ended."""
        names = dict.fromkeys(name for trial in self.trials for name in trial.settings)
        rows = [
            {
                "trial": trial.number,
                "state": trial.state,
                "default": trial.default,
                "mase": trial.score,
                **{f"mase_{fold}": _at(trial.folds, fold - 1) for fold in range(1, self.folds + 1)},
                "seconds": trial.seconds,
                **{name: as_flag(trial.settings.get(name)) for name in names},
                "reason": trial.reason,
            }
            for trial in self.trials
        ]
        return pd.DataFrame(rows)


def _at(values: Sequence[float], place: int) -> float | None:
    return values[place] if place < len(values) else None
