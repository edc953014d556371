"""Nights of `retrain`, each in a process of its own at a time that is told: for the simulated year.

Importing TensorFlow takes seconds, so that it is done once: what is started here reads nights from
standard input, a JSON list a line, and forks a process for each. It has to be one thread still, as a
forked process has none of the others. A network this small is trained faster by TensorFlow's single
operations than by functions that are compiled first.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import sklearn.preprocessing  # noqa: F401 - imported once, for all nights
import statsmodels.tsa.api  # noqa: F401
import tensorflow as tf
import time_machine

import forecaster.backtesting
import forecaster.selecting
import forecaster.training  # noqa: F401
from forecaster.errors import ForecasterError
from forecaster.retraining import retrain
from forecaster.runs import Step
from forecaster.runtime import import_onnxruntime
from forecaster.workspace import Workspace

FORKS_WELL = "jemalloc_bg_thd"  # Arrow's allocator: it starts its thread anew in a forked process


def night(folder: Path, name: str, when: str, kill: list[str] | None, limit: int | None) -> int:
    """Run a cycle and return its exit code.

    Args:
        folder: The workspace.
        name: The model.
        when: The time by the clock, ISO 8601.
        kill: Name and outcome of the step that is the last thing it tells.
        limit: Bytes that the largest file may have, as when a disk is full.
    """

    def told(step: Step) -> None:
        if [step.name, step.outcome] == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with time_machine.travel(datetime.fromisoformat(when), tick=True):
        try:
            return retrain(Workspace(folder), [], name, {}, on_step=told).exit_code
        except ForecasterError as error:
            return error.exit_code


def forked(folder: Path, name: str, asked: dict[str, Any]) -> int:
    """Run a night in a process of its own; return its pid."""
    if pid := os.fork():
        return pid
    code = 70  # as when Python fails
    try:
        code = night(folder, name, **asked)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def threads() -> list[str]:
    """Return the names of the other threads; one that has just begun has no name of its own yet."""
    names: set[str] = set()
    for _ in range(100):
        tasks = (
            task for task in Path("/proc/self/task").iterdir() if task.name != str(os.getpid())
        )
        names = {(task / "comm").read_text().strip() for task in tasks} - {FORKS_WELL}
        if not names:
            break
        time.sleep(0.1)
    return sorted(names)


def main(folder: str, name: str) -> None:
    """Run what is asked for, all nights of a line at once, and answer with their exit codes."""
    import_onnxruntime()
    tf.config.run_functions_eagerly(True)
    warnings.filterwarnings(
        "ignore", "Even though the `tf.config.experimental_run_functions_eagerly`"
    )
    print(json.dumps(threads()), flush=True)  # noqa: T201
    for line in sys.stdin:
        pids = [forked(Path(folder), name, asked) for asked in json.loads(line)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        print(json.dumps(codes), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
