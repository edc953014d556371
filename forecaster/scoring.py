"""How published forecasts did: joined with the values that have arrived since.

A forecast of one time by one version from one cutoff counts once, as it was published first,
however often it was published again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from forecaster import archive, metrics
from forecaster.archive import Archive
from forecaster.arrays import Floats, Ints
from forecaster.baselines import is_simple
from forecaster.durations import before
from forecaster.errors import DamagedError, NotFoundError
from forecaster.store import Store
from forecaster.verdicts import Versus

KEY = ["name", "version", "unique_id", "cutoff", "ds"]
PERIODS = 6  # of the trend


@dataclass(frozen=True)
class Score:
    """The errors of some forecasts.

    Attributes:
        points: Values that were forecast and have arrived.
        forecasts: From so many cutoffs of series.
        mae: Mean absolute error.
        bias: Mean of forecast less truth.
        smape: From 0 to 200.
        mase: Mean absolute scaled error, as when the model was judged; None where no series has a scale.
        baselines: The same of what baselines said from the same rows, by name.
        best_baseline: The one with the lowest; None without any.
        skill: One less the ratio of the model's MASE to that baseline's.
        coverage: Share of the values inside their intervals, by level.
    """

    points: int
    forecasts: int
    mae: float
    bias: float
    smape: float
    mase: float | None
    baselines: dict[str, float]
    best_baseline: str | None
    skill: float | None
    coverage: dict[str, float]


@dataclass(frozen=True)
class Part:
    """The score of one part of a model's forecasts: a version, a step, or a time."""

    label: str
    score: Score


@dataclass(frozen=True)
class Live:
    """How one model's forecasts did.

    Attributes:
        name: The model.
        score: Of all its forecasts.
        verdict: On it beside the best baseline, one sentence; empty where there is none.
        p_value: Of the Diebold-Mariano test between the two; None where nothing can be told.
        times: Points in time that it is told by.
        versions: By version, oldest first.
        steps: By step ahead.
        trend: By time of the cutoffs, oldest first.
    """

    name: str
    score: Score
    verdict: str
    p_value: float | None
    times: int
    versions: tuple[Part, ...]
    steps: tuple[Part, ...]
    trend: tuple[Part, ...]


@dataclass(frozen=True)
class Scored:
    """Live scores, and the forecasts that have none.

    Attributes:
        models: One for each model with values that have arrived.
        pending: Values forecast that have not arrived.
        repeated: Values that were published again and count once.
        strange: Values of series that are not stored, or that came from a file.
        unscaled: Values that have arrived without a scale: of series that had never changed, or kept
            by a version that kept no baselines.
        notices: What the reader should know, a line each.
    """

    models: tuple[Live, ...]
    pending: int
    repeated: int
    strange: int
    unscaled: int
    notices: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return asdict(self)


def score(
    archived: Archive,
    store: Store,
    name: str | None = None,
    within: float | None = None,
) -> Scored:
    """Join published forecasts with the stored values.

    Args:
        archived: The published forecasts.
        store: What has arrived.
        name: Only this model's.
        within: Only those published in the last so many seconds.

    Raises:
        NotFoundError: Nothing was published.
    """
    pieces, damaged = _read(archived, name, within)
    kinds: dict[str, list[pd.DataFrame]] = {}
    for piece in pieces:
        kinds.setdefault(_kind(piece["ds"]), []).append(_in_utc(piece))
    joined, repeated, strange = [], 0, 0
    for kind, frames in kinds.items():
        together = pd.concat(frames, ignore_index=True).sort_values("created", kind="stable")
        official = together[together["source"] == archive.STORE]  # a file's must hide none of these
        once = official.drop_duplicates(KEY, keep="first")
        repeated += len(official) - len(once)
        known = once[once["unique_id"].isin(_ids(store, kind))]
        strange += len(together) - len(official) + len(once) - len(known)
        if len(known):
            joined.append(_with_truth(known, store))
    waiting = sum(int(frame["y"].isna().sum()) for frame in joined)
    arrived = [frame[frame["y"].notna()] for frame in joined]
    models = [_live(str(name), group) for name, group in _by_model(arrived)]
    unscaled = sum(int(frame["scale"].isna().sum()) for frame in arrived)
    return Scored(tuple(models), waiting, repeated, strange, unscaled, damaged)


def _read(
    archived: Archive, name: str | None, within: float | None
) -> tuple[list[pd.DataFrame], tuple[str, ...]]:
    """Read what was published, and say what of it is damaged."""
    since = None if within is None else before(datetime.now(UTC), within)
    published = [
        each for each in archived.published(name) if since is None or each.created >= since
    ]
    if not published:
        whose = "" if name is None else f" of the model {name!r}"
        when = "" if since is None else f" since {since:%Y-%m-%d %H:%M} UTC"
        raise NotFoundError(
            f"No forecast{whose} is kept in '{archived.folder}'{when}.",
            "Every 'forecast predict' keeps one.",
        )
    pieces, damaged = [], []
    for each in published:
        try:
            pieces.append(archive.read(each))
        except FileNotFoundError:  # pruned meanwhile
            continue
        except DamagedError as error:
            damaged.append(str(error))
    return pieces, tuple(damaged)


def _kind(ds: pd.Series) -> str:
    if not pd.api.types.is_datetime64_any_dtype(ds.dtype):
        return "integer"
    return "naive" if ds.dt.tz is None else "zoned"


