"""One trial of a study: a configuration scored on the inner folds, and why it has no score."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from optuna import Trial
from optuna.exceptions import TrialPruned
from optuna.trial import FrozenTrial, TrialState

from forecaster import backend
from forecaster.errors import ForecasterError
from forecaster.tuning import tuned
from forecaster.tuning.searching import Search, plain
from forecaster.tuning.studies import BEGUN, TrialFailed

if TYPE_CHECKING:
    from forecaster.planning import Progress

OnProgress = Callable[[int, int, "Progress"], None]  # trial, fold and epoch
STATES = {
    TrialState.COMPLETE: tuned.COMPLETE,
    TrialState.PRUNED: tuned.PRUNED,
    TrialState.FAIL: tuned.FAILED,
    TrialState.RUNNING: tuned.RUNNING,
}


class TimeUp(Exception):  # noqa: N818
    """The study's time is over, in the midst of a trial."""


def score(trial: Trial, *, search: Search, deadline: float, on_progress: OnProgress) -> float:
    """Score one trial, fold by fold, the one with the fewest rows first."""
    from forecaster import training

    default = bool(trial.user_attrs.get("default"))
    names = search.defaults if default else search.space  # the default may lie outside the space
    params = {name: search.space[name].suggest(trial, name) for name in names}
    fold = 0

    def on_epoch(progress: Progress) -> None:
        if time.monotonic() > deadline:
            raise TimeUp
        on_progress(trial.number, fold, progress)

    fit = partial(training.fit, on_epoch=on_epoch)
    scores: list[float] = []
    losses: list[float] = []
    with _recorded(trial):
        trial.set_user_attr(BEGUN, plain(search.asked_by(params)))  # it may be refused
        config = search.base if default else search.config(params)
        trial.set_user_attr(BEGUN, plain(search.settings(config)))
        ensemble = search.asked.training.ensemble or 1
        config = config.replace(ensemble=ensemble, refit_all=False, fallback="none")
        for fold in range(search.folds.count):
            found = search.folds.score(config, fit, fold)
            scores.append(found.mase)
            losses.extend(found.losses)
            trial.set_user_attr("folds", scores)
            trial.report(float(np.mean(scores)), fold)
            if not default and fold + 1 < search.folds.count and trial.should_prune():
                trial.set_user_attr("reason", f"Worse than most after {fold + 1} of the folds.")
                raise TrialPruned
        trial.set_user_attr("losses", losses)
    return float(np.mean(scores))


@contextmanager
def _recorded(trial: Trial) -> Iterator[None]:
    """Write down why a trial ends without a score; a mistake of the program's own stays one."""
    try:
        yield
    except TimeUp as error:
        trial.set_user_attr("reason", "The time was up.")
        raise TrialPruned from error
    except ForecasterError as error:
        trial.set_user_attr("reason", error.message)
        raise TrialFailed from error
    except Exception as error:
        if not backend.is_out_of_memory(error):
            raise
        trial.set_user_attr("reason", "Out of memory.")
        raise TrialFailed from error


def record_of(trial: FrozenTrial) -> tuned.Trial:
    """Return what is known of a trial."""
    about, failed = trial.user_attrs, trial.state is TrialState.FAIL
    reason = about.get("reason", "The process that ran it ended." if failed else "")
    return tuned.Trial(
        number=trial.number,
        state=STATES[trial.state],
        default=bool(about.get("default")),
        score=trial.value if trial.state is TrialState.COMPLETE else None,
        folds=tuple(about.get("folds", ())),
        losses=tuple(about.get("losses", ())),
        settings=dict(about.get(BEGUN, {})),
        seconds=None if trial.duration is None else round(trial.duration.total_seconds(), 2),
        reason=reason,
    )
