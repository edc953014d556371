"""What an unattended run says while it goes on and when it ends: lines of its log, and hooks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from forecaster.errors import QualityGateError
from forecaster.logs import Level, Log
from forecaster.notifying import notify
from forecaster.runs import OnStep, Run, Step

if TYPE_CHECKING:
    from forecaster.config import Config

LEVELS: dict[str, Level] = {"failed": "error", "refused": "warning"}


class Announcer:
    """Tells the log, the hooks and the caller of one run.

    Args:
        folder: The workspace.
        config: The settings, of which `[log]` and `[notify]` count.
        name: The model.
        on_step: Told of each step, once it is in the log.
    """

    def __init__(self, folder: Path, config: Config, name: str, on_step: OnStep) -> None:
        self.log = Log.of(folder, config.log, name, pid=os.getpid())
        self.hooks, self.folder = config.notify, folder
        self.name = name
        self.on_step = on_step

    def step(self, step: Step) -> None:
        """Write down that a step began or ended, and tell the caller."""
        self.log.write(
            step.message or step.outcome,
            level=LEVELS.get(step.outcome, "info"),
            step=step.name,
            outcome=step.outcome,
            seconds=step.seconds,
        )
        self.on_step(step)

    def end(self, run: Run, code: int, message: str) -> list[str]:
        """Write down how a run ended and tell the hooks; return what went wrong with that."""
        refused = code == QualityGateError.exit_code
        level: Level = "warning" if refused else "error" if code else "info"
        self.log.write(message or "done", level=level, step="end", exit_code=code)
        document = {
            "name": self.name,
            "exit_code": code,
            "message": message,
            "champion": run.champion,
            "challenger": run.challenger,
            "started": run.started,
        }
        events = {}
        if run.promoted:
            why = (step.message for step in run.steps if step.name in {"compare", "promote"})
            events["promotion"] = document | {"message": " ".join(why)}
        if code:
            events["refusal" if refused else "failure"] = document
        notices = [notify(self.hooks, event, told, self.folder) for event, told in events.items()]
        failed = [line for line in notices if line]
        for line in failed:
            self.log.write(line, level="warning", step="notify")
        return [*failed, self.log.problem] if self.log.problem else failed
