"""The chance that a step is above the one before: read from a network, and judged.

A step is up when its value is above that of the step before it (of the first step: above the last
value observed); one that stays the same is not. What a network says is pulled towards the base rate,
the share of the train rows that are up, as far as validation asks: on the scale of log-odds, a form
of temperature scaling (Guo et al. 2017, arXiv 1706.04599; Platt 1999) that cannot be overconfident
where there was nothing to learn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from forecaster import metrics
from forecaster.arrays import Flags, Floats, Ints

CERTAIN = 1e-4  # no chance is nearer to 0 or 1: a surprise stays possible


def ups(y: Floats, offsets: Ints) -> Flags:
    """Tell which rows are above the row before; the first row of a series is not `(row,)`.

    >>> ups(np.array([1.0, 2.0, 2.0, 3.0, 1.0]), np.array([0, 3, 5])).tolist()
    [False, True, False, False, False]
    """
    rises = np.diff(y, prepend=y[:1]) > 0
    rises[offsets[:-1][np.diff(offsets) > 0]] = False
    return np.asarray(rises)


@dataclass(frozen=True)
class Chances:
    """How the chances that a network says are read.

    Attributes:
        base_rate: Share of the train rows that are up.
        kept: Share of what the network learnt that is kept; 0 says the base rate always.
    """

    base_rate: float
    kept: float = 1.0

    @classmethod
    def of_train(cls, y: Floats, offsets: Ints) -> Chances:
        """Count the rows that are up; hand over train rows only."""
        changes = len(y) - int((np.diff(offsets) > 0).sum())
        rate = float(ups(y, offsets).sum()) / changes if changes else 0.5
        return cls(float(np.clip(rate, CERTAIN, 1 - CERTAIN)))

    def of(self, said: Floats) -> Floats:
        """Return the chances for what a network says, both between 0 and 1 and of one shape."""
        base = logit(self.base_rate)
        odds = logit(np.clip(said.astype(np.float64), CERTAIN, 1 - CERTAIN))
        return np.asarray(np.clip(expit(base + self.kept * (odds - base)), CERTAIN, 1 - CERTAIN))

    def notices(self, without: int) -> list[str]:
        """Say what a reader of chances should know; `without` is how many series have none."""
        lines = []
        if not self.kept:
            lines.append(
                f"The chance of a step up is the base rate, {self.base_rate:.0%}: the network knew "
                "no better on validation."
            )
        if without:
            lines.append(
                f"No chance of a step up is given for {without} series: a baseline forecasts them, "
                "or they have never changed."
            )
        return lines

    def calibrated(self, said: Floats, up: Flags, spans: Ints) -> Chances:
        """Return them with the share that has the least log-loss on windows not trained on.

        Nothing is kept when the gain over the base rate is no more than luck (`metrics.best_share`).

        Args:
            said: What the network says `(window, horizon)`.
            up: What came `(window, horizon)`.
            spans: Number of the span of time that each window lies in `(window,)`.
        """
        tried = [replace(self, kept=float(share)) for share in metrics.SHARES]
        losses = np.array([_log_losses(up, each.of(said)).mean(axis=1) for each in tried])
        return replace(self, kept=metrics.best_share(losses, spans))


class Chance(NamedTuple):
    """Chances of some windows beside what came.

    Attributes:
        up: What came `(window, horizon)`.
        said: Calibrated chances, NaN where there is none `(window, horizon)`.
        base: Base rate that each window is judged against `(window,)`.
    """

    up: Flags
    said: Floats
    base: Floats

    @property
    def log_losses(self) -> tuple[Floats, Floats]:
        """Log-loss of each step, of what was said and of the base rates `(window, horizon)`."""
        rates = np.where(np.isfinite(self.said), self.base[:, None], np.nan)
        return _log_losses(self.up, self.said), _log_losses(self.up, rates)


@dataclass(frozen=True)
class Bin:
    """Steps whose chance lies in a tenth of the range.

    Attributes:
        low: Lower end; the upper one is .1 above it.
        steps: So many.
        said: Their mean chance.
        came: Share of them that were up.
    """

    low: float
    steps: int
    said: float
    came: float


@dataclass(frozen=True)
class Figures:
    """Scores of some chances; an accuracy counts a chance above a half as up."""

    log_loss: float
    brier: float
    accuracy: float
    auc: float


@dataclass(frozen=True)
class ChanceScores:
    """How good chances are on the test folds, beside always saying the base rate.

    Attributes:
        model: Scores of the model.
        base: The same of the base rate.
        base_rate: Share of the train rows that are up, the mean over the windows.
        came: Share of the judged steps that were up.
        steps: How many are judged; those without a chance are not.
        low: Lower end of the 95% interval of the accuracy (Wilson), each time counting once.
        high: Its upper end.
        calibration_error: Mean distance of chance and share by bin (Naeini et al. 2015).
        bins: The reliability table.
        p_value: Of the Diebold-Mariano test between the log-losses; NaN when that is open.
        verdict: One sentence.
    """

    model: Figures
    base: Figures
    base_rate: float
    came: float
    steps: int
    low: float
    high: float
    calibration_error: float
    bins: tuple[Bin, ...]
    p_value: float
    verdict: str


def judge(chance: Chance, times: int, test: metrics.DieboldMariano) -> ChanceScores:
    """Score chances of the test folds.

    Args:
        chance: What was said and what came.
        times: Steps in time that count as independent.
        test: Between the log-losses.
    """
    given = np.isfinite(chance.said)
    came, said = chance.up[given], chance.said[given]
    rates = np.broadcast_to(chance.base[:, None], given.shape)[given]
    model, other = _figures(came, said), _figures(came, rates)
    low, high = metrics.wilson(model.accuracy, times) if len(came) else (np.nan, np.nan)
    bins = reliability(came, said)
    error = sum(each.steps * abs(each.said - each.came) for each in bins) / max(1, len(came))
    return ChanceScores(
        model=model,
        base=other,
        base_rate=float(chance.base.mean()),
        came=float(came.mean()) if len(came) else float("nan"),
        steps=len(came),
        low=low,
        high=high,
        calibration_error=error,
        bins=bins,
        p_value=test.p_value,
        verdict=_verdict(model.log_loss, other.log_loss, test),
    )


def reliability(up: Flags, chance: Floats) -> tuple[Bin, ...]:
    """Compare chances with what came, by tenths of the range; empty ones are left out.

    Murphy & Winkler 1977 (reliability diagram).

    >>> reliability(np.array([True, False]), np.array([0.72, 0.78]))
    (Bin(low=0.7, steps=2, said=0.75, came=0.5),)
    """
    place = np.minimum((chance * 10).astype(int), 9)
    return tuple(
        Bin(
            number / 10,
            int((place == number).sum()),
            float(chance[place == number].mean()),
            float(up[place == number].mean()),
        )
        for number in np.unique(place).tolist()
    )


def _figures(up: Flags, chance: Floats) -> Figures:
    if not len(up):
        return Figures(*[float("nan")] * 4)
    return Figures(
        metrics.log_loss(up, chance),
        metrics.brier(up, chance),
        float(np.mean((chance > 0.5) == up)),
        metrics.auc(up, chance),
    )


def _log_losses(up: Flags, chance: Floats) -> Floats:
    return -np.log(np.where(up, chance, 1 - chance))


def _verdict(own: float, base: float, test: metrics.DieboldMariano) -> str:
    """Say in one sentence whether the chances are worth anything."""
    if np.isnan(own):
        return "The chances are not judged: no tested step has one."
    figures = f"log-loss {own:.4f} against {base:.4f}"
    if test.is_open:
        return (
            f"Whether the chances of a step up are better than the base rate is open ({figures}): "
            f"{test.note}."
        )
    figures += f"; Diebold-Mariano {metrics.p_text(test.p_value)}"
    if own < base and test.p_value < metrics.SIGNIFICANCE:
        return f"The chances of a step up are better than the base rate ({figures})."
    if own < base:
        return (
            "The chances of a step up are no better than the base rate, as far as can be told "
            f"({figures}, which may be chance)."
        )
    return f"The chances of a step up are no better than the base rate ({figures})."
