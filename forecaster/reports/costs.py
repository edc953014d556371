"""Accuracy against cost as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from forecaster.reports.plots import plain_axes, save_figure

Figures = Mapping[str, Mapping[str, float]]
MARKERS = "osD^vPX*<>"


def plot_costs(means: Figures, spreads: Figures, lines: Mapping[str, float], path: Path) -> None:
    """Draw the MASE of each candidate against the time it trains, with the spread over seeds.

    Names stand in a legend, in order of accuracy: beside the points they would cover each other.

    Args:
        means: `training_seconds` and `mase` by candidate.
        spreads: Their standard deviations over seeds.
        lines: MASE of what is not trained, by name.
        path: PNG, SVG or PDF by its suffix.

    Raises:
        ForecasterError: The file cannot be written.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(9, max(5.0, 1 + 0.25 * len(means))), layout="constrained")
    axes = figure.add_subplot()
    handles: list[Any] = []
    for place, (name, row) in enumerate(means.items()):
        across, up = (np.nan_to_num(spreads[name][key]) for key in ("training_seconds", "mase"))
        handles.append(
            axes.errorbar(
                row["training_seconds"],
                row["mase"],
                xerr=across,
                yerr=up,
                fmt=MARKERS[place % len(MARKERS)],
                color=colormaps["tab10"](place % 10),
                capsize=3,
            )
        )
    handles += [axes.axhline(value, color="#333333", lw=1, ls="--") for value in lines.values()]
    axes.set_xlabel("training time in seconds")
    axes.set_ylabel("MASE (lower is better)")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    plain_axes(axes)
    legend = figure.legend(
        handles, [*means, *lines], loc="outside right upper", frameon=False, fontsize=9
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    save_figure(figure, path)
