"""Gates of unattended training: what must hold of the data, and of a challenger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from forecaster.accepted import as_of, once
from forecaster.arrays import Floats
from forecaster.calendars import clock, positions
from forecaster.errors import InvalidInputError, QualityGateError
from forecaster.index import Entry
from forecaster.series import Panel
from forecaster.unattended import GatesSpec

USUAL = 10  # changes at least that tell what is usual: of fewer, any other one seems a jump
LATEST = 30  # changes at least that are compared with the earlier ones: fewer say nothing
SAME = 1e-6  # relative difference of a value up to which it was not revised
EMPTY = {"missing_values", "missing_timestamps"}


@dataclass(frozen=True)
class Data:
    """What the data gates look at.

    Attributes:
        panel: Regular series.
        frame: The same rows as they are stored.
        entries: What the index says of them.
        accepted: The rows that the last run let pass: `unique_id, ds, y`; None when there was none.
        horizon: Steps that are forecast; None when the data decides.
    """

    panel: Panel
    frame: pd.DataFrame
    entries: Mapping[str, Entry]
    accepted: pd.DataFrame | None = None
    horizon: int | None = None


def require_fetched(spec: GatesSpec, share: float, asked: int) -> None:
    """Refuse to go on with too few of the series fetched.

    Raises:
        QualityGateError: Too few came.
    """
    if share < spec.min_fetched:
        raise QualityGateError(
            f"{share:.0%} of {asked} series could be fetched; --min-fetched needs "
            f"{spec.min_fetched:.0%}.",
            "Mend the sources, or lower --min-fetched.",
        )


def require_data(spec: GatesSpec, data: Data, now: datetime) -> None:
    """Refuse data that is old, full of holes, or not like what came before.

    Raises:
        QualityGateError: Names the gates that say no, the series, what was found and allowed.
        InvalidInputError: The age of whole-number times was asked for.
    """
    refused = list(_refusals(spec, data, now))
    if refused:
        raise QualityGateError(
            " ".join(refused),
            "Look at the series with 'forecast data show'; to accept them as they are, run once "
            "with that option raised.",
        )


def _refusals(spec: GatesSpec, data: Data, now: datetime) -> Iterator[str]:
    checks: tuple[tuple[str, float | None, str, Callable[[], dict[str, float]]], ...] = (
        ("max_data_age", spec.max_data_age, "ends {} steps ago", lambda: ages(data.panel, now)),
        ("max_missing", spec.max_missing, "has no value for {} of its steps", lambda: holes(data)),
        ("max_jump", spec.max_jump, "jumps by {} median changes", lambda: jumps(data)),
        ("max_revised", spec.max_revised, "was revised in {} of its rows", lambda: revised(data)),
        ("max_drift", spec.max_drift, "drifts by {}", lambda: drifts(data)),
    )
    for name, allowed, what, measure in checks:
        if allowed is None:
            continue
        found = measure()
        beyond = {uid: value for uid, value in found.items() if value > allowed}
        if beyond:
            worst = max(beyond, key=lambda uid: beyond[uid])
            yield (
                f"Series {worst!r} {what.format(format(beyond[worst], '.4g'))}; "
                f"--{name.replace('_', '-')} allows {allowed:g} ({len(beyond)} of {len(found)} "
                "series are beyond)."
            )


def ages(panel: Panel, now: datetime) -> dict[str, float]:
    """Return how many steps of its frequency each series' last value is from before now.

    Raises:
        InvalidInputError: The times are whole numbers.
    """
    if not isinstance(panel.ds, pd.DatetimeIndex) or panel.frequency is None:
        raise InvalidInputError(
            "--max-data-age needs timestamps of a known frequency, but the series have none.",
            "Leave --max-data-age out.",
        )
    lasts, count = panel.ds[panel.last_observed], len(panel.ids)
    today = pd.DatetimeIndex([clock(now, lasts.tz)] * count).as_unit(lasts.unit)
    both = pd.DatetimeIndex(lasts.append(today))
    steps, _ = positions(both, np.tile(np.arange(count), 2), panel.frequency, panel.calendar)
    return dict(zip(panel.ids, steps[count:].astype(float).tolist(), strict=True))


def holes(data: Data) -> dict[str, float]:
    """Return the share of each series' steps without a value, those known ahead left out."""
    found, ahead = {}, set(data.panel.ahead["unique_id"])
    for uid, entry in data.entries.items():
        kinds = EMPTY if uid in ahead else {*EMPTY, "ahead"}
        empty = sum(int(each["count"]) for each in entry.problems if each["kind"] in kinds)
        found[uid] = empty / (entry.rows + entry.gaps)
    return found


