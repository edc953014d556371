"""Baselines that are fitted to each window: Theta and exponential smoothing, from statsmodels.

They take milliseconds a window where the others take none, so that there is a limit: decision 6.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np

from forecaster.arrays import Floats, Ints
from forecaster.words import counted

STATISTICAL = ("theta", "ets")
ROWS = 500  # that a fit sees, the last before its cutoff; four seasons when these are more
MOST_WINDOWS = 2_000
MOST_ROWS = 500_000  # over all windows: two minutes of one core, about
FEWEST_ROWS = 10  # what statsmodels asks for
OnWindow = Callable[[str, int, int], None]  # name, windows done, windows in all
FAILURES = (ValueError, ArithmeticError, IndexError)


def left_out(starts: Ints, cutoffs: Ints, season_length: int) -> str:
    """Say why these windows are too many to fit; nothing when they are not.

    >>> left_out(np.zeros(3000, int), np.arange(3000) + 99, 12)
    'theta and ets are left out: they are fitted to at most 2,000 windows, but there are 3,000.'
    """
    names, windows = " and ".join(STATISTICAL), len(cutoffs)
    if windows > MOST_WINDOWS:
        return (
            f"{names} are left out: they are fitted to at most {MOST_WINDOWS:,} windows, "
            f"but there are {windows:,}."
        )
    rows = int(np.minimum(cutoffs - starts + 1, _rows_seen(season_length)).sum())
    if rows > MOST_ROWS:
        return (
            f"{names} are left out: they are fitted to at most {MOST_ROWS:,} rows, "
            f"but the {windows:,} windows have {rows:,}."
        )
    return ""


def silent(name: str, done: int, windows: int) -> None:
    """Show nothing of the windows that are done."""
    del name, done, windows


def forecast(
    name: str,
    y: Floats,
    starts: Ints,
    cutoffs: Ints,
    horizon: int,
    season_length: int,
    on_window: OnWindow = silent,
) -> tuple[Floats, str]:
    """Fit and forecast many windows of many series, each from its own rows alone.

    Args:
        name: One of `STATISTICAL`.
        y: Rows of all series, one series after the other, `(row,)`.
        starts: First row of each window's series, `(window,)`.
        cutoffs: Row of the last value that each window may see, `(window,)`.
        horizon: Steps to forecast.
        season_length: Steps in a season; with less than two of them there is no season.
        on_window: Called after each window.

    Returns:
        Forecasts `(window, horizon)`, and what to say of the windows that could not be fitted and
        are forecast naively; nothing when there are none.
    """
    from threadpoolctl import threadpool_limits

    fitted = {"theta": _theta, "ets": _ets}[name]
    found = np.empty((len(cutoffs), horizon))
    failed = 0
    # the optimiser's matrices have a few rows: threads made them five times slower
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that did not converge is judged as it is
        for window, (start, cutoff) in enumerate(zip(starts, cutoffs, strict=True)):
            first = max(int(start), int(cutoff) + 1 - _rows_seen(season_length))
            seen = y[first : cutoff + 1]
            values = _one(fitted, seen, horizon, season_length)
            failed += values is None
            found[window] = seen[-1] if values is None else values
            on_window(name, window + 1, len(cutoffs))
    if not failed:
        return found, ""
    return found, f"{name} is the last value in {counted(failed, 'window')} that it could not fit."


def _rows_seen(season_length: int) -> int:
    return max(ROWS, 4 * season_length)


def _one(
    fitted: Callable[[Floats, int, int], Floats | None],
    seen: Floats,
    horizon: int,
    season_length: int,
) -> Floats | None:
    """Forecast one window, whatever the size of its values `(horizon,)`; None when that fails."""
    if np.ptp(seen) == 0:
        return np.repeat(seen[-1:], horizon)
    if len(seen) < FEWEST_ROWS:
        return None
    unit = np.abs(seen).max()
    season = season_length if len(seen) >= 2 * season_length else 1
    try:
        values = fitted(seen / unit, horizon, season)
    except FAILURES:
        return None
    return values * unit if values is not None and np.isfinite(values * unit).all() else None


def _theta(seen: Floats, horizon: int, season: int) -> Floats:
    """Assimakopoulos & Nikolopoulos 2000, by way of Hyndman & Billah 2003; a season is tested for."""
    from statsmodels.tsa.forecasting.theta import ThetaModel

    model = ThetaModel(seen, period=season, deseasonalize=season > 1)
    return np.asarray(model.fit().forecast(horizon))


def _ets(seen: Floats, horizon: int, season: int) -> Floats | None:
    """Hyndman et al. 2008: the form of the smallest AICc, with first states found by their heuristic."""
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    best, criterion = None, np.inf
    for damped, seasonal, parameters in _forms(season, bool(seen.min() > 0)):
        free = len(seen) - parameters - 1
        if free < 1:
            continue
        try:
            result = ETSModel(
                seen,
                error="add",
                trend="add" if damped else None,
                damped_trend=damped,
                seasonal=seasonal,
                seasonal_periods=season if seasonal else None,
                initialization_method="heuristic",
            ).fit(disp=False)
            found = 2 * (parameters - result.llf) + 2 * parameters * (parameters + 1) / free
            values = np.asarray(result.forecast(horizon))
        except FAILURES:
            continue
        if found < criterion and np.isfinite(values).all():
            best, criterion = values, found
    return best


def _forms(season: int, positive: bool) -> Iterator[tuple[bool, str | None, int]]:
    """Yield damped trend or none, the kind of season, and the parameters with first states."""
    kinds = [None, "add", *(["mul"] if positive else [])] if season > 1 else [None]
    for seasonal in kinds:
        for damped in (False, True):
            yield damped, seasonal, 3 + 3 * damped + season * (seasonal is not None)
