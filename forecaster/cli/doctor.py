"""`forecast doctor`: can this machine and this workspace run forecasts?"""

from __future__ import annotations

import click


@click.command()
def doctor() -> int:
    """Check that this machine can train and predict, and say what to do if not.

    Looks at Python, packages, the Keras backend, GPUs, XLA, whether cuDNN can run the configured
    network, ONNX Runtime, the workspace and its disk. Exits with 1 when something would stop a run.

    \b
    Example:
      forecast doctor
    """
    from forecaster.cli.output import emit, table
    from forecaster.cli.session import current
    from forecaster.doctor import examine

    checks = examine(current().workspace())
    failed = any(check.state == "fail" for check in checks)
    lines = [
        (check.state, check.name, f"{check.found}. {check.advice}".removesuffix(". "))
        for check in checks
    ]
    emit(
        {"healthy": not failed, "checks": [check._asdict() for check in checks]},
        table(lines, ("state", "check", "found")),
    )
    return int(failed)
