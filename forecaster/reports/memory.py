"""What each cell remembers, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from forecaster.memory.remembered import Memory
from forecaster.memory.tasks import SOLVED
from forecaster.reports.plots import plain_axes, save_figure

COLORS = {"rnn": "#d62728", "lstm": "#1f77b4", "gru": "#2ca02c"}
FADED = 0.2


def plot_memory(memory: Memory, path: Path) -> None:
    """Draw accuracy by length, and how far back gradients reach at the greatest length.

    Args:
        memory: Networks of any cells, lengths and seeds.
        path: PNG, SVG or PDF by its suffix.

    Raises:
        ForecasterError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.4), layout="constrained")
    places = figure.subplot_mosaic([["accuracy", "accuracy"], ["untrained", "trained"]])
    _draw_accuracy(places["accuracy"], memory)
    places["trained"].sharey(places["untrained"])
    for when in ("untrained", "trained"):
        _draw_gradients(places[when], memory, when)
    for axes in places.values():
        plain_axes(axes)
    places["accuracy"].legend(frameon=False, fontsize=8, ncols=5)
    save_figure(figure, path)


def _draw_accuracy(axes: Any, memory: Memory) -> None:
    """Draw the mean over seeds of each cell, and the range from the worst to the best."""
    task, lengths = memory.task, memory.lengths
    for cell in memory.cells:
        seeds = [[each.accuracy for each in memory.of(cell, length)] for length in lengths]
        color = COLORS.get(cell)
        axes.plot(lengths, [np.mean(one) for one in seeds], "o-", color=color, label=cell)
        low, high = [min(one) for one in seeds], [max(one) for one in seeds]
        axes.fill_between(lengths, low, high, color=color, alpha=FADED, lw=0)
    axes.axhline(SOLVED, color="#777777", ls="--", lw=1, label="solved")
    axes.axhline(task.chance, color="#777777", ls=":", lw=1, label="best constant")
    axes.set_xscale("log")
    axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
    axes.set_xticks([], minor=True)
    axes.set_title(f"{task.name}: {task.about}", loc="left", fontsize=10)
    axes.set_xlabel("length (steps)")
    axes.set_ylabel("share of right answers")


def _draw_gradients(axes: Any, memory: Memory, when: str) -> None:
    """Draw the gradient at each step of the greatest length, the mean over seeds of each cell."""
    length = memory.lengths[-1]
    for cell in memory.cells:
        seeds = [getattr(each, f"gradient_{when}") for each in memory.of(cell, length)]
        mean = np.mean(seeds, axis=0)
        shown = np.where(mean > 0, mean, np.nan)  # what is too small for a float has no logarithm
        axes.plot(np.arange(1, length + 1), shown, color=COLORS.get(cell), lw=1.4)
    axes.set_yscale("log")
    axes.set_title(f"gradient at each step, {when}", loc="left", fontsize=10)
    axes.set_xlabel(f"step (of {length:,})")
    axes.set_ylabel("norm of d loss / d input")
