"""What the options common to every command said, for the length of one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from forecaster.workspace import Workspace


class Session:
    """The common options of one run of `forecast`.

    Attributes:
        json: Print one JSON document instead of text.
        quiet: No notices and no progress; results stay.
        verbose: How many times `-v` was given.
        folder: The workspace that `--workspace` named.
        interrupted: What is true when the run is stopped half-way; a command that keeps part of
            its work says so here.
    """

    def __init__(self) -> None:
        self.json = False
        self.quiet = False
        self.verbose = 0
        self.folder: str | None = None
        self.interrupted = "nothing was changed"

    def workspace(self) -> Workspace:
        """Return the workspace of `--workspace`, of the environment, or the current folder."""
        from forecaster.workspace import Workspace

        return Workspace.find(self.folder)


def current() -> Session:
    """Return the session of the running command."""
    root = click.get_current_context().find_root()
    if root.obj is None:
        root.obj = Session()
    session: Session = root.obj
    return session


def _set(field: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value == "":  # a variable of a script that is not set
            raise click.BadParameter("it is empty.", ctx, parameter)
        if not value:
            return
        session = ctx.find_root().ensure_object(Session)
        # -v may stand on both sides of the command's name: counts add up
        setattr(session, field, session.verbose + value if field == "verbose" else value)

    return callback


class CommonOption(click.Option):
    """An option that every command accepts; it speaks to the session, not to the command."""

    def __init__(self, *spelling: str, field: str, **settings: Any) -> None:
        super().__init__(
            [*spelling, f"common_{field}"],
            expose_value=False,
            is_eager=True,
            callback=_set(field),
            **settings,
        )


def common_options() -> list[click.Parameter]:
    """Return fresh options that every command accepts, before or after its name."""
    return [
        CommonOption(
            "--workspace",
            field="folder",
            metavar="DIR",
            help="Folder with forecast.toml, data/ and models/.  "
            "[default: $FORECAST_WORKSPACE, else this folder]",
        ),
        CommonOption("--json", field="json", is_flag=True, help="Print one JSON document."),
        CommonOption(
            "-q",
            "--quiet",
            field="quiet",
            is_flag=True,
            help="No notices, no progress; results stay.",
        ),
        CommonOption(
            "-v", "--verbose", field="verbose", count=True, help="Say more; -vv for every detail."
        ),
    ]


def share(command: click.Command) -> click.Command:
    """Let a command, and the commands inside it, accept the common options."""
    if not any(isinstance(parameter, CommonOption) for parameter in command.params):
        command.params.extend(common_options())
    if isinstance(command, click.Group):
        for child in command.commands.values():
            share(child)
    return command
