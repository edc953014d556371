"""The `forecast` command: its table of commands, and how one run of it begins and ends.

Start-up matters, for people and for cron: only click and the standard library are imported here,
and a command's module is imported when that command is asked for.
"""

from __future__ import annotations

import io
import os
import sys

import click

from forecaster.cli.edge import explain, report, signals
from forecaster.cli.output import print_json
from forecaster.cli.session import Session, common_options, current, share

# name: (where the click command lives, what it does), in the order people meet them
COMMANDS = {
    "init": ("forecaster.cli.init:init", "Start a workspace: forecast.toml, data/ and models/."),
    "fetch": ("forecaster.cli.fetch:fetch", "Fetch series from Yahoo, a file, a URL or a sample."),
    "data": ("forecaster.cli.data:data", "List, show, check, export and drop the stored series."),
    "train": ("forecaster.cli.train:train", "Train a model on the stored series."),
    "retrain": (
        "forecaster.cli.retrain:retrain",
        "Fetch, train, promote what is better, forecast: for cron.",
    ),
    "predict": ("forecaster.cli.predict:predict", "Forecast with a trained model, as CSV."),
    "anomalies": (
        "forecaster.cli.anomalies:anomalies",
        "Find values that the forecast did not expect.",
    ),
    "explain": ("forecaster.cli.explain:explain", "Say which lags and columns a network looks at."),
    "score": ("forecaster.cli.score:score", "Score published forecasts by what has arrived."),
    "archive": ("forecaster.cli.archive:archive", "List and delete published forecasts."),
    "status": ("forecaster.cli.status:status", "Say how fresh and whole everything is: a probe."),
    "schedule": ("forecaster.cli.schedule:schedule", "Have cron or systemd run it by itself."),
    "models": ("forecaster.cli.models:models", "List, promote, roll back and verify versions."),
    "compress": ("forecaster.cli.compress:compress", "Make a smaller or faster version of one."),
    "backtest": ("forecaster.cli.backtest:backtest", "Judge a model on past cutoffs."),
    "compare": ("forecaster.cli.compare:compare", "Compare networks: accuracy, cost, noise."),
    "tune": ("forecaster.cli.tune:tune", "Search settings on folds before the test rows."),
    "config": ("forecaster.cli.config:config", "Show every setting and where it comes from."),
    "doctor": ("forecaster.cli.doctor:doctor", "Check that this machine can train and predict."),
    "completion": ("forecaster.cli.completion:completion", "Print a shell completion script."),
}


class LazyGroup(click.Group):
    """A group that imports a command only when it is run or asked for its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002, D102
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002, D102
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return share(command)

    def format_commands(  # noqa: D102
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def resolve_command(  # noqa: D102
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in COMMANDS or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        from difflib import get_close_matches

        near = get_close_matches(args[0], COMMANDS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"The commands are: {', '.join(COMMANDS)}."
        raise click.UsageError(f"No such command {args[0]!r}. {hint}", ctx)


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value:
        return
    from importlib.metadata import version  # slow: only when it is asked for

    number = version("forecaster")
    if ctx.ensure_object(Session).json:
        print_json({"version": number})
    else:
        click.echo(f"forecast {number}")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    params=[
        *common_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            callback=_print_version,
            help="Print the version and exit.",
        ),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def forecast() -> None:
    """Forecast series with recurrent networks: fetch, train, judge, predict.

    \b
    Example:
      forecast fetch --sample air-passengers
      forecast train --name air --horizon 12
      forecast predict --name air --output air.csv
    """
    if current().verbose:
        import logging

        logging.basicConfig(level=logging.DEBUG if current().verbose > 1 else logging.INFO)


def _invoke(args: list[str], session: Session) -> int:
    """Do what click's `main` does, but leave every error as it is."""
    if "_FORECAST_COMPLETE" in os.environ:  # a shell asks for the words that may come next
        forecast.main(args, prog_name="forecast")
    try:
        with forecast.make_context("forecast", list(args), obj=session) as context:
            result = forecast.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return result if isinstance(result, int) else 0


def run(args: list[str]) -> int:
    """Run one command line and return its exit code; errors are told by `edge.explain`."""
    session = Session()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name in any letters is printable
    with signals() as raised:
        try:
            return _invoke(args, session)
        except BaseException as error:
            failure = explain(error, session)
            if failure is None and raised:
                failure = explain(raised[-1], session)
            if failure is None:  # a programming error keeps its traceback
                raise
            # the option may stand behind the mistake that stopped the parsing
            words = args[: args.index("--")] if "--" in args else args
            report(failure, as_json="--json" in words)
            return failure.code
