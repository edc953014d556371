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
MOST_WHOLE = 1e9  # figures from here on are written with an exponent
HEADERS = (
    *("model", "parameters", "lookback", "training s", "epochs", "window us"),
    *SCORES.values(),
)


def comparison_text(result: CompareResult) -> str:
    """Put costs and scores into a table; below, what failed and what the differences mean."""
    found = result.comparison
    seeds = len(found.seeds)
    lines = [
        f"{f'Mean ±standard deviation over {seeds} seeds' if seeds > 1 else 'One seed'}, on "
        f"{counted(found.folds, 'held-out fold')}; {_budget(found)}:",
        table([*_networks(found), *_baselines(found)], HEADERS),
        "",
        *(f"{name} failed: {why}" for name, why in found.failed.items()),
        *found.notes,
    ]
    if found.interrupted:
        lines.append("Interrupted: this is what was done before.")
    if seeds == 1:
        lines.append("One seed says nothing about luck: more of them do (--seeds).")
    lines += found.verdict
    if tests := sum(not each.open_because for each in found.differences):
        lines.append(
            "p: Diebold-Mariano test of the errors averaged over seeds, the baseline being the one that "
            f"is best on these very folds; corrected for {counted(tests, 'pair')} (Holm)."
        )
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
                *(with_spread(row[score], bars[score]) for score in SCORES),
            ]
        )
    return rows


def _baselines(found: Comparison) -> list[list[str]]:
    nothing = ["-"] * (len(HEADERS) - 1 - len(SCORES))
    return [
        [name, *nothing, *(with_spread(row[score], math.nan) for score in SCORES)]
        for name, row in found.baselines.items()
    ]


def with_spread(mean: float, spread: float) -> str:
    """Write a figure with its standard deviation; `-` for one that there is not."""
    if math.isnan(mean):
        return "-"
    return _short(mean, 4) + ("" if math.isnan(spread) else f" ±{_short(spread, 2)}")


def _short(value: float, digits: int) -> str:
    """Write a number to so many digits, but no whole ones as an exponent."""
    whole = 10**digits <= abs(value) < MOST_WHOLE
    return f"{value:,.0f}" if whole else f"{value:.{digits}g}"
