"""Frames made into panels that can be trained on, and what is to be said of them first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from forecaster import presets, series, splits, statistical
from forecaster.arrays import Ints
from forecaster.bounds import outside_notice, unknown_notice
from forecaster.calendars import default_horizon
from forecaster.config import Config
from forecaster.series import Panel
from forecaster.words import of_series

MADE_UP = 0.2  # share of the test rows: more say little of what would have come


def prepared(frame: pd.DataFrame, config: Config) -> tuple[Panel, Config]:
    """Return a long frame made regular, without series that are too short, and settings for it."""
    presets.check_asked(config)
    panel = series.prepare(frame, config.data)
    resolved = presets.resolve(config, panel)
    return with_notices(_long_enough(panel, resolved), config, resolved), resolved


def panel_of(frame: pd.DataFrame, config: Config) -> Panel:
    """Return the panel that a version of these resolved settings was, or would be, trained on."""
    return _long_enough(series.prepare(frame, config.data), config)


def all_tested(panel: Panel, config: Config) -> Panel:
    """Keep the series with room for a training window and all that is held out."""
    needed, what = _needed(config)
    return series.without_short(panel, needed, what, config.data.too_short)


def _needed(config: Config) -> tuple[int, str]:
    """Return the rows of a series that is trained on and tested, and what they are for."""
    context, horizon = config.context_rows, int(config.network.horizon or 0)
    held_out = splits.rows_held_out(config)
    what = f"min_context {context} + horizon {horizon} + {held_out} held out"
    return context + horizon + held_out, what


def _long_enough(panel: Panel, config: Config) -> Panel:
    """Keep the series with room for a window; say how many are too short to be tested."""
    context, horizon = config.context_rows, int(config.network.horizon or 0)
    whole, what = _needed(config)
    if config.data.too_short == "error" or panel.lengths.max() < whole:
        return all_tested(panel, config)
    window = f"min_context {context} + horizon {horizon}"
    panel = series.without_short(panel, context + horizon, window, config.data.too_short)
    tested = splits.are_tested(panel, config)
    if tested.all():
        return panel
    notice = (
        f"{of_series(int((~tested).sum()), len(panel.ids))} less than {whole} rows ({what}): they "
        "are forecast, but not tested, and the judged network sees only their rows before the "
        "others' validation."
    )
    return replace(panel, notices=(*panel.notices, notice))


def with_notices(panel: Panel, asked: Config, config: Config) -> Panel:
    """Say what training will do about series and settings that do not go together."""
    notices = outside_notice(config.bounds, panel.ids, panel.y, panel.offsets)
    notices += unknown_notice(config.bounds, {*panel.ids, *panel.skipped})
    val_size = asked.training.val_size
    if val_size is not None and val_size != config.training.val_size:
        notices.append(
            f"val_size {val_size} holds no window of horizon {config.network.horizon}: "
            f"{config.training.val_size} rows of each series validate."
        )
    season, usual = int(config.data.season_length or 1), default_horizon(panel.frequency)
    if asked.network.horizon is None and int(config.network.horizon or usual) < usual:
        notices.append(
            f"The horizon is {config.network.horizon}, not {usual} as usual: a fifth of the rows that "
            "most series have. Give --horizon for another."
        )
    notices += _fallback_notice(panel, config, season)
    seen = splits.of_config(panel, config).test_start
    if short := int((seen < season).sum()):
        notices.append(
            f"The season of {season} steps is longer than what {of_series(short, len(panel.ids))} "
            "before the rows held out: there, seasonal_naive is the naive forecast and the network "
            "sees no season. Fetch more history, or give --season-length."
        )
    notices += _filled_notice(panel, seen)
    ends = panel.ds[panel.offsets[1:] - 1]
    if not (ends == ends[0]).all():
        notices.append(
            "Series end at different times: each is judged on the rows before its own end."
        )
    return replace(panel, notices=(*panel.notices, *notices))


def _filled_notice(panel: Panel, seen: Ints) -> list[str]:
    """Say that many of the rows after those that training has seen are made up, when that is so."""
    begins = panel.offsets[:-1] + seen
    parts = [panel.filled[row:end] for row, end in zip(begins, panel.offsets[1:], strict=True)]
    tested = np.concatenate(parts)
    if tested.sum() <= MADE_UP * len(tested):
        return []
    return [
        f"{tested.mean():.0%} of the rows to judge on were missing and are filled in: where that "
        "carries the last value on, naive is right. Give complete rows, or name the --frequency "
        "that they have."
    ]


def _fallback_notice(panel: Panel, config: Config, season: int) -> list[str]:
    """Say that Theta and ETS cannot stand in for the network, when that is so."""
    if config.evaluation.fallback == "none":
        return []
    context, horizon = config.context_rows, int(config.network.horizon or 0)
    windows = splits.val_cutoffs(panel, splits.of_config(panel, config), context, horizon)
    starts = panel.offsets[np.searchsorted(panel.offsets, windows, side="right") - 1]
    note = statistical.left_out(starts, windows, season)
    return [f"Fallback: {note}"] if note else []
