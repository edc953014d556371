"""`forecast status`: is what is in service fresh and whole? For people and for monitors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from forecaster.cli.waiting import DURATION

if TYPE_CHECKING:
    from forecaster.workspace import Workspace


@click.command()
@click.option("--name", help="Name of the model; else all of them.")
@click.option(
    "--max-age",
    type=DURATION,
    metavar="DURATION",
    help="Of the last forecast, the file and the last run, such as 2d; else any.",
)
@click.option(
    "--max-data-age",
    type=DURATION,
    metavar="DURATION",
    help="Of the last row of the series that is furthest behind; else any.",
)
@click.option(
    "--max-champion-age",
    type=DURATION,
    metavar="DURATION",
    help="Of the version in service; else any.",
)
@click.option(
    "--csv",
    metavar="FILE",
    help="Look at this exported table, not that of the last run; needs --name.",
)
@click.option("--prometheus", metavar="FILE", help="Also write this file for the node exporter.")
def status(
    name: str | None,
    max_age: float | None,
    max_data_age: float | None,
    max_champion_age: float | None,
    csv: str | None,
    prometheus: str | None,
) -> int:
    """Say how old the data, the champion and the forecasts are, and how the last run ended.

    Exits with 1 when there is a problem: no version in service, a manifest that cannot be read,
    series that are gone, a last run that failed, was killed or wrote no table, settings that no run
    can use, something from the future, or older than is allowed.

    \b
    Example:
      forecast status --max-age 2d
      forecast status --name air --max-age 2d --csv air.csv --prometheus forecast.prom
    """
    from forecaster.archive import Archive
    from forecaster.atomic import replace_file
    from forecaster.cli.health import health_text
    from forecaster.cli.output import emit
    from forecaster.cli.session import current
    from forecaster.planned import planned_runs
    from forecaster.refreshing import require_no_input
    from forecaster.registry import Registry
    from forecaster.status import Limits, examine, metrics_text
    from forecaster.store import Store

    if csv is not None and name is None:
        raise click.UsageError("--csv is the table of one model: name it with --name.")
    workspace = current().workspace()
    planned = planned_runs(workspace.folder.resolve())
    found = examine(
        Registry(workspace.models),
        Store(workspace.data),
        Archive(workspace.forecasts),
        name,
        limits=Limits(max_age, max_data_age, max_champion_age),
        csv=None if csv is None else Path(csv),
        expected=planned,
    )
    wrong = _wrong_settings(workspace)
    for each in found:
        each.next_run = planned.get(each.name)
        each.problems += wrong
    if prometheus is not None:
        require_no_input(workspace, Path(prometheus))
        text = metrics_text(found)
        replace_file(Path(prometheus), lambda file: file.write(text.encode()))
    healthy = not any(each.problems for each in found)
    emit({"healthy": healthy, "models": [each.to_dict() for each in found]}, health_text(found))
    return int(not healthy)


def _wrong_settings(workspace: Workspace) -> list[str]:
    """Say why no run can begin with forecast.toml; without one, what reads it is not imported."""
    if not workspace.config_file.exists():
        return []
    from forecaster.errors import InvalidInputError
    from forecaster.workspace import load_config

    try:
        load_config(workspace)
    except InvalidInputError as error:
        return [error.message]
    return []
