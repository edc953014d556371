"""Which differences between forecasters are more than noise: of time, and of seeds.

Two things make one forecaster look better than another on some folds. The folds may suit it: the
Diebold-Mariano test asks that, of errors averaged over seeds, with Holm's correction because many
pairs are tested. And its seeds may have been lucky: Welch's t-test between the seeds' scores asks
that. A difference counts only when neither explains it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from forecaster.arrays import Floats
from forecaster.metrics import SIGNIFICANCE, DieboldMariano, p_text

NAMED_PAIRS = 10  # of those that cannot be told apart


class Entry(NamedTuple):
    """What takes part in a comparison.

    Attributes:
        mase: Of each seed; for what has no seed as often the same.
        losses: Scaled absolute error at each time, averaged over seeds `(time,)`.
    """

    mase: tuple[float, ...]
    losses: Floats


@dataclass(frozen=True)
class Difference:
    """One pair of a comparison.

    Attributes:
        better: The one with the lower mean MASE.
        worse: The other one.
        mase: How much lower.
        p_value: Of the Diebold-Mariano test, after Holm; NaN when it is open.
        seeds_p_value: Of Welch's t-test between the seeds; NaN with one seed.
        open_because: Why nothing can be said over time; empty when it can.
    """

    better: str
    worse: str
    mase: float
    p_value: float
    seeds_p_value: float
    open_because: str = ""

    @property
    def is_noise(self) -> bool:
        """Whether time or seeds may explain it; one seed says nothing of seeds."""
        return not self.p_value < SIGNIFICANCE or self.seeds_p_value >= SIGNIFICANCE


def differences(
    entries: Mapping[str, Entry], test: Callable[[Floats, Floats], DieboldMariano]
) -> tuple[Difference, ...]:
    """Compare every pair, the lowest p-value first.

    Args:
        entries: What is compared, by name.
        test: Gives the Diebold-Mariano test between two losses.
    """
    order = sorted(entries, key=lambda name: float(np.mean(entries[name].mase)))
    pairs = [(entries[one], entries[other]) for one, other in combinations(order, 2)]
    tests = [test(one.losses, other.losses) for one, other in pairs]
    corrected = holm([each.p_value for each in tests])
    found = [
        Difference(
            *names,
            mase=float(np.mean(other.mase) - np.mean(one.mase)),
            p_value=p_value,
            seeds_p_value=welch(one.mase, other.mase),
            open_because=each.note if each.is_open else "",
        )
        for names, (one, other), each, p_value in zip(
            combinations(order, 2), pairs, tests, corrected, strict=True
        )
    ]
    return tuple(sorted(found, key=lambda each: (np.isnan(each.p_value), each.p_value)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, so that the chance of one false claim stays as asked.

    Holm 1979, section 2: the smallest of m is multiplied by m, the next by m - 1 ... NaN stays NaN
    and does not count.

    >>> holm([0.01, 0.04, float("nan"), 0.03])
    [0.03, 0.06, nan, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]  # NaN is sorted last
    corrected = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1))
    values[order] = np.minimum(1.0, corrected)
    return [float(value) for value in values]


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the two-sided p-value that two means are equal, whatever the variances.

    Welch 1947, with the degrees of freedom of Satterthwaite 1946. NaN with less than two values;
    values that do not vary differ for sure or not at all.

    >>> round(welch([1.0, 2.0, 3.0], [3.0, 4.0, 6.0]), 4)
    0.1016
    >>> welch([1.0, 1.0], [2.0, 2.0]), welch([1.0], [2.0])
    (0.0, nan)
    """
    from scipy.special import stdtr

    if min(len(one), len(other)) < 2:
        return float("nan")
    gap = float(np.mean(one) - np.mean(other))
    shares = [float(np.var(values, ddof=1)) / len(values) for values in (one, other)]
    if sum(shares) == 0:
        return float(gap == 0)
    spread = sum(
        share**2 / (len(values) - 1) for share, values in zip(shares, (one, other), strict=True)
    )
    return float(2 * stdtr(sum(shares) ** 2 / spread, -abs(gap) / np.sqrt(sum(shares))))


def sentences(found: Sequence[Difference]) -> list[str]:
    """Say which differences are more than noise, which are not, and of which nothing can be said."""
    real = [each for each in found if not each.is_noise]
    lines = []
    for name in dict.fromkeys(each.better for each in real):
        beaten = [f"{each.worse} ({p_text(each.p_value)})" for each in real if each.better == name]
        lines.append(f"{name} beats {_and(beaten)}.")
    open_ones = [each for each in found if each.open_because]
    noise = [each for each in found if each.is_noise and not each.open_because]
    if noise:
        start = "Cannot be told apart" if real or open_ones else "Every difference is noise"
        pairs = [f"{each.better} and {each.worse} ({_why(each)})" for each in noise]
        lines.append(f"{start}: {_some(pairs)}.")
    for why in dict.fromkeys(each.open_because for each in open_ones):
        pairs = [
            f"{each.better} and {each.worse}" for each in open_ones if each.open_because == why
        ]
        lines.append(f"Open, as {why}: {_some(pairs)}.")
    return lines


def _some(pairs: Sequence[str]) -> str:
    """Name the first pairs and count the rest."""
    more = len(pairs) - NAMED_PAIRS
    return "; ".join(pairs[:NAMED_PAIRS]) + (f"; and {more} more pairs" if more > 0 else "")


def _why(each: Difference) -> str:
    """Say why a difference counts as noise."""
    if each.p_value < SIGNIFICANCE:
        return f"{p_text(each.p_value)}, but the seeds of one differ as much as the two"
    return p_text(each.p_value)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
