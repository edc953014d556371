"""`forecast doctor`: can this machine and this workspace run forecasts?"""

from __future__ import annotations

import click

NAMES = len("cudnn recurrent_1")


@click.command()
def doctor() -> int:
    """Check that this machine can train and predict, and say what to do if not.

    Looks at Python, packages, the Keras backend, GPUs, XLA, whether cuDNN can run the configured
    network, ONNX Runtime, the workspace and its disk. Exits with 1 when something would stop a run.

    \b
    Example:
      forecast doctor
    """
    from forecaster.cli.output import emit, show
    from forecaster.cli.session import current
    from forecaster.doctor import examine

    checks = []
    for check in examine(current().workspace()):  # shown as they come: the last ones take seconds
        checks.append(check)
        found = f"{check.found.rstrip('.')}. {check.advice}".removesuffix(". ")
        show(f"{check.state:<4}  {check.name:<{NAMES}}  {found}")
    failed = any(check.state == "fail" for check in checks)
    emit({"healthy": not failed, "checks": [check._asdict() for check in checks]}, "")
    return int(failed)
