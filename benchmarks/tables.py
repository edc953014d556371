"""What is written of a benchmark: every forecast as a frame, the scores as Markdown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from problems import Forecasts, Problem
from published import PUBLISHED
from scoring import MAIN

Scored = dict[str, Any]


def as_frame(problem: Problem, forecasts: Forecasts, model: str) -> pd.DataFrame:
    """Return every forecast as the program's own backtest exports it."""
    tables = []
    for number, (uid, y) in enumerate(problem.series.items()):
        first = len(y) - problem.test_size + np.arange(problem.windows)
        ds = y.index[(first[:, None] + np.arange(problem.horizon)).ravel()]
        cutoff = y.index[first - 1].repeat(problem.horizon)
        columns = {"unique_id": uid, "ds": ds, "cutoff": cutoff}
        columns |= {"y": problem.truth[number].ravel(), model: forecasts.values[number].ravel()}
        for level, sides in forecasts.bounds.items():
            for side, values in zip(("lo", "hi"), sides, strict=True):
                columns[f"{model}-{side}-{level:g}"] = values[number].ravel()
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables)


def as_markdown(problem: Problem, models: dict[str, Any]) -> str:
    """Return a Markdown table of ours, the peers and the published figures, then our details."""
    means = {model: found["mean"] for model, found in models.items()}
    columns = [c for c in MAIN[problem.kind] if any(c in scores for scores in means.values())]
    rows = [(model, scores, _about(scores)) for model, scores in means.items()]
    rows += [(row.method, row.scores, row.source) for row in PUBLISHED.get(problem.name, [])]
    lines = [
        f"\n| {problem.name} | {' | '.join(columns)} | seconds | |",
        "|---|" + "---|" * (len(columns) + 2),
    ]
    for name, scores, about in rows:
        cells = [_cell(scores, column, ".4g") for column in columns]
        cells.append(_cell(scores, "seconds", ".0f"))
        lines.append(f"| {name} | {' | '.join(cells)} | {about} |")
    if "ours" in means:
        seeds, settings = len(models["ours"]["runs"]), models["ours"]["settings"] or "default"
        lines.append(f"\nours: mean of {seeds} seeds; settings: {settings}")
        lines += [f"  {key:28} {_cell(means['ours'], key, '10.4f')}" for key in means["ours"]]
    return "\n".join(lines)


def _cell(scores: Scored, key: str, form: str) -> str:
    value = scores.get(key, "")
    return value if isinstance(value, str) else format(value, form)


def _about(scores: Scored) -> str:
    """Say in words what else is known of a run."""
    texts = [scores[key] for key in ("library", "missing") if key in scores]
    known = ("skipped", "steps", "lookback")
    return ", ".join(texts + [f"{key} {scores[key]:g}" for key in known if scores.get(key)])
