"""What runs by itself in a workspace, whoever starts it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from forecaster import crontab, timers
from forecaster.errors import ForecasterError
from forecaster.scheduling import Entry


def planned_entries(workspace: Path, folder: Path | None = None) -> list[Entry]:
    """Return the entries of cron, where there is cron, and the timers in a folder of units.

    Those of systemd's folder for this user, where there is one, when none is named.

    Raises:
        ForecasterError: The crontab cannot be read.
    """
    ours = crontab.entries(workspace) if crontab.is_there() else []
    return ours + timers.entries(workspace, folder)


def planned_runs(workspace: Path) -> dict[str, datetime]:
    """Return when each model's command runs next; nothing where that cannot be told."""
    try:
        found = planned_entries(workspace)
    except (ForecasterError, OSError, ValueError):  # none to be read
        return {}
    times: dict[str, datetime] = {}
    for entry in found:
        if time := entry.next:
            times[entry.name] = min(time, times.get(entry.name, time))
    return times
