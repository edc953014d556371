"""What is known of each step in advance: columns that come in with the data, calendar, holidays.

A network is shown it twice: of the past steps in the context, where it stands in the last columns,
and of the steps to forecast.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecaster.ahead import values_ahead
from forecaster.arrays import Floats, Ints
from forecaster.calendars import calendar_features, future
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.frequencies import DAY, parse, wall_clock
from forecaster.public_holidays import holiday_days
from forecaster.series import Panel
from forecaster.windows import rows_after

if TYPE_CHECKING:
    from forecaster.scaling import Scaling


def input_features(panel: Panel, scaling: Scaling, config: Config) -> tuple[Floats, Floats | None]:
    """Return what a network is shown of the rows of a panel.

    Args:
        panel: Regular series.
        scaling: State aligned with the panel.
        config: Resolved settings.

    Returns:
        Target, past covariates and what is known ahead `(row, feature)`; and of these the last
        columns, what is known ahead `(row, known feature)`, or None when that is nothing.
    """
    times = _time_features(panel.ds, panel.frequency, config)
    rows = scaling.inputs(panel)
    if times.shape[1]:
        rows = np.hstack([rows, times])
    known = len(config.data.future) + times.shape[1]
    return rows, rows[:, rows.shape[1] - known :] if known else None


def past_the_end(
    panel: Panel, scaling: Scaling, config: Config, horizon: int
) -> tuple[Floats | None, list[str]]:
    """Return what is known of the steps that follow the last row of each series.

    Args:
        panel: Regular series, with the rows past their end.
        scaling: State aligned with the panel.
        config: Resolved settings.
        horizon: Steps wanted; those of whole blocks of the network's own horizon are given.

    Returns:
        `(series, step, known feature)`, or None when that is nothing; and notices.

    Raises:
        InvalidInputError: A column known ahead has no value for one of the steps wanted.
    """
    block, series = int(config.network.horizon or 1), len(panel.ids)
    steps = -(-horizon // block) * block
    if not config.knows_ahead:
        return None, []
    ds = future(panel.ds[panel.offsets[1:] - 1], steps, panel.frequency, panel.calendar)
    parts, notices = [_time_features(ds, panel.frequency, config)], list[str]()
    if config.data.future:
        values, notices = values_ahead(panel.ahead, panel.ids, ds, horizon)
        parts.insert(0, scaling.covariates(values, np.repeat(np.arange(series), steps)))
    known = np.hstack(parts)
    return known.reshape(series, steps, -1) if known.shape[1] else None, notices


def known_after(panel: Panel, scaling: Scaling, config: Config, cutoffs: Ints) -> Floats | None:
    """Return what is known of the steps after any rows of a panel but the last ones.

    Past the end of a series it is what `ahead` knows; a column that is not known there keeps its
    last value, which no forecast of an observed row is asked for.

    Args:
        panel: Regular series of at least two rows.
        scaling: State aligned with the panel.
        config: Resolved settings.
        cutoffs: Rows before the last one of their series `(window,)`.

    Returns:
        `(window, horizon, known feature)`, or None when nothing is known.
    """
    rows = input_features(panel, scaling, config)[1]
    if rows is None:
        return None
    horizon, lasts = int(config.network.horizon or 1), panel.offsets[1:] - 1
    ahead = panel.ahead
    if config.data.future:
        names = list(config.data.future)
        ends = pd.DataFrame({"unique_id": np.array(panel.ids, dtype=object), "ds": panel.ds[lasts]})
        ends[names] = panel.covariates[lasts, -len(names) :]
        ahead = pd.concat([ends, ahead[[*ends]]]) if len(ahead) else ends
    shorter = replace(panel.head(panel.lengths - 1), ahead=ahead)
    beyond = past_the_end(shorter, scaling, config, 1)[0]  # from the last row on
    assert beyond is not None  # noqa: S101 - as there are rows
    series = np.searchsorted(panel.offsets, cutoffs, side="right") - 1
    steps, end = rows_after(cutoffs, horizon), lasts[series][:, None]
    over = np.clip(steps - end, 0, horizon - 1)
    found = np.where(
        (steps < end)[:, :, None], rows[np.minimum(steps, end)], beyond[series[:, None], over]
    )
    return np.asarray(found)


def _time_features(ds: pd.Index[Any], frequency: str | None, config: Config) -> Floats:
    """Return what follows from the times alone `(row, feature)`: calendar, then holidays."""
    parts = [np.empty((len(ds), 0), dtype=np.float32)]
    if config.network.calendar_features:
        parts.append(calendar_features(ds, frequency)[0])
    if config.data.holidays:
        parts.append(_holidays(ds, frequency, config.data.holidays)[:, None])
    return np.hstack(parts)


def _holidays(ds: pd.Index[Any], frequency: str | None, place: str) -> Floats:
    """Return 1 for times on a public holiday, by the clock of the series, else 0 `(row,)`."""
    if not isinstance(ds, pd.DatetimeIndex) or frequency is None or not _within_a_day(frequency):
        raise InvalidInputError(
            f"--holidays needs steps of a day or less, but the steps are {frequency}.",
            "Leave --holidays out; for longer steps count the holidays in a column of --future.",
        )
    days, _ = wall_clock(ds)
    distinct, place_of = np.unique(days, return_inverse=True)
    years = distinct[[0, -1]].astype("M8[D]").astype("M8[Y]").astype(np.int64) + 1970
    found = np.isin(distinct, holiday_days(place, int(years[0]), int(years[1])))
    return found[place_of].astype(np.float32)


def _within_a_day(frequency: str) -> bool:
    step = parse(frequency)
    if step.unit == "tick":
        return step.count <= DAY
    return step.unit in ("day", "business") and step.count == 1
