"""Live scores and published forecasts as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from forecaster.cli.output import table
from forecaster.cli.tables import chances_text, intervals_text
from forecaster.words import counted

if TYPE_CHECKING:
    from pathlib import Path

    from forecaster.archive import Published, Summary
    from forecaster.scored import Live, Part, Score, Scored

SHOWN = 24  # series


def scored_text(scored: Scored, output: Path | None) -> str:
    """Return the scores of each model as tables, what has none, and where they were written."""
    left_out = [
        f"{counted(count, 'value')} {what}."
        for count, what in (
            (scored.pending, "forecast have not arrived yet"),
            (scored.repeated, "were published again and count once"),
            (scored.strange, "are of series that are not stored, or came from a file"),
            (
                scored.unscaled,
                "have no MASE: their series had never changed, or an older version kept them",
            ),
        )
        if count
    ]
    if output:
        left_out.append(f"Table: {output}")
    if not scored.models:
        return "\n".join(["No value that was forecast has arrived.", *left_out])
    legend = (
        "MASE: mean absolute error in units of each series' mean change over a season before the forecast, "
        "beside that of baselines from the same rows; bias: forecast less truth; inside: share of the "
        "values that an interval holds."
    )
    return "\n".join([*("\n".join(_live_lines(live)) for live in scored.models), legend, *left_out])


def _live_lines(live: Live) -> list[str]:
    score = live.score
    shown = [name for name in score.baselines if name in ("naive", score.best_baseline)]
    lines = [
        f"{live.name}: {counted(score.points, 'value')} of {len(live.series)} series have arrived, "
        f"forecast from {counted(score.cutoffs, 'cutoff')}.",
        _part_table("version", live.versions, shown),
        "",
        _part_table("step", live.thirds or live.steps, shown),
    ]
    if len(live.series) > 1:
        more = len(live.series) - SHOWN
        worst = sorted(live.series, key=lambda part: -(part.score.mase or 0))
        lines += [
            "",
            _part_table("series", worst[:SHOWN], shown),
            *([f"... and {more:,} more series, less far out: --json"] if more > 0 else []),
        ]
    if len(live.trend) > 1:
        lines += ["", _part_table("cutoffs", live.trend, shown)]
    held = {float(level): share for level, share in score.coverage.items()}
    if remark := intervals_text(held, score.cutoffs, "forecasts"):
        lines += ["", *remark]
    if live.verdict:
        lines += ["", live.verdict, *([live.latest] if live.latest else [])]
    if live.p_value is not None and (score.skill or 0) < 0:
        lines.append(f"A new training may help: forecast retrain --name {live.name}")
    chances = live.chances and chances_text(live.chances, "published step")
    return [*lines, *(chances or [""])]


def _part_table(what: str, parts: Sequence[Part], names: Sequence[str]) -> str:
    levels = list(dict.fromkeys(level for part in parts for level in part.score.coverage))
    rows = [[part.label, *_cells(part.score, names, levels)] for part in parts]
    titles, inside = [f"{name} MASE" for name in names], [f"inside {level}%" for level in levels]
    return table(rows, [what, "values", "MAE", "bias", "sMAPE", "MASE", *titles, *inside])


def _cells(score: Score, baselines: Iterable[str], levels: Iterable[str]) -> list[Any]:
    figures = (score.mae, score.bias, score.smape, score.mase, *map(score.baselines.get, baselines))
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
    return said.version, said.series, said.rows, said.cutoff.removesuffix(" 00:00:00")
