"""Forecasts as a picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from forecaster.atomic import replace_file
from forecaster.errors import ForecasterError, InvalidInputError
from forecaster.exporting import require_folder
from forecaster.series import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
TITLE_LENGTH = 60
SHADES = (0.15, 0.3, 0.3, 0.3, 0.3)  # of the intervals, the widest first
MOST_SERIES = 6  # drawn, one below the other
PAST_HORIZONS = 6  # of the past are shown, in lengths of the forecast


def plot_forecasts(panel: Panel, frame: pd.DataFrame, path: Path) -> None:
    """Draw the end of each series, its forecast and the intervals.

    Args:
        panel: What was observed.
        frame: Table of `predicting.predict`.
        path: PNG, SVG or PDF by its suffix.

    Raises:
        ForecasterError: The file cannot be written.
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
        for match, alpha in zip(
            sorted(bounds, key=lambda match: -float(match[2])), SHADES, strict=False
        ):
            low, high = ahead[match[0]], ahead[f"{name}-hi-{match[2]}"]
            axes.fill_between(
                ahead["ds"], low, high, color="#1f77b4", alpha=alpha, lw=0, label=f"{match[2]}%"
            )
        joined = [panel.ds[end - 1], *ahead["ds"]], [panel.y[end - 1], *ahead[name]]
        mixed = "model" in ahead  # a baseline may stand in for the network
        axes.plot(*joined, color="#1f77b4", lw=1.6, label="forecast" if mixed else name)
        finish_axes(axes, uid, f" ({ahead['model'].iloc[0]})" if mixed else "")
        if not place:
            legend_above(figure, axes)
    save_figure(figure, path)


def finish_axes(axes: Axes, name: str, more: str = "") -> None:
    """Write a name above axes, a long one cut short, and take away what is not needed."""
    title = name if len(name) <= TITLE_LENGTH else f"{name[: TITLE_LENGTH - 3]}..."
    axes.set_title(title + more, loc="left", fontsize=10, parse_math=False)
    plain_axes(axes)


def legend_above(figure: Figure, axes: Axes) -> None:
    """Say what axes show above all of a figure, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", frameon=False, fontsize=8, ncols=len(labels)
    )


def plain_axes(axes: Axes) -> None:
    """Give axes a faint grid and no frame."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all, as its suffix says.

    Raises:
        ForecasterError: The file cannot be written.
    """
    try:
        replace_file(
            path, lambda file: figure.savefig(file, format=path.suffix[1:].lower(), dpi=120)
        )
    except OSError as error:
        raise ForecasterError(f"The plot '{path}' cannot be written: {error.strerror}.") from error


def require_plot(path: Path | None) -> None:
    """Refuse a plot that cannot be drawn, before any work is done for it.

    Raises:
        InvalidInputError: There is no such folder, or the suffix is of no format that is drawn.
    """
    require_folder(path)
    if path is not None and path.suffix.lower() not in FORMATS:
        raise InvalidInputError(
            f"A plot is {', '.join(FORMATS)} by its suffix; got '{path}'.", "Choose one of them."
        )
