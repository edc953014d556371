"""What commands print: results on stdout, notices and progress on stderr."""

from __future__ import annotations

import math
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from forecaster.cli.session import current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

SILENCE = 30.0  # seconds without a line where no bar is drawn


def emit(document: Any, text: str) -> None:
    """Print the result of a command: the document under `--json`, else the text.

    Args:
        document: Anything of dicts, lists, numbers, strings, paths and times.
        text: The same for people; nothing is printed when it is empty.
    """
    if current().json:
        print_json(document)
    elif text:
        click.echo(text)


def show(line: str) -> None:
    """Print a line of a result that comes bit by bit; under `--json` its document comes at last."""
    if not current().json:
        click.echo(line)


def print_json(document: Any) -> None:
    """Print one strict JSON document: a number that is not finite becomes null."""
    import json

    click.echo(json.dumps(plain(document), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """Return a value in JSON's own types.

    >>> plain({"mase": float("nan"), "ids": ("a",)})
    {'mase': None, 'ids': ['a']}
    """
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()  # a number of NumPy
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def notice(text: str) -> None:
    """Tell the user something beside the result, on stderr, unless `--quiet`."""
    if not current().quiet:
        click.echo(text, err=True)


def table(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> str:
    """Return rows as aligned text; columns of numbers stand to the right.

    >>> print(table([("AAPL", 250), ("MSFT", 9)], ("series", "rows")))
    series  rows
    AAPL     250
    MSFT       9
    """
    rows = [list(row) for row in rows]
    cells = [["-" if cell is None else str(cell) for cell in row] for row in [list(headers), *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    right = [
        bool(rows) and all(isinstance(row[column], (int, float, type(None))) for row in rows)
        for column in range(len(headers))
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    )


def _lines(what: str, total: int | None) -> Callable[..., None]:
    """Stand in for a progress bar where there is none: a line now and then of what takes long."""
    done, said = 0.0, time.monotonic()

    def advance(steps: float = 1, label: str | None = None) -> None:
        nonlocal done, said
        done += steps
        if time.monotonic() - said >= SILENCE:
            count = "" if total is None else f" {done:g} of {total}"
            notice(f"{what}{count}: {label}" if label else f"{what}{count} ...")
            said = time.monotonic()

    return advance


def begun(what: str) -> None:
    """Say on stderr what begins where no progress bar shows it, for whoever reads a log."""
    if not sys.stderr.isatty():
        notice(f"{what} ...")


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show a progress bar on a terminal, and elsewhere a line now and then.

    Args:
        label: What is being done.
        total: How many steps there are; None when it is not known.

    Yields:
        `advance(steps=1, label=None)`, to call after each step.
    """
    session = current()
    if session.quiet or session.json or not sys.stderr.isatty():
        yield _lines(label, total)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)

        def advance(steps: float = 1, label: str | None = None) -> None:
            bar.update(task, advance=steps, description=label)

        yield advance
