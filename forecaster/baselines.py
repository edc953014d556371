"""Forecasts that any model has to beat: naive, seasonal naive and drift.

Formulas: Hyndman & Athanasopoulos, Forecasting: Principles and Practice (3rd ed.), section 5.2.
"""

from __future__ import annotations

import numpy as np

from forecaster.arrays import Floats, Ints

BASELINES = ("naive", "seasonal_naive", "drift")


def of_season(season_length: int) -> tuple[str, ...]:
    """Return the baselines that differ: without a season the seasonal one is the naive one.

    >>> of_season(1)
    ('naive', 'drift')
    """
    return tuple(name for name in BASELINES if season_length > 1 or name != "seasonal_naive")


def is_simple(name: str) -> bool:
    """Tell whether a baseline is one of `all_simple`, rather than fitted.

    >>> is_simple("seasonal_naive_168"), is_simple("theta")
    (True, False)
    """
    return name in BASELINES or name.startswith("seasonal_naive_")


def all_simple(
    y: Floats, starts: Ints, cutoffs: Ints, horizon: int, season_length: int, longer: int = 1
) -> dict[str, Floats]:
    """Forecast many windows by every baseline that needs no fitting; see `forecast`.

    Args:
        y: Rows of all series `(row,)`.
        starts: First row of each window's series `(window,)`.
        cutoffs: Row of the last value that each window may see `(window,)`.
        horizon: Steps to forecast.
        season_length: Steps in a season; without one there is no `seasonal_naive`.
        longer: Steps that the network may look back a season by, such as a week of hours. Where they
            are more than those of a season, the value so far back is a baseline too.

    Returns:
        Forecasts `(window, horizon)` by name.
    """
    asked = y, starts, cutoffs, horizon
    found = {name: forecast(name, *asked, season_length) for name in of_season(season_length)}
    if longer > season_length > 1:
        found[f"seasonal_naive_{longer}"] = forecast("seasonal_naive", *asked, longer)
    return found


def forecast(
    name: str, y: Floats, starts: Ints, cutoffs: Ints, horizon: int, season_length: int
) -> Floats:
    """Forecast many windows of many series by one baseline.

    Args:
        name: One of `BASELINES`.
        y: Rows of all series, one series after the other, `(row,)`.
        starts: First row of each window's series, `(window,)`.
        cutoffs: Row of the last value that each window may see, `(window,)`.
        horizon: Steps to forecast.
        season_length: Steps in a season; a series shorter than one is forecast naively.

    Returns:
        Forecasts, `(window, horizon)`.

    Raises:
        ValueError: An unknown name, or a cutoff before the start of its series.

    >>> y = np.array([1.0, 2.0, 3.0, 5.0])
    >>> forecast("drift", y, np.array([0]), np.array([2]), 2, 1)
    array([[4., 5.]])
    """
    starts, cutoffs = np.asarray(starts), np.asarray(cutoffs)
    if (cutoffs < starts).any():
        raise ValueError("A window ends before its series begins.")
    last = np.repeat(y[cutoffs][:, None], horizon, axis=1)  # (window, horizon)
    ahead = np.arange(horizon)
    if name == "naive":
        return last
    if name == "seasonal_naive":
        season_begins = cutoffs - season_length + 1
        rows = season_begins[:, None] + ahead % season_length  # (window, horizon)
        whole = season_begins >= starts
        return np.where(whole[:, None], y[np.where(whole[:, None], rows, 0)], last)
    if name == "drift":
        steps = np.maximum(cutoffs - starts, 1)  # one row only: no drift
        slope = (y[cutoffs] - y[starts]) / steps
        return np.asarray(last + slope[:, None] * (ahead + 1))
    raise ValueError(f"There is no baseline {name!r}; there are {', '.join(BASELINES)}.")
