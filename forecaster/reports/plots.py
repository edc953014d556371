"""Forecasts as PNG."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from forecaster.atomic import replace_file
from forecaster.series import Panel

MOST_SERIES = 6  # drawn, one below the other
PAST_HORIZONS = 6  # of the past are shown, in lengths of the forecast


def plot_forecasts(panel: Panel, frame: pd.DataFrame, path: Path) -> None:
    """Draw the end of each series, its forecast and the intervals.

    Args:
        panel: What was observed.
        frame: Table of `predicting.predict`.
        path: The PNG file.
    """
    from matplotlib.figure import Figure

    ids = list(dict.fromkeys(frame["unique_id"]))[:MOST_SERIES]
    figure = Figure(figsize=(9, 1 + 2.6 * len(ids)), layout="constrained")
    bounds = [match for column in frame if (match := re.fullmatch(r"(.+)-lo-(.+)", str(column)))]
    name = bounds[0][1] if bounds else str(frame.columns[3])
    for place, uid in enumerate(ids):
        axes = figure.add_subplot(len(ids), 1, place + 1)
        ahead = frame[frame["unique_id"] == uid]
        row = panel.ids.index(uid)
        end = int(panel.offsets[row + 1])
        past = slice(max(int(panel.offsets[row]), end - PAST_HORIZONS * len(ahead)), end)
        axes.plot(panel.ds[past], panel.y[past], color="#333333", lw=1.2, label="observed")
        for match in sorted(bounds, key=lambda match: -float(match[2])):
            low, high = ahead[match[0]], ahead[f"{name}-hi-{match[2]}"]
            axes.fill_between(
                ahead["ds"], low, high, color="#1f77b4", alpha=0.2, lw=0, label=f"{match[2]}%"
            )
        axes.plot(ahead["ds"], ahead[name], color="#1f77b4", lw=1.6, label=name)
        axes.set_title(uid if len(uid) <= 60 else f"{uid[:57]}...", loc="left", fontsize=10)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if not place:
            axes.legend(loc="upper left", frameon=False, fontsize=8, ncols=4)
    suffix = path.suffix.lstrip(".").lower() or "png"
    replace_file(path, lambda file: figure.savefig(file, format=suffix, dpi=120))
