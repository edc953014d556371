"""`forecast retrain`: one unattended cycle, from fetching to the exported table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from forecaster.cli.options import Command, config_options
from forecaster.cli.waiting import wait_options

if TYPE_CHECKING:
    from forecaster.retrained import Retrained
    from forecaster.runs import Step


@click.command(cls=Command)
@click.argument("ids", nargs=-1)
@click.option("--name", default="default", show_default=True, help="Name of the model.")
@wait_options
@config_options(
    *("data", "scaling", "network", "training", "evaluation", "bounds", "prediction"),
    *("retrain", "gates", "notify", "log"),
    without=("refit",),
)
def retrain(ids: tuple[str, ...], name: str, wait: float, **flags: Any) -> int:
    """Fetch, check, train a challenger, promote it if it is better, forecast and export: for cron.

    Trains on the champion's series (or IDS; all that are stored when there is no champion). When a
    gate stops bad data, nothing changes; when the challenger is not better, or cannot be trained,
    the champion makes the forecast; with --no-train it always does. Exits with 6 when a gate or the
    margin said no, 7 when some series failed, 75 when another run is at work or the network is down.

    \b
    Example:
      forecast retrain --name air --no-fetch
      forecast retrain --name tech --margin 0.01 --max-data-age 3 --output tech.csv
    """
    from forecaster.cli.output import emit, notice, progress
    from forecaster.cli.session import current
    from forecaster.cli.tables import epochs, windows
    from forecaster.retraining import retrain as run

    session = current()
    session.interrupted = "the version in service and the last table stay"
    with progress("Retraining", total=None) as advance:
        result = run(
            session.workspace(),
            ids,
            name,
            flags,
            wait=wait,
            on_wait=notice,
            on_step=lambda step: notice(_line(step)) if step.outcome != "running" else None,
            on_epoch=epochs(advance),
            on_window=windows(advance),
        )
    for line in result.notices:
        notice(line)
    if result.error is not None and not session.json:
        click.echo(f"Error: {result.error}", err=True)
    emit(result.to_dict(), _text(result))
    return result.exit_code


def _line(step: Step) -> str:
    """Say how a step ended; why one failed stands at the end, where all that failed is said."""
    why = "" if step.outcome in {"failed", "refused"} else step.message
    return f"{step.name}: {step.outcome} ({step.seconds:.1f} s). {why}".rstrip()


def _text(result: Retrained) -> str:
    """Say what is in service now, and where the table is."""
    run, name = result.run, result.name
    lines = []
    if run.champion is None:
        lines.append(f"Model {name!r}: no version is in service.")
    else:
        since = "now" if run.promoted else "still"
        lines.append(f"Model {name!r}: version {run.champion} is {since} in service.")
    if result.output is not None:
        lines.append(f"Wrote {result.rows} rows to {result.output}.")
    else:
        lines.append("No table was written; one that was there stays.")
    lines += [f"Failed: {line}" for line in result.failures]
    return "\n".join(lines)
