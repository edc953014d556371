"""`forecast schedule`: what cron or systemd runs by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from forecaster.scheduling import Entry

NO_CRONTAB = "There is no program 'crontab' on this machine, so cron runs nothing."
SYSTEMD = click.option("--systemd", is_flag=True, help="Units of systemd instead of cron.")
FOLDER = click.option(
    "--folder",
    metavar="DIR",
    help="Of the units.  [default: ~/.config/systemd/user]",
)


@click.group()
def schedule() -> None:
    """Show, install and remove what cron or systemd runs by itself.

    \b
    Example:
      forecast schedule install --name air --cron "30 18 * * 1-5"
    """


@schedule.command()
@click.option("--name", help="Name of the model; else all of them.")
@FOLDER
def show(name: str | None, folder: str | None) -> None:
    """Show what is scheduled in this workspace, and when it runs next.

    \b
    Example:
      forecast schedule show
    """
    from pathlib import Path

    from forecaster import crontab
    from forecaster.cli.output import emit, notice, table
    from forecaster.planned import planned_entries

    if not crontab.is_there():
        notice(NO_CRONTAB)
    found = [
        entry
        for entry in planned_entries(_workspace(), Path(folder) if folder else None)
        if name in (None, entry.name)
    ]
    rows = [(each.name, each.command, each.by, each.cron, _when(each)) for each in found]
    text = table(rows, ("model", "command", "by", "cron", "next run")) if rows else ""
    emit([entry.to_dict() for entry in found], text or "Nothing is scheduled in this workspace.")


@schedule.command()
@click.option("--name", default="default", show_default=True, help="Name of the model.")
@click.option(
    "--cron",
    required=True,
    metavar="EXPRESSION",
    help="When, by the clock of this machine: minute, hour, day of month, month, day of week.",
)
@click.option(
    "--command",
    type=click.Choice(("retrain", "predict")),
    default="retrain",
    show_default=True,
    help="What is run.",
)
@click.option("--env", multiple=True, metavar="NAME", help="Also give the job this variable.")
@SYSTEMD
@FOLDER
@click.option("--dry-run", is_flag=True, help="Say what would be installed; install nothing.")
@click.argument("options", nargs=-1)
def install(
    name: str,
    cron: str,
    command: str,
    env: tuple[str, ...],
    systemd: bool,
    folder: str | None,
    dry_run: bool,
    options: tuple[str, ...],
) -> None:
    """Have cron or systemd run a command; done again, it replaces what it had installed.

    The command runs in the workspace, so that paths among its options, which stand behind `--`,
    begin there. The variables FORECAST_* that are set now are given to it, save the hooks, whose
    addresses may be secret: those belong into forecast.toml.

    \b
    Example:
      forecast schedule install --name air --cron "30 18 * * 1-5"
      forecast schedule install --name air --cron "@daily" --systemd -- --output air.csv
    """
    import os

    from forecaster import crontab, timers
    from forecaster.cli.output import emit, notice
    from forecaster.scheduling import Job, for_jobs, next_run, require_cron

    asked = _options(command, options)
    environment, left_out = for_jobs(os.environ, env)
    _require_usable(command, asked, environment)
    job = Job(_workspace(), name, require_cron(cron), command, options, environment)
    line = "" if systemd else crontab.entry_of(job)
    texts = timers.units_of(job) if systemd else {}
    units = {str(_folder(folder) / unit): text for unit, text in texts.items()}
    if dry_run:
        if systemd:
            timers.require_folder(_folder(folder))
        elif crontab.is_there():
            crontab.entries(job.workspace)  # it can be read
        else:
            notice(NO_CRONTAB)
        parts = [f"# {path}\n{text}" for path, text in units.items()]
        said = "\n".join(["Would install:", *(parts or [line])])
    elif systemd:
        timers.install(job, _folder(folder))
        said = f"Wrote {' and '.join(units)}.\nNow: {_enable(timers.unit_of(job), folder, units)}"
    else:
        said = crontab.install(job)
    for variable in left_out:
        notice(f"{variable} may be secret and is not given to the job: set it in forecast.toml.")
    if command == "predict" and not asked["output"]:
        notice(
            "Without `-- --output FILE` no table is written: the forecast is only kept and printed."
        )
    if environment:
        notice(f"Variables given to the job: {', '.join(environment)}.")
    when = next_run(job.cron)
    document = {"by": "systemd" if systemd else "cron", "name": name, "command": command,
                "cron": job.cron, "next": when, "variables": list(environment), "dry_run": dry_run,
                "line": line, "files": list(units), "units": units}  # fmt: skip
    emit(document, f"{said}\nNext run: {when:%Y-%m-%d %H:%M %Z}" if when else said)


@schedule.command()
@click.option("--name", required=True, help="Name of the model.")
@FOLDER
def remove(name: str, folder: str | None) -> None:
    """Remove what was installed for a model, from cron and systemd; nothing else is touched.

    \b
    Example:
      forecast schedule remove --name air
    """
    from pathlib import Path

    from forecaster import crontab, timers
    from forecaster.cli.output import emit
    from forecaster.errors import NotFoundError

    workspace, units = _workspace(), Path(folder) if folder else None
    timed = timers.remove(workspace, name, units)
    ours = crontab.remove(workspace, name) if crontab.is_there() else []
    if not ours + timed:
        where = f"in '{folder}'" if folder else "of systemd"
        raise NotFoundError(
            f"Nothing is scheduled for the model {name!r} of this workspace, neither by cron nor by "
            f"units {where}.",
            "See `forecast schedule show`.",
        )
    lines = [f"Removed: {entry.line}" for entry in ours]
    for entry in timed:
        timer = Path(entry.line)
        lines.append(f"Removed: {timer} and {timer.with_suffix('.service').name}")
        lines.append(f"Now: systemctl --user stop {timer.name} && systemctl --user daemon-reload")
    emit([entry.to_dict() for entry in ours + timed], "\n".join(lines))


def _options(command: str, words: Sequence[str]) -> dict[str, Any]:
    """Return what options say to a command; refuse now what it would refuse every night."""
    from forecaster.cli.session import Session, current
    from forecaster.errors import InvalidInputError
    from forecaster.store import Store
    from forecaster.unattended import SECRET

    root = click.get_current_context().find_root()
    found = (
        root.command.get_command(root, command) if isinstance(root.command, click.Group) else None
    )
    if found is None:
        return {}
    context = found.make_context(
        f"forecast {command}",
        list(words),
        obj=Session(),
        help_option_names=root.help_option_names,  # kept by the command from its first context on
    )
    why = dict.fromkeys(SECRET, "it may be secret, and `ps` shows command lines: see [notify]")
    why["name"] = "`schedule install --name` says which model it is"
    for option, reason in why.items():
        if context.get_parameter_source(option) == click.core.ParameterSource.COMMANDLINE:
            raise InvalidInputError(
                f"--{option.replace('_', '-')} cannot stand behind `--`: {reason}.",
                "Leave it out there.",
            )
    if context.obj.folder is not None:
        raise InvalidInputError(
            "--workspace cannot stand behind `--`: the command runs in the workspace of "
            "`schedule install`.",
            "Give --workspace before `--`.",
        )
    store = Store(current().workspace().data)
    for uid in context.params["ids"]:
        store.entry(uid)
    return context.params


def _require_usable(command: str, asked: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Refuse now settings and a table that the command would refuse every night."""
    from pathlib import Path

    from forecaster.atomic import at_home
    from forecaster.config import SECTION_OF
    from forecaster.jobs import require_output
    from forecaster.presets import check_asked
    from forecaster.workspace import Workspace, load_config

    workspace = Workspace(_workspace())
    own = {"horizon", "output"} if command == "predict" else set()  # they are no settings there
    flags = {key: asked[key] for key in asked.keys() & SECTION_OF.keys() - own}
    config, _ = load_config(workspace, flags, environment)
    if command == "predict":
        named = asked["output"]
        output = None if named in (None, "-") else Path(named)
    else:
        if config.retrain.is_fresh:
            check_asked(config)
        output = None if config.retrain.output is None else at_home(config.retrain.output)
    require_output(workspace, output and workspace.folder / output)


def _workspace() -> Path:
    from pathlib import Path

    from forecaster.cli.session import current

    return Path(current().workspace().folder).resolve()  # one name, however it was reached


def _folder(named: str | None) -> Path:
    from pathlib import Path

    from forecaster.timers import default_folder

    return default_folder() if named is None else Path(named)


def _enable(unit: str, folder: str | None, paths: Iterable[str]) -> str:
    """Say what makes systemd look at units that were written."""
    import os
    import shlex

    read = "daemon-reload"
    if folder is not None:  # systemd looks there only when it is told of each file
        read = f"link {shlex.join(map(os.path.abspath, paths))}"
    return f"systemctl --user {read} && systemctl --user enable --now {unit}.timer"


def _when(entry: Entry) -> str:
    if not entry.enabled:
        return "disabled"
    return f"{entry.next:%Y-%m-%d %H:%M %Z}" if entry.next else "unknown"
