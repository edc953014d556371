"""Live scores and published forecasts as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from forecaster.cli.output import table
from forecaster.metrics import LEAST_TIMES
from forecaster.words import counted

if TYPE_CHECKING:
    from forecaster.archive import Published, Summary
    from forecaster.scoring import Live, Part, Score, Scored

SHOWN_STEPS = 24


def scored_text(scored: Scored) -> str:
    """Return the scores of each model as tables, and what has none."""
    left_out = [
        f"{counted(count, 'value')} {what}."
        for count, what in (
            (scored.pending, "forecast have not arrived yet"),
            (scored.repeated, "were published again and count once"),
            (scored.strange, "are of series that are not stored, or came from a file"),
        )
        if count
    ]
    if not scored.models:
        return "\n".join(["No value that was forecast has arrived.", *left_out])
    legend = (
        "MASE: mean absolute error in units of each series' mean change from one row to the next (train takes "
        "that of a season); naive: the last value before the forecast; bias: forecast less truth."
    )
    return "\n".join([*("\n".join(_live_lines(live)) for live in scored.models), legend, *left_out])


def _live_lines(live: Live) -> list[str]:
    score = live.score
    lines = [
        f"{live.name}: {counted(score.points, 'value')} of {counted(score.forecasts, 'forecast')} "
        "have arrived.",
        _part_table("version", live.versions),
        "",
        _part_table("step", live.steps[:SHOWN_STEPS]),
    ]
    if live.steps[SHOWN_STEPS:]:
        lines.append(f"... and {len(live.steps) - SHOWN_STEPS} more steps: --json")
    if len(live.trend) > 1:
        lines += ["", _part_table("cutoffs", live.trend)]
    if score.skill is not None:
        than = "less" if score.skill > 0 else "more"
        text = f"{abs(score.skill):.1%} {than} error than the last value"
        if score.compared < LEAST_TIMES:
            text += f": too few points in time to tell ({LEAST_TIMES} are needed)"
        lines.append(f"{text}.")
    return [*lines, ""]


def _part_table(what: str, parts: Sequence[Part]) -> str:
    levels = list(dict.fromkeys(level for part in parts for level in part.score.coverage))
    rows = [[part.label, *_cells(part.score, levels)] for part in parts]
    inside = [f"inside {level}%" for level in levels]
    return table(rows, [what, "values", "MAE", "bias", "sMAPE", "MASE", "naive MASE", *inside])


def _cells(score: Score, levels: Iterable[str]) -> list[Any]:
    figures = (score.mae, score.bias, score.smape, score.mase, score.naive_mase)
    shares = (score.coverage.get(level) for level in levels)
    return [
        score.points,
        *(None if figure is None else f"{figure:.4g}" for figure in figures),
        *(None if share is None else f"{share:.0%}" for share in shares),
    ]


def archive_text(rows: Sequence[tuple[Published, Summary | None]]) -> str:
    """Return published forecasts as a table, oldest first."""
    if not rows:
        return "No forecast was published. Every 'forecast predict' keeps one."
    cells = [
        (
            f"{each.created:%Y-%m-%d %H:%M:%S}",
            each.name,
            *(("damaged", None, None, None) if said is None else _summary_cells(said)),
        )
        for each, said in rows
    ]
    return table(cells, ("published (UTC)", "model", "version", "series", "rows", "cutoff"))


def _summary_cells(said: Summary) -> tuple[Any, ...]:
    return said.version, said.series, said.rows, said.cutoff
