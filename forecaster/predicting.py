"""From the last observed row of each series to the table that is exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from forecaster.atomic import replace_file
from forecaster.calendars import calendar_features, future
from forecaster.errors import ForecasterError, InvalidInputError, QualityGateError
from forecaster.model import Forecast, Model
from forecaster.series import Panel

DAY = 86_400


@dataclass(frozen=True)
class Prediction:
    """Forecasts ready to be exported.

    Attributes:
        frame: `unique_id, ds, cutoff, <model>, <model>-lo-80, <model>-hi-80, ..., model_version`.
        notices: What the reader should know, a line each.
        skipped: Series that were not forecast, with the reason.
    """

    frame: pd.DataFrame
    notices: tuple[str, ...]
    skipped: dict[str, str]


def predict(
    model: Model,
    panel: Panel,
    *,
    horizon: int | None = None,
    level: tuple[float, ...] = (80.0, 95.0),
    version: str = "",
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
        max_age: Seconds since a series' last row after which its forecast is refused.
        now: The clock that `max_age` is measured by.

    Raises:
        QualityGateError: A series is older than `max_age`.
        InvalidInputError: No series has the rows that a context needs.
    """
    horizon = horizon or model.horizon
    if max_age is not None:
        _require_fresh(panel, max_age, now())
    short = panel.lengths < model.lookback
    skipped = {
        panel.ids[row]: f"needs {model.lookback} rows (lookback) but has {panel.lengths[row]}"
        for row in np.flatnonzero(short)
    }
    if short.all():
        name, reason = next(iter(skipped.items()), ("", "no series was given"))
        raise InvalidInputError(f"No series can be forecast: {name!r} {reason}.")
    if skipped:
        panel = panel.select([uid for uid in panel.ids if uid not in skipped])
    cutoffs = panel.offsets[1:] - 1
    ds = _future(panel, horizon)
    known = None
    if model.config.network.calendar_features:
        features, _ = calendar_features(ds, panel.frequency)
        known = features.reshape(len(panel.ids), horizon, -1)
    forecast = model.forecast(panel, cutoffs, horizon, known)
    frame = _table(model, panel, forecast, ds, level, version)
    return Prediction(frame, _notices(model, panel, horizon, level), skipped)


def _future(panel: Panel, horizon: int) -> pd.Index:
    """Return the times that follow each series, series by series `(series * horizon,)`."""
    ends = panel.offsets[1:] - 1
    lasts = panel.ds[ends]
    if isinstance(lasts, pd.DatetimeIndex):
        return future(lasts, horizon, panel.frequency, panel.calendar)
    before = panel.ds[np.maximum(panel.offsets[:-1], ends - 1)]
    steps = np.maximum(1, np.asarray(lasts - before))  # integers have a step a series
    return pd.Index(
        np.concatenate(
            [
                future(last, horizon, None, step=int(step))
                for last, step in zip(lasts, steps, strict=True)
            ]
        )
    )


def _table(
    model: Model,
    panel: Panel,
    forecast: Forecast,
    ds: pd.Index,
    level: tuple[float, ...],
    version: str,
) -> pd.DataFrame:
    name, horizon = model.config.network.cell, forecast.levels.shape[1]
    columns = {
        "unique_id": np.repeat(np.asarray(panel.ids, dtype=object), horizon),
        "ds": ds,
        "cutoff": panel.ds[panel.offsets[1:] - 1].repeat(horizon),
        name: forecast.values.ravel(),
    }
    if model.conformal.windows:
        for percent in level:
            low, high = forecast.bounds(percent)
            columns[f"{name}-lo-{percent:g}"] = low.ravel()
            columns[f"{name}-hi-{percent:g}"] = high.ravel()
    columns["model_version"] = np.full(len(ds), version, dtype=object)
    return pd.DataFrame(columns)


def _notices(model: Model, panel: Panel, horizon: int, level: tuple[float, ...]) -> tuple[str, ...]:
    notices = []
    if horizon > model.horizon:
        notices.append(
            f"Steps {model.horizon + 1} to {horizon} are rolled forward: the model was trained for "
            f"{model.horizon} and its own forecasts are its input from there on."
        )
    windows = model.conformal.windows
    if not windows:
        notices.append("No intervals: no validation window was left to calibrate them.")
    elif far := [percent for percent in level if not model.conformal.reaches(percent)]:
        notices.append(
            f"Intervals at {', '.join(f'{percent:g}' for percent in far)}% need more than the "
            f"{windows} calibration windows there were: the largest error seen stands in."
        )
    if new := int((model.scaling.rows_of(panel.ids) < 0).sum()):
        notices.append(f"{new} series the model has never seen: scaled by their own rows.")
    return tuple(notices)


def _require_fresh(panel: Panel, max_age: float, now: datetime) -> None:
    if not isinstance(panel.ds, pd.DatetimeIndex):
        raise InvalidInputError(
            "--max-age needs timestamps, but the series has plain integers.", "Leave --max-age out."
        )
    lasts = panel.ds[panel.offsets[1:] - 1]
    moment = pd.Timestamp(now)
    moment = moment.tz_convert(lasts.tz) if lasts.tz else moment.tz_convert(None)
    ages = (moment - lasts).total_seconds().to_numpy()
    oldest = int(ages.argmax())
    if ages[oldest] > max_age:
        raise QualityGateError(
            f"The data is too old to forecast from: series {panel.ids[oldest]!r} ends at "
            f"{lasts[oldest].isoformat()}, {ages[oldest] / DAY:.1f} days ago; --max-age allows "
            f"{max_age / DAY:.1f} ({int((ages > max_age).sum())} of {len(ages)} series are older).",
            "Fetch newer data first.",
        )


def export(frame: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all: Parquet by its suffix, else CSV.

    Raises:
        InvalidInputError: The folder does not exist.
        ForecasterError: The disk is full or the place is read-only; an existing file is as it was.
    """
    if not path.parent.is_dir():
        raise InvalidInputError(
            f"The folder '{path.parent}' of the output does not exist.", "Make it first."
        )
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            replace_file(path, lambda file: frame.to_parquet(file, index=False))
        else:
            replace_file(path, lambda file: file.write(to_csv(frame).encode()))
    except OSError as error:
        raise ForecasterError(
            f"'{path}' cannot be written: {error.strerror}.", "A file that was there is as it was."
        ) from error


def to_csv(frame: pd.DataFrame, digits: int = 12) -> str:
    """Return a table as CSV: ISO-8601 times, no index, numbers to so many significant digits."""
    text = frame.assign(
        **{name: _iso(frame[name]) for name in ("ds", "cutoff") if name in frame.columns}
    )
    return str(text.to_csv(index=False, lineterminator="\n", float_format=f"%.{digits}g"))


def _iso(column: pd.Series) -> pd.Series:
    """Write times as ISO 8601: plain dates when all are midnights without a zone."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        return column
    if column.dt.tz is None and (column == column.dt.normalize()).all():
        return column.dt.strftime("%Y-%m-%d")
    unique = pd.Index(column.unique())
    return column.map(dict(zip(unique, [time.isoformat() for time in unique], strict=True)))
