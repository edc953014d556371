"""The unattended cycle: lock, fetch, check, train, compare, promote, predict, export, prune.

Whatever happens, the last good model and the last good table stay in service. Each step works from
what is on disk, so a cycle that was cut off is made good by the next one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecaster import jobs
from forecaster.announcing import Announcer
from forecaster.atomic import at_home
from forecaster.config import Config
from forecaster.cycle import COMMAND, Cycle
from forecaster.errors import INTERRUPTED, ForecasterError, InvalidInputError, NotFoundError
from forecaster.locking import OnWait
from forecaster.locking import silent as quiet
from forecaster.logs import Log
from forecaster.presets import check_asked
from forecaster.registry import Registry
from forecaster.retrained import Retrained
from forecaster.runs import Journal, OnStep, Records, Step
from forecaster.statistical import OnWindow, silent
from forecaster.unattended import LogSpec
from forecaster.versions import require_name
from forecaster.workspace import Workspace, load_config

if TYPE_CHECKING:
    from forecaster.planning import OnEpoch


def retrain(
    workspace: Workspace,
    ids: Sequence[str],
    name: str,
    flags: Mapping[str, Any],
    *,
    wait: float = 0.0,
    on_wait: OnWait = quiet,
    on_step: OnStep = lambda _: None,
    on_epoch: OnEpoch = lambda _: None,
    on_window: OnWindow = silent,
) -> Retrained:
    """Run one cycle for a model.

    Args:
        workspace: Where it lies.
        ids: Series to train on; those of the champion when none, else all that are stored.
        name: The model.
        flags: Settings that were asked for.
        wait: Seconds to wait for another process that changes the model.
        on_wait: Told whom there is to wait for.
        on_step: Told when a step begins and when it ends, after its record is written.
        on_epoch: Called after each epoch.
        on_window: Called after each window that Theta or ETS is fitted to.

    Returns:
        What came of it; errors of the user's kind are in it, with the exit code.

    Raises:
        InvalidInputError: The settings or the name cannot be used; nothing was begun.
        NotFoundError: The workspace holds no series; nothing was begun.
        TemporaryError: Another process is changing the model; nothing was begun.
    """
    require_name(name)
    try:
        config, origins = load_config(workspace, flags)
        if config.retrain.is_fresh:
            check_asked(config)
    except InvalidInputError as error:
        if workspace.config_file.exists():
            log = Log.of(workspace.folder, LogSpec(), name, pid=os.getpid())
            log.write(str(error), level="error", step="end", exit_code=error.exit_code)
        raise
    if not workspace.data.is_dir() and not workspace.config_file.exists():
        raise NotFoundError(
            f"'{workspace.folder}' holds no series: there is no '{workspace.data.name}' in it.",
            "Name the folder with --workspace, or fetch series first: forecast fetch --help.",
        )
    registry = Registry(workspace.models, lock_timeout=wait, on_wait=on_wait)
    records = Records(registry.model_folder(name))
    announcer = Announcer(workspace.folder, config, name, on_step)
    journal = Journal(COMMAND, records, announcer.step)
    result = Retrained(name, journal.run)
    try:
        output = _output(workspace, config, origins, name)
        registry.require_writable(name)
        journal.note(output=_written(output.absolute(), workspace.folder.absolute()))
        with _turn(registry, name, journal):
            cycle = Cycle(workspace, registry, config, origins, journal, result)
            try:
                cycle.go(list(ids), flags, output, on_epoch, on_window)
            except ForecasterError as error:
                result.error = error
            journal.end(result.exit_code, result.message)
    except BaseException as error:
        announcer.end(journal.run, _code(error), str(error) or type(error).__name__)
        raise
    result.run = journal.run
    result.notices += announcer.end(result.run, result.exit_code, result.message)
    return result


@contextmanager
def _turn(registry: Registry, name: str, journal: Journal) -> Iterator[None]:
    """Be the only one that changes a model in the body of `with`; record what ends it early."""
    began = time.monotonic()
    journal.on_step(Step("lock", "running"))
    with registry.writing(name):
        journal.put((), Step("lock", "done", round(time.monotonic() - began, 3)))
        registry.lock_timeout = jobs.SAVE_TIMEOUT
        try:
            yield
        except BaseException as error:
            with suppress(OSError):
                journal.end(_code(error), str(error) or type(error).__name__)
            raise


def _code(error: BaseException) -> int:
    if isinstance(error, ForecasterError):
        return error.exit_code
    if isinstance(error, SystemExit):
        return int(error.code or 0)
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1


def _output(workspace: Workspace, config: Config, origins: Mapping[str, str], name: str) -> Path:
    """Return where the table goes; the folder is made when nobody named another."""
    said = config.retrain.output
    if said is None:
        path = workspace.folder / "forecasts" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
    of_file = origins["output"] == str(workspace.config_file)
    return (workspace.folder if of_file else Path()) / at_home(said)


def _written(output: Path, folder: Path) -> str:
    """Return a path as records write it: from the workspace on, which may be moved."""
    return str(output.relative_to(folder) if output.is_relative_to(folder) else output)
