"""A study: trials that Optuna chooses, kept in memory or in a SQLite file that processes share."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import (
    ExperimentalWarning,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from forecaster.config import SEEDS
from forecaster.errors import ForecasterError, InvalidInputError, TemporaryError
from forecaster.locking import OnWait

optuna.logging.set_verbosity(optuna.logging.ERROR)

SCHEME = "sqlite:///"
LOCKED = 120  # seconds that a busy database is waited for
BEGINNING = 3600.0  # seconds that the process which begins a study is waited for
HEARTBEAT = 30  # seconds between the signs of life of a trial
GRACE = 150  # seconds without one after which its process counts as dead; it may wait for the file
FIRST_AT_RANDOM = 10  # trials before the sampler, TPE, models what is good
JUDGED_BEFORE_PRUNING = 5  # trials
IMPORTANCE_TRIALS = 10  # completed ones, below which importances would be noise
BEGUN = "settings"  # attribute of a trial that its process has begun to work on
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


with warnings.catch_warnings():
    warnings.simplefilter("ignore", ExperimentalWarning)
    # of a trial whose process died, once: what killed it may do so again
    RETRY = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=1)


class TrialFailed(Exception):  # noqa: N818
    """The trial has no score, and its record says why."""


class Study:
    """A study that is open.

    Args:
        study: Of Optuna.
        storage: File that it is kept in; None for memory.
        database: What writes to that file.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: Path | None,
        database: optuna.storages.RDBStorage | None,
    ) -> None:
        self.optuna = study
        self.storage = storage
        self.database = database

    @property
    def about(self) -> dict[str, Any]:
        """What was written down when it was begun."""
        with told(self.storage):
            return dict(self.optuna.user_attrs)

    def trials(self) -> list[FrozenTrial]:
        """Return the trials in the order that they began; those that wait to be tried again not."""
        with told(self.storage):
            return [trial for trial in self.optuna.get_trials() if trial.state in COUNTED]

    def run(
        self,
        objective: Callable[[optuna.Trial], float],
        trials: int,
        deadline: float = float("inf"),
    ) -> bool:
        """Add trials until the study has so many, or the time is up; return whether it is.

        A trial whose process died or was interrupted counts as failed, and is tried once more.

        Args:
            objective: Gives the score of a trial, or raises what ends it.
            trials: In all, those of earlier runs and of other processes included.
            deadline: Time of `time.monotonic` after which no trial begins.
        """
        begun: list[int] = []

        def alive(trial: optuna.Trial) -> float:
            begun.append(trial.number)
            if self.database is not None:  # the thread that does so later may be a moment late
                self.database.record_heartbeat(trial._trial_id)
            return objective(trial)

        with told(self.storage), _quietly():
            while True:
                optuna.storages.fail_stale_trials(self.optuna)
                self._fail_unbegun()
                if len(self.trials()) >= trials:
                    return False
                if time.monotonic() >= deadline:
                    return True
                try:
                    self.optuna.optimize(alive, n_trials=1, catch=(TrialFailed,))
                except KeyboardInterrupt:
                    if self.database is not None and begun:
                        RETRY(self.optuna, self.optuna.get_trials()[begun[-1]])
                    raise

    def _fail_unbegun(self) -> None:
        """Fail the trials whose process died before their first sign of life: Optuna keeps them."""
        if self.database is None:
            return
        latest = datetime.now() - timedelta(seconds=GRACE)  # the clock that Optuna writes
        for trial in self.optuna.get_trials(states=(TrialState.RUNNING,)):
            begun = trial.datetime_start or latest
            if BEGUN not in trial.user_attrs and begun < latest:
                with suppress(UpdateFinishedTrialError):  # another process was faster
                    self.database.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                    RETRY(self.optuna, trial)

    def importances(self, names: list[str]) -> dict[str, float] | None:
        """Return how much of the scores' variance each setting explains; None when none can tell.

        By fANOVA (Hutter, Hoos & Leyton-Brown 2014) over the completed trials.
        """
        done = [trial for trial in self.trials() if trial.state is TrialState.COMPLETE]
        varied = [
            name for name in names if len({str(trial.params.get(name)) for trial in done}) > 1
        ]
        scores = {trial.value for trial in done}
        if len(done) < IMPORTANCE_TRIALS or len(scores) < 2 or not varied:
            return None
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        with _quietly():
            found = optuna.importance.get_param_importances(
                self.optuna, evaluator=evaluator, params=varied
            )
        return {name: float(share) for name, share in found.items()}


