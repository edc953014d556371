"""What scores alone do not show: a forecast that is a copy, that is flat, or that fails late.

Everything is measured in units of MASE, so that series of any size can be averaged.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from forecaster import metrics
from forecaster.arrays import Floats, Ints

STILL = 1e-6  # units of MASE under which a forecast has no direction
COPY = 0.5  # a copy is twice as near to the last value as to the truth ...
GAIN = 0.05  # ... and hardly better than it
FLAT = 0.1  # of the spread of the truth


@dataclass(frozen=True)
class Direction:
    """Which way the forecasts leave the last observed value.

    Attributes:
        accuracy: Share of the steps with a side whose side is right; NaN when there are none.
        low: Lower end of its 95% interval (Wilson) for so many `cutoffs`.
        high: Upper end.
        majority: What always guessing the side that was the commoner one would give.
        decided: Share of the steps that have a side: neither truth nor forecast stays.
        cutoffs: Cutoffs whose targets do not overlap. The steps and series of one cutoff move
            together, so that only these count as independent.
    """

    accuracy: float
    low: float
    high: float
    majority: float
    decided: float
    cutoffs: int

    @property
    def differs(self) -> bool:
        """Whether it is better or worse than the commoner side by more than chance."""
        return self.majority < self.low or self.high < self.majority


@dataclass(frozen=True)
class LaggedCopy:
    """Whether the first step of the forecast is just the last value.

    Attributes:
        found: It is at least twice as near to the last value as to the truth, and hardly better.
        distance: Mean distance to the last value, in that of the truth to it.
        gain: One less the error in that of the last value: the coefficient of persistence
            (Kitanidis & Bras 1980) with absolute errors, by which networks that lag are told
            (de Vos & Rientjes 2005).
    """

    found: bool
    distance: float
    gain: float


@dataclass(frozen=True)
class Flat:
    """Whether the forecasts hardly vary.

    Attributes:
        found: Their spread is under a tenth of that of the truth.
        spread: Mean absolute deviation of the forecasts in that of the truth: over the steps of
            each window, or at a horizon of one step of the changes over the windows. It is the
            variability ratio of Gupta et al. 2009, of deviations that no outlier can overflow.
    """

    found: bool
    spread: float


@dataclass(frozen=True)
class Checks:
    """All checks of one model.

    Attributes:
        direction: Which way the forecasts go.
        lagged_copy: Whether they repeat the last value.
        flat: Whether they hardly vary.
        mase_by_step: MASE of each step, of the model and of the best baseline.
    """

    direction: Direction
    lagged_copy: LaggedCopy
    flat: Flat
    mase_by_step: dict[str, tuple[float, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; numbers may be NaN."""
        return asdict(self)


def check(
    y: Floats,
    forecasts: dict[str, Floats],
    last: Floats,
    scale: Floats,
    cutoffs: int,
) -> Checks:
    """Check the first of some forecasts.

    Args:
        y: Truth, `(window, horizon)`.
        forecasts: The model, then what its steps are compared with, each `(window, horizon)`.
        last: Last observed value, `(window,)`.
        scale: Denominator of MASE; windows without one are left out, `(window,)`.
        cutoffs: Cutoffs whose targets do not overlap.
    """
    used = np.isfinite(scale)
    unit = scale[used, None]
    truth = (y[used] - last[used, None]) / unit  # changes from the last value, (window, horizon)
    made = {
        name: (forecast[used] - last[used, None]) / unit for name, forecast in forecasts.items()
    }
    changes = next(iter(made.values()))
    return Checks(
        direction=_direction(truth, changes, cutoffs),
        lagged_copy=_lagged_copy(truth[:, 0], changes[:, 0]),
        flat=_flat(truth, changes),
        mase_by_step={
            name: tuple(
                _mean(np.abs(truth[:, step] - change[:, step])) for step in range(y.shape[1])
            )
            for name, change in made.items()
        },
    )


def thirds(horizon: int) -> list[Ints]:
    """Cut the steps of a horizon into early, middle and late; there are none of less than three.

    >>> [third.tolist() for third in thirds(4)]
    [[0, 1], [2], [3]]
    """
    return np.array_split(np.arange(horizon), 3) if horizon >= 3 else []


def span(part: Ints) -> str:
    """Name some steps in a row as people count them.

    >>> [span(third) for third in thirds(4)]
    ['1-2', '3', '4']
    """
    return f"{part[0] + 1}-{part[-1] + 1}" if len(part) > 1 else f"{part[0] + 1}"


def _direction(truth: Floats, changes: Floats, cutoffs: int) -> Direction:
    decided = np.where(np.abs(changes) > STILL, changes, 0.0)
    found = metrics.direction(truth, decided, np.zeros(len(truth)))
    low, high = float("nan"), float("nan")
    if np.isfinite(found.accuracy):
        low, high = metrics.wilson(found.accuracy, cutoffs)
    return Direction(found.accuracy, low, high, found.majority, found.decided, cutoffs)


def _lagged_copy(truth: Floats, changes: Floats) -> LaggedCopy:
    moved, went, missed = (_mean(np.abs(gap)) for gap in (truth, changes, changes - truth))
    if not moved > 0:
        return LaggedCopy(False, float("nan"), float("nan"))
    gain = 1 - missed / moved
    return LaggedCopy(went < COPY * missed and gain < GAIN, went / moved, gain)


def _flat(truth: Floats, changes: Floats) -> Flat:
    axis = 1 if truth.shape[1] > 1 else 0
    expected, found = (_spread(values, axis) for values in (truth, changes))
    ratio = found / expected if expected > 0 else float("nan")
    return Flat(ratio < FLAT, ratio)


def _spread(values: Floats, axis: int) -> float:
    if not len(values):
        return float("nan")
    return _mean(np.abs(values - values.mean(axis=axis, keepdims=True)))


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")
