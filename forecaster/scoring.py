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
from forecaster.arrays import Floats
from forecaster.durations import before
from forecaster.errors import DamagedError, NotFoundError
from forecaster.store import Store

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
        mase: Mean absolute error in units of each series' mean change from row to row.
        naive_mase: The same of the last value before each forecast; None when it is not stored.
        skill: One less the ratio of the two, over the values for which both are known.
        compared: Points in time that these are of.
        coverage: Share of the values inside their intervals, by level.
    """

    points: int
    forecasts: int
    mae: float
    bias: float
    smape: float
    mase: float | None
    naive_mase: float | None
    skill: float | None
    compared: int
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
        versions: By version, oldest first.
        steps: By step ahead.
        trend: By time of the cutoffs, oldest first.
    """

    name: str
    score: Score
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
        notices: What the reader should know, a line each.
    """

    models: tuple[Live, ...]
    pending: int
    repeated: int
    strange: int
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
    return Scored(tuple(models), waiting, repeated, strange, damaged)


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
    """Put the stored value of each time, and of its cutoff, beside its forecast."""
    rows = _in_utc(store.read(sorted(set(forecasts["unique_id"])))[["unique_id", "ds", "y"]])
    rows = rows[np.isfinite(rows["y"])].drop_duplicates(["unique_id", "ds"], keep="last")
    scale = rows.groupby("unique_id")["y"].agg(lambda y: metrics.mase_scale(y.to_numpy(), 1))
    last = rows.rename(columns={"ds": "cutoff", "y": "last"})
    joined = forecasts.merge(rows, on=["unique_id", "ds"], how="left")
    joined = joined.merge(last, on=["unique_id", "cutoff"], how="left")
    return joined.assign(scale=joined["unique_id"].map(scale).to_numpy())


def _by_model(frames: Iterable[pd.DataFrame]) -> Iterable[tuple[Any, pd.DataFrame]]:
    pieces = [frame for frame in frames if len(frame)]
    return pd.concat(pieces, ignore_index=True).groupby("name") if pieces else []


def _live(name: str, frame: pd.DataFrame) -> Live:
    codes, distinct = pd.factorize(frame["cutoff"])
    ranks = np.argsort(np.argsort([_moment(cutoff) for cutoff in distinct]))
    periods = ranks[codes] * min(PERIODS, len(distinct)) // len(distinct)
    return Live(
        name,
        _score(frame),
        _parts(frame, frame["version"], str),
        _parts(frame, frame["step"], str),
        _parts(frame, pd.Series(periods, index=frame.index), None),
    )


def _moment(cutoff: Any) -> int:
    """Return a number by which cutoffs of any one kind of time are in order."""
    return int(cutoff.value if isinstance(cutoff, pd.Timestamp) else cutoff)


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
    last, scale = (frame[name].to_numpy(dtype=np.float64) for name in ("last", "scale"))
    error, naive = np.abs(y - point), np.abs(y - last)
    comparable = np.isfinite(naive) & np.isfinite(scale)
    own = _mean(error[comparable] / scale[comparable])
    other = _mean(naive[comparable] / scale[comparable])
    return Score(
        points=len(frame),
        forecasts=len(frame[["version", "unique_id", "cutoff"]].drop_duplicates()),
        mae=metrics.mae(y, point),
        bias=float(np.mean(point - y)),
        smape=metrics.smape(y, point),
        mase=_mean(error[np.isfinite(scale)] / scale[np.isfinite(scale)]),
        naive_mase=other,
        skill=1 - own / other if own is not None and other else None,
        compared=int(frame["ds"][comparable].nunique()),
        coverage=_coverage(frame, y),
    )


def _mean(values: Floats) -> float | None:
    return float(np.mean(values)) if len(values) else None


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
