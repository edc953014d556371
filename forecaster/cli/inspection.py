"""Anomalies, the importance of inputs, and compressed versions as text."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from forecaster.cli.output import table
from forecaster.versions import promote_command
from forecaster.words import counted

if TYPE_CHECKING:
    from forecaster.compressing import Compressed
    from forecaster.inspecting import AnomalyResult, ExplainResult

SHOWN_ROWS = 10


def chance_text(result: AnomalyResult) -> str:
    """Say how many anomalies there are, and how many there would be among normal rows."""
    if not result.judged:
        return (
            "No row was judged: none is later than those that the network has seen, or none is as late "
            "as --since."
        )
    mean, low, high = result.by_chance
    return (
        f"{result.anomalies:,} {'anomaly' if result.anomalies == 1 else 'anomalies'} among "
        f"{counted(result.judged, 'row')} judged; were all of them normal, {mean:.3g} on average of those "
        f"that the network has not seen would be flagged ({low} to {high} in 95 of 100 cases)."
    )


def anomalies_text(result: AnomalyResult) -> str:
    """Return the table itself for stdout, or where it was written and the farthest rows."""
    from forecaster.exporting import to_csv

    if result.output is None:
        return to_csv(result.frame).rstrip("\n")
    written = f"Wrote {counted(len(result.frame), 'row')} to {result.output} (model version {result.version})"
    lines = [f"{written}."]
    found = result.frame[result.frame["anomaly"]]
    if len(found):
        first = found.nlargest(SHOWN_ROWS, "score").drop(
            columns=["anomaly", "seen", "model_version"]
        )
        rows = list(csv.reader(io.StringIO(to_csv(first, digits=4))))
        lines = [f"{written}. The farthest:", table(rows[1:], rows[0])]
    if result.plot:
        lines.append(f"Plot: {result.plot}")
    return "\n".join(lines)


def importance_text(result: ExplainResult) -> str:
    """Return the parts of the input as a table, the most important first."""
    figures = result.frame[["mae_rise", "mase_rise", "mase_spread"]].to_numpy()
    rows = [
        [part, kind, *(f"{figure:.3g}" for figure in each), f"{share:.1%}"]
        for part, kind, each, share in zip(
            result.frame["part"], result.frame["kind"], figures, result.frame["share"], strict=True
        )
    ]
    lines = [
        f"Version {result.version} on {counted(result.windows, 'window')} that it was not trained on: "
        f"MAE {result.mae:.4g}, MASE {result.mase:.4g}.",
        f"What they rise by when a part of the input is shuffled (mean of {result.repeats}):",
        table(rows, ["part", "kind", "MAE", "MASE", "spread", "of MASE"]),
        "Inputs that say the same share their importance: with one shuffled, the other is still read.",
    ]
    if result.output:
        lines.append(f"Table: {result.output}")
    if result.plot:
        lines.append(f"Plot: {result.plot}")
    return "\n".join(lines)


def compressed_text(result: Compressed) -> str:
    """Say what was made from what, and what it is before and after."""
    before, after = result.before, result.after
    place = "in service" if result.promoted else "saved but not in service"
    rows = [
        ("graph, KB", f"{before.graph / 1000:,.1f}", f"{after.graph / 1000:,.1f}"),
        ("graph, compressed, KB", f"{before.packed / 1000:,.1f}", f"{after.packed / 1000:,.1f}"),
        (
            "weights kept for warm starts, KB",
            *(f"{each.weights / 1000:,.1f}" for each in (before, after)),
        ),
        ("number of weights", f"{before.parameters:,}", f"{after.parameters:,}"),
        ("of kernels, zero", f"{before.zeros:.1%}", f"{after.zeros:.1%}"),
        ("one window, ms", f"{before.window_ms:.3g}", f"{after.window_ms:.3g}"),
        ("256 windows, ms", f"{before.batch_ms:.3g}", f"{after.batch_ms:.3g}"),
        ("MAE on the test folds", f"{before.mae:.4g}", f"{after.mae:.4g}"),
        ("MASE on the test folds", f"{before.mase:.4g}", f"{after.mase:.4g}"),
    ]
    lines = [
        f"Version {result.version}, made from {result.origin}, is {place}.",
        result.done,
        table(rows, ["", "before", "after"]),
        result.verdict,
    ]
    if not result.promoted:
        lines.append(f"To use it: {promote_command(result.name, result.version)}")
    return "\n".join(lines)
