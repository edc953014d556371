"""`forecast config`: the settings in force."""

from __future__ import annotations

import json

import click

from forecaster.words import as_flag


@click.group()
def config() -> None:
    """Show every setting and where it comes from."""


@config.command()
def show() -> None:
    """Show every setting, its value and where it comes from.

    A flag wins over a FORECAST_* environment variable, that over forecast.toml, and that over the
    default. An empty value is chosen from the data when a model is trained.

    \b
    Example:
      forecast config show --json
    """
    from forecaster.cli.output import emit, table
    from forecaster.cli.session import current
    from forecaster.notifying import without_secrets
    from forecaster.workspace import load_config

    workspace = current().workspace()
    settings, origins = load_config(workspace)
    rows = [
        (f"{section}.{key}", value, origins[key])
        for section, values in without_secrets(settings.sections()).items()
        for key, value in values.items()
    ]
    document = {key: {"value": value, "origin": origin} for key, value, origin in rows}
    lines = [(key, _words(value), origin) for key, value, origin in rows]
    emit(
        {"workspace": workspace.folder, "settings": document},
        table(lines, ("setting", "value", "origin")),
    )


def _words(value: object) -> str:
    if isinstance(value, dict):
        said = {name: _said(item) for name, item in value.items()}
        return json.dumps(said, ensure_ascii=False) if said else ""
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return str(as_flag(value))


def _said(settings: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in settings.items() if value is not None}