def _in_utc(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring zoned times into one zone, in which they can be compared."""
    zoned = [name for name in ("ds", "cutoff") if name in frame and _kind(frame[name]) == "zoned"]
    return frame.assign(**{name: frame[name].dt.tz_convert("UTC") for name in zoned})


def _ids(store: Store, kind: str) -> list[str]:
    def kind_of(time: str) -> str:
        return time if time in {"naive", "integer"} else "zoned"

    return [uid for uid, entry in store.entries().items() if kind_of(entry.time) == kind]


def _with_truth(forecasts: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Put the stored value of each time beside its forecast."""
    rows = _in_utc(store.read(sorted(set(forecasts["unique_id"])))[["unique_id", "ds", "y"]])
    rows = rows[np.isfinite(rows["y"])].drop_duplicates(["unique_id", "ds"], keep="last")
    if "scale" not in forecasts:  # kept by a version that kept no baselines
        forecasts = forecasts.assign(scale=np.nan)
    return forecasts.merge(rows, on=["unique_id", "ds"], how="left")


def _by_model(frames: Iterable[pd.DataFrame]) -> Iterable[tuple[Any, pd.DataFrame]]:
    pieces = [frame for frame in frames if len(frame)]
    return pd.concat(pieces, ignore_index=True).groupby("name") if pieces else []


def _live(name: str, frame: pd.DataFrame) -> Live:
    places = _in_order(frame["cutoff"])
    count = int(places.max()) + 1
    periods = places * min(PERIODS, count) // count
    found = _score(frame)
    return Live(
        name,
        found,
        *_judged(name, frame, found),
        _parts(frame, frame["version"], str),
        _parts(frame, frame["step"], str),
        _parts(frame, pd.Series(periods, index=frame.index), None),
    )


def _judged(name: str, frame: pd.DataFrame, found: Score) -> tuple[str, float | None, int]:
    """Return the verdict on a model, its p-value and the points in time that it is told by.

    What was forecast of one time is averaged: a time is an observation.
    """
    known = frame[np.isfinite(frame["scale"])]
    if found.best_baseline is None or found.mase is None:
        return "", None, 0
    times = _in_order(known["ds"])
    own, other = (
        np.bincount(times, (known["y"] - known[column]).abs() / known["scale"]) / np.bincount(times)
        for column in ("point", found.best_baseline)
    )
    test = metrics.diebold_mariano(own, other, int(known["step"].max()))
    least = found.baselines[found.best_baseline]
    said = Versus(name, found.best_baseline, found.mase, least, test).verdict("values")
    return said, None if test.is_open else test.p_value, test.n


def _in_order(times: pd.Series) -> Ints:
    """Return the place of each time among all that there are `(row,)`."""
    codes, distinct = pd.factorize(times)
    places = np.argsort(np.argsort([_moment(time) for time in distinct]))
    return np.asarray(places[codes])


def _moment(time: Any) -> int:
    """Return a number by which times of any one kind are in order."""
    return int(time.value if isinstance(time, pd.Timestamp) else time)


def _parts(
    frame: pd.DataFrame, keys: pd.Series, label: Callable[[Any], str] | None
) -> tuple[Part, ...]:
    """Score each group; without a label it is called by the range of its cutoffs."""
    return tuple(
        Part(_range(group["cutoff"]) if label is None else label(key), _score(group))
        for key, group in frame.groupby(keys.to_numpy(), sort=True)
    )


def _range(cutoffs: pd.Series) -> str:
    first, last = (_said(found(cutoffs, key=_moment)) for found in (min, max))
    return first if first == last else f"{first} to {last}"


def _said(cutoff: Any) -> str:
    if not isinstance(cutoff, pd.Timestamp):
        return str(cutoff)
    return str(cutoff.date()) if cutoff == cutoff.normalize() else f"{cutoff:%Y-%m-%d %H:%M}"


def _score(frame: pd.DataFrame) -> Score:
    y, point = (frame[name].to_numpy(dtype=np.float64) for name in ("y", "point"))
    known = frame[np.isfinite(frame["scale"])]
    mase = _mase(known, "point")
    names = [name for name in frame.columns if is_simple(name) and known[name].notna().all()]
    baselines = {name: found for name in names if (found := _mase(known, name)) is not None}
    best = min(baselines, key=lambda name: baselines[name]) if baselines else None
    least = baselines[best] if best else None
    return Score(
        points=len(frame),
        forecasts=len(frame[["version", "unique_id", "cutoff"]].drop_duplicates()),
        mae=metrics.mae(y, point),
        bias=float(np.mean(point - y)),
        smape=metrics.smape(y, point),
        mase=mase,
        baselines=baselines,
        best_baseline=best,
        skill=1 - mase / least if mase is not None and least else None,
        coverage=_coverage(frame, y),
    )


def _mase(frame: pd.DataFrame, name: str) -> float | None:
    """Return the MASE of a column; None without rows."""
    error = (frame["y"] - frame[name]).abs() / frame["scale"]
    return float(error.mean()) if len(frame) else None


def _coverage(frame: pd.DataFrame, y: Floats) -> dict[str, float]:
    shares = {}
    for name in frame.columns:
        level = name.removeprefix("lo-")
        if level == name or f"hi-{level}" not in frame:
            continue
        low, high = (frame[f"{side}-{level}"].to_numpy(dtype=np.float64) for side in ("lo", "hi"))
        given = np.isfinite(low) & np.isfinite(high)
        if given.any():
            shares[level] = metrics.coverage(y[given], low[given], high[given])
    return dict(sorted(shares.items(), key=lambda item: float(item[0])))
