"""`forecast compare`: several networks on the same rows, and which differences are noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from forecaster.cli.options import FLAGS, Command, config_options

PRESETS = tuple(
    preset
    for flag in FLAGS["network"]
    if flag.name == "preset" and isinstance(flag.kind, tuple)
    for preset in flag.kind
    if preset != "auto"
)

CELLS, LENGTHS = ("rnn", "lstm", "gru"), "10,50,100"


def _listed(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Cut a list of names; none when the option is not given."""
    if value is None:
        return ()
    names = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if not names:
        raise click.BadParameter("at least one name is needed.")
    return names


@click.command(cls=Command)
@click.argument("ids", nargs=-1)
@click.option(
    "--cells",
    metavar="NAMES",
    callback=_listed,
    help="Cells to compare.  [default: rnn,lstm,gru unless there are candidates]",
)
@click.option(
    "--presets",
    metavar="NAMES",
    callback=_listed,
    help=f"Presets to compare, each with every cell, of {', '.join(PRESETS)}.  "
    "[default: that of the settings, else segment]",
)
@click.option(
    "--candidate",
    "candidates",
    multiple=True,
    metavar="SETTINGS",
    help="One more to compare, by its settings of the network, its scaling and training, such as "
    "'cell=lstm layers=64,64'; may be repeated.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    metavar="N",
    help="Times that each is trained, with seeds from --seed on.",
)
@click.option(
    "--task",
    type=click.Choice(["checksum", "skip", "regime", "adding"]),
    help="Compare --cells on generated sequences instead, which test what they remember.",
)
@click.option(
    "--length",
    metavar="N,N..N",
    help="Lengths of the sequences of --task in steps; a range goes by 1, 2, 5, 10 ...  "
    "[default: 10,50,100]",
)
@click.option("--output", metavar="FILE", help="Figures of every run, as CSV or .parquet.")
@click.option("--plot", metavar="FILE", help="Also draw accuracy against training time, as PNG.")
@config_options(
    *("data", "scaling", "network", "training", "evaluation", "bounds"),
    without=("cell", "preset", "refit_all", "require_skill", "fallback"),
)
def compare(
    ids: tuple[str, ...],
    cells: tuple[str, ...],
    presets: tuple[str, ...],
    candidates: tuple[str, ...],
    seeds: int,
    task: str | None,
    length: str | None,
    output: str | None,
    plot: str | None,
    **flags: Any,
) -> int:
    """Compare networks on the stored series (all, or IDS): accuracy, cost, and what is noise.

    Every combination of cell and preset is trained on the same rows, with the same seeds, and
    judged on the same folds. What is not given is chosen by preset, such as the lookback; but the
    epochs are the fewest that any would take, and --time-budget is for each network and seed. A
    difference counts when neither the folds (Diebold-Mariano test, with Holm's correction) nor the
    seeds (Welch's t-test) explain it. Nothing is put into service.

    The file of --output has a row for each network and seed: candidate, seed, parameters,
    lookback, epochs, training_seconds, inference_seconds (a window, in batches of 256 on the CPU),
    mse, mae, mase, direction (share of steps that go the right way), failure. One that fails is
    listed with its reason, and the exit code is 7. Ctrl-C ends with the seeds that all were trained
    with (code 130).

    With --task each cell is trained on generated sequences of some lengths, with the same settings
    (of one layer of 32 units, when nothing is said), until it has solved the task or for at most 30
    epochs or 5 minutes. The table has the share of right answers, and how much of the gradient
    reaches the first step; --plot draws both by length and step; the tasks are explained in
    docs/networks.md.

    \b
    Example:
      forecast compare --cells rnn,lstm,gru --presets classic,segment --horizon 12
      forecast compare --candidate dropout=0 --candidate dropout=0.5 --seeds 5 --plot dropout.png
      forecast compare --task adding --length 10..200 --plot memory.png
    """
    if output == "-":
        raise click.BadParameter("name a file: stdout has the table.", param_hint="--output")
    if task is not None:
        if ids or presets or candidates:
            raise click.UsageError("--task takes no IDS, --presets or --candidate: only --cells.")
        length = LENGTHS if length is None else length
        return _remember(task, length, cells or CELLS, seeds, output, plot, flags)
    if length is not None:
        raise click.UsageError("--length is that of the sequences of a --task; name one.")
    if odd := sorted({*presets} - {*PRESETS}):
        raise click.BadParameter(
            f"{odd[0]!r} is not one of {', '.join(PRESETS)}.", param_hint="--presets"
        )
    from forecaster.cli.comparison import comparison_text
    from forecaster.cli.output import emit, notice, progress
    from forecaster.cli.session import current
    from forecaster.cli.tables import runs, windows
    from forecaster.comparing import asked
    from forecaster.jobs import compare as run

    workspace = current().workspace()
    with progress("Comparing", total=None) as advance:
        result = run(
            workspace,
            ids,
            flags,
            asked(cells, presets, candidates),
            seeds,
            output=Path(output) if output else None,
            plot=Path(plot) if plot else None,
            on_run=runs(advance),
            on_window=windows(advance),
        )
    for line in result.notices:
        notice(line)
    emit(result.to_dict(), comparison_text(result))
    return result.exit_code


def _remember(
    task: str,
    length: str,
    cells: tuple[str, ...],
    seeds: int,
    output: str | None,
    plot: str | None,
    flags: dict[str, Any],
) -> int:
    """Compare cells on a memory task."""
    from forecaster.cli.memory import memory_text
    from forecaster.cli.output import emit, notice, progress
    from forecaster.cli.session import current
    from forecaster.cli.tables import runs
    from forecaster.jobs import remember as run

    workspace = current().workspace()
    with progress("Remembering", total=None) as advance:
        result = run(
            *(workspace, task, length, cells, seeds, flags),
            output=Path(output) if output else None,
            plot=Path(plot) if plot else None,
            tell=notice,
            on_run=runs(advance),
        )
    emit(result.to_dict(), memory_text(result))
    return result.exit_code
