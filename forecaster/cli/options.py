"""The settings as command-line options: a light table, checked against `config.py` by a test.

The table repeats what `config.py` says, because importing pydantic costs more than a whole
`forecast train --help` may take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


class Flag(NamedTuple):
    """One setting as an option.

    Attributes:
        name: The field of a spec in `config.py`; `batch_size` becomes `--batch-size`.
        kind: A type, the choices, or for text the placeholder that help shows.
        help: What the setting does, with its unit.
        default: As a person would type it; empty when it is chosen from the data.
    """

    name: str
    kind: type | tuple[str, ...] | str
    help: str
    default: str = ""

    @property
    def option(self) -> str:
        """How the flag is written."""
        return f"--{self.name.replace('_', '-')}"


FLAGS: dict[str, tuple[Flag, ...]] = {
    "data": (
        Flag(
            "frequency",
            "ALIAS",
            "Pandas alias such as h, D, B, MS, or the step of integers; else guessed from the rows.",
        ),
        Flag("calendar", "EXCHANGE", "Exchange whose sessions are the time steps, such as XNYS."),
        Flag("season_length", int, "Steps in a season; else by frequency."),
        Flag("covariates", "NAMES", "Columns used as past features; `all` for every one."),
        Flag(
            "future",
            "NAMES",
            "Columns known ahead: rows after the last value, y left empty, hold those of the "
            "horizon.",
        ),
        Flag(
            "static",
            "NAMES",
            "Columns of numbers or words that are constant within each series.",
        ),
        Flag(
            "available_after",
            "TABLE",
            "How long after its date each late covariate is published, as a table such as "
            'gdp = "45d"; JSON in a flag.',
        ),
        Flag(
            "holidays",
            "COUNTRY",
            "Country or part of one, such as US or DE-BY, whose holidays are a feature known ahead.",
        ),
        Flag(
            "missing_timestamps",
            ("fill", "error", "skip-series"),
            "What to do about steps that are not there.",
            "fill",
        ),
        Flag(
            "missing_values",
            ("fill", "drop", "error", "skip-series"),
            "What to do about empty values; filled from the row before.",
            "fill",
        ),
        Flag(
            "infinite_values",
            ("error", "fill", "drop", "skip-series"),
            "What to do about infinite values.",
            "error",
        ),
        Flag(
            "duplicates",
            ("error", "drop", "skip-series"),
            "What to do about rows of the same time; drop keeps the last.",
            "error",
        ),
        Flag("unsorted", ("sort", "error"), "What to do about rows out of order.", "sort"),
        Flag(
            "mixed_zones",
            ("utc", "error"),
            "What to do about several time zones in one table.",
            "utc",
        ),
        Flag(
            "constant",
            ("keep", "error", "skip-series"),
            "What to do about series that never change.",
            "keep",
        ),
        Flag(
            "too_short",
            ("skip-series", "error"),
            "What to do about series with too few rows.",
            "skip-series",
        ),
    ),
    "scaling": (
        Flag(
            "transform",
            ("auto", "none", "log", "diff"),
            "First step: logarithm, differences, or what suits the values.",
            "auto",
        ),
        Flag(
            "scaler",
            ("standard", "minmax", "robust", "none"),
            "Second step: z-score, 0 to 1, or median and quartiles.",
            "standard",
        ),
        Flag(
            "deseasonalise",
            bool,
            "Before scaling, subtract each series' seasonal effects, as far as they stand out from "
            "noise; else the preset auto tries it, and others do not.",
        ),
    ),
    "network": (
        Flag(
            "preset",
            ("auto", "segment", "classic", "attention", "hybrid", "seq2seq"),
            "Starting point: segments, the textbook's stacked cells or its encoder-decoder, or "
            "segments with attention to the states or a Transformer block; auto compares a few "
            "networks of segments on validation windows.",
            "auto",
        ),
        Flag(
            "cell",
            "CELL",
            "Recurrent cell: rnn, lstm or gru; or one for each layer from the first, such as "
            "rnn-lstm.",
            "gru",
        ),
        Flag("layers", "N,N,...", "Units of each recurrent layer; else by preset."),
        Flag("lookback", int, "Past steps seen; else by season and rows."),
        Flag(
            "min_context",
            int,
            "Past steps that a series must have; it is thought to have repeated its first season "
            "before. Else lookback, less when series are shorter.",
        ),
        Flag(
            "padding",
            ("repeat", "mask"),
            "What stands before the start of a series: its first season, or nothing, which the "
            "cells are not run on.",
            "repeat",
        ),
        Flag("horizon", int, "Future steps forecast; else by frequency and rows."),
        Flag("segment", int, "Steps folded into one recurrent step; else by season."),
        Flag(
            "normalise",
            ("last", "season", "spread", "revin", "none"),
            "Per window: subtract the last value or the last season's mean; or that, divided by "
            "the mean change over a season; reversible mean/std; nothing. Else by preset.",
        ),
        Flag(
            "skip",
            ("none", "season", "linear"),
            "What the cells' forecast is added to: nothing, the last season, or a linear map of "
            "the context that starts as the last season; else by preset.",
        ),
        Flag("skip_lag", int, "Steps in the season of skip and normalise; else season_length."),
        Flag("series_vectors", bool, "Learn a vector for each series; else by preset."),
        Flag(
            "joint",
            bool,
            "All series enter every context together and are forecast together.",
            "off",
        ),
        Flag(
            "quantiles",
            "Q,Q,...",
            "Forecast besides the point, as the shape of intervals; else by preset.",
        ),
        Flag(
            "direction",
            bool,
            "Forecast besides the chance that each step is above the one before.",
            "off",
        ),
        Flag(
            "decoder",
            ("direct", "parallel", "recurrent"),
            "From state to steps: one layer, a step per segment, or segment after segment, each "
            "from the one before; else by preset.",
        ),
        Flag(
            "dropout",
            "SHARE,...",
            "Share of outputs dropped after every recurrent layer, or after each from the first; "
            "else by preset.",
        ),
        Flag(
            "recurrent_dropout", float, "Share of recurrent state dropped; above 0 no cuDNN.", "0"
        ),
        Flag(
            "gate_bias",
            ("constant", "chrono"),
            "How the gates of LSTM and GRU start: with Keras' constants, or open, so that states "
            "last from one step to all of the context; else constant, chrono in a memory task.",
        ),
        Flag(
            "bidirectional", bool, "Have every recurrent layer read the context both ways.", "off"
        ),
        Flag("residual", bool, "Add what goes into each recurrent layer to what comes out.", "off"),
        Flag(
            "dilations",
            "N,N,...",
            "Recurrent steps from one state to the next, for every layer or for each from the "
            "first; else 1.",
        ),
        Flag(
            "attention",
            ("none", "states", "self"),
            "What attends to the states of the top layer: nothing, the last one, or each of them, "
            "in a Transformer block; else by preset.",
        ),
        Flag("heads", int, "Heads of the attention; else at most 4 that divide its units."),
        Flag("l1", float, "Penalty on the size of the recurrent layers' kernels.", "0"),
        Flag("l2", float, "Penalty on the square of the recurrent layers' kernels.", "0"),
        Flag("calendar_features", bool, "Hour, weekday, month ... as features known ahead.", "off"),
    ),
    "training": (
        Flag(
            "loss",
            ("mae", "mse", "huber", "mase", "smape"),
            "What training makes small; quantiles are trained by the pinball loss.",
            "mae",
        ),
        Flag(
            "ensemble",
            int,
            "Networks from different seeds; their median is the forecast; else by preset.",
        ),
        Flag(
            "shrink",
            bool,
            "Pull the forecast towards its starting point (last value or season) as far as "
            "validation asks; else by preset.",
        ),
        Flag(
            "teacher_forcing",
            float,
            "Share of the steps at which a recurrent decoder sees the truth in training, not its "
            "own last output; else by preset.",
        ),
        Flag("epochs", int, "At most; early stopping ends sooner. Else by preset and windows."),
        Flag("batch_size", int, "Windows in one step of training; else by number of windows."),
        Flag("learning_rate", float, "Step size of the optimiser; else by preset."),
        Flag(
            "schedule",
            ("cosine", "plateau"),
            "How the learning rate falls: along a cosine over the epochs or the time budget, or "
            "halved whenever validation stands still; else by preset.",
        ),
        Flag("patience", int, "Epochs without improvement before stopping.", "8"),
        Flag("clip_norm", float, "Largest norm of the gradient; else 1, or any with clip_value."),
        Flag("clip_value", float, "Largest size of each number of the gradient; else any."),
        Flag("val_size", int, "Rows of the validation tail; else by horizon and rows."),
        Flag(
            "refit_all", bool, "Publish a model trained again on all rows once it is judged.", "on"
        ),
        Flag("seed", int, "Start of every random number.", "1"),
        Flag("deterministic", bool, "The same weights on every run, a bit slower.", "off"),
        Flag(
            "time_budget",
            "DURATION",
            "For the epochs of training, such as 90s, 10m, 1h30m; compiling, judging and writing "
            "come on top.",
        ),
        Flag("device", ("auto", "cpu", "gpu"), "Where training runs.", "auto"),
    ),
    "evaluation": (
        Flag("folds", int, "Cutoffs to forecast from; else by rows."),
        Flag("test_size", int, "Rows held out; instead of folds."),
        Flag("step_size", int, "Rows between cutoffs; else the horizon, or 1 with --test-size."),
        Flag("gap", int, "Rows left out between train, validation and test.", "0"),
        Flag(
            "refit",
            ("each", "never"),
            "In backtest and compare, train anew for each fold, or once before the first.",
            "never",
        ),
        Flag(
            "require_skill",
            bool,
            "Fail with code 6, publishing nothing, unless MASE is below the best baseline's and "
            "Diebold-Mariano p below 0.05.",
            "off",
        ),
        Flag(
            "fallback",
            ("none", "baseline"),
            "Forecast a series by the best of naive, seasonal naive, drift, Theta and ETS where the "
            "network does not beat it on validation.",
            "none",
        ),
    ),
    "bounds": (
        Flag("min", float, "Smallest value that is forecast; else any."),
        Flag("max", float, "Largest value that is forecast; else any."),
        Flag(
            "whole",
            bool,
            "Forecast whole numbers: points to the nearest, intervals outward.",
            "off",
        ),
        Flag(
            "per_series",
            "TABLE",
            "Bounds of single series, by name, as a table of min, max and whole; JSON in a flag.",
        ),
    ),
    "prediction": (
        Flag("level", "P,P,...", "Interval levels in percent.", "80,95"),
        Flag(
            "adaptive_intervals",
            bool,
            "Widen or narrow the intervals of a series by its errors since training.",
            "on",
        ),
        Flag("max_age", "DURATION", "Refuse data older than this, such as 3d."),
    ),
    "retrain": (
        Flag(
            "output",
            "FILE",
            "File of the forecasts, from the workspace's folder on when this file names it; else "
            "forecasts/NAME.csv there.",
        ),
        Flag(
            "start",
            ("fresh", "warm"),
            "Train the challenger from random weights, or from those of the champion.",
            "fresh",
        ),
        Flag("fetch", bool, "Fetch each series again from where it came before training.", "on"),
        Flag(
            "train",
            bool,
            "Train a challenger; else the champion forecasts from the new rows.",
            "on",
        ),
        Flag(
            "margin",
            float,
            "Share of the champion's MASE by which a challenger has to be better.",
            "0",
        ),
        Flag("keep", int, "Versions kept besides the champion and the one before it.", "5"),
        Flag("keep_runs", int, "Records of runs that are kept.", "100"),
        Flag(
            "keep_forecasts",
            "DURATION",
            "How long published forecasts are kept, such as 365d; else for ever.",
        ),
    ),
    "gates": (
        Flag(
            "max_data_age",
            int,
            "Steps (sessions, with a calendar) that any series may end before today; else any.",
        ),
        Flag("min_fetched", float, "Share of the fetched series that must succeed.", "0.5"),
        Flag(
            "max_missing",
            float,
            "Share of its steps that a series may have no value for; else any.",
        ),
        Flag(
            "max_jump",
            float,
            "Largest change of new rows, in median changes of the series; else any.",
        ),
        Flag(
            "max_revised",
            float,
            "Share of a series' rows whose value may differ from what the last run accepted; else "
            "any.",
        ),
        Flag(
            "max_drift",
            float,
            "Largest Kolmogorov-Smirnov distance of the latest changes from the earlier ones; else "
            "any.",
        ),
        Flag(
            "min_skill",
            ("none", "better", "significant"),
            "What a challenger has to show against the best baseline: nothing, a lower MASE, or one "
            "with Diebold-Mariano p below 0.05.",
            "none",
        ),
        Flag(
            "max_coverage_gap",
            float,
            "Points by which the intervals' coverage may differ from their level; else any.",
        ),
    ),
    "notify": (
        Flag(
            "on_failure",
            "HOOK",
            "A command, or an http(s) address to POST to, told that a run failed or that a "
            "challenger was refused; else nobody.",
        ),
        Flag(
            "on_promote",
            "HOOK",
            "The same, told that another version came into service; else nobody.",
        ),
        Flag("notify_timeout", "DURATION", "Until a hook counts as failed.", "30s"),
    ),
    "log": (
        Flag("log_file", "FILE", "The file, relative to the workspace; else logs/NAME.jsonl."),
        Flag(
            "log_size",
            int,
            "Bytes from which on the file is set aside and a new one begun.",
            "1000000",
        ),
        Flag("log_files", int, "Files set aside that are kept.", "5"),
    ),
}


class Setting(click.Option):
    """An option that is a setting of one section of the configuration."""

    def __init__(self, *args: Any, section: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.section = section


class Command(click.Command):
    """A command whose help lists settings under the section they belong to."""

    def format_options(  # noqa: D102
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                title = "Options"
                if isinstance(parameter, Setting):
                    title = f"Settings of [{parameter.section}]"
                groups.setdefault(title, []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


def config_options(*wanted: str, without: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Give a command the options of some sections of the configuration.

    A flag that is not given is None, so that the environment and the file may speak.

    Args:
        wanted: Names of sections, or of single settings.
        without: Settings to leave out.

    Example:
        >>> @click.command(cls=Command)
        ... @config_options("network", "training", "level")
        ... def train(**flags): ...
    """
    chosen = [
        (section, flag)
        for section, flags in FLAGS.items()
        for flag in flags
        if (section in wanted or flag.name in wanted) and flag.name not in without
    ]

    def decorate(command: F) -> F:
        for section, flag in reversed(chosen):  # decorators pile up from below
            command = _option(section, flag)(command)
        return command

    return decorate


def _option(section: str, flag: Flag) -> Callable[[F], F]:
    kind: Any = flag.kind
    spelling = flag.option
    form: dict[str, Any] = {"type": kind, "metavar": "N" if kind is int else "X"}
    if kind is bool:
        spelling = f"{flag.option}/--no-{flag.option.removeprefix('--')}"
        form = {}
    elif isinstance(kind, tuple):
        form = {"type": click.Choice(kind)}
    elif isinstance(kind, str):
        form = {"type": str, "metavar": kind}
    text = f"{flag.help}  [default: {flag.default}]" if flag.default else flag.help
    return click.option(
        spelling, flag.name, cls=Setting, section=section, default=None, help=text, **form
    )
