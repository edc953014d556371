"""Values that the forecast from the row before did not expect.

Each row is forecast one step ahead by the judged network of a version, which has not been trained
on the rows held out. The score of a row is the deviate that reaches its value (see `intervals`); the
scores of held-out rows calibrate. The p-value of a row is the share of them, itself counted in, that
are as large, and a row is an anomaly when that is at most the rate of false alarms asked for: of rows
exchangeable with those that calibrate, no larger share is flagged on average (conformal p-values: Vovk,
Gammerman and Shafer 2005, *Algorithmic Learning in a Random World*, prop. 2.4; of outliers: Bates et
al. 2023, Annals of Statistics 51(1), sec. 2). Here the share is approximate, as two things have seen the
rows that calibrate and not those that are judged: early stopping, and the stretch of each series.

What follows an anomaly is forecast twice: from the values as they are, and from values in which
anomalies are replaced by what was expected. It is one only when both did not expect it: a spike does
not make its neighbours anomalies, nor a new level all that comes after, and both tests together flag
no more than the first alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import betaln, gammaln

from forecaster import joint
from forecaster.arrays import Flags, Floats, Ints
from forecaster.bounds import Bounds
from forecaster.calendars import moment
from forecaster.config import BoundsSpec
from forecaster.continuing import Judged, times_of
from forecaster.errors import InvalidInputError
from forecaster.intervals import calibrate
from forecaster.known import known_after
from forecaster.model import Forecast, Model
from forecaster.series import Panel
from forecaster.windows import spread

MOST_CALIBRATED = 20_000  # rows: no more are forecast to calibrate, spread evenly
SEVERITIES = {1.0: "minor", 1.5: "major", 3.0: "critical"}  # by least score
TRAINED, VALIDATED = "trained", "validated"


@dataclass(frozen=True)
class Detector:
    """A version's judged model, calibrated one step ahead.

    Attributes:
        model: Its scores are those of one step, and no baseline stands in for its network.
        judged: How far into each series it has looked.
        asked: Share of normal rows that may be flagged.
        since: Rows from here on are judged; None for those that the model has not seen.
        bounds: What is possible at all.
        enough_since: With this for `since`, rows enough would calibrate for the share asked for;
            None when there are enough, or none would be left to judge.
    """

    model: Model
    judged: Judged
    asked: float
    since: str | None
    bounds: BoundsSpec
    enough_since: str | None = None

    @property
    def calibrated(self) -> int:
        """Rows that calibrated."""
        return self.model.conformal.windows

    @property
    def rate(self) -> float:
        """Share of normal rows that are flagged: more than asked where too few rows calibrate."""
        return max(self.asked, 1 / (self.calibrated + 1))

    @property
    def needed(self) -> int:
        """Rows that have to calibrate for the share asked for."""
        return _needed(self.asked)


@dataclass(frozen=True)
class Anomalies:
    """Judged rows.

    Attributes:
        rows: One a row: `unique_id, ds, y, <model>, <model>-lo-99, <model>-hi-99, p_value, score,
            anomaly, direction, severity, seen`. The level is 100 less the share of false alarms in
            percent. `score` is how far out a value is, the bound of the interval being 1; `seen` says
            what the model knows of the row, nothing unless older rows were asked for.
        missing: `unique_id, ds` of rows without a value of their own, which are not judged.
        by_chance: How many of the unseen rows are flagged if all are normal: mean, and the bounds of
            95 cases in 100.
    """

    rows: pd.DataFrame
    missing: pd.DataFrame
    by_chance: tuple[float, int, int]

    @property
    def found(self) -> pd.DataFrame:
        """The anomalies alone."""
        return self.rows[self.rows["anomaly"]]


def calibrated(
    model: Model,
    judged: Judged,
    panel: Panel,
    rate: float,
    since: str | None = None,
    bounds: BoundsSpec | None = None,
) -> Detector:
    """Calibrate a judged model one step ahead, on rows that were held out and are not judged.

    These are the rows that validated it, and with `since` all later ones before that time.

    Args:
        model: With the judged weights.
        judged: How far it has looked.
        panel: Series that it knows.
        rate: Share of normal rows that may be flagged.
        since: Time from which on rows are judged.
        bounds: What is possible at all; the model's own bounds when None.

    Raises:
        InvalidInputError: No row is left that calibrates.
    """
    bounds = model.config.bounds if bounds is None else bounds
    trained, validated = _seen(panel, judged)
    known = np.array([uid in judged.seen for uid in panel.ids], dtype=np.bool_)
    usable = ~trained & _possible(panel, model) & np.repeat(known, panel.lengths)
    wanted = usable & (validated if since is None else validated | ~_from(panel, since))
    rows = spread(np.flatnonzero(wanted), MOST_CALIBRATED)
    if not len(rows):
        raise InvalidInputError(
            "No row is left to calibrate on: those held out when the model was judged are not "
            "stored, or have no values.",
            "Fetch them again, train again, or judge later rows only (--since).",
        )
    model = replace(model, fallback=None)
    forecast = replace(_one_step(model, panel, rows), within=Bounds.of(bounds, panel.ids))
    deviates = _deviates(forecast, panel, rows)[:, None]
    scores = calibrate(
        deviates, forecast.places, len(model.scaling.ids), forecast.still, kept=len(rows)
    )
    later = None
    if since is None and (few := _needed(rate) - scores.windows) > 0:
        later = _after(panel, usable & ~validated, few)
    return Detector(replace(model, conformal=scores), judged, rate, since, bounds, later)


def _needed(rate: float) -> int:
    """Return how many rows have to calibrate for a share of false alarms."""
    return math.ceil(round(1 / rate, 9)) - 1


def _after(panel: Panel, rows: Flags, count: int) -> str | None:
    """Return the first time that comes after so many rows of some; None when there is none."""
    times = panel.ds[rows].sort_values()
    later = times[times > times[count - 1]] if count <= len(times) else times[:0]
    return str(later[0]) if len(later) else None


def detect(detector: Detector, panel: Panel, ids: Collection[str] = ()) -> Anomalies:
    """Judge the rows of a panel.

    Args:
        detector: See `calibrated`.
        panel: Series with the covariates that the model was trained with.
        ids: What is asked for, of series that are forecast together; all when empty.
    """
    model = detector.model
    trained, validated = _seen(panel, detector.judged)
    since = detector.since
    wanted = ~(trained | validated) if since is None else _from(panel, since)
    rows = np.flatnonzero(wanted & _possible(panel, model))
    found = _twice(detector, panel, rows)
    missing = np.flatnonzero(wanted & panel.filled)
    names = np.repeat(np.array(panel.ids, dtype=object), panel.lengths)
    level, name = f"{100 * (1 - detector.rate):.6g}", model.config.network.cell
    outside = found.outside
    table = pd.DataFrame(
        {
            "unique_id": names[rows],
            "ds": panel.ds[rows],
            "y": found.y,
            name: found.point,
            f"{name}-lo-{level}": found.low,
            f"{name}-hi-{level}": found.high,
            "p_value": found.p_value,
            "score": found.score,
            "anomaly": outside,
            "direction": np.where(outside, np.where(found.y > found.point, "above", "below"), ""),
            "severity": _severity(found.score, outside),
            "seen": np.where(trained[rows], TRAINED, np.where(validated[rows], VALIDATED, "")),
        }
    )
    without = pd.DataFrame({"unique_id": names[missing], "ds": panel.ds[missing]})
    if ids:
        table, without = (
            each[each["unique_id"].isin(ids)].reset_index(drop=True) for each in (table, without)
        )
    unseen = int((table["seen"] == "").sum())
    return Anomalies(table, without, by_chance(detector.rate, detector.calibrated, unseen))


def by_chance(rate: float, calibrated: int, judged: int) -> tuple[float, int, int]:
    """Return how many of some normal rows are flagged: mean, and the bounds of 95 cases in 100.

    Over calibrations the share flagged has a beta distribution (Vovk 2012, Conditional validity of
    inductive conformal predictors, sec. 3), so that the number is beta-binomial.

    >>> by_chance(0.01, 999, 1000)
    (10.0, 3, 20)
    """
    above = math.floor(round(rate * (calibrated + 1), 9))  # scores beyond the bound, and one
    below = calibrated + 1 - above
    number = np.arange(judged + 1)
    choices = gammaln(judged + 1) - gammaln(number + 1) - gammaln(judged - number + 1)
    logs = choices + betaln(number + above, judged - number + below) - betaln(above, below)
    up_to = np.cumsum(np.exp(logs))
    low, high = (int(np.searchsorted(up_to, share)) for share in (0.025, 0.975))
    return judged * above / (calibrated + 1), low, min(high, judged)


@dataclass
class _Found:
    """What was expected of rows, each `(row,)`."""

    y: Floats
    point: Floats
    low: Floats
    high: Floats
    p_value: Floats
    score: Floats
    outside: Flags

    def put(self, places: Ints, other: _Found) -> None:
        """Take the better expectation of some rows."""
        for name in ("point", "low", "high", "p_value", "score", "outside"):
            getattr(self, name)[places] = getattr(other, name)


def _twice(detector: Detector, panel: Panel, rows: Ints) -> _Found:
    """Judge rows from the values as they are; what is outside, from expected values too.

    The second look goes from anomaly to anomaly, in order of time, as each takes the place of a value
    in the contexts of later ones: of its own series, or of all series where these are forecast
    together.
    """
    found, lookback = _look(detector, panel, rows), detector.model.lookback
    suspects = np.flatnonzero(found.outside)
    series = np.searchsorted(panel.offsets, rows[suspects], side="right") - 1
    times = rows[suspects] - panel.offsets[series]
    context = np.zeros_like(series) if detector.model.config.network.joint else series
    last = np.full(len(panel.ids), -lookback - 1)  # anomaly in each context
    replaced = panel.y.copy()
    for now in _in_order(context, times):
        places = suspects[now]
        near = times[now] - last[context[now]] <= lookback
        if near.any():
            again = places[near]
            part = _read_by(detector.model, replace(panel, y=replaced), rows[again])
            found.put(again, _look(detector, *part))
        flagged = now[found.outside[places]]
        last[context[flagged]] = times[flagged]
        replaced[rows[suspects[flagged]]] = found.point[suspects[flagged]]
    return found


def _in_order(context: Ints, times: Ints) -> Iterator[Ints]:
    """Go through rows: the first time of each context, then the second, and so on.

    >>> [now.tolist() for now in _in_order(np.array([0, 0, 0, 1]), np.array([7, 3, 3, 9]))]
    [[1, 2, 3], [0]]
    """
    pairs, place = np.unique(np.stack([context, times]), axis=1, return_inverse=True)
    numbers = np.arange(pairs.shape[1]) - np.searchsorted(pairs[0], pairs[0])
    number = numbers[place.ravel()]
    order = np.argsort(number, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if len(order) else ()


def _read_by(model: Model, panel: Panel, rows: Ints) -> tuple[Panel, Ints]:
    """Return what the forecasts of rows read, one a series or all of one time; and the rows in it.

    Each look would else go through the whole panel. Series that the model was not trained on are
    scaled by all their rows, and stay whole.
    """
    series = np.searchsorted(panel.offsets, rows, side="right") - 1
    if (model.scaling.rows_of(panel.ids)[series] < 0).any():
        return panel, rows
    times = rows - panel.offsets[series]
    kept, when = series, times
    if model.config.network.joint:
        kept = np.arange(len(panel.ids))
        when = np.full(len(kept), times[0])
    begin = np.maximum(0, when - model.lookback - 1)  # a difference needs the row before
    stop = np.minimum(panel.lengths[kept], when + model.horizon + 1)  # of what is known ahead
    part, place = panel.part(kept, begin, stop), np.searchsorted(kept, series)
    return part, part.offsets[place] + times - begin[place]


def _look(detector: Detector, panel: Panel, rows: Ints) -> _Found:
    """Say what is expected of rows, from the values before them.

    A value that the bounds exclude is as far out as can be. The ends of an interval are not brought
    to whole numbers, which would take some of them in that are too far out.
    """
    level, conformal = 100 * (1 - detector.rate), detector.model.conformal
    within, y = Bounds.of(detector.bounds, panel.ids), panel.y[rows]
    forecast = replace(_one_step(detector.model, panel, rows), within=within)
    real = replace(within, whole=np.zeros_like(within.whole))
    low, high = replace(forecast, within=real).bounds(level)
    own = _deviates(forecast, panel, rows) / conformal.stretches(forecast.places)
    impossible = (y < within.low[forecast.series]) | (y > within.high[forecast.series])
    own = np.where(impossible, np.inf, own)
    ranked, bound = conformal.scores[:, 0], conformal.deviates(level, 1)[0]
    larger = len(ranked) - np.searchsorted(ranked, own)
    score = own / bound if bound > 0 else np.where(own > 0, np.inf, 0.0)
    point, p_value = forecast.values[:, 0], (1 + larger) / (len(ranked) + 1)
    return _Found(y, point, low[:, 0], high[:, 0], p_value, score, own > bound)


def _one_step(model: Model, panel: Panel, rows: Ints) -> Forecast:
    """Forecast each row from the row before."""
    scaling, cutoffs = model.scaling.align(panel, model.config.scaling), rows - 1
    asked: Ints | slice = slice(None)
    if model.config.network.joint:
        cutoffs, asked = joint.of_all(cutoffs, panel.offsets)
    known = known_after(panel, scaling, model.config, cutoffs)
    forecast = model.forecast(panel, cutoffs, 1, known)
    each = {
        name: getattr(forecast, name)[asked] for name in ("series", "levels", "places", "sources")
    }
    return replace(forecast, **each)


def _deviates(forecast: Forecast, panel: Panel, rows: Ints) -> Floats:
    """Return the size of the deviate that reaches each row's value `(row,)`.

    It is 0 for a value at a bound that a forecast beyond it is brought to.
    """
    y, within, point = panel.y[rows], forecast.within, forecast.levels[:, 0, 0]
    levels = forecast.scaling.levels(panel)[rows]
    deviates = np.abs(forecast.distribution.deviate_of(levels[:, None])[:, 0])
    brought = (y == within.low[forecast.series]) & (point <= levels)
    brought |= (y == within.high[forecast.series]) & (point >= levels)
    return np.where(brought, 0.0, deviates)


def _possible(panel: Panel, model: Model) -> Flags:
    """Tell which rows have a value of their own, and a context `(row,)`."""
    place = np.arange(len(panel.y)) - np.repeat(panel.offsets[:-1], panel.lengths)
    return np.asarray((place >= model.config.context_rows) & ~panel.filled)


def _seen(panel: Panel, judged: Judged) -> tuple[Flags, Flags]:
    """Tell which rows trained the judged model, and which validated it, each `(row,)`."""
    times = np.asarray(times_of(panel, np.arange(len(panel.y))))
    earliest = np.iinfo(np.int64).min
    fitted, seen = (
        np.repeat([known.get(uid, earliest) for uid in panel.ids], panel.lengths)
        for known in (judged.fitted, judged.seen)
    )
    trained = times <= fitted
    return trained, ~trained & (times <= seen)


def _from(panel: Panel, since: str) -> Flags:
    """Tell which rows are of a time or later `(row,)`."""
    return np.asarray(panel.ds >= moment(since, panel.ds))


def _severity(score: Floats, outside: Flags) -> np.ndarray:
    place = np.searchsorted(list(SEVERITIES), score, side="right") - 1
    names = np.array(list(SEVERITIES.values()), dtype=object)[np.maximum(place, 0)]
    return np.where(outside, names, "")
