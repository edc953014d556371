"""How good a model is: scores beside those of the baselines on the same folds, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from forecaster import metrics, statistical
from forecaster.arrays import Floats, Ints
from forecaster.baselines import BASELINES, all_simple
from forecaster.chances import Chance, ChanceScores
from forecaster.chances import judge as judge_chances
from forecaster.checks import Checks, check, thirds
from forecaster.errors import QualityGateError
from forecaster.metrics import LEAST_TIMES, DieboldMariano
from forecaster.series import Panel
from forecaster.statistical import OnWindow, silent
from forecaster.verdicts import Versus, proven


@dataclass(frozen=True)
class Folds:
    """Forecasts of the test windows beside the truth.

    Attributes:
        name: What the model's column is called.
        ids: The panel's series.
        series: Place of each window's series `(window,)`.
        fold: Number of each window's fold, 0 for the earliest of its series `(window,)`.
        cutoff: Last observed time of each window `(window,)`.
        ds: Times forecast `(window * horizon,)`.
        y: Truth `(window, horizon)`.
        last: Last observed value of each window `(window,)`.
        forecasts: Model first, then the baselines, each `(window, horizon)`.
        bounds: Lower and upper bound by level, each `(window, horizon)`.
        scale: Denominator of MASE for each series `(series,)`.
        step_size: Rows between cutoffs.
        sources: With a fallback, what forecasts each window in the model's column `(window,)`.
        notes: What to say of baselines that are left out, or could not be fitted.
        chance: With `direction`, the chances that steps are up.
    """

    name: str
    ids: tuple[str, ...]
    series: Ints
    fold: Ints
    cutoff: pd.Index
    ds: pd.Index
    y: Floats
    last: Floats
    forecasts: dict[str, Floats]
    bounds: dict[float, tuple[Floats, Floats]]
    scale: Floats
    step_size: int
    sources: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    chance: Chance | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each forecast step: unique_id, ds, cutoff, y, the model, the rest.

        With a fallback, `model` says what forecast the row, as in the table of `predict`.
        """
        horizon = self.y.shape[1]
        columns: dict[str, Any] = {
            "unique_id": np.repeat(np.asarray(self.ids, dtype=object)[self.series], horizon),
            "ds": self.ds,
            "cutoff": self.cutoff.repeat(horizon),
            "y": self.y.ravel(),
            self.name: self.forecasts[self.name].ravel(),
        }
        for level, (low, high) in self.bounds.items():
            columns[f"{self.name}-lo-{level:g}"] = low.ravel()
            columns[f"{self.name}-hi-{level:g}"] = high.ravel()
        if self.chance is not None:
            columns[f"{self.name}-up"] = self.chance.said.ravel()
        if self.sources is not None:
            columns["model"] = self.sources.repeat(horizon)
        for name in self.baselines:
            columns[name] = self.forecasts[name].ravel()
        return pd.DataFrame(columns)

    def mase(self, forecast: Floats) -> float:
        """Return the MASE of a forecast of these windows `(window, horizon)`."""
        return metrics.mase(self.y, forecast, self.scale[self.series])

    @property
    def baselines(self) -> tuple[str, ...]:
        """What the model is compared with."""
        return tuple(name for name in self.forecasts if name != self.name)


