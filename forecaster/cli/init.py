"""`forecast init`: a folder to work in."""

from __future__ import annotations

import os

import click


@click.command()
@click.argument("folder", metavar="[DIR]", required=False)
@click.option("--force", is_flag=True, help="Replace a forecast.toml that is there.")
def init(folder: str | None, force: bool) -> None:
    """Start a workspace in DIR (this folder): forecast.toml, data/ and models/.

    Every setting stands in forecast.toml with its meaning, its allowed values and its default.

    \b
    Example:
      forecast init shop
    """
    from forecaster.atomic import at_home
    from forecaster.cli.output import emit
    from forecaster.cli.session import current
    from forecaster.workspace import Workspace

    named = folder or current().folder or os.environ.get("FORECAST_WORKSPACE") or "."
    workspace = Workspace(at_home(named))
    workspace.create(force=force)
    emit(
        {"workspace": workspace.folder, "config": workspace.config_file},
        f"Workspace '{workspace.folder}' is ready; its settings are in {workspace.config_file}.\n"
        "Next: forecast fetch --sample air-passengers",
    )
