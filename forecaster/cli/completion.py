"""`forecast completion`: the script that completes commands and options in a shell."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL: bash, zsh or fish.

    \b
    Example:
      forecast completion bash > ~/.local/share/bash-completion/completions/forecast
    """
    from click.shell_completion import get_completion_class

    from forecaster.cli.output import emit

    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"This version of click does not know the shell {shell!r}.", ctx)
    text = script(ctx.find_root().command, {}, "forecast", "_FORECAST_COMPLETE").source()
    emit({"shell": shell, "script": text}, text)