@dataclass(frozen=True)
class Judgement:
    """Scores and what they mean.

    Attributes:
        scores: mae, rmse, mase and smape by model.
        coverage: Share of the truth inside the intervals, by level.
        width: Their mean width in units of MASE, by level.
        coverage_by_third: The same as `coverage`, of the early, middle and late steps; empty when
            there are less than three.
        width_by_third: Likewise.
        folds: Number of folds.
        unscaled: Windows that MASE leaves out, because the train rows of their series never change.
        best_baseline: The baseline with the lowest MASE on these folds.
        skill: One less the ratio of the model's MASE to that baseline's.
        p_value: Of the Diebold-Mariano test between the two; NaN when the verdict is open.
        times: Points in time that it is told by.
        verdict: One sentence.
        advice: What to do next; empty where there is skill.
        checks: Direction, lagged copy, flat forecasts, and scores by step.
        notes: What to say of the baselines, a line each.
        chances: How good the chances of a step up are; None without `direction`.
    """

    scores: dict[str, dict[str, float]]
    coverage: dict[float, float]
    width: dict[float, float]
    coverage_by_third: dict[float, tuple[float, ...]]
    width_by_third: dict[float, tuple[float, ...]]
    folds: int
    unscaled: int
    best_baseline: str
    skill: float
    p_value: float
    times: int
    verdict: str
    advice: str
    checks: Checks
    notes: tuple[str, ...] = ()
    chances: ChanceScores | None = None

    @property
    def has_skill(self) -> bool:
        """Whether the model beats the best baseline by more than chance may explain."""
        return proven(self.skill, self.p_value)

    @property
    def is_thin(self) -> bool:
        """Whether there are too few points in time to say what the scores mean."""
        return self.times < LEAST_TIMES

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for manifests and `--json`: a number that is not finite is None."""
        return dict(_plain(asdict(self) | {"has_skill": self.has_skill}))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key if isinstance(key, str) else f"{key:g}": _plain(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def joined(pieces: Sequence[Folds]) -> Folds:
    """Put the folds of several fits together, in the order given."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    together = np.concatenate
    return replace(
        first,
        series=together([piece.series for piece in pieces]),
        fold=together([piece.fold for piece in pieces]),
        cutoff=first.cutoff.append([piece.cutoff for piece in pieces[1:]]),
        ds=first.ds.append([piece.ds for piece in pieces[1:]]),
        y=together([piece.y for piece in pieces]),
        last=together([piece.last for piece in pieces]),
        forecasts={
            name: together([piece.forecasts[name] for piece in pieces]) for name in first.forecasts
        },
        bounds={
            level: (
                together([piece.bounds[level][0] for piece in pieces]),
                together([piece.bounds[level][1] for piece in pieces]),
            )
            for level in first.bounds
        },
        sources=None
        if first.sources is None
        else together([piece.sources for piece in pieces if piece.sources is not None]),
        chance=_joined([piece.chance for piece in pieces if piece.chance is not None]),
    )


def _joined(pieces: Sequence[Chance]) -> Chance | None:
    return Chance(*map(np.concatenate, zip(*pieces, strict=True))) if pieces else None


def with_baselines(
    folds: Folds,
    panel: Panel,
    cutoffs: Ints,
    season: int,
    longer: int = 1,
    on_window: OnWindow = silent,
) -> Folds:
    """Forecast the windows of all folds by every baseline, from the rows up to each cutoff.

    Args:
        folds: With the forecasts of the network.
        panel: Regular series.
        cutoffs: Row of the last observed value of each window `(window,)`.
        season: Steps in a season.
        longer: See `baselines.all_simple`.
        on_window: Called after each window that Theta or ETS is fitted to.
    """
    horizon, starts = folds.y.shape[1], panel.offsets[folds.series]
    found = all_simple(panel.y, starts, cutoffs, horizon, season, longer)
    notes = [statistical.left_out(starts, cutoffs, season)]
    if not notes[0]:
        for name in statistical.STATISTICAL:
            found[name], note = statistical.forecast(
                name, panel.y, starts, cutoffs, horizon, season, on_window
            )
            notes.append(note)
    kept = tuple(note[:1].upper() + note[1:] for note in notes if note)
    return replace(folds, forecasts={**folds.forecasts, **found}, notes=kept)


def judge(folds: Folds) -> Judgement:
    """Score every model of the folds and put the result into words."""
    scores = {name: _scores(folds, forecast) for name, forecast in folds.forecasts.items()}
    mase = {name: row["mase"] for name, row in scores.items()}
    best = best_of({name: mase[name] for name in folds.baselines})
    test = test_between(
        folds, *(losses_over_time(folds, folds.forecasts[name]) for name in (folds.name, best))
    )
    versus = Versus(_named(folds), best, mase[folds.name], mase[best], test)
    count, late = int(folds.fold.max()) + 1, thirds(folds.y.shape[1])
    return Judgement(
        scores=scores,
        coverage={level: _coverage(folds, level) for level in folds.bounds},
        width={level: _width(folds, level) for level in folds.bounds},
        coverage_by_third={
            level: tuple(_coverage(folds, level, steps) for steps in late) for level in folds.bounds
        },
        width_by_third={
            level: tuple(_width(folds, level, steps) for steps in late) for level in folds.bounds
        },
        folds=count,
        unscaled=int(np.isnan(folds.scale[folds.series]).sum()),
        best_baseline=best,
        skill=versus.skill,
        p_value=test.p_value,
        times=test.n,
        verdict=versus.verdict(),
        advice=versus.advice(
            count,
            _folds_needed(folds),
            folds.sources is None and best in (*BASELINES, *statistical.STATISTICAL),
        ),
        checks=check(
            folds.y,
            {name: folds.forecasts[name] for name in (folds.name, best)},
            folds.last,
            folds.scale[folds.series],
            _apart(folds),
        ),
        notes=folds.notes,
        chances=_judge_chances(folds),
    )


