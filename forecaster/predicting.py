"""From the last observed row of each series to the table that is exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from forecaster.accuracy import scales_of
from forecaster.adaptive import adapted
from forecaster.arrays import Floats, Ints
from forecaster.baselines import all_simple
from forecaster.bounds import Bounds, unknown_notice
from forecaster.calendars import clock, future, moment
from forecaster.config import BoundsSpec, Config
from forecaster.errors import InvalidInputError, QualityGateError
from forecaster.fallback import NETWORK, fallback_text
from forecaster.known import past_the_end
from forecaster.model import Forecast, Model
from forecaster.series import Panel, without_short
from forecaster.statics import unknown_words
from forecaster.words import counted, listed, of_series

DAY = 86_400
MOST_ROWS = 50_000_000  # of one table: more would not fit into the memory of most machines

Intervals = dict[float, tuple[Floats, Floats]]  # bounds `(window, horizon)` by level in percent


@dataclass(frozen=True)
class Prediction:
    """Forecasts ready to be exported.

    Attributes:
        frame: `unique_id, ds, cutoff, <model>, <model>-lo-80, <model>-hi-80, ..., model_version`;
            before the last, with `direction`, `<model>-up`: the chance that the step is above the
            one before; then, with a fallback, `model`: what forecast the row.
        baselines: What they say of the same rows by `baselines.all_simple`, a column each, `scale`,
            the denominator of MASE, and with `direction` `base_rate`, the chance that a step is up if
            nothing is known: forecasts are scored beside them later.
        notices: What the reader should know, a line each.
        skipped: Series that were not forecast, with the reason.
    """

    frame: pd.DataFrame
    baselines: pd.DataFrame
    notices: tuple[str, ...]
    skipped: dict[str, str]


def predict(
    model: Model,
    panel: Panel,
    *,
    horizon: int | None = None,
    level: tuple[float, ...] = (80.0, 95.0),
    version: str = "",
    bounds: BoundsSpec | None = None,
    too_short: str | None = None,
    adaptive: bool = True,
    max_age: float | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Prediction:
    """Forecast every series of a panel from its last row.

    Args:
        model: A trained model.
        panel: Series with the covariates that the model was trained with; those that it has never
            seen are scaled by their own rows.
        horizon: Steps; the trained ones when None. More are rolled forward, and that is said.
        level: Interval levels in percent.
        version: Written into the column `model_version`.
        bounds: What forecasts keep within; the model's own bounds when None.
        too_short: Policy for series without the rows of a context; the model's own when None.
        adaptive: Whether intervals follow the errors of the rows after those that trained the model.
        max_age: Seconds since a series' last row after which its forecast is refused.
        now: The clock that `max_age` is measured by.

    Raises:
        QualityGateError: A series is older than `max_age`.
        InvalidInputError: No series has the rows that a context needs, or one has not and the
            policy refuses it.
    """
    horizon = model.horizon if horizon is None else horizon
    if not hasattr(horizon, "__index__") or horizon < 1:
        raise InvalidInputError(
            f"A horizon of whole steps, at least 1, is needed, got {horizon!r}."
        )
    if horizon * len(panel.ids) > MOST_ROWS:
        raise InvalidInputError(
            f"A horizon of {horizon} for {len(panel.ids)} series makes more than {MOST_ROWS:,} rows.",
            f"Use a --horizon of at most {MOST_ROWS // len(panel.ids)}, or forecast fewer series.",
        )
    if max_age is not None:
        _require_fresh(panel, max_age, now())
    policy = too_short or model.config.data.too_short
    panel = without_short(panel, model.config.context_rows, "min_context", policy)
    ends = panel.offsets[1:] - 1
    ds = future(panel.ds[ends], horizon, panel.frequency, panel.calendar)
    aligned = model.scaling.align(panel, model.config.scaling)
    known, held = past_the_end(panel, aligned, model.config, horizon)
    bounds = model.config.bounds if bounds is None else bounds
    forecast = model.forecast(panel, ends, horizon, known)
    if adaptive:
        forecast = adapted(model, forecast, panel, ends, _unseen(model, panel))
    forecast = replace(forecast, within=Bounds.of(bounds, panel.ids))
    calibrated = all(scores.windows for scores in forecast.used.values())
    intervals = {percent: forecast.bounds(percent) for percent in level if calibrated}
    frame = _table(model, panel, forecast, ds, intervals, version)
    notices = [*held, *_notices(model, panel, forecast, level)]
    notices += _below_zero(panel, forecast, intervals)
    notices += _adaptive_notices(model, forecast, intervals)
    notices += unknown_notice(bounds, {*panel.ids, *panel.skipped, *model.scaling.ids})
    baselines = _baselines(panel, model.config, forecast.within, horizon)
    if model.chances is not None:
        baselines["base_rate"] = model.chances.base_rate
    return Prediction(frame, baselines, tuple(notices), panel.skipped)


def _table(
    model: Model,
    panel: Panel,
    forecast: Forecast,
    ds: pd.Index,
    intervals: Intervals,
    version: str,
) -> pd.DataFrame:
    name, horizon = model.config.network.cell, forecast.levels.shape[1]
    columns = {
        "unique_id": np.repeat(np.asarray(panel.ids, dtype=object), horizon),
        "ds": ds,
        "cutoff": panel.ds[panel.offsets[1:] - 1].repeat(horizon),
        name: forecast.values.ravel(),
    }
    for percent, (low, high) in intervals.items():
        columns[f"{name}-lo-{percent:g}"] = low.ravel()
        columns[f"{name}-hi-{percent:g}"] = high.ravel()
    if forecast.up is not None:
        columns[f"{name}-up"] = forecast.up.ravel()
    if model.fallback is not None:
        columns["model"] = forecast.named_sources(name).repeat(horizon)
    columns["model_version"] = np.full(len(ds), version, dtype=object)
    return pd.DataFrame(columns)


def _baselines(panel: Panel, config: Config, within: Bounds, horizon: int) -> pd.DataFrame:
    """Forecast the last row of every series by the baselines, within the bounds too."""
    season, longer = int(config.data.season_length or 1), int(config.network.skip_lag or 1)
    begins, ends = panel.offsets[:-1], panel.offsets[1:] - 1
    found = all_simple(panel.y, begins, ends, horizon, season, longer)
    places = np.arange(len(panel.ids))
    columns = {name: within.points(values, places).ravel() for name, values in found.items()}
    return pd.DataFrame(columns | {"scale": scales_of(panel, config).repeat(horizon)})


def _notices(model: Model, panel: Panel, forecast: Forecast, level: tuple[float, ...]) -> list[str]:
    notices, horizon = [], forecast.levels.shape[1]
    if horizon > model.horizon:
        notices.append(
            f"{_steps(model.horizon + 1, horizon)} rolled forward: the model was trained for "
            f"{model.horizon} and its own forecasts are its input from there on"
            f"{', its past covariates held at their last values' if panel.past_names else ''}."
        )
    source, fewest = min(forecast.used.items(), key=lambda item: item[1].windows)
    if not fewest.windows:
        notices.append("No intervals: no validation window was left to calibrate them.")
    elif far := [percent for percent in level if not fewest.reaches(percent)]:
        notices.append(
            f"{'' if source == NETWORK else f'Of the series that {source} forecasts: '}Intervals at "
            f"{', '.join(f'{percent:g}' for percent in far)}% need more than "
            f"{counted(fewest.windows, 'calibration window')}: the largest error seen stands in."
        )
    if forecast.up is not None and model.chances is not None:
        notices += model.chances.notices(int(np.isnan(forecast.up[:, 0]).sum()))
    notices += forecast.scaling.notices(panel, asked=False)
    if model.fallback is not None:
        chosen = [source for source in forecast.sources.tolist() if source != NETWORK]
        notices += [fallback_text(chosen, len(panel.ids))] if chosen else []
        notices += forecast.notes
    new = model.scaling.rows_of(panel.ids) < 0
    if new.any():
        notices.append(f"{new.sum()} series the model has never seen: scaled by their own rows.")
        notices += forecast.scaling.seasonal_notices(panel, new)
    return notices + unknown_words(forecast.scaling.statics, panel.statics)


def _below_zero(panel: Panel, forecast: Forecast, intervals: Intervals) -> list[str]:
    """Say which series are forecast below zero, or so wide, where they have never been."""
    lowest = np.minimum.reduceat(panel.y, panel.offsets[:-1])[forecast.series]
    lows = intervals[max(intervals)][0] if intervals else forecast.values
    below = (lowest >= 0) & (lows.min(axis=1) < 0) & np.isneginf(forecast.within.low)
    if not below.any():
        return []
    ids = [panel.ids[series] for series in forecast.series[below].tolist()]
    whose = "its" if len(ids) == 1 else "their"
    return [
        f"{of_series(len(ids), len(panel.ids))} forecasts or intervals that reach below 0, where "
        f"{whose} values never are ({listed(ids)}): --min 0 keeps them from it."
    ]


def _steps(first: int, last: int) -> str:
    return f"Step {first} is" if first == last else f"Steps {first} to {last} are"


def _unseen(model: Model, panel: Panel) -> Ints:
    """Return the first row of each series after those that the model has seen `(series,)`.

    Where that cannot be told, as of times of another kind, it may have seen them all.
    """
    if model.seen_to is None:
        return panel.lengths
    try:
        seen = panel.ds <= moment(model.seen_to, panel.ds)
    except InvalidInputError:
        return panel.lengths
    return np.add.reduceat(seen, panel.offsets[:-1], dtype=int)


def _adaptive_notices(model: Model, forecast: Forecast, intervals: Intervals) -> list[str]:
    """Say how wide intervals have become."""
    if forecast.recent is None:
        return []
    since = str(model.seen_to).removesuffix(" 00:00:00")
    calibrated = replace(forecast, recent=None)
    said, changed = [], False
    for percent, adapted_bounds in intervals.items():
        now, then = map(_widths, (adapted_bounds, calibrated.bounds(percent)))
        if (then > 0).any():
            ratio = np.median(now[then > 0] / then[then > 0])
            said.append(f"at {percent:g}% {ratio:.2f} times")
            changed |= round(ratio, 2) != 1
    many = " (the median of all series)" if len(forecast.series) > 1 else ""
    text = (
        f"By the errors since {since}, intervals are {', '.join(said)} as wide as calibrated{many}."
    )
    return [text] if changed else []


def _widths(bounds: tuple[Floats, Floats]) -> Floats:
    """Return how wide the intervals of each window are, over all steps `(window,)`."""
    low, high = bounds
    return np.asarray((high - low).sum(axis=1))


def _require_fresh(panel: Panel, max_age: float, now: datetime) -> None:
    if not isinstance(panel.ds, pd.DatetimeIndex):
        raise InvalidInputError(
            "--max-age needs timestamps, but the series has plain integers.", "Leave --max-age out."
        )
    lasts = panel.ds[panel.last_observed]
    ages = (clock(now, lasts.tz) - lasts).total_seconds().to_numpy()
    oldest = int(ages.argmax())
    if ages[oldest] > max_age:
        raise QualityGateError(
            f"The data is too old to forecast from: series {panel.ids[oldest]!r} ends at "
            f"{lasts[oldest].isoformat()}, {ages[oldest] / DAY:.1f} days ago; --max-age allows "
            f"{max_age / DAY:.1f} days ({int((ages > max_age).sum())} of {len(ages)} series are older).",
            "Fetch newer data first.",
        )
