"""Results of training, judging and predicting as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from forecaster.cli.output import table
from forecaster.words import counted

if TYPE_CHECKING:
    from forecaster.jobs import PredictResult, TrainResult
    from forecaster.judging import Judgement
    from forecaster.model import Trained
    from forecaster.selecting import Selection
    from forecaster.training import Progress

SHOWN_ROWS = 5
SLACK = 10  # points of coverage below the level that are called too narrow


def epochs(advance: Callable[..., None]) -> Callable[[Progress], None]:
    """Return a callback that shows each epoch in a progress bar."""

    def show(progress: Progress) -> None:
        losses = f"loss {progress.loss:.4f}"
        if progress.val_loss is not None:
            losses += f", validation {progress.val_loss:.4f}"
        which = f"Network {progress.network}, epoch" if progress.network > 1 else "Epoch"
        advance(1, f"{which} {progress.epoch} of at most {progress.epochs}: {losses}")

    return show


def training_text(result: TrainResult) -> str:
    """Say what was trained, on what, and how it ended."""
    network, fit, again = result.config.network, result.judged, result.published
    stack = "-".join(str(units) for units in network.layers or ())
    text = (
        f"Model {result.name!r}, version {result.version}, is in service.\n"
        f"Network: {network.preset} {network.cell} {stack}, lookback {network.lookback}, horizon "
        f"{network.horizon}, segment {network.segment}, {fit.parameters:,} weights.\n"
        f"Data: {result.series} series, {result.rows:,} rows; {fit.windows:,} training and "
        f"{fit.val_windows:,} validation windows.\n"
        f"{selection_text(result.selection)}"
        f"Training: {_fit_text(fit)} on {fit.device}{', XLA' if fit.compiled else ''}."
    )
    if again is fit:
        return f"{text}\nIn service is the judged model; the rows held out were not used."
    return f"{text}\nIn service is the same trained again on all rows: {_fit_text(again)}."


def _fit_text(fit: Trained) -> str:
    """Say how many epochs each network took, why it stopped, and how much of it is kept."""
    text = "; ".join(
        f"{counted(member.epochs, 'epoch')} (best: {member.best_epoch}) in {member.seconds:.1f} s, ended "
        f"by {member.stopped_by}"
        + ("" if member.shrinkage == 1 else f", {member.shrinkage:.0%} of what was learnt kept")
        for member in fit.members
    )
    return text if len(fit.members) == 1 else f"{len(fit.members)} networks: {text}"


def selection_text(selection: Selection | None) -> str:
    """Name the candidates with their scores, and the one chosen; empty when there was no choice."""
    if selection is None:
        return ""
    scores = ", ".join(
        f"{each.name} {'failed' if each.score is None else format(each.score, '.4g')}"
        for each in selection.candidates
    )
    return f"Chosen on validation: start from the {selection.chosen.name} (MASE there: {scores}).\n"


def judgement_text(judgement: Judgement) -> str:
    """Put scores, coverage and verdict into a table and two sentences."""
    rows: list[list[Any]] = [
        [name, *(f"{value:.4g}" for value in scores.values())]
        for name, scores in judgement.scores.items()
    ]
    headers = ["model", "MAE", "RMSE", "MASE", "sMAPE"]
    covered = ", ".join(
        f"the {level:g}% interval {share:.0%} of the time"
        for level, share in judgement.coverage.items()
    )
    lines = [f"Scores on {counted(judgement.folds, 'held-out fold')}:", table(rows, headers)]
    if covered:
        lines.append(f"The truth lay inside {covered}.")
    narrow = [level for level, share in judgement.coverage.items() if 100 * share < level - SLACK]
    if narrow:
        lines.append("The intervals were too narrow on these folds: expect more surprises.")
    if judgement.unscaled:
        left_out = counted(judgement.unscaled, "window")
        lines.append(f"MASE leaves out {left_out} of series whose train rows never change.")
    return "\n".join([*lines, *judgement.notes, judgement.verdict])


def prediction_text(result: PredictResult) -> str:
    """Return the table itself for stdout, or where it was written and its first rows."""
    from forecaster.predicting import to_csv

    if result.output is None:
        return to_csv(result.frame).rstrip("\n")
    head = to_csv(result.frame.head(SHOWN_ROWS).drop(columns="model_version"), digits=6)
    rows = list(csv.reader(io.StringIO(head)))
    lines = [
        f"Wrote {counted(len(result.frame), 'row')} of {result.frame['unique_id'].nunique()} series to "
        f"{result.output} (model version {result.version}). The first:",
        table(rows[1:], rows[0]),
    ]
    if result.plot:
        lines.append(f"Plot: {result.plot}")
    return "\n".join(lines)
