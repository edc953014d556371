"""Jobs as units of systemd: a service that runs once, and the timer that starts it."""

from __future__ import annotations

import os
from pathlib import Path

from forecaster.atomic import replace_file
from forecaster.errors import InvalidInputError, QualityGateError
from forecaster.scheduling import Entry, Job, digest, parsed

DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
EVERY = {"month": 12, "day": 31, "hour": 24, "minute": 60, "weekday": 7}  # how many there are


def default_folder() -> Path:
    """Return where systemd looks for the units of this user.

    Raises:
        InvalidInputError: The user has no home.
    """
    try:
        home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    except RuntimeError as error:
        raise InvalidInputError(
            "Units of systemd belong in '~/.config/systemd/user', but this user has no home.",
            "Set HOME, or name a folder with --folder.",
        ) from error
    return Path(home) / "systemd" / "user"


def _searched() -> list[Path]:
    """Return where systemd looks for the units of this user; nothing where there is no home."""
    try:
        return [default_folder()]
    except InvalidInputError:
        return []


def install(job: Job, folder: Path) -> None:
    """Write the units of a job, in place of those there were."""
    require_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in units_of(job).items():
        content = text.encode()
        replace_file(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]


def require_folder(folder: Path) -> None:
    """Refuse a folder of units that is a file."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(
            f"Units belong in a folder, but '{folder}' is a file.", "Name another."
        )


def units_of(job: Job) -> dict[str, str]:
    """Return the units of a job, the service and the timer, by the names of their files."""
    name = unit_of(job)
    return {f"{name}.service": _service(job), f"{name}.timer": _timer(job)}


def unit_of(job: Job) -> str:
    """Return the name of the units of a job, without their endings."""
    return job.mark.replace(":", "-")


def remove(workspace: Path, name: str, folder: Path | None) -> list[Entry]:
    """Delete the units of a model, in systemd's folder when None, and return what they were."""
    gone = [entry for entry in entries(workspace, folder) if entry.name == name]
    for entry in gone:
        timer = Path(entry.line)
        for link in _links(timer):
            link.unlink(missing_ok=True)
        for unit in (timer, timer.with_suffix(".service")):
            unit.unlink(missing_ok=True)
            for linked in (each / unit.name for each in _searched()):
                if linked.is_symlink():  # `systemctl link` made it
                    linked.unlink()
    return gone


def entries(workspace: Path, folder: Path | None) -> list[Entry]:
    """Return the timers of a workspace that can be read, in systemd's folder when None.

    They are enabled where systemd has a link to them.
    """
    found = []
    folders = _searched() if folder is None else [folder]
    pattern = f"forecast-*-{digest(workspace)}.timer"
    for path in sorted(path for each in folders for path in each.glob(pattern)):
        try:
            first = path.read_text(encoding="utf-8").partition("\n")[0]
        except (OSError, ValueError):  # a broken link, or a file of somebody else
            continue
        mark, _, cron = first.partition(" ")[2].partition(" ")
        if mark.count(":") == 3:
            _, command, name, _ = mark.split(":")
            enabled = any(link.is_symlink() for link in _links(path))
            found.append(Entry("systemd", name, command, cron, enabled, str(path)))
    return found


def _links(timer: Path) -> set[Path]:
    """Return where systemd may have a link to a timer that is enabled."""
    return {folder / "timers.target.wants" / timer.name for folder in (timer.parent, *_searched())}


def on_calendar(cron: str) -> list[str]:
    """Return a cron expression as systemd writes it; any of the lines may be true.

    >>> on_calendar("30 18 * * 1-5")
    ['Mon,Tue,Wed,Thu,Fri *-*-* 18:30:00']
    >>> on_calendar("0 */6 1 * 0")  # cron: on the first, and on Sundays
    ['*-*-01 00,06,12,18:00:00', 'Sun *-*-* 00,06,12,18:00:00']
    """
    times = parsed(cron)
    weekdays = {int(day) % 7 for day in times.weekdays}  # type: ignore[arg-type]
    chosen = [name for number, name in enumerate(DAYS) if number in weekdays]
    week = f"{','.join(chosen)} " if len(chosen) < EVERY["weekday"] else ""
    month, hour, minute = (
        _list(getattr(times, f"{part}s"), EVERY[part]) for part in ("month", "hour", "minute")
    )
    day = _list(times.days, EVERY["day"])
    clock = f"{hour}:{minute}:00"
    if times.day_and or day == "*" or not week:
        return [f"{week}*-{month}-{day} {clock}"]
    return [f"*-{month}-{day} {clock}", f"{week}*-{month}-* {clock}"]


def _list(numbers: set[int], every: int) -> str:
    full = len(numbers) == every
    return "*" if full else ",".join(f"{number:02d}" for number in sorted(numbers))


def _service(job: Job) -> str:
    variables = "".join(
        f"Environment={_quoted(f'{name}={value}')}\n" for name, value in job.environment.items()
    )
    command = " ".join(_quoted(word).replace("$", "$$") for word in job.words)
    return f"""# {job.mark} {job.cron}
[Unit]
Description=forecast {job.command} of the model {job.name}

[Service]
Type=oneshot
WorkingDirectory={str(job.workspace).replace("%", "%%")}
{variables}ExecStart={command}
SuccessExitStatus={QualityGateError.exit_code}
"""


def _timer(job: Job) -> str:
    times = "".join(f"OnCalendar={line}\n" for line in on_calendar(job.cron))
    return f"""# {job.mark} {job.cron}
[Unit]
Description=When forecast {job.command} runs for the model {job.name}

[Timer]
{times}Persistent=true

[Install]
WantedBy=timers.target
"""


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
