"""Scores of a forecast by the official protocol of its benchmark, the same code for everybody."""

from __future__ import annotations

import numpy as np

from forecaster.metrics import mape, mase, mase_scales, msis, same_accuracy, smape
from problems import Bounds, Floats, Forecasts, Problem

Scores = dict[str, float]
NAIVE2_HOURLY = {"sMAPE": 18.383, "MASE": 2.395}  # official figures of M4, which OWA divides by
MAIN = {  # columns of the printed table
    "channels": ("MSE", "MAE", "inside 80%", "inside 95%"),
    "prices": ("MAE / naive", "claims of skill", "inside 80%", "inside 95%"),
    "competition": ("sMAPE", "MASE", "MAPE", "OWA", "inside 80%", "inside 95%", "MSIS 95%"),
}


def score(problem: Problem, forecasts: Forecasts) -> Scores:
    """Return the scores of one forecaster by name."""
    own = {"channels": _channels, "prices": _prices, "competition": _competition}[problem.kind]
    if forecasts.values.shape != problem.truth.shape:
        raise ValueError(
            f"{problem.name} needs forecasts {problem.truth.shape}: {forecasts.values.shape}"
        )
    return own(problem, forecasts) | _coverage(problem.truth, forecasts.bounds)


def _channels(problem: Problem, forecasts: Forecasts) -> Scores:
    """Average over every step of every window of every channel, on the standardised scale."""
    assert problem.scale is not None
    error = (problem.truth - forecasts.values) / problem.scale[:, None, None]
    return {"MSE": float(np.mean(error**2)), "MAE": float(np.mean(np.abs(error)))}


def _prices(problem: Problem, forecasts: Forecasts) -> Scores:
    """Divide each series' error by that of the last value; claim skill where it seems no chance.

    A claim is a smaller error with a Diebold-Mariano p-value below 5%. Prices hardly differ from a
    random walk: a claim is a false one until proven otherwise.
    """
    error = np.abs(problem.truth - forecasts.values).mean(axis=2)  # (series, window)
    naive = np.abs(problem.truth - problem.seasonal_naive(1)).mean(axis=2)
    ratios, claims = {}, 0
    for uid, ours, last in zip(problem.series, error, naive, strict=True):
        ratios[f"{uid} MAE / naive"] = float(ours.mean() / last.mean())
        p_value = same_accuracy(ours, last, problem.horizon).p_value
        claims += bool(ours.mean() < last.mean() and p_value < 0.05)
    whole = {"MAE / naive": float(np.mean(list(ratios.values()))), "claims of skill": float(claims)}
    return whole | ratios


def _competition(problem: Problem, forecasts: Forecasts) -> Scores:
    """Average over series; scales are of the rows before those held out."""
    truth, values = problem.truth[:, 0], forecasts.values[:, 0]  # (series, horizon)
    rows = [y.to_numpy()[: -problem.test_size] for y in problem.series.values()]
    offsets = np.cumsum([0, *map(len, rows)])
    scales = mase_scales(np.concatenate(rows), offsets, problem.season)
    scores = {
        "sMAPE": smape(truth, values),
        "MASE": mase(truth, values, scales),
        "MAPE": mape(truth, values),
    }
    if problem.name == "m4-hourly":
        scores["OWA"] = float(np.mean([scores[key] / of for key, of in NAIVE2_HOURLY.items()]))
    for level, (low, high) in forecasts.bounds.items():
        known = np.isfinite(low[:, 0, 0])
        found = msis(truth[known], low[known, 0], high[known, 0], level, scales[known])
        scores[f"MSIS {level:g}%"] = found
    return scores


def _coverage(truth: Floats, bounds: Bounds) -> Scores:
    """Return the share of the truth inside the intervals, over all and by horizon third."""
    scores = {}
    for level, (low, high) in bounds.items():
        known = np.isfinite(low)
        inside = (low <= truth) & (truth <= high)
        scores[f"inside {level:g}%"] = float(100 * inside[known].mean())
        steps = np.arange(truth.shape[2])
        for third, part in enumerate(np.array_split(steps, min(3, len(steps))), 1):
            share = 100 * inside[..., part][known[..., part]].mean()
            scores[f"inside {level:g}% third {third}"] = float(share)
    return scores
