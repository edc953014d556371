"""Anomalies, and what a network looks at, as pictures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from forecaster.reports.plots import MOST_SERIES, finish_axes, legend_above, save_figure

SEVERITY_COLORS = {"minor": "#f2a541", "major": "#e4572e", "critical": "#8b0000"}
MOST_PARTS = 30  # of the input are drawn, the most important ones


def plot_anomalies(rows: pd.DataFrame, name: str, path: Path) -> None:
    """Draw values, their one-step intervals and the anomalies; of many series, those with most.

    Args:
        rows: `Anomalies.rows`.
        name: What the model's column is called.
        path: PNG, SVG or PDF by its suffix.

    Raises:
        ForecasterError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    counts = rows.groupby("unique_id")["anomaly"].sum().sort_values(ascending=False, kind="stable")
    ids = list(counts.index[:MOST_SERIES])
    figure = Figure(figsize=(9, 1 + 2.6 * max(1, len(ids))), layout="constrained")
    low, high = (
        next(c for c in rows if str(c).startswith(f"{name}-{side}-")) for side in ("lo", "hi")
    )
    for place, uid in enumerate(ids):
        axes = figure.add_subplot(len(ids), 1, place + 1)
        own = rows[rows["unique_id"] == uid]
        level = f"{str(low).removeprefix(f'{name}-lo-')}% interval"
        axes.fill_between(
            own["ds"], own[low], own[high], color="#1f77b4", alpha=0.2, lw=0, label=level
        )
        axes.plot(own["ds"], own[name], color="#1f77b4", lw=1.0, label="expected")
        axes.plot(own["ds"], own["y"], color="#333333", lw=1.0, label="observed")
        for severity, color in SEVERITY_COLORS.items():
            some = own[own["severity"] == severity]
            axes.scatter(some["ds"], some["y"], s=22, color=color, zorder=3, label=severity)
        finish_axes(axes, uid)
        if not place:
            legend_above(figure, axes)
    save_figure(figure, path)


def plot_importance(parts: pd.DataFrame, path: Path) -> None:
    """Draw how much each part of the input matters, as bars with their spread.

    Args:
        parts: `Explanation.parts`.
        path: PNG, SVG or PDF by its suffix.

    Raises:
        ForecasterError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    shown = parts.head(MOST_PARTS).iloc[::-1]
    figure = Figure(figsize=(9, 1 + 0.3 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(range(len(shown)), shown["mase_rise"], xerr=shown["mase_spread"], color="#1f77b4")
    axes.set_yticks(range(len(shown)), shown["part"], parse_math=False)
    finish_axes(axes, "Rise of MASE when shuffled")
    save_figure(figure, path)
