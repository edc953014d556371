"""What cells remember, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forecaster.cli.output import table
from forecaster.memory.tasks import SOLVED
from forecaster.words import counted

if TYPE_CHECKING:
    from forecaster.jobs import MemoryResult

HEADERS = (
    *("length", "cell", "right answers", "solved", "error", "weights", "epochs", "training s"),
    *("reach before", "after training"),
)


def memory_text(result: MemoryResult) -> str:
    """Put a row for each length and cell into a table; below, how far each cell got."""
    memory, task = result.memory, result.memory.task
    rows = memory.summary()
    lines = [
        f"{task.name}: {task.about}. Means over {counted(rows[0]['seeds'], 'seed')}, ±standard "
        f"deviation; the best constant is right {task.chance:.0%} of the time.",
        table([_row(row) for row in rows], HEADERS),
        "",
        *([] if not memory.interrupted else ["Interrupted: this is what was done before."]),
        *memory.verdict(),
        f"solved: networks with at least {SOLVED:.0%} right answers. error: mean squared, over that "
        "of the best constant. reach: gradient at the first step over that at the last.",
    ]
    if result.output:
        lines.append(f"Every network: {result.output}")
    if result.plot:
        lines.append(f"Plot: {result.plot}")
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> list[Any]:
    accuracy, error = f"{row['accuracy']:.1%}", f"{row['error']:.3f}"
    if row["accuracy_spread"] is not None:
        accuracy += f" ±{100 * row['accuracy_spread']:.1f}"
        error += f" ±{row['error_spread']:.3f}"
    return [
        *(row["length"], row["cell"], accuracy, f"{row['solved']} of {row['seeds']}", error),
        *(f"{row['parameters']:,.0f}", f"{row['epochs']:.0f}", f"{row['seconds']:.1f}"),
        *(f"{row['reach_untrained']:.0e}", f"{row['reach_trained']:.0e}"),
    ]
