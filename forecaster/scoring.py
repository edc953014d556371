"""How published forecasts did: joined with the values that have arrived since.

A forecast of one time by one version from one cutoff counts once, as it was published first,
however often it was published again. What baselines said and the scale are those of the first that
has them: versions of before kept none. The chance that a step is up is judged by the stored value
before it, as in `chances`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from forecaster import archive, metrics
from forecaster.archive import Archive, Published
from forecaster.arrays import Floats, Ints
from forecaster.baselines import is_simple
from forecaster.chances import Chance, ChanceScores
from forecaster.chances import judge as judge_chances
from forecaster.checks import span, thirds
from forecaster.durations import before
from forecaster.errors import DamagedError, NotFoundError
from forecaster.scored import Live, Part, Score, Scored
from forecaster.store import Store
from forecaster.verdicts import Versus
from forecaster.words import counted

ONE = ["version", "unique_id", "cutoff"]  # tell one forecast of a model from others
KEY = [*ONE, "ds"]
WORDS = ["version", "unique_id"]  # that stand in many rows
OWN = "own"  # the model's scaled errors
UNUSED = ["name", "source", "model", "data_hash", "created"]  # tell nothing more
PERIODS = 6  # of the trend
LEAST_CUTOFFS = 5  # errors of one cutoff go together, however far it forecasts
HUGE = 1e100  # training refuses such values, and nothing can be said of them


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
    models, notices = [], list[str]()
    left = Counter(pending=0, repeated=0, strange=0, unscaled=0)
    published = sorted(_published(archived, name, within), key=lambda each: each.name)
    for model, files in groupby(published, key=lambda each: each.name):
        frames = [
            _arrived(pieces, kind, store, left)
            for kind, pieces in _official(files, left, notices).items()
        ]
        if arrived := [frame for frame in frames if len(frame)]:
            frame = _scaled(pd.concat(arrived, ignore_index=True))
            left["unscaled"] += int(frame[OWN].isna().sum())
            if unjudged := _without_base_rate(frame):
                notices.append(
                    f"{counted(unjudged, 'chance')} of a step up by {model} are not judged: an older "
                    "version kept them without the base rate."
                )
            models.append(_live(model, frame))
    return Scored(tuple(models), **left, notices=tuple(notices))


def _published(archived: Archive, name: str | None, within: float | None) -> list[Published]:
    """Return the files of what was published, oldest first."""
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
    return published


def _official(
    files: Iterable[Published], left: Counter[str], notices: list[str]
) -> dict[str, list[pd.DataFrame]]:
    """Return the forecasts from stored rows, oldest first, by their kind of time.

    Args:
        files: What was published, oldest first.
        left: Counts what is left out.
        notices: Are told of damage.
    """
    kinds: dict[str, list[pd.DataFrame]] = {}
    for each in files:
        try:
            table = archive.read(each)
        except FileNotFoundError:  # pruned meanwhile
            continue
        except DamagedError as error:
            notices.append(str(error))
            continue
        official = table[table["source"] == archive.STORE]  # a file's must hide none of these
        left["strange"] += len(table) - len(official)
        if len(official):
            piece = _in_utc(official.drop(columns=UNUSED, errors="ignore"))
            piece = piece.astype(dict.fromkeys(WORDS, "category"))
            kinds.setdefault(_kind(piece["ds"]), []).append(piece)
    return kinds


def _arrived(
    pieces: list[pd.DataFrame], kind: str, store: Store, left: Counter[str]
) -> pd.DataFrame:
    """Return forecasts of values that have arrived, each once, beside these values."""
    official = _together(pieces)
    pieces.clear()  # there may be many
    once = _once(official)
    left["repeated"] += len(official) - len(once)
    known = once[once["unique_id"].isin(_ids(store, kind))]
    left["strange"] += len(once) - len(known)
    del official, once
    joined = _with_truth(known, store)
    arrived = joined[joined["y"].notna()]
    left["pending"] += len(joined) - len(arrived)
    return arrived


def _together(pieces: list[pd.DataFrame]) -> pd.DataFrame:
    """Put tables one below the other; their words are of the same categories then."""
    for column in WORDS:
        words = sorted({word for piece in pieces for word in piece[column].cat.categories})
        for piece in pieces:
            piece[column] = piece[column].cat.set_categories(words)
    return pd.concat(pieces, ignore_index=True)


def _once(official: pd.DataFrame) -> pd.DataFrame:
    """Return each forecast as it was first published, beside what was first kept of its baselines.

    Args:
        official: Forecasts from stored rows, in order of publication.
    """
    once = official.drop_duplicates(KEY)
    if len(once) == len(official):
        return once
    baselines = ["scale", *filter(is_simple, official.columns)]
    for first, names in (("scale", baselines), ("base_rate", ["base_rate"])):
        if first in official:
            kept = official.loc[official[first].notna(), [*KEY, *names]].drop_duplicates(KEY)
            once = once.drop(columns=names).merge(kept, on=KEY, how="left")
    return once


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
    """Put the stored value of each time beside its forecast, and how far that forecast went.

    `at` and `end` are the times forecast and of the cutoff as numbers, which also compare beyond 2262;
    `before` is the stored value before that of the time forecast.
    """
    rows = _in_utc(store.read(sorted(forecasts["unique_id"].unique()))[["unique_id", "ds", "y"]])
    rows = rows[rows["y"].abs() < HUGE].drop_duplicates(["unique_id", "ds"], keep="last")
    rows = rows.astype({"unique_id": forecasts["unique_id"].dtype})
    if "base_rate" in forecasts:
        rows["before"] = rows.groupby("unique_id", observed=True)["y"].shift()
    horizon = forecasts.groupby(ONE, sort=False, observed=True)["step"].transform("max")
    numbers = {"at": _number(forecasts["ds"]), "end": _number(forecasts["cutoff"])}
    forecasts = forecasts.assign(horizon=horizon, **numbers)
    return forecasts.merge(rows, on=["unique_id", "ds"], how="left")


def _number(times: pd.Series) -> Ints:
    """Return integers as they are and times in microseconds `(row,)`."""
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        return times.to_numpy(dtype=np.int64)
    naive = times if times.dt.tz is None else times.dt.tz_localize(None)
    return naive.to_numpy().astype("datetime64[us]").astype(np.int64)


def _scaled(frame: pd.DataFrame) -> pd.DataFrame:
    """Put the scaled error in place of what each baseline said, and that of the model beside them.

    A version without a season has the naive forecast as its seasonal one. All errors of a value are NaN
    where one of them is not known.
    """
    names = [name for name in frame.columns if is_simple(name) and frame[name].notna().any()]
    said = {name: frame[name] for name in names}
    for name in sorted(name for name in names if name.startswith("seasonal_naive")):
        for shorter in ("seasonal_naive", "naive"):
            said[name] = said[name].fillna(said.get(shorter, np.nan))
    scale = frame["scale"] if "scale" in frame else pd.Series(np.nan, frame.index)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        errors = {name: (frame["y"] - values).abs() / scale for name, values in said.items()}
        errors[OWN] = (frame["y"] - frame["point"]).abs() / scale
    known = np.logical_and.reduce([values < HUGE for values in errors.values()])
    kept = frame.drop(columns=[name for name in frame.columns if is_simple(name)])
    return kept.assign(**{name: values.where(known) for name, values in errors.items()})


def _live(name: str, frame: pd.DataFrame) -> Live:
    places = np.unique(frame["end"], return_inverse=True)[1]
    count = int(places.max()) + 1
    periods = places * min(PERIODS, count) // count
    versions = _parts(frame, "version")
    latest = versions[-1].label
    alone = frame[frame["version"] == latest] if len(versions) > 1 else frame[:0]
    verdict, *_ = _judged(name, alone, versions[-1].score)
    found = _score(frame)
    return Live(
        name,
        found,
        *_judged(name, frame, found),
        verdict and f"Version {latest} alone: {verdict}",
        versions,
        _parts(frame, "unique_id"),
        _parts(frame, "step"),
        tuple(_thirds(frame)),
        tuple(Part(_range(group), _score(group)) for _, group in frame.groupby(periods, sort=True)),
        _judged_chances(frame),
    )


def _without_base_rate(frame: pd.DataFrame) -> int:
    """Count the chances of which it is not known what they are to be judged beside."""
    if "up" not in frame:
        return 0
    said = frame["up"].notna()
    return int((said & frame["base_rate"].isna() if "base_rate" in frame else said).sum())


def _judged_chances(frame: pd.DataFrame) -> ChanceScores | None:
    if not {"up", "base_rate"} <= {*frame.columns}:
        return None
    known = frame.dropna(subset=["up", "base_rate", "before"])
    if known.empty:
        return None
    came = (known["y"] > known["before"]).to_numpy()[:, None]
    chance = Chance(came, known[["up"]].to_numpy(), known["base_rate"].to_numpy())
    own, base = (losses.ravel() for losses in chance.log_losses)
    test = _compared(known, own, base)
    return judge_chances(chance, test.n, test)


def _judged(name: str, frame: pd.DataFrame, found: Score) -> tuple[str, float | None, int]:
    """Return the verdict on a model, its p-value and the points in time that it is told by."""
    known = frame[frame[OWN].notna()]
    if known.empty or found.best_baseline is None or found.mase is None:
        return "", None, 0
    test = _compared(known, *(known[name].to_numpy() for name in (OWN, found.best_baseline)))
    least = found.baselines[found.best_baseline]
    said = Versus(name, found.best_baseline, found.mase, least, test).verdict("values")
    if found.mase < least and not test.is_open:
        said += " Theta and ETS, which train compares with too, are not among these baselines."
    return said, None if test.is_open else test.p_value, test.n


def _compared(known: pd.DataFrame, own: Floats, other: Floats) -> metrics.DieboldMariano:
    """Test whether two forecasts are equally accurate.

    What was forecast of one time is added up: a time is an observation. Series whose clocks differ by
    less than half a step share their times. Such sums wander for nearly twice as long as a forecast
    (decision 20).

    Args:
        known: The values forecast.
        own: Their losses by the one `(row,)`.
        other: By the other `(row,)`.
    """
    gaps = known.sort_values("at").groupby("unique_id")["at"].diff()
    ahead = (known["at"] - known["end"]) / known["step"]
    period = np.fmin(gaps[gaps > 0].min(), ahead.min())  # the shortest step: none share a slot
    slots = np.round((known["at"] - known["at"].min()) / period)
    times = np.unique(slots, return_inverse=True)[1]
    each = len(known) / (times.max() + 1)  # values of a time: those of fewer weigh less
    first, second = (np.bincount(times, losses) / each for losses in (own, other))
    horizon = int(known.drop_duplicates(ONE)["horizon"].median())
    test = metrics.same_accuracy(first, second, 2 * horizon - 1)
    if not test.is_open and (cutoffs := known["end"].nunique()) < LEAST_CUTOFFS:
        are = f"{counted(cutoffs, 'cutoff')} {'is' if cutoffs == 1 else 'are'}"
        note = f"{are} too few to tell ({LEAST_CUTOFFS} are needed)"
        test = test._replace(p_value=float("nan"), note=note)
    return test


def _parts(frame: pd.DataFrame, by: str) -> tuple[Part, ...]:
    """Score each group."""
    groups = frame.groupby(by, sort=True, observed=True)
    return tuple(Part(str(key), _score(group)) for key, group in groups)


def _thirds(frame: pd.DataFrame) -> Iterator[Part]:
    for third in thirds(int(frame["horizon"].max())):
        some = frame[frame["step"].isin(third + 1)]
        if len(some):
            yield Part(span(third), _score(some))


def _range(frame: pd.DataFrame) -> str:
    """Return the cutoffs of some forecasts, from the first to the last."""
    rows = frame["end"].argmin(), frame["end"].argmax()
    first, last = (_said(frame["cutoff"].iloc[row]) for row in rows)
    return first if first == last else f"{first} to {last}"


def _said(cutoff: Any) -> str:
    if not isinstance(cutoff, pd.Timestamp):
        return str(cutoff)
    if cutoff == cutoff.normalize() and cutoff.tz is None:
        return str(cutoff.date())
    return f"{cutoff:%Y-%m-%d %H:%M}{' UTC' if cutoff.tz else ''}"


def _score(frame: pd.DataFrame) -> Score:
    y, point = (frame[name].to_numpy(dtype=np.float64) for name in ("y", "point"))
    errors = {name: _mean(frame[name]) for name in frame.columns if is_simple(name)}
    baselines = {name: error for name, error in errors.items() if error is not None}
    best = min(baselines, key=lambda name: baselines[name]) if baselines else None
    mase, least = _mean(frame[OWN]), baselines[best] if best else None
    return Score(
        points=len(frame),
        forecasts=len(frame.drop_duplicates(ONE)),
        cutoffs=frame["end"].nunique(),
        mae=metrics.mae(y, point),
        bias=float(np.mean(point - y)),
        smape=metrics.smape(y, point),
        mase=mase,
        baselines=baselines,
        best_baseline=best,
        skill=1 - mase / least if mase is not None and least else None,
        coverage=_coverage(frame, y),
    )


def _mean(values: pd.Series) -> float | None:
    """Return the mean of those that are known; None without any."""
    mean = values.mean()
    return float(mean) if np.isfinite(mean) else None


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
