"""Prediction intervals: the network's quantiles, calibrated by split conformal prediction.

A forecast gives each step a point and, when the network has them, quantiles; together they map a
normal deviate z to a level (0 to the point, 1.28 to the 0.9 quantile, linear in between and
beyond), so that the network says how wide and how skewed the interval of each window is. The score
of an observation is the |z| that reaches it. On windows which the network was not trained on the
n scores of each step are ranked; at level c the interval goes from -z to z, z the ceil((n + 1) c)-th
smallest (split conformal: Lei et al. 2018, J. Am. Stat. Assoc. 113, sec. 2.2; scores through the
forecast distribution: Chernozhukov et al. 2021, PNAS 118; each step on its own: Stankeviciute et
al., NeurIPS 2021). As z grows with the level, intervals never cross.

A series with windows enough is also given its own stretch: the ratio of its scores to all. Errors
made since training may count beside the calibrated ones (`Recent`, counted in `adaptive`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from forecaster.arrays import Flags, Floats, Ints

RANKS = np.append(np.arange(1, 20) / 20, [0.975, 0.99, 0.995, 0.999, 1])  # shares of the scores
# Times the largest score: an error counts as the last at most.
BEYOND = 2.0 ** (np.arange(1, 9) / 4)
NEAR = 3.0  # times the one before: knots that scores lie evenly between
ROUNDING = 1e-6  # of shares and ranks
AT_ONCE = 2**22  # shares, or memory would grow with the windows
KEPT = 1000  # order statistics kept for each step: levels in tenths of a percent
OWN_SPANS = 10.0  # horizons of calibration rows after which a series' own scores count half
LEAST_OF_MEAN = 0.5  # of the mean reach: no side is left with less
LEAST_OF_UNIT = 0.1  # of a series' error unit: what a deviate of 1 reaches at least


@dataclass(frozen=True)
class Distribution:
    """Forecast levels as a function of a normal deviate, for each window and step.

    Attributes:
        deviates: Ascending, 0 among them `(knot,)`.
        levels: Level at each deviate, ascending `(window, horizon, knot)`.
    """

    deviates: Floats
    levels: Floats

    @classmethod
    def of(
        cls, point: Floats, quantiles: Floats, shares: tuple[float, ...], unit: Floats
    ) -> Distribution:
        """Make one from a point, quantiles and the unit of errors.

        What a deviate of 1 reaches is kept from vanishing, on either side: it is at least half of
        the mean over all quantiles, and a tenth of the unit. Quantiles that lie on the point or
        across it, as those of a network hardly trained, would make scores without bounds, which
        then blow up the other side and the other windows. Without quantiles it is the unit.

        Args:
            point: `(window, horizon)`.
            quantiles: `(window, horizon, quantile)`.
            shares: Between 0 and 1, one for each quantile.
            unit: Of each window `(window,)`.
        """
        if not shares:
            deviates = np.array([-1.0, 0.0, 1.0])
            return cls(deviates, point[:, :, None] + deviates * unit[:, None, None])
        order = np.argsort(shares)
        deviates = ndtri(np.asarray(shares)[order])
        sign, size = np.sign(deviates)[:, None, None], np.abs(deviates)[:, None, None]
        apart = LEAST_OF_UNIT * unit[:, None] * size  # (quantile, window, 1)
        each = np.moveaxis(quantiles, 2, 0)[order]  # (quantile, window, horizon): long inner loops
        gaps = np.maximum((each - point) * sign, 0)
        mean = np.mean(gaps / size, axis=0)
        beyond = np.maximum(np.maximum(gaps, LEAST_OF_MEAN * mean * size) - apart, 0)
        below, above = deviates < 0, deviates > 0
        down = np.maximum.accumulate(beyond[below][::-1])[::-1]
        up = np.maximum.accumulate(beyond[above])
        levels = np.concatenate(
            [point - down - apart[below], point[None], point + up + apart[above]]
        )
        deviates = np.concatenate([deviates[below], [0.0], deviates[above]])
        return cls(deviates, np.moveaxis(levels, 0, 2))

    def at(self, deviate: Floats) -> Floats:
        """Return the level at a deviate of each window and step `(window, horizon)`."""
        left, slope = self._piece(0)
        levels = left + (deviate - self.deviates[0]) * slope
        for piece in range(1, len(self.deviates) - 1):
            left, slope = self._piece(piece)
            further = deviate - self.deviates[piece]
            levels = np.where(further > 0, left + further * slope, levels)
        return np.asarray(levels)

    def deviate_of(self, levels: Floats) -> Floats:
        """Return the deviate that reaches levels `(window, horizon)`."""
        left, slope = self._piece(0)
        deviate = self.deviates[0] + (levels - left) / slope
        for piece in range(1, len(self.deviates) - 1):
            left, slope = self._piece(piece)
            further = levels - left
            deviate = np.where(further > 0, self.deviates[piece] + further / slope, deviate)
        return np.asarray(deviate)

    def _piece(self, number: int) -> tuple[Floats, Floats]:
        """Return the level at the left end and the slope of a linear piece, each `(window, horizon)`."""
        left, right = self.levels[:, :, number], self.levels[:, :, number + 1]
        return left, (right - left) / (self.deviates[number + 1] - self.deviates[number])


@dataclass(frozen=True)
class Conformal:
    """Calibrated scores.

    Attributes:
        windows: Number of calibration windows n; 0 when none was left.
        scores: Order statistics, ascending `(rank, horizon)`; all of them when n is at most those
            that are kept.
        stretch: What the scores of each series trained on are multiplied by `(series,)`.
    """

    windows: int
    scores: Floats
    stretch: Floats

    def deviates(self, level: float, horizon: int) -> Floats:
        """Return the deviate whose both sides hold a share of the truth `(horizon,)`.

        Args:
            level: Coverage in percent.
            horizon: Steps wanted, possibly more than were calibrated; see `extended`.
        """
        if not self.windows:
            return np.full(horizon, np.nan)
        place = -(-self.rank(level) * len(self.scores) // self.windows)  # among those kept
        return extended(self.scores[min(place, len(self.scores)) - 1], horizon)

    def rank(self, level: float) -> int:
        """Return which of the scores of all windows a level in percent takes, from 1 on."""
        return math.ceil(round((self.windows + 1) * level / 100, 9))

    def reaches(self, level: float) -> bool:
        """Tell whether there are windows enough for a level, or the largest score stands in."""
        return self.rank(level) <= self.windows

    def stretches(self, places: Ints) -> Floats:
        """Return the stretch of series by their place, 1 for a new one (-1)."""
        return np.append(self.stretch, 1.0)[places]

    def knots(self) -> Floats:
        """Return scores, ascending, at which others are counted `(knot, horizon)`; there are some."""
        ranks = np.ceil(RANKS * len(self.scores) - ROUNDING).astype(int) - 1
        return np.concatenate([self.scores[ranks], BEYOND[:, None] * self.scores[-1]])


@dataclass(frozen=True)
class Recent:
    """Errors made since training, which count beside those that were calibrated.

    Attributes:
        within: Errors within each of `Conformal.knots`, in horizons of them `(knot, group, step)`.
        seen: All errors, in horizons of them `(group, step)`.
        expected: As how many horizons of errors the calibrated ones count.
        groups: Windows that look back on the same errors are of one group `(window,)`.
    """

    within: Floats
    seen: Floats
    expected: float
    groups: Ints

    def deviates(self, level: float, conformal: Conformal, windows: Flags) -> Floats:
        """Return the deviates whose both sides hold a share of all these errors `(window, step)`.

        After weighted conformal prediction (Barber et al. 2023, doi 10.1214/23-AOS2276): the share is
        the mean of the one that the calibrated scores take for a level, which is larger the fewer
        they are, and of the level itself for the recent errors. Windows that look back on no error
        have what was calibrated.

        Args:
            level: Coverage in percent.
            conformal: What was calibrated.
            windows: Those asked for `(all windows,)`.
        """
        groups, back = np.unique(self.groups[windows], return_inverse=True)
        knots = conformal.knots()
        usual = np.stack([(conformal.scores <= knot).mean(axis=0) for knot in knots])
        calibrated = conformal.deviates(level, knots.shape[1])
        taken = conformal.rank(level) / conformal.windows

        def of(groups: Ints) -> Floats:
            seen = self.seen[groups]
            weight = seen + self.expected
            shares = (self.within[:, groups] + self.expected * usual[:, None]) / weight
            wanted = (seen * level / 100 + self.expected * taken) / weight
            found = _reaching(shares, np.minimum(wanted, 1.0), knots)
            return np.where(seen > 0, found, calibrated)

        parts = np.array_split(groups, 1 + len(groups) * usual.size // AT_ONCE)
        return np.concatenate([of(part) for part in parts])[back]


def _reaching(shares: Floats, wanted: Floats, knots: Floats) -> Floats:
    """Return the score that holds a share; the last knot if none does.

    Between knots, and from 0 to a first one that holds few errors, it is linear where they are near,
    and the upper one where nothing tells how the errors lie between them.

    Args:
        shares: Held by each knot `(knot, group, step)`, ascending.
        wanted: Above 0 `(group, step)`.
        knots: Ascending `(knot, step)`.
    """
    at = np.minimum((shares < wanted - ROUNDING).sum(axis=0), len(knots) - 1)
    held, ends = (np.concatenate([np.zeros_like(each[:1]), each]) for each in (shares, knots))
    left, right = (np.take_along_axis(held, each[None], axis=0)[0] for each in (at, at + 1))
    low, high = (np.take_along_axis(ends, each, axis=0) for each in (at, at + 1))
    part = np.clip((wanted - left) / np.maximum(right - left, ROUNDING), 0.0, 1.0)
    between = (high < NEAR * low) | ((at == 0) & (right < 2 * RANKS[0]))
    return np.where(between, low + part * (high - low), high)


def extended(deviates: Floats, horizon: int) -> Floats:
    """Return deviates of as many steps as wanted, from those of the first ones `(..., horizon)`.

    They grow with the square root of time, as a random walk's do.
    """
    steps = np.arange(1, horizon + 1)
    known = np.minimum(steps, deviates.shape[-1])
    return np.asarray(deviates[..., known - 1] * np.sqrt(steps / known))


def uncalibrated(series: int, horizon: int) -> Conformal:
    """Return the scores of a model that no window was left to calibrate."""
    return Conformal(0, np.empty((0, horizon)), np.ones(series))


def calibrate(
    deviates: Floats, places: Ints, series: int, still: Flags | None = None, kept: int = KEPT
) -> Conformal:
    """Rank the scores of calibration windows.

    Windows of series that have never changed are left out, unless there are no others: their errors
    of nothing would make the intervals of the others too narrow.

    Args:
        deviates: What reaches the truth `(window, horizon)`.
        places: Place of each window's series among those trained on `(window,)`.
        series: Number of series trained on.
        still: Windows of series that have never changed `(window,)`.
        kept: Order statistics that are kept at most.
    """
    if still is not None and not still.all():
        deviates, places = deviates[~still], places[~still]
    windows, horizon = deviates.shape
    scores = np.abs(deviates)
    stretch = _stretches(scores.mean(axis=1), places, series, horizon)
    scores = np.sort(scores / stretch[places, None], axis=0)
    if windows > kept:
        ranks = np.ceil(np.arange(1, kept + 1) * windows / kept).astype(int) - 1
        scores = scores[ranks]
    return Conformal(windows, scores, stretch)


def _stretches(means: Floats, places: Ints, series: int, horizon: int) -> Floats:
    """Compare each series' mean score with all, less boldly the fewer spans of time it has."""
    pooled = means.mean()
    number = np.bincount(places, minlength=series)
    own = np.bincount(places, means, minlength=series) / np.maximum(1, number)
    spans = number / horizon  # windows overlap: so many do not
    weight = spans / (spans + OWN_SPANS)
    return weight * own / pooled + 1 - weight if pooled > 0 else np.ones(series)
