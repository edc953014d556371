"""What an unattended run is told: its cycle, its gates, whom it tells and where it writes."""

from __future__ import annotations

import re
import shlex
from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from forecaster.specs import Duration, Rate, Share, Spec

SHELL = re.compile(r"\d?[<>]|[|&;]")  # how words begin that only a shell understands
SECRET = {"on_failure", "on_promote"}  # settings whose values are never shown


class RetrainSpec(Spec):
    """One unattended cycle: `forecast retrain`."""

    output: str | None = Field(
        None,
        description="File of the forecasts, from the workspace's folder on when this file names "
        "it; else forecasts/NAME.csv there.",
    )
    start: Literal["fresh", "warm"] = Field(
        "fresh",
        description="Train the challenger from random weights, or from those of the champion.",
    )
    fetch: bool = Field(
        True, description="Fetch each series again from where it came before training."
    )
    train: bool = Field(
        True, description="Train a challenger; else the champion forecasts from the new rows."
    )
    margin: Rate = Field(
        0.0, description="Share of the champion's MASE by which a challenger has to be better."
    )
    keep: int = Field(
        5, ge=0, description="Versions kept besides the champion and the one before it."
    )
    keep_runs: PositiveInt = Field(100, description="Records of runs that are kept.")
    keep_forecasts: Duration | None = Field(
        None, description="How long published forecasts are kept, such as 365d; else for ever."
    )

    @property
    def is_fresh(self) -> bool:
        """Whether a challenger is trained by these settings, not by those of a version."""
        return self.train and self.start == "fresh"


class GatesSpec(Spec):
    """What has to hold before anything is trained, and before a challenger comes into service."""

    max_data_age: int | None = Field(
        None,
        ge=0,
        description="Steps (sessions, with a calendar) that any series may end before today; else "
        "any.",
    )
    min_fetched: Share = Field(0.5, description="Share of the fetched series that must succeed.")
    max_missing: Share | None = Field(
        None, description="Share of its steps that a series may have no value for; else any."
    )
    max_jump: float | None = Field(
        None,
        gt=0,
        description="Largest change of new rows, in median changes of the series; else any.",
    )
    max_revised: Share | None = Field(
        None,
        description="Share of a series' rows whose value may differ from what the last run "
        "accepted; else any.",
    )
    max_drift: Share | None = Field(
        None,
        description="Largest Kolmogorov-Smirnov distance of the latest changes from the earlier "
        "ones; else any.",
    )
    min_skill: Literal["none", "better", "significant"] = Field(
        "none",
        description="What a challenger has to show against the best baseline: nothing, a lower "
        "MASE, or one with Diebold-Mariano p below 0.05.",
    )
    max_coverage_gap: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Points by which the intervals' coverage may differ from their level; else any.",
    )

    @property
    def uses_accepted(self) -> bool:
        """Whether new rows are compared with those that were let pass before."""
        return self.max_revised is not None or self.max_jump is not None


class NotifySpec(Spec):
    """Whom an unattended run tells; a hook that fails never stops it."""

    on_failure: str | None = Field(
        None,
        min_length=1,
        description="A command, or an http(s) address to POST to, told that a run failed or that "
        "a challenger was refused; else nobody.",
    )
    on_promote: str | None = Field(
        None,
        min_length=1,
        description="The same, told that another version came into service; else nobody.",
    )
    notify_timeout: Duration = Field(30.0, description="Until a hook counts as failed.")

    @field_validator("on_failure", "on_promote")
    @classmethod
    def _can_be_told(cls, hook: str | None) -> str | None:
        if hook is None or hook.lower().startswith(("http://", "https://")):
            return hook
        shlex.split(hook)  # as it is run; raises ValueError: "No closing quotation"
        words = shlex.split(hook, posix=False)
        if not words or "://" in words[0]:
            raise ValueError(
                "a command, or an address that begins with http:// or https:// is needed"
            )
        if shell := [word for word in words if SHELL.match(word)]:
            raise ValueError(
                f"it runs without a shell, which {shell[0]!r} needs: write sh -c '...'"
            )
        return hook


class LogSpec(Spec):
    """Where unattended runs write what happens, a JSON line an event."""

    log_file: str | None = Field(
        None,
        min_length=1,
        description="The file, relative to the workspace; else logs/NAME.jsonl.",
    )
    log_size: PositiveInt = Field(
        1_000_000, description="Bytes from which on the file is set aside and a new one begun."
    )
    log_files: PositiveInt = Field(5, description="Files set aside that are kept.")

    @field_validator("log_file")
    @classmethod
    def _is_a_log(cls, path: str | None) -> str | None:
        if path is not None and not path.endswith((".jsonl", ".log")):
            raise ValueError("a name that ends with .jsonl or .log is needed")
        return path
