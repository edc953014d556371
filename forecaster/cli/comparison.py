"""A comparison of networks as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from forecaster.cli.output import table
from forecaster.words import counted

if TYPE_CHECKING:
    from forecaster.comparing import Comparison
    from forecaster.jobs import CompareResult

SCORES = {"mse": "MSE", "mae": "MAE", "mase": "MASE", "direction": "direction"}
HEADERS = (
    *("model", "parameters", "lookback", "training s", "epochs", "window us"),
    *SCORES.values(),
)


def comparison_text(result: CompareResult) -> str:
    """Put costs and scores into a table; below, what failed and what the differences mean."""
    found = result.comparison
    lines = [
        f"Mean ±standard deviation over {counted(len(found.seeds), 'seed')}, on "
        f"{counted(found.folds, 'held-out fold')}; {_budget(found)}:",
        table([*_networks(found), *_baselines(found)], HEADERS),
        "",
        *(f"{name} failed: {why}" for name, why in found.failed.items()),
        *found.notes,
    ]
    if found.interrupted:
        lines.append("Interrupted: this is what was done before.")
    if len(found.seeds) == 1:
        lines.append("One seed says nothing about luck: more of them do (--seeds).")
    tests = counted(sum(not math.isnan(each.p_value) for each in found.differences), "pair")
    lines += [
        *found.verdict,
        f"p: Diebold-Mariano test of the errors averaged over seeds, corrected for {tests} (Holm).",
    ]
    if result.output:
        lines.append(f"Every run: {result.output}")
    if result.plot:
        lines.append(f"Plot: {result.plot}")
    return "\n".join(lines)


def _budget(found: Comparison) -> str:
    """Say how long each network may train."""
    spec = next(iter(found.configs.values())).training
    text = f"at most {counted(int(spec.epochs or 1), 'epoch')}"
    return text if spec.time_budget is None else f"{text} or {spec.time_budget:g} s"


def _networks(found: Comparison) -> list[list[str]]:
    spreads = found.spreads()
    rows = []
    for name, row in found.means().items():
        bars = spreads[name]
        rows.append(
            [
                name,
                f"{row['parameters']:,.0f}",
                f"{row['lookback']:.0f}",
                f"{row['training_seconds']:.1f}",
                f"{row['epochs']:.1f}",
                f"{1e6 * row['inference_seconds']:.1f}",
                *(_spread(row[score], bars[score]) for score in SCORES),
            ]
        )
    return rows


def _baselines(found: Comparison) -> list[list[str]]:
    nothing = ["-"] * (len(HEADERS) - 1 - len(SCORES))
    return [
        [name, *nothing, *(_spread(row[score], math.nan) for score in SCORES)]
        for name, row in found.baselines.items()
    ]


def _spread(mean: float, spread: float) -> str:
    if math.isnan(mean):
        return "-"
    return f"{mean:.4g}" if math.isnan(spread) else f"{mean:.4g} ±{spread:.2g}"
