"""Options of commands that take turns with other writers; durations and shares as types of options."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from forecaster.durations import seconds


class Duration(click.ParamType[float]):
    """A duration such as 90s, 10m, 1h30m or 2d, in seconds."""

    name = "duration"

    def convert(  # noqa: D102
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return float(str(seconds(value)))
        except ValueError as error:
            self.fail(f"{value!r} is not valid: {error}.", param, ctx)


class Share(click.FloatRange):
    """A range of numbers, which click takes not-a-number to lie in."""

    def convert(  # noqa: D102
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a share.", param, ctx)
        return found


DURATION = Duration()


def wait_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--wait` and `--no-wait`; it receives `wait`, in seconds."""

    @wraps(command)
    def collected(*, no_wait: bool, wait: float, **arguments: Any) -> Any:
        return command(wait=0.0 if no_wait else wait, **arguments)

    for option in (
        click.option("--no-wait", is_flag=True, help="Exit with 75 at once when another is."),
        click.option(
            "--wait",
            type=DURATION,
            default="10s",
            metavar="DURATION",
            show_default=True,
            help="How long to wait when another process is changing the model.",
        ),
    ):
        collected = option(collected)
    return collected