def jumps(data: Data) -> dict[str, float]:
    """Return the largest change among each series' new rows, the last row at least.

    In units of the median of its other changes that are not zero, of its first half at least. Series
    with few of these are left out.
    """
    found, lasts = {}, {}
    if data.accepted is not None:
        accepted = as_of(data.accepted, data.panel.ds.dtype)
        if accepted["ds"].dtype == data.panel.ds.dtype:
            lasts = accepted.groupby("unique_id")["ds"].max().to_dict()
    for uid, ds, y in _each(data.panel):
        changes = np.abs(np.diff(y))
        new = min(max(1, int((ds > lasts[uid]).sum())) if uid in lasts else 1, len(changes))
        usual = changes[: max(len(changes) - new, (len(changes) + 1) // 2)]
        usual = usual[usual > 0]
        if len(usual) >= USUAL:
            found[uid] = float(changes[-new:].max() / np.median(usual))
    return found


def revised(data: Data) -> dict[str, float]:
    """Return the share of each series' rows whose value is not the one accepted before."""
    if data.accepted is None:
        return {}
    keys = ["unique_id", "ds"]
    frame = once(data.frame[[*keys, "y"]])
    accepted = once(data.accepted.dropna(subset="y"))  # of the others a value has arrived
    before = as_of(accepted, frame["ds"].dtype)
    if frame["ds"].dtype != before["ds"].dtype:  # another kind of time: all is new
        return dict.fromkeys(map(str, frame["unique_id"].unique()), 1.0)
    both = frame.merge(before, on=keys, suffixes=("", "_before"))
    same = np.isclose(both["y"], both["y_before"], rtol=SAME, atol=0, equal_nan=True)
    shares = pd.Series(~same).groupby(both["unique_id"].to_numpy()).mean()
    return {str(uid): float(share) for uid, share in shares.items()}


def drifts(data: Data) -> dict[str, float]:
    """Return how far the distribution of the latest changes is from that of the earlier ones.

    The statistic of the two-sample Kolmogorov-Smirnov test, over relative changes where all values
    are above zero. Series too short for it are left out.
    """
    found = {}
    for uid, _, y in _each(data.panel):
        changes = np.diff(np.log(y) if (y > 0).all() else y)
        latest = max(LATEST, data.horizon or 0)
        if len(changes) >= 2 * latest:
            test = stats.ks_2samp(changes[-latest:], changes[:-latest])
            found[uid] = float(test.statistic)
    return found


def _each(panel: Panel) -> Iterator[tuple[str, pd.Index[Any], Floats]]:
    for uid, start, stop in zip(panel.ids, panel.offsets, panel.offsets[1:], strict=False):
        yield uid, panel.ds[start:stop], panel.y[start:stop]


def require_model(spec: GatesSpec, judgement: Mapping[str, Any]) -> None:
    """Refuse a challenger without the skill or the coverage that is asked for.

    Args:
        spec: The gates.
        judgement: As manifests write it.

    Raises:
        QualityGateError: Says which gate, what it needs and what was found.
    """
    skill = judgement["skill"]
    better = skill is not None and skill > 0
    if spec.min_skill != "none" and not (
        judgement["has_skill"] if spec.min_skill == "significant" else better
    ):
        raise QualityGateError(
            f"The challenger is not {spec.min_skill} against {judgement['best_baseline']}, as "
            f"--min-skill asks. {judgement['verdict']}",
            "Give more history, or try other settings.",
        )
    gaps = {
        level: abs(100 * share - float(level))
        for level, share in judgement["coverage"].items()
        if share is not None
    }
    if spec.max_coverage_gap is not None and gaps:
        worst = max(gaps, key=lambda level: gaps[level])
        if gaps[worst] > spec.max_coverage_gap:
            raise QualityGateError(
                f"The challenger's {worst}% interval holds {100 * judgement['coverage'][worst]:.0f}% "
                f"of the values on its folds, {gaps[worst]:.0f} points off; --max-coverage-gap "
                f"allows {spec.max_coverage_gap:g}.",
                "Judge on more --folds, or raise the gate.",
            )
