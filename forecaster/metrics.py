"""How far forecasts are from the truth, and whether a difference could be chance.

Arrays are `(window, horizon)` unless a function says otherwise; any shapes that fit will do.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from forecaster.arrays import Flags, Floats, Ints

SIGNIFICANCE = 0.05
SHARES = np.linspace(0, 1, 11)  # of what was learnt, tried on windows not trained on
SAME_LOSS = 1e-4  # of a loss, or of the usual one: those that differ by less are of one forecast
SAME_NOTE = "the losses are identical"
LEAST_TIMES = 8  # from fewer points in time nothing is told from luck
LUCK = 0.05
ROUNDING = 1e-12  # of the largest value of a series: a change by less is none


class DieboldMariano(NamedTuple):
    """A test of equal accuracy.

    Attributes:
        statistic: Negative when the first model loses less.
        p_value: Two-sided; NaN when there are too few losses, or it cannot be computed.
        n: Loss differences.
        note: Why there is no p-value, or how it was come by; may be empty.
    """

    statistic: float
    p_value: float
    n: int
    note: str = ""

    @property
    def is_same(self) -> bool:
        """Whether the losses are those of one forecast."""
        return self.note == SAME_NOTE

    @property
    def is_open(self) -> bool:
        """Whether nothing can be said, as `note` explains."""
        return math.isnan(self.p_value)


def p_text(p_value: float) -> str:
    """Write a p-value for a sentence.

    >>> p_text(0.0421), p_text(0.04998), p_text(1e-9)
    ('p = 0.042', 'p < 0.05', 'p < 0.001')
    """
    if p_value < 0.001:
        return "p < 0.001"
    short = f"{p_value:.3f}"
    return f"p < {SIGNIFICANCE}" if p_value < SIGNIFICANCE <= float(short) else f"p = {short}"


def own_size(values: Floats | float) -> Floats:
    """Return the absolute values, 1 for a zero: something to divide by.

    Squares of values divided by the largest of them neither underflow nor overflow.

    >>> own_size(np.array([-5.0, 0.0])).tolist()
    [5.0, 1.0]
    """
    return np.where(np.asarray(values) != 0, np.abs(values), 1.0)


def mae(y: Floats, forecast: Floats) -> float:
    """Return the mean absolute error, in the unit of `y`.

    >>> mae(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    1.5
    """
    return float(np.mean(np.abs(y - forecast)))


def mse(y: Floats, forecast: Floats) -> float:
    """Return the mean squared error.

    >>> mse(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    2.5
    """
    return float(np.mean(np.square(y - forecast)))


def rmse(y: Floats, forecast: Floats) -> float:
    """Return the root of the mean squared error, in the unit of `y`.

    >>> rmse(np.array([1.0, 2.0]), np.array([1.0, 4.0])) ** 2
    2.0000000000000004
    """
    error = np.abs(y - forecast)
    unit = own_size(error.max())
    return float(unit * np.sqrt(np.mean(np.square(error / unit))))


def smape(y: Floats, forecast: Floats) -> float:
    """Return the symmetric mean absolute percentage error, from 0 to 200.

    Makridakis, Spiliotis & Assimakopoulos 2020 (M4), section 2.4. Zero forecast for zero counts
    as no error.

    >>> smape(np.array([100.0, 0.0]), np.array([300.0, 0.0]))
    50.0
    """
    error, size = np.abs(y - forecast), np.abs(y) + np.abs(forecast)
    ratio = np.divide(error, size, out=np.zeros_like(size, dtype=np.float64), where=size > 0)
    return float(200 * np.mean(ratio))


def mape(y: Floats, forecast: Floats) -> float:
    """Return the mean absolute percentage error over the steps where `y` is not zero.

    NaN when it always is.

    >>> mape(np.array([100.0, 0.0]), np.array([90.0, 5.0]))
    10.0
    """
    y, forecast = np.broadcast_arrays(np.asarray(y), np.asarray(forecast))
    used = y != 0
    if not used.any():
        return float("nan")
    return float(100 * np.mean(np.abs((y[used] - forecast[used]) / y[used])))


def mase_scale(y: Floats, season_length: int) -> float:
    """Return the mean absolute seasonal change of the train rows of one series.

    Hyndman & Koehler 2006, section 3 (scaled errors), in the seasonal form of M4. A series that repeats its season
    exactly (or but for rounding), or is shorter than one, is scaled by its change from row to row; NaN when
    that is zero too.

    >>> mase_scale(np.array([1.0, 5.0, 2.0, 6.0]), 2), mase_scale(np.array([1.0, 5.0, 1.0, 5.0]), 2)
    (1.0, 4.0)
    """
    return float(mase_scales(y, np.array([0, len(y)]), season_length)[0])


def mase_scales(y: Floats, offsets: Ints, season_length: int) -> Floats:
    """Return `mase_scale` of every series of a panel.

    Args:
        y: Train rows of all series, `(row,)`.
        offsets: Rows `offsets[i]:offsets[i + 1]` belong to series i, `(series + 1,)`.
        season_length: Steps in a season.

    Returns:
        Scales, `(series,)`.
    """
    some, rounding = np.diff(offsets) > 0, np.zeros(len(offsets) - 1)
    rounding[some] = ROUNDING * np.maximum.reduceat(np.abs(y), offsets[:-1][some])
    scale = mean_change(y, offsets, season_length)
    if season_length > 1:
        scale = np.where(scale > rounding, scale, mean_change(y, offsets, 1))
    return np.where(scale > rounding, scale, np.nan)


def mean_change(y: Floats, offsets: Ints, lag: int) -> Floats:
    """Return the mean of |y[t] - y[t - lag]| within each series, 0 where there is no such pair: (series,)."""
    lengths = np.diff(offsets)
    series = np.repeat(np.arange(len(lengths)), lengths)
    change = y[lag:] - y[:-lag]
    np.abs(change, out=change)
    change[series[lag:] != series[:-lag]] = 0.0
    total = np.bincount(series[lag:], weights=change, minlength=len(lengths))
    return np.asarray(total / np.maximum(lengths - lag, 1))


def mase(y: Floats, forecast: Floats, scale: Floats) -> float:
    """Return the mean absolute scaled error, NaN when no window has a scale.

    Hyndman & Koehler 2006, section 3. Windows of a series without a scale are left out.

    Args:
        y: Truth, `(window, horizon)`.
        forecast: `(window, horizon)`.
        scale: Of each window's series, from `mase_scales` on train rows, `(window,)`.

    >>> mase(np.array([[1.0], [2.0]]), np.array([[2.0], [2.0]]), np.array([0.5, np.nan]))
    2.0
    """
    return _scaled(np.abs(y - forecast).mean(axis=-1), scale)


def _scaled(error: Floats, scale: Floats) -> float:
    """Mean of error / scale, both (window,)."""
    error, scale = np.broadcast_arrays(error, scale)
    used = np.isfinite(scale) & (scale > 0)
    return float(np.mean(error[used] / scale[used])) if used.any() else float("nan")


class Direction(NamedTuple):
    """How often forecasts lie on the right side of the last observed value.

    Attributes:
        accuracy: Share of the steps that have a side; NaN when there are none.
        majority: What always guessing the commoner side of those steps would give.
        decided: Share of the steps that have a side.
    """

    accuracy: float
    majority: float
    decided: float


def direction(y: Floats, forecast: Floats, last: Floats) -> Direction:
    """Compare the directions in which the truth and the forecast leave the last observed value.

    Steps on which either equals that value have no side and do not count.

    Args:
        y: Truth, `(window, horizon)`.
        forecast: `(window, horizon)`.
        last: Last observed value, `(window,)`.

    >>> direction(np.array([[2.0, 0.0]]), np.array([[3.0, 4.0]]), np.array([1.0]))
    Direction(accuracy=0.5, majority=0.5, decided=1.0)
    """
    last = np.asarray(last)[..., None]
    moved, guessed = np.sign(y - last), np.sign(forecast - last)
    decided = (moved != 0) & (guessed != 0)
    if not decided.any():
        return Direction(float("nan"), float("nan"), 0.0)
    up = float(np.mean(moved[decided] > 0))
    right = float(np.mean(moved[decided] == guessed[decided]))
    return Direction(right, max(up, 1 - up), float(np.mean(decided)))


def wilson(share: float, count: float, level: float = 95) -> tuple[float, float]:
    """Return the interval of a share that was seen in independent trials.

    Wilson 1927; unlike the usual one it stays between 0 and 1 and holds for few trials.

    >>> [round(bound, 3) for bound in wilson(0.5, 10)]
    [0.237, 0.763]
    """
    z = NormalDist().inv_cdf(0.5 + level / 200)
    centre = share + z**2 / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return (centre - reach) / (1 + z**2 / count), (centre + reach) / (1 + z**2 / count)


def coverage(y: Floats, low: Floats, high: Floats) -> float:
    """Return the share of the truth inside its interval, bounds included.

    >>> coverage(np.array([1.0, 5.0]), np.array([0.0, 0.0]), np.array([2.0, 2.0]))
    0.5
    """
    return float(np.mean((y >= low) & (y <= high)))


def width(low: Floats, high: Floats, scale: Floats) -> float:
    """Return the mean width of intervals in units of MASE.

    Args:
        low: Lower bound, `(window, horizon)`.
        high: Upper bound, `(window, horizon)`.
        scale: As for `mase`, `(window,)`.

    >>> width(np.array([[1.0]]), np.array([[4.0]]), np.array([2.0]))
    1.5
    """
    return _scaled((high - low).mean(axis=-1), scale)


def msis(y: Floats, low: Floats, high: Floats, level: float, scale: Floats) -> float:
    """Return the mean scaled interval score: narrow is good, missing the truth is bad.

    Gneiting & Raftery 2007, equation 43, scaled as in M4 (Makridakis et al. 2020).

    Args:
        y: Truth, `(window, horizon)`.
        low: Lower bound, `(window, horizon)`.
        high: Upper bound, `(window, horizon)`.
        level: Of the interval, in percent.
        scale: As for `mase`, `(window,)`.

    >>> bounds = np.array([[0.0]]), np.array([[2.0]])
    >>> msis(np.array([[3.0]]), *bounds, level=80, scale=np.array([1.0]))
    12.0
    """
    missed = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    # 2 / alpha with alpha = 1 - level / 100, in an order that rounds well.
    score = high - low + 200 / (100 - level) * missed
    return _scaled(score.mean(axis=-1), scale)


def pinball(y: Floats, forecast: Floats, quantile: float) -> float:
    """Return the quantile loss; half the absolute error at the median.

    Gneiting & Raftery 2007, section 6.1 (Koenker & Bassett 1978).

    >>> pinball(np.array([10.0]), np.array([8.0]), 0.9)
    1.8
    """
    error = y - forecast
    return float(np.mean(np.maximum(quantile * error, (quantile - 1) * error)))


def log_loss(up: Flags, chance: Floats) -> float:
    """Return the mean negative logarithm of the chance of what came.

    Good 1952, section 5; 0.693 for always saying a half.

    >>> round(log_loss(np.array([True, False]), np.array([0.5, 0.5])), 3)
    0.693
    """
    from sklearn.metrics import log_loss as found

    return float(found(up, chance, labels=[False, True]))


def brier(up: Flags, chance: Floats) -> float:
    """Return the mean squared distance of a chance from what came, 1 or 0.

    Brier 1950, in the form for two outcomes that runs from 0 to 1.

    >>> brier(np.array([True, False]), np.array([0.5, 1.0]))
    0.625
    """
    return float(np.mean(np.square(chance - up)))


def auc(up: Flags, chance: Floats) -> float:
    """Return the chance that an event was given a higher chance than a non-event.

    The area under the ROC curve (Hanley & McNeil 1982); NaN when all came or none did.

    >>> auc(np.array([True, False, True]), np.array([0.6, 0.5, 0.4]))
    0.5
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(up, chance)) if 0 < np.mean(up) < 1 else float("nan")


def times_needed(horizon: int, step: int = 1) -> int:
    """Return how many losses `diebold_mariano` needs.

    >>> times_needed(1), times_needed(12), times_needed(12, step=12)
    (8, 13, 8)
    """
    return max(LEAST_TIMES, (horizon - 1) // step + 2)


def diebold_mariano(loss_a: Floats, loss_b: Floats, horizon: int, step: int = 1) -> DieboldMariano:
    """Test whether two forecasts are equally accurate.

    Diebold & Mariano 1995, section 1.1, with the rectangular window they propose: errors of
    forecasts that overlap are correlated up to lag h - 1. Corrected for small samples as in
    Harvey, Leybourne & Newbold 1997, equations 8-9, and compared with Student's t of n - 1 degrees.
    The rectangular variance can be negative; then Bartlett's window (Newey & West 1987) stands in.
    Of fewer than `LEAST_TIMES` losses nothing is said: Student's t of so few leans on losses that are
    normal, which errors without their signs are not.

    Args:
        loss_a: Loss of the first model at each time, in order, `(time,)`.
        loss_b: Loss of the second at the same times, `(time,)`.
        horizon: Steps ahead of the forecasts.
        step: Steps from one time to the next.

    Raises:
        ValueError: The losses differ in shape or are not finite.

    >>> test = diebold_mariano(np.array([1.0, 2.0] * 4), np.array([2.0, 2.0, 2.0, 2.5] * 2), 1)
    >>> round(test.statistic, 3), round(test.p_value, 3)
    (-3.989, 0.005)
    >>> diebold_mariano(np.ones(3), np.zeros(3), 1).note
    '3 points in time are too few to tell (8 are needed)'
    """
    difference = np.asarray(loss_a, dtype=np.float64) - np.asarray(loss_b, dtype=np.float64)
    n, size = len(difference), float(np.abs(difference).max(initial=0))
    if difference.ndim != 1 or np.shape(loss_a) != np.shape(loss_b):
        raise ValueError(f"Losses of one shape (time,) are needed: {difference.shape}.")
    if not np.isfinite(difference).all():
        raise ValueError("Losses must be finite: leave out the times that have none.")
    overlap = (horizon - 1) // step + 1  # h of the papers, counted in times
    if n < (needed := times_needed(horizon, step)):
        are = "point in time is" if n == 1 else "points in time are"
        note = f"{n} {are} too few to tell ({needed} are needed)"
        return DieboldMariano(float("nan"), float("nan"), n, note)
    losses = np.abs(loss_a)
    if (np.abs(difference) <= SAME_LOSS * np.maximum(losses, np.median(losses))).all():
        return DieboldMariano(0.0, 1.0, n, SAME_NOTE)
    difference /= size
    if np.ptp(difference) <= 1e-12:
        return DieboldMariano(
            float("nan"), float("nan"), n, "the losses differ by the same amount every time"
        )
    return _tested(difference, overlap)


def same_accuracy(loss_a: Floats, loss_b: Floats, horizon: int, step: int = 1) -> DieboldMariano:
    """Test whether two forecasts are equally accurate, where there are few times beside the horizon too.

    `diebold_mariano` leans on a variance of as many covariances as forecasts overlap. Of three windows of
    twelve steps these are hardly known, and equal forecasts are called different in 11 to 17% of cases
    at 5%, in 3 to 5% at .1%. So where forecasts overlap the p-value is at least that with the variance of the
    slowest cosines and Student's t of as many degrees (Lazarus, Lewis, Stock & Watson 2018, doi
    10.1080/07350015.2018.1506926; for forecasts, Coroneo & Iacone 2020, doi 10.1002/jae.2756): .4 n^(2/3)
    of them as they recommend, but no more than spans of time that do not overlap, and two at least. Then
    4 to 7% of these are called different at 5%; decision 20 has where it is more.

    Args:
        loss_a: See `diebold_mariano`.
        loss_b: Likewise.
        horizon: Likewise.
        step: Likewise.
    """
    test = diebold_mariano(loss_a, loss_b, horizon, step)
    overlap = (horizon - 1) // step + 1
    if test.is_open or test.is_same or overlap == 1:
        return test
    return test._replace(p_value=max(test.p_value, _smoothed(loss_a - loss_b, overlap)))


def best_share(losses: Floats, spans: Ints) -> float:
    """Return the share of what was learnt that has the least loss, the smaller of equals.

    0 when the gain over keeping nothing may be luck.

    Args:
        losses: Of each window with each of `SHARES` `(share, window)`.
        spans: Number of the span of time that each window lies in `(window,)`.

    >>> best_share(np.linspace(1, 0, 11)[:, None] * np.ones(16), np.arange(16))
    1.0
    """
    best = int(np.argmin(losses.mean(axis=1)))
    return 0.0 if may_be_luck(losses[0] - losses[best], spans) else float(SHARES[best])


def may_be_luck(gains: Floats, spans: Ints) -> bool:
    """Tell whether a mean gain is within what chance gives, when there are spans enough to tell.

    Overlapping windows are not independent, nor are series at the same time: gains are averaged by
    span of time, and the means compared with Student's t, one-sided.

    Args:
        gains: Of each window `(window,)`.
        spans: Number of the span that each window lies in `(window,)`.

    >>> may_be_luck(np.array([1.0, -1.0] * 8), np.arange(16))
    True
    >>> may_be_luck(np.array([1.0, 0.5] * 8), np.arange(16))
    False
    """
    from scipy.special import stdtr

    number = np.bincount(spans)
    means = np.bincount(spans, gains)[number > 0] / number[number > 0]
    if len(means) < LEAST_TIMES:
        return False
    error = means.std(ddof=1) / np.sqrt(len(means))
    if error == 0:
        return bool(means[0] <= 0)
    return bool(stdtr(len(means) - 1, means.mean() / error) < 1 - LUCK)


def _smoothed(difference: Floats, overlap: int) -> float:
    """Return the p-value with the variance of the slowest cosines; see `same_accuracy`."""
    from scipy.special import stdtr

    n = len(difference)
    cosines = int(max(2, min(0.4 * n ** (2 / 3), n / overlap)))
    difference = difference / np.abs(difference).max()
    times = (np.arange(n) + 0.5) / n
    weights = np.cos(np.pi * np.arange(1, cosines + 1)[:, None] * times) @ difference
    variance = 2 / n * float(np.mean(weights**2))  # of one difference, long run
    if variance == 0:
        return 0.0
    return float(2 * stdtr(cosines, -abs(difference.mean()) / np.sqrt(variance / n)))


def _tested(difference: Floats, overlap: int) -> DieboldMariano:
    from scipy.special import stdtr

    n = len(difference)
    centred = difference - difference.mean()
    covariances = np.array([centred[lag:] @ centred[: n - lag] / n for lag in range(overlap)])
    doubled = np.where(np.arange(overlap) == 0, 1.0, 2.0)
    variance, note = float(doubled @ covariances) / n, ""
    if variance <= 0:
        bartlett = 1 - np.arange(overlap) / overlap
        variance, note = float((doubled * bartlett) @ covariances) / n, "Bartlett window"
    small_sample = (n + 1 - 2 * overlap + overlap * (overlap - 1) / n) / n
    statistic = float(difference.mean() / np.sqrt(variance) * np.sqrt(small_sample))
    return DieboldMariano(statistic, float(2 * stdtr(n - 1, -abs(statistic))), n, note)
