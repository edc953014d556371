"""What a score beside the best baseline's means, in a sentence, and what to do next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecaster.metrics import SIGNIFICANCE, DieboldMariano, p_text

READABLE = 1e4  # figures from here on are written with an exponent


class Versus(NamedTuple):
    """A model beside the best baseline on the same windows.

    Attributes:
        name: What is judged, as a sentence calls it.
        best: The baseline.
        mase: Error of the model.
        best_mase: Error of the baseline.
        test: Between the two.
    """

    name: str
    best: str
    mase: float
    best_mase: float
    test: DieboldMariano

    @property
    def skill(self) -> float:
        """One less the ratio of the errors; NaN where the baseline has none."""
        return 1 - self.mase / self.best_mase if self.best_mase > 0 else float("nan")

    @property
    def has_skill(self) -> bool:
        """Whether the model is better by more than chance may explain."""
        return proven(self.skill, self.test.p_value)

    def verdict(self, windows: str = "folds") -> str:
        """Say in one sentence whether the model is worth using; `windows` is what was forecast."""
        figures = f"MASE {_short(self.mase)} against {_short(self.best_mase)}"
        share = _short(100 * abs(self.skill), 1)
        less = "less" if self.skill > 0 else "more"
        against = f"{self.name} has {share}% {less} error than {self.best}"
        if self.best_mase == 0:
            return f"No skill: {self.best} is exact on these {windows} ({figures})."
        if not np.isfinite(self.skill):
            return "The verdict is open: no train rows change, so that MASE has no denominator."
        if self.test.is_open:
            return f"The verdict is open: {against} ({figures}), but {self.test.note}."
        chance = f"Diebold-Mariano {p_text(self.test.p_value)}"
        if self.test.p_value < SIGNIFICANCE:
            return f"{'Skill' if self.skill > 0 else 'No skill'}: {against} ({figures}; {chance})."
        if float(share) == 0:
            against = f"{self.name} has as much error as {self.best}"
        elif self.skill > 0:
            return f"Skill is not proven: {against}, which may be chance ({figures}; {chance})."
        return f"No skill: {against}, the best baseline ({figures}; {chance})."

    def advice(self, folds: int, folds_needed: int, may_stand_in: bool) -> str:
        """Say what to do where the verdict is not that there is skill; empty where it is.

        Args:
            folds: Number of folds that were judged.
            folds_needed: That the test needs at least.
            may_stand_in: Whether the baseline can forecast in place of the network.
        """
        if self.has_skill:
            return ""
        instead = f"let {self.best} stand in where it is better (--fallback baseline)"
        instead = instead if may_stand_in else ""
        if self.best_mase == 0:
            return f"{instead.capitalize()}." if instead else "No network can do better."
        if not np.isfinite(self.skill):
            return "Fetch history in which the series change."
        if self.test.is_same:
            return "Try more history, covariates or other settings (forecast tune)."
        if self.test.is_open or self.skill > 0:
            least = max(folds_needed, folds + 1)
            more = f"at least {least} folds" if self.test.is_open else f"more folds than {folds}"
            text = f"To tell, judge on {more} (--folds) or fetch more history."
            return f"{text} Until then {instead}." if instead and self.skill <= 0 else text
        also = f", or {instead}" if instead else ""
        return f"Try more history, covariates or other settings (forecast tune){also}."


def proven(skill: float, p_value: float) -> bool:
    """Tell whether less error is more than chance may explain."""
    return skill > 0 and p_value < SIGNIFICANCE


def _short(figure: float, decimals: int = 3) -> str:
    """Write a figure for a sentence: an outlier may make it hundreds of digits long."""
    return f"{figure:.{decimals}f}" if abs(figure) < READABLE else f"{figure:.3g}"
