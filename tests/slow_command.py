"""A command for the tests of signals: it holds a temporary folder until it is told to stop."""

from __future__ import annotations

import sys
import tempfile
import time

import click

from forecaster.cli import app


@click.command()
def wait() -> None:
    """Wait inside a temporary folder whose name is printed."""
    with tempfile.TemporaryDirectory() as folder:
        click.echo(folder)
        time.sleep(60)


if __name__ == "__main__":
    app.COMMANDS["wait"] = ("tests.slow_command:wait", "Wait.")
    sys.exit(app.run(sys.argv[1:]))
