"""Prediction intervals by split conformal calibration.

The scores are the absolute errors of the network on validation windows, which it was not trained
on, in units of each series' scale. The half-width at level c and step h is the ceil((n + 1) c)-th
smallest of the n scores of step h (Lei et al. 2018, J. Am. Stat. Assoc. 113, sec. 2.2; each step on
its own as in Stankeviciute et al., NeurIPS 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from forecaster.arrays import Floats

KEPT = 1000  # order statistics kept for each step: levels in tenths of a percent


@dataclass(frozen=True)
class Conformal:
    """Calibrated scores.

    Attributes:
        windows: Number of calibration windows n; 0 when none was left.
        scores: Order statistics, ascending `(rank, horizon)`; all of them when n is at most `KEPT`.
    """

    windows: int
    scores: Floats

    def half_widths(self, level: float, horizon: int) -> Floats:
        """Return the half-width of each step in units of scale `(horizon,)`.

        Steps past those calibrated grow with the square root of time, as a random walk's do.

        Args:
            level: Coverage in percent.
            horizon: Steps wanted, possibly more than were calibrated.
        """
        if not self.windows:
            return np.full(horizon, np.nan)
        rank = math.ceil(round((self.windows + 1) * level / 100, 9))
        place = -(-rank * len(self.scores) // self.windows)  # among those kept
        calibrated = self.scores[min(place, len(self.scores)) - 1]
        steps = np.arange(1, horizon + 1)
        known = np.minimum(steps, len(calibrated))
        return calibrated[known - 1] * np.sqrt(steps / known)

    def reaches(self, level: float) -> bool:
        """Tell whether there are windows enough for a level, or the largest score stands in."""
        return (self.windows + 1) * level / 100 <= self.windows


def calibrate(errors: Floats) -> Conformal:
    """Keep the scores of errors in units of scale `(window, horizon)`."""
    windows = len(errors)
    scores = np.sort(np.abs(errors), axis=0)
    if windows > KEPT:
        ranks = np.ceil(np.arange(1, KEPT + 1) * windows / KEPT).astype(int) - 1
        scores = scores[ranks]
    return Conformal(windows, scores)