def file_of(url: str) -> Path:
    """Return the file of a storage.

    Raises:
        InvalidInputError: The address is of no SQLite file, or its folder does not exist.

    >>> str(file_of("sqlite:///tuning.db"))
    'tuning.db'
    """
    path = Path(url.removeprefix(SCHEME))
    if not url.startswith(SCHEME) or not path.name or path.is_dir():
        raise InvalidInputError(
            f"--storage needs {SCHEME}FILE, found {url!r}.", f"Write --storage {SCHEME}tuning.db."
        )
    if not path.parent.is_dir():
        raise InvalidInputError(
            f"The folder '{path.parent}' of --storage does not exist.", "Make it first."
        )
    return path


def open_study(
    storage: Path | None,
    name: str,
    seed: int,
    begin: Callable[[], tuple[dict[str, Any], dict[str, Any]]],
    differences: Callable[[Mapping[str, Any]], list[str]],
    on_wait: OnWait,
) -> Study:
    """Begin a study, or go on with the one of that name.

    Args:
        storage: SQLite file, made when there is none; None for memory.
        name: Of the study.
        seed: Of the sampler; processes that share a study draw different numbers.
        begin: Gives what to write down of a new study, and the values of its first trial.
        differences: Says in what a study, as it was begun, differs from the one that is wanted.
        on_wait: Told that another process is just beginning the study.

    Raises:
        InvalidInputError: The study of that name is another one.
        TemporaryError: The database is busy, or its study is being begun, for too long.
        ForecasterError: The file is no database of Optuna, or cannot be written.
    """
    with told(storage), _quietly(), _alone(storage, on_wait):
        database = None if storage is None else _database(storage)
        study = optuna.create_study(
            storage=database,
            study_name=name,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=JUDGED_BEFORE_PRUNING),
        )
        about = study.user_attrs
        if "settings" not in about and study.get_trials(deepcopy=False):
            raise InvalidInputError(
                f"The study {name!r} in '{storage}' was not begun by `forecast tune`.",
                "Give another --study or --storage.",
            )
        if "processes" not in about:  # it is new, or was left before it was whole
            identity, params = begin()
            for key, value in identity.items():
                study.set_user_attr(key, value)
            if not study.get_trials(deepcopy=False):
                study.enqueue_trial(params, user_attrs={"default": True})
        elif found := differences(about):
            raise InvalidInputError(
                f"The study {name!r} in '{storage}' is another one: {'; '.join(found)}.",
                "Give another --study, or what that one was begun with.",
            )
        number = int(about.get("processes", 0))
        study.set_user_attr("processes", number + 1)  # last: the study has all that it needs
        study.sampler = optuna.samplers.TPESampler(
            seed=(seed + number) % SEEDS, n_startup_trials=FIRST_AT_RANDOM
        )
    return Study(study, storage, database)


def _database(file: Path) -> optuna.storages.RDBStorage:
    try:
        return optuna.storages.RDBStorage(
            f"{SCHEME}{file}",
            engine_kwargs={"connect_args": {"timeout": LOCKED}},
            heartbeat_interval=HEARTBEAT,
            grace_period=GRACE,
            heartbeat_stale_trial_callback=RETRY,
        )
    except RuntimeError as error:
        raise InvalidInputError(
            f"'{file}' was made by another version of Optuna: {str(error).splitlines()[0]}",
            "Name a new file in --storage.",
        ) from error


@contextmanager
def _alone(storage: Path | None, on_wait: OnWait) -> Iterator[None]:
    """Let one process at a time make the tables and begin a study."""
    if storage is None:
        yield
        return
    lock = FileLock(f"{storage}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait(f"Waiting for the process that begins a study in '{storage}'.")
        try:
            lock.acquire(timeout=BEGINNING)
        except Timeout as error:
            raise TemporaryError(
                f"Another process has been beginning a study in '{storage}' for {BEGINNING:g} s.",
                "Run it again later.",
            ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def told(storage: Path | None) -> Iterator[None]:
    """Say in words what a storage cannot do."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        below = error.__cause__ or error
        cause = str(getattr(below, "orig", below)).splitlines()[0]
        if "locked" in cause:
            raise TemporaryError(
                f"The study's database '{storage}' was busy for {LOCKED} s.", "Run it again later."
            ) from error
        raise ForecasterError(
            f"The study's database '{storage}' cannot be used: {cause}.",
            "Name a file that `forecast tune` made, or a new one, where it can be written.",
        ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep to itself that parts of Optuna may change: its version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
