"""`forecast archive`: every forecast that was published."""

from __future__ import annotations

import click

from forecaster.cli.waiting import DURATION


@click.group()
def archive() -> None:
    """List and delete published forecasts; every `forecast predict` keeps one.

    \b
    Example:
      forecast archive list --name air
    """


@archive.command("list")
@click.option("--name", help="Name of the model; else all of them.")
def list_forecasts(name: str | None) -> None:
    """List published forecasts, oldest first.

    \b
    Example:
      forecast archive list
    """
    from forecaster.archive import Archive, summaries
    from forecaster.cli.output import emit
    from forecaster.cli.scores import archive_text
    from forecaster.cli.session import current

    rows = list(summaries(Archive(current().workspace().forecasts).published(name)))
    document = [vars(each) | {"summary": said and vars(said)} for each, said in rows]
    emit(document, archive_text(rows))


@archive.command()
@click.option(
    "--older-than",
    type=DURATION,
    required=True,
    metavar="DURATION",
    help="Delete what was published longer ago, such as 365d.",
)
@click.option("--name", help="Name of the model; else all of them.")
@click.option("--dry-run", is_flag=True, help="Delete nothing; only say what would be.")
def prune(older_than: float, name: str | None, dry_run: bool) -> None:
    """Delete forecasts that were published long ago; `forecast score` forgets them.

    \b
    Example:
      forecast archive prune --older-than 365d
    """
    from forecaster.archive import Archive
    from forecaster.cli.output import emit
    from forecaster.cli.session import current
    from forecaster.words import counted

    archived = Archive(current().workspace().forecasts)
    gone = archived.prune(older_than, name, dry_run=dry_run)
    said = f"{'Would delete' if dry_run else 'Deleted'} {counted(len(gone), 'published forecast')}."
    emit({"deleted": [str(each.path) for each in gone], "dry_run": dry_run}, said)
