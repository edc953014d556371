"""Results of training, judging and predicting as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from forecaster.cli.output import begun, table
from forecaster.words import counted

if TYPE_CHECKING:
    from forecaster.chances import ChanceScores
    from forecaster.config import NetworkSpec
    from forecaster.jobs import BacktestResult, PredictResult, TrainResult
    from forecaster.judging import Judgement
    from forecaster.model import Trained
    from forecaster.planning import Progress

SHOWN_ROWS = 5
LEAST_SAID = 8  # times that a chance was said, for a share of them to be shown
SLACK = 10  # points of coverage below the level that are called too narrow
SURPRISES = ": expect more surprises."  # what follows from intervals that are too narrow
LEAST_MISSES = 5  # points in time that right intervals would miss, for fewer to be called too wide


def epochs(advance: Callable[..., None], whose: str = "") -> Callable[[Progress], None]:
    """Return a callback that shows each epoch in a progress bar, and of what when that is said."""
    about = f"{whose}: " if whose else ""

    def show(progress: Progress) -> None:
        losses = f"loss {progress.loss:.4f}"
        if progress.val_loss is not None:
            losses += f", validation {progress.val_loss:.4f}"
        stage = f"{progress.stage}: " if progress.stage else ""
        epoch = f"network {progress.network}, epoch {progress.epoch} of at most {progress.epochs}"
        advance(1, f"{about}{stage}{epoch}: {losses}")

    return show


def runs(advance: Callable[..., None]) -> Callable[[str], Callable[[Progress], None]]:
    """Return a callback that is told what is trained next, and gives the one for its epochs."""

    def begin(whose: str) -> Callable[[Progress], None]:
        begun(whose)
        return epochs(advance, whose)

    return begin


def windows(advance: Callable[..., None]) -> Callable[[str, int, int], None]:
    """Return a callback that shows each window that a baseline is fitted to."""

    def show(name: str, done: int, total: int) -> None:
        advance(1, f"{name}: {done:,} of {counted(total, 'window')}")

    return show


def training_text(result: TrainResult) -> str:
    """Say what was trained, on what, and how it ended."""
    network, fit, again = result.config.network, result.judged, result.published
    stack = "-".join(str(units) for units in network.layers or ())
    text = (
        f"{_service_text(result)}\n"
        f"Network: {network.preset} {network.cell} {stack}, lookback {network.lookback}, horizon "
        f"{network.horizon}, segment {network.segment}, "
        f"{''.join(f'{part}, ' for part in _special(network))}{fit.parameters:,} weights.\n"
        f"Data: {result.series} series, {result.rows:,} rows{filled_text(result.filled)}; "
        f"{fit.windows:,} training and {fit.val_windows:,} validation windows.\n"
        f"Training: {_fit_text(fit)} on {fit.device}{', XLA' if fit.compiled else ''}."
    )
    if result.warm_start is not None:
        text += f"\n{_warm_start_text(result.warm_start)}"
    place = "In service" if result.version == result.champion else "Saved"
    if again is fit:
        return f"{text}\n{place} is the judged model; the rows held out were not used."
    text += f"\n{place} is the same trained again on all rows: {_fit_text(again)}."
    if not again.rehearsed:
        return text
    return (
        f"{text}\nIts intervals are as wide as the errors of one that was trained up to the test rows, in "
        f"{again.rehearsed:.1f} s."
    )


def filled_text(filled: int | None) -> str:
    """Say how many of the rows just counted were filled in; empty when none was, or it is not known."""
    return f" ({filled:,} of them filled in)" if filled else ""


def _special(network: NetworkSpec) -> list[str]:
    """Name what a network has that the plain ones have not."""
    parts = {
        "all series together": network.joint,
        "read both ways": network.bidirectional,
        "dilated": any(layer.dilation > 1 for layer in network.stack),
        "residual": network.residual,
        "gates open at first": network.gate_bias == "chrono"
        and set(network.each["cell"]) != {"rnn"},
        f"attention: {network.attention}": network.attention not in (None, "none"),
        "recurrent decoder": network.decoder == "recurrent",
        "padding masked": network.padding == "mask",
        "chance of a step up": network.direction,
    }
    return [name for name, has in parts.items() if has]


def _service_text(result: TrainResult) -> str:
    name, version, champion = result.name, result.version, result.champion
    if version == champion:
        return f"Model {name!r}, version {version}, is in service."
    return (
        f"Model {name!r}, version {version}, is saved but not in service: {champion} is, which knows "
        f"later rows or came after it. To change that: forecast models promote {version} --name {name}"
    )


def _warm_start_text(start: dict[str, Any]) -> str:
    """Say what was continued and how far it had looked."""
    new, until = start["new_series"], start["seen_until"]
    return (
        f"Warm start: continued from version {start['version']}, with its network settings and "
        "scalers; no candidates were compared."
        + (f" What is judged had seen rows up to {until}: none that is tested." if until else "")
        + (f" New to it: {new} series, scaled by their own train rows." if new else "")
    )


def _fit_text(fit: Trained) -> str:
    """Say how many epochs each network took, why it stopped, and how much of it is kept."""
    text = "; ".join(
        f"{counted(member.epochs, 'epoch')} (best: {member.best_epoch}) in {member.seconds:.1f} s, ended "
        f"by {member.stopped_by}"
        + ("" if member.shrinkage == 1 else f", {member.shrinkage:.0%} of what was learnt kept")
        for member in fit.members
    )
    return text if len(fit.members) == 1 else f"{len(fit.members)} networks: {text}"


def selection_text(selection: dict[str, Any] | None) -> str:
    """Name the candidates with their scores, and the one chosen; empty when there was no choice.

    Args:
        selection: As manifests and `--json` have it (`Selection.to_dict`).
    """
    if selection is None:
        return ""
    tried = selection["candidates"]
    scores = "; ".join(
        f"{each['name']}: {'failed' if each['score'] is None else format(each['score'], '.4g')}"
        for each in tried
    )
    failed = "".join(
        f"The {each['name']} failed: {each['reason']}\n" for each in tried if each.get("reason")
    )
    known = {each["name"]: each["score"] for each in tried if each["score"] is not None}
    lower = min(known.values(), default=0.0) < known.get(selection["chosen"], 0.0)
    why = " What is tried later has to be better by half a percent." if lower else ""
    chosen = selection["chosen"]
    return f"Chosen on validation: start from the {chosen} (MASE there: {scores}).{why}\n{failed}"


def backtest_text(result: BacktestResult) -> str:
    """Say how good the model is, and which series are left to baselines."""
    from forecaster.fallback import fallback_text

    chosen = None if result.selection is None else result.selection.to_dict()
    text = selection_text(chosen) + judgement_text(result.judgement, result.calibrated_again)
    if result.fallback is None:
        return text
    return f"{text}\n{fallback_text(result.fallback.values(), result.series)}"


def judgement_text(judgement: Judgement, calibrated_again: bool = False) -> str:
    """Put scores and intervals into tables; below, what is worth saying, and the verdict.

    Args:
        judgement: Of one model.
        calibrated_again: Whether what is published is calibrated on the folds too.
    """
    rows: list[list[Any]] = [
        [name, *(f"{value:.4g}" for value in scores.values())]
        for name, scores in judgement.scores.items()
    ]
    headers = ["model", "MAE", "RMSE", "MASE", "sMAPE"]
    lines = [f"Scores on {counted(judgement.folds, 'held-out fold')}:", table(rows, headers)]
    if steps := _steps_text(judgement):
        lines += ["", steps, ""]
    so = "; the published ones are calibrated on them too." if calibrated_again else SURPRISES
    lines += intervals_text(judgement.coverage, judgement.times, "folds", so)
    if judgement.unscaled:
        left_out = counted(judgement.unscaled, "window")
        lines.append(f"MASE leaves out {left_out} of series whose train rows never change.")
    lines += [*([] if judgement.is_thin else _checks_text(judgement)), *judgement.notes]
    if judgement.chances is not None:
        lines += chances_text(judgement.chances, "test step")
    advice = [judgement.advice] if judgement.advice else []
    return "\n".join([*lines, judgement.verdict, *advice])


def intervals_text(
    coverage: Mapping[float, float], times: int, what: str, so: str = SURPRISES
) -> list[str]:
    """Say that intervals were much too narrow or wider than needed; nothing of few points in time.

    Args:
        coverage: Share of the truth inside, by level in percent.
        times: Points in time that it is told by.
        what: What the intervals are of.
        so: What follows where they are too narrow.
    """
    from forecaster.metrics import LEAST_TIMES

    narrow = [level for level, share in coverage.items() if 100 * share < level - SLACK]
    wide = [
        level
        for level, share in coverage.items()
        if 1 - share < (1 - level / 100) / 3 and times * (1 - level / 100) >= LEAST_MISSES
    ]
    if narrow and times >= LEAST_TIMES:
        return [f"The intervals were too narrow on these {what}{so}"]
    return [f"The intervals were wider than needed on these {what}."] if wide else []


def _steps_text(judgement: Judgement) -> str:
    """Put what depends on the step into a table: early, middle, late; nothing of nothing."""
    from forecaster.checks import span, thirds

    by_step = judgement.checks.mase_by_step
    parts = thirds(len(next(iter(by_step.values()))))
    rows: list[list[str]] = []
    for name, scores in by_step.items() if parts else ():
        late = [sum(scores[step] for step in part) / len(part) for part in parts]
        rows.append([f"{name}, MASE", *_figures([judgement.scores[name]["mase"], *late])])
    for level, share in judgement.coverage.items():
        shares = [share, *judgement.coverage_by_third[level]]
        widths = [judgement.width[level], *judgement.width_by_third[level]]
        rows.append([f"inside the {level:g}% interval", *(f"{share:.0%}" for share in shares)])
        rows.append(["its width, in MASE", *_figures(widths)])
    return table(rows, ["by step", "all", *map(span, parts)]) if rows else ""


def chances_text(judged: ChanceScores, steps: str) -> list[str]:
    """Put the scores of chances beside those of the base rate, and what was said beside what came.

    Args:
        judged: The scores.
        steps: What one of the steps that are judged is called.
    """
    if not judged.steps:
        return ["", judged.verdict, ""]
    rows = [
        [
            name,
            f"{found.log_loss:.4f}",
            f"{found.brier:.4f}",
            f"{found.accuracy:.0%}",
            f"{found.auc:.3f}",
        ]
        for name, found in (
            ("of the network", judged.model),
            (f"always {judged.base_rate:.0%}", judged.base),
        )
    ]
    bins = [
        [
            f"{each.low:.0%} to {each.low + 0.1:.0%}",
            each.steps,
            f"{each.said:.1%}",
            f"{each.came:.1%}",
        ]
        for each in judged.bins
        if each.steps >= LEAST_SAID
    ]
    return [
        "",
        f"The chance that a step is above the one before, on {counted(judged.steps, steps)}:",
        table(rows, ["chance", "log-loss", "Brier score", "right", "AUC"]),
        f"{judged.base_rate:.0%} is the base rate: so many steps of the train rows are up; of the "
        f"{steps}s {judged.came:.0%} are. Log-loss and Brier score: less is better. Right: the step goes "
        "to the side that has the larger chance (of the network, 95% interval "
        f"{judged.low:.0%} to {judged.high:.0%}). AUC: 0.5 by guessing, 1 at best.",
        *_bins_text(bins, len(bins) < len(judged.bins)),
        judged.verdict,
        "",
    ]


def _bins_text(bins: list[list[Any]], some: bool) -> list[str]:
    """Say how often a step was up, by the chance that was said."""
    if not bins:
        return []
    left_out = f"Chances that were said less than {LEAST_SAID} times are left out."
    return [
        "",
        table(bins, ["chance said", "times", "on average", "were up"]),
        *([left_out] if some else []),
        "A chance can be taken at its word where the last two columns are alike.",
    ]


def _figures(values: Sequence[float]) -> list[str]:
    return [f"{value:.3g}" for value in values]


def _checks_text(judgement: Judgement) -> list[str]:
    """Say what the checks found, a line each; nothing where they found nothing."""
    checks, lines = judgement.checks, []
    way, copy = checks.direction, checks.lagged_copy
    if way.differs:
        than = "more" if way.accuracy > way.majority else "less"
        lines.append(
            f"On the right side of the last value are {way.accuracy:.0%} of the forecasts (95% interval "
            f"{way.low:.0%} to {way.high:.0%}), {than} than by always guessing the commoner side "
            f"({way.majority:.0%})."
        )
    if copy.found:
        lines.append(
            f"The first step is nearly a copy of the last value: {copy.distance:.0%} as far from it "
            f"as the truth, with {abs(copy.gain):.1%} {'less' if copy.gain > 0 else 'more'} error."
        )
    if checks.flat.found:
        lines.append(
            f"The forecasts are nearly flat: they vary {checks.flat.spread:.0%} as much as the truth."
        )
    return lines


def prediction_text(result: PredictResult) -> str:
    """Return the table itself for stdout, or where it was written and its first rows."""
    from forecaster.exporting import to_csv
    from forecaster.reports.plots import MOST_SERIES

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
        count = result.frame["unique_id"].nunique()
        some = f" (the first {MOST_SERIES} of {count} series)" if count > MOST_SERIES else ""
        lines.append(f"Plot: {result.plot}{some}")
    return "\n".join(lines)
