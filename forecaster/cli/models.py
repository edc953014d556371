"""`forecast models`: the versions of each model, and which one is in service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from forecaster.cli.waiting import wait_options

if TYPE_CHECKING:
    from forecaster.registry import Registry

name_option = click.option(
    "--name", default="default", show_default=True, help="Name of the model."
)
any_name_option = click.option("--name", help="Name of the model; else all of them.")


@click.group()
def models() -> None:
    """List, compare, promote, roll back, prune, verify and reproduce versions of models.

    VERSION is a version's name, how it begins or ends, `champion` (the one in service), `previous`
    (in service before it) or `latest`.

    \b
    Example:
      forecast models list
      forecast models rollback --name air
    """


def _registry(wait: float = 0.0) -> Registry:
    from forecaster.cli.output import notice
    from forecaster.cli.session import current
    from forecaster.registry import Registry

    return Registry(current().workspace().models, lock_timeout=wait, on_wait=notice)


@models.command("list")
@any_name_option
def list_versions(name: str | None) -> None:
    """List the versions of all models, or of one, oldest first.

    \b
    Example:
      forecast models list
    """
    from forecaster.cli.inventory import versions_text
    from forecaster.cli.output import emit
    from forecaster.inventory import versions

    found = versions(_registry(), name)
    emit([vars(version) for version in found], versions_text(found))


@models.command()
@click.argument("version", default="champion")
@name_option
def show(version: str, name: str) -> None:
    """Describe one VERSION: data, settings, scores, when it was in service.

    \b
    Example:
      forecast models show previous --name air
    """
    from forecaster.cli.inventory import description_text
    from forecaster.cli.output import emit
    from forecaster.inventory import describe

    described = describe(_registry(), name, version)
    emit(described, description_text(described))


@models.command()
@click.argument("first", metavar="VERSION")
@click.argument("second", metavar="VERSION")
@name_option
def diff(first: str, second: str, name: str) -> None:
    """Say what two versions differ in: settings, data, scores, library versions.

    \b
    Example:
      forecast models diff previous champion --name air
    """
    from forecaster.cli.inventory import differences_text
    from forecaster.cli.output import emit
    from forecaster.inventory import differences

    registry = _registry()
    names = [registry.resolve(name, said) for said in (first, second)]
    found = differences(registry, name, *names)
    document = {"name": name, "versions": names, "differences": found}
    emit(document, differences_text(found, *names))


@models.command()
@click.argument("version")
@name_option
@wait_options
def promote(version: str, name: str, wait: float) -> None:
    """Put a VERSION into service, once it is found to be whole.

    \b
    Example:
      forecast models promote latest --name air
    """
    from forecaster.cli.inventory import promotion_result
    from forecaster.cli.output import emit

    emit(*promotion_result(name, *_registry(wait).promote(name, version)))


@models.command()
@name_option
@wait_options
def rollback(name: str, wait: float) -> None:
    """Put the version that was in service before into service again.

    Each rollback goes one champion further back.

    \b
    Example:
      forecast models rollback --name air
    """
    from forecaster.cli.inventory import promotion_result
    from forecaster.cli.output import emit

    emit(*promotion_result(name, *_registry(wait).rollback(name)))


@models.command()
@click.option("--keep", type=click.IntRange(0), required=True, metavar="N", help="Versions kept.")
@click.option("--newer", is_flag=True, help="Versions newer than the champion may go too.")
@click.option("--dry-run", is_flag=True, help="Delete nothing; only say what would be.")
@name_option
@wait_options
def prune(keep: int, newer: bool, dry_run: bool, name: str, wait: float) -> None:
    """Delete old versions but the newest N.

    The champion, the champion before it and versions newer than the champion stay besides.

    \b
    Example:
      forecast models prune --keep 5 --name air
    """
    from forecaster.cli.inventory import pruned_text
    from forecaster.cli.output import emit

    gone = _registry(wait).prune(name, keep, newer=newer, dry_run=dry_run)
    document = {"name": name, "deleted": gone, "dry_run": dry_run}
    emit(document, pruned_text(gone, dry_run))


@models.command()
@click.argument("version", required=False)
@any_name_option
def verify(version: str | None, name: str | None) -> int:
    """Check versions (all, or one) against damage: digests, content, golden forecast.

    Exits with 5 when any is damaged.

    \b
    Example:
      forecast models verify
      forecast models verify champion --name air
    """
    from forecaster.cli.inventory import verified_text
    from forecaster.cli.output import emit
    from forecaster.errors import DamagedError
    from forecaster.inventory import verify as run

    if version is not None and name is None:
        name = "default"
    checked = run(_registry(), name, version)
    damaged = any(each.problem for each in checked)
    document = {"whole": not damaged, "versions": [vars(each) for each in checked]}
    emit(document, verified_text(checked))
    return DamagedError.exit_code if damaged else 0


@models.command()
@click.argument("version", default="champion")
@name_option
def reproduce(version: str, name: str) -> int:
    """Train a VERSION again from its manifest and compare the forecasts.

    Says when the stored data, libraries or device are not those of then. Exits with 6 when other
    forecasts come out. Nothing is stored.

    \b
    Example:
      forecast models reproduce champion --name air
    """
    from forecaster.cli.inventory import reproduction_text
    from forecaster.cli.output import emit, progress
    from forecaster.cli.session import current
    from forecaster.cli.tables import epochs
    from forecaster.reproducing import reproduce as run
    from forecaster.store import Store

    store = Store(current().workspace().data)
    with progress("Training", total=None) as advance:
        result = run(_registry(), store, name, version, epochs(advance))
    emit(result.to_dict(), reproduction_text(result))
    return result.exit_code
