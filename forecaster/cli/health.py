"""The health of models as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forecaster.cli.output import table
from forecaster.durations import ago

if TYPE_CHECKING:
    from forecaster.status import Health


def health_text(found: Sequence[Health]) -> str:
    """Return each model's times in a table, and below it what is wrong."""
    return "\n".join(line for health in found for line in _lines(health))


def _lines(health: Health) -> list[str]:
    rows = [
        (
            f"  {what}",
            f"{health.times[what]:%Y-%m-%d %H:%M}",
            f"{ago(age)} ago",
            _about(health, what),
        )
        for what, age in health.ages.items()
    ]
    return [
        f"{health.name}: {'problem' if health.problems else 'ok'}",
        *([table(rows, ("  what", "from (UTC)", "", ""))] if rows else []),
        *([f"  next run: {health.next_run:%Y-%m-%d %H:%M %Z}"] if health.next_run else []),
        *(f"  problem: {problem}" for problem in health.problems),
    ]


def _about(health: Health, what: str) -> str:
    if what == "champion":
        return str(health.champion)
    if what != "run" or health.run is None:
        return ""
    kept_out = health.run.outcome == "done" and health.run.exit_code
    return "done; a challenger was kept out" if kept_out else health.run.outcome
