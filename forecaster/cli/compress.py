"""`forecast compress`: a smaller or faster version of a version."""

from __future__ import annotations

from functools import partial

import click

from forecaster.cli.waiting import Share


@click.command()
@click.option("--name", default="default", show_default=True, help="Name of the model.")
@click.option(
    "--version",
    metavar="VERSION",
    default="champion",
    show_default=True,
    help="Version that is compressed, as for `forecast models`.",
)
@click.option(
    "--quantize", type=click.Choice(["int8"]), help="Compute, or store, the weights in 8 bits."
)
@click.option(
    "--prune",
    type=Share(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Make a share of the weights zero, the smallest first, and train the others on.",
)
@click.option(
    "--distill", metavar="UNITS", help="Train one network with these --layers on its forecasts."
)
@click.option("--promote", is_flag=True, help="Put the new version into service.")
@click.option(
    "--max-rise",
    type=Share(0),
    metavar="SHARE",
    default=0.05,
    show_default=True,
    help="With --promote: not if MASE rises by more than this share; the exit code is 6 then.",
)
def compress(
    name: str,
    version: str,
    quantize: str | None,
    prune: float | None,
    distill: str | None,
    promote: bool,
    max_rise: float,
) -> int:
    """Make a smaller or faster version of a version.

    Size, latency and accuracy on the test folds are printed before and after. What comes of it is a
    version like any other, with intervals of its own, and comes into service only when asked.

    \b
    Example:
      forecast compress --name air --quantize int8
      forecast compress --name air --prune 0.5
      forecast compress --name air --distill 32 --promote
    """
    asked = [
        f"{option} {value}"
        for option, value in (("--quantize", quantize), ("--prune", prune), ("--distill", distill))
        if value is not None
    ]
    if len(asked) != 1:
        raise click.UsageError(
            "Say how to compress: one of --quantize int8, --prune SHARE and --distill UNITS is needed."
        )
    from forecaster import compressing
    from forecaster.cli.inspection import compressed_text
    from forecaster.cli.output import emit, notice, progress, show
    from forecaster.cli.session import current
    from forecaster.cli.tables import epochs, windows

    compressor: compressing.Compressor = compressing.quantise
    if prune is not None:
        compressor = partial(compressing.prune, share=prune)
    elif distill is not None:
        compressor = partial(compressing.distil, units=distill)
    refused = list[compressing.Compressed]()
    try:
        with progress("Compressing", total=None) as advance:
            result = compressing.compress(
                current().workspace(),
                name,
                version,
                compressor,
                asked[0],
                promote=promote,
                max_rise=max_rise,
                on_epoch=epochs(advance),
                on_window=windows(advance),
                on_wait=notice,
                on_refused=refused.append,
            )
    finally:
        for each in refused:
            show(compressed_text(each))  # under --json the error is the document
    for line in result.notices:
        notice(line)
    emit(result.to_dict(), compressed_text(result))
    return 0