def best_of(mase: dict[str, float]) -> str:
    """Return the name with the lowest MASE, one without any last."""
    return min(mase, key=lambda name: (np.isnan(mase[name]), mase[name]))


def _judge_chances(folds: Folds) -> ChanceScores | None:
    if folds.chance is None:
        return None
    own, base = (_over_time(folds, loss) for loss in folds.chance.log_losses)
    test = test_between(folds, own, base)
    return judge_chances(folds.chance, _apart(folds) * folds.y.shape[1], test)


def require_skill(judgement: Judgement) -> None:
    """Refuse a model that is not proven to beat the best baseline.

    Raises:
        QualityGateError: The verdict is not that there is skill.
    """
    if not judgement.has_skill:
        raise QualityGateError(
            f"--require-skill: nothing is published. {judgement.verdict}",
            judgement.advice,
        )


def _scores(folds: Folds, forecast: Floats) -> dict[str, float]:
    """Errors over all windows; the scaled ones let series of any size be averaged."""
    return {
        "mae": metrics.mae(folds.y, forecast),
        "rmse": metrics.rmse(folds.y, forecast),
        "mase": folds.mase(forecast),
        "smape": metrics.smape(folds.y, forecast),
    }


def _coverage(folds: Folds, level: float, steps: Ints | slice = slice(None)) -> float:
    low, high = folds.bounds[level]
    return metrics.coverage(folds.y[:, steps], low[:, steps], high[:, steps])


def _width(folds: Folds, level: float, steps: Ints | slice = slice(None)) -> float:
    low, high = folds.bounds[level]
    return metrics.width(low[:, steps], high[:, steps], folds.scale[folds.series])


def _apart(folds: Folds) -> int:
    """Count the cutoffs whose targets do not overlap."""
    return int(folds.fold.max()) // -(-folds.y.shape[1] // folds.step_size) + 1


def losses_over_time(folds: Folds, forecast: Floats) -> Floats:
    """Return the scaled absolute error of a forecast of these folds, in order of time `(time,)`.

    Args:
        folds: What was to be forecast.
        forecast: `(window, horizon)`.
    """
    return _over_time(folds, np.abs(folds.y - forecast) / folds.scale[folds.series, None])


def _over_time(folds: Folds, loss: Floats) -> Floats:
    """Return a loss `(window, horizon)` in order of time `(time,)`.

    Windows that do not overlap are laid end to end, so that each step in time is an observation;
    of overlapping ones each cutoff is. Series are averaged: they are not independent. A time of fewer
    series weighs as much less, so that the mean is that of all windows.
    """
    values = loss if _lie_apart(folds) else loss.mean(axis=1, keepdims=True)
    used = np.isfinite(values).all(axis=1)
    count = int(folds.fold.max()) + 1
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, folds.fold[used], values[used])
    number = np.bincount(folds.fold[used], minlength=count)
    return np.asarray((total * (number > 0).sum() / max(1, number.sum()))[number > 0].ravel())


def test_between(folds: Folds, one: Floats, other: Floats) -> DieboldMariano:
    """Return the Diebold-Mariano test between two `losses_over_time`."""
    return metrics.same_accuracy(one, other, folds.y.shape[1], _between(folds))


def _between(folds: Folds) -> int:
    """Return the steps from one of `losses_over_time` to the next."""
    return 1 if _lie_apart(folds) else folds.step_size


def _lie_apart(folds: Folds) -> bool:
    """Tell whether no two windows of a series overlap."""
    return folds.step_size >= folds.y.shape[1]


def _folds_needed(folds: Folds) -> int:
    """Return how many folds a test between forecasts takes."""
    horizon = folds.y.shape[1]
    times = metrics.times_needed(horizon, _between(folds))
    return -(-times // horizon) if _lie_apart(folds) else times


def _named(folds: Folds) -> str:
    """Name what is judged: a network, the baselines that stand in for it, or both."""
    if folds.sources is None or (folds.sources == folds.name).all():
        return folds.name
    return (
        f"{folds.name} with its fallback"
        if folds.name in folds.sources
        else f"{folds.name}'s fallback"
    )
