"""A study as a picture: the best score so far by trial, and what mattered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forecaster.reports.plots import plain_axes, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from forecaster.tuning.tuned import Tuned


def plot_study(tuned: Tuned, path: Path) -> None:
    """Draw the history of a study, and the importance of its settings where it can be told.

    Args:
        tuned: The study.
        path: PNG, SVG or PDF by its suffix.

    Raises:
        ForecasterError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4 if tuned.importances is None else 7), layout="constrained")
    rows = 1 if tuned.importances is None else 2
    _history(tuned, figure.add_subplot(rows, 1, 1))
    if tuned.importances is not None:
        axes = figure.add_subplot(rows, 1, 2)
        named = sorted(tuned.importances.items(), key=lambda item: item[1])
        axes.barh([name for name, _ in named], [share for _, share in named], color="#1f77b4")
        axes.set_xlabel("share of the scores' variance (fANOVA)")
        plain_axes(axes)
    save_figure(figure, path)


def _history(tuned: Tuned, axes: Axes) -> None:
    done = [trial for trial in tuned.trials if trial.score is not None]
    scores = [float(trial.score or 0) for trial in done]
    numbers = [trial.number for trial in done]
    best = [min(scores[: place + 1]) for place in range(len(scores))]
    axes.scatter(numbers, scores, s=14, color="#999999", label="trial")
    axes.step(numbers, best, where="post", color="#1f77b4", label="best so far")
    if tuned.default is not None:
        axes.axhline(tuned.default.score or 0, color="#d62728", lw=1, ls="--", label="default")
    axes.set_xlabel("trial")
    axes.set_ylabel("MASE on the inner folds")
    plain_axes(axes)
    axes.legend(frameon=False, fontsize=8)
