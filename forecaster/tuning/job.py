"""`forecast tune`: settings searched on folds before the test rows, which stay unseen."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecaster import jobs
from forecaster.config import SECTION_OF, Config
from forecaster.errors import INTERRUPTED, ForecasterError, PartialError
from forecaster.exporting import export
from forecaster.locking import OnWait, silent
from forecaster.presets import check_asked
from forecaster.registry import Registry
from forecaster.reports.plots import require_plot
from forecaster.reports.studies import plot_study
from forecaster.settings_file import write_settings
from forecaster.store import Store
from forecaster.tuning import searching, spaces, studies
from forecaster.tuning.searching import Search
from forecaster.tuning.trying import OnProgress, record_of, score
from forecaster.tuning.tuned import Tuned
from forecaster.workspace import PREFIX, Workspace, load_config

if TYPE_CHECKING:
    from forecaster.jobs import TrainResult

RUN_ONLY = {"device", "deterministic", "seed", "time_budget"}
WRITTEN = {"data", "scaling", "network", "training", "bounds"}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a study is to do.

    Attributes:
        search: Settings with their values (`spaces.asked_for`); empty for the usual ones.
        trials: How many the study has in all, earlier ones included.
        timeout: Seconds after which it ends, in the midst of a trial if need be.
        inner_folds: How many folds trials are scored on; as many as fit when None.
        storage: Address of a SQLite file that keeps it; memory when None.
        study: Its name there.
        output: Table of the trials to write.
        plot: Picture to draw.
        write: Whether the best configuration goes into `forecast.toml`.
        train: Name of the model that is trained by it; None for none.
    """

    search: Sequence[str] = ()
    trials: int = 30
    timeout: float | None = None
    inner_folds: int | None = None
    storage: str | None = None
    study: str = "study"
    output: Path | None = None
    plot: Path | None = None
    write: bool = False
    train: str | None = None


@dataclass(frozen=True, kw_only=True)
class TuneResult:
    """A study, and what was done with its best configuration.

    Attributes:
        tuned: The study.
        settings: The best configuration, as far as it was searched, chosen or given by flags.
        series: How many were trained on.
        skipped: Series left out, and why.
        notices: What the reader should know, a line each.
        output: The table that was written.
        plot: The picture that was drawn.
        written: The file that the settings were written into.
        trained: What came of training by them.
        failure: Why they could not be written or trained: the study is reported all the same.
    """

    tuned: Tuned
    settings: dict[str, Any]
    series: int
    skipped: dict[str, str]
    notices: tuple[str, ...]
    output: Path | None = None
    plot: Path | None = None
    written: Path | None = None
    trained: TrainResult | None = None
    failure: ForecasterError | None = None

    @property
    def exit_code(self) -> int:
        """130 when it was interrupted, a failure's, 7 when some series were skipped, else 0."""
        if self.tuned.interrupted:
            return INTERRUPTED
        if self.failure is not None:
            return self.failure.exit_code
        return PartialError.exit_code if self.skipped else 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        document = {key: value for key, value in vars(self).items() if key != "tuned"}
        trained = None if self.trained is None else self.trained.to_dict()
        error = self.failure
        if error is not None:
            document["failure"] = {
                "code": error.exit_code,
                "message": error.message,
                "hint": error.hint,
            }
        return {**self.tuned.to_dict(), **document, "trained": trained}


def tune(
    workspace: Workspace,
    ids: Sequence[str],
    wanted: Wanted,
    flags: Mapping[str, Any],
    on_progress: OnProgress = lambda *_: None,
    on_notice: OnWait = silent,
) -> TuneResult:
    """Search settings for stored series, and do with the best what is wanted.

    Nothing is written into `forecast.toml` or trained when the search was interrupted.

    Args:
        workspace: Where series, models and `forecast.toml` are.
        ids: Series; all when empty.
        wanted: What the study is to do.
        flags: Settings that are given, and so not searched.
        on_progress: Called after each epoch.
        on_notice: Told that another process is waited for.

    Raises:
        InvalidInputError: Settings, a search or a study that do not go together.
        ForecasterError: No trial was completed.
    """
    jobs.require_output(workspace, wanted.output)
    require_plot(wanted.plot)
    if wanted.train is not None:
        Registry(workspace.models).require_writable(wanted.train)
    search, tuned = _searched(workspace, ids, wanted, flags, on_progress, on_notice)
    if wanted.output:
        export(tuned.to_frame(), wanted.output)
    if wanted.plot:
        plot_study(tuned, wanted.plot)
    if tuned.best is None and not tuned.interrupted:
        raise ForecasterError(tuned.verdict, _why_none(tuned))
    best = {} if tuned.best is None else tuned.best.settings
    settings = _given(flags) | tuned.start | best
    follows = "lookback" in best and "min_context" not in best  # from the lookback that was found
    if follows:
        settings.pop("min_context", None)
    ready = tuned.best is not None and not tuned.interrupted
    written = trained = failure = None
    try:
        if ready and wanted.write:
            out = {"min_context": None} if follows else {}
            write_settings(workspace.config_file, {**out, **settings})
            written = workspace.config_file
        if ready and wanted.train is not None:
            own = {"min_context": settings["lookback"]} if follows else {}
            asked = {**flags, **own, **settings}
            trained = jobs.train(workspace, ids, wanted.train, asked, lambda _: None)
    except ForecasterError as error:
        failure = error
    return TuneResult(
        tuned=tuned,
        settings=settings,
        series=len(search.panel.ids),
        skipped=search.panel.skipped,
        notices=(*search.panel.notices, *jobs.skips(search.panel.skipped)),
        output=wanted.output,
        plot=wanted.plot,
        written=written,
        trained=trained,
        failure=failure,
    )


def _searched(
    workspace: Workspace,
    ids: Sequence[str],
    wanted: Wanted,
    flags: Mapping[str, Any],
    on_progress: OnProgress,
    on_notice: OnWait,
) -> tuple[Search, Tuned]:
    """Begin or continue a study and run it; what was found when Ctrl-C ends it."""
    deadline = float("inf") if wanted.timeout is None else time.monotonic() + wanted.timeout
    asked, origins = load_config(workspace, flags)
    check_asked(asked)
    ranges = spaces.asked_for(wanted.search)
    fixed = {key for key, origin in origins.items() if origin.startswith(("--", PREFIX))}
    file = None if wanted.storage is None else studies.file_of(wanted.storage)
    search_of = partial(
        searching.search_of,
        Store(workspace.data).read(list(ids) or None),
        fixed=fixed,
        ranges=ranges,
        inner_folds=wanted.inner_folds,
    )

    def begin() -> tuple[dict[str, Any], dict[str, Any]]:
        new = search_of(asked)
        start = new.chosen_start()
        return {**new.identity(), "start": start}, new.starting(start).defaults

    def differences(about: Mapping[str, Any]) -> list[str]:
        there = search_of(Config.of(**about["settings"]))
        return searching.differences(about, there, asked, fixed)

    seed = asked.training.seed
    study = studies.open_study(file, wanted.study, seed, begin, differences, on_notice)
    begun = study.about  # by this process or another, with what `forecast.toml` said then
    search = search_of(Config.of(**begun["settings"])).starting(begun["start"])
    objective = partial(score, search=search, deadline=deadline, on_progress=on_progress)
    out_of_time = interrupted = False
    try:
        out_of_time = study.run(objective, wanted.trials, deadline)
    except KeyboardInterrupt:
        interrupted = True
    return search, Tuned(
        study=wanted.study,
        storage=wanted.storage,
        trials=tuple(record_of(trial) for trial in study.trials()),
        space={name: str(values) for name, values in search.space.items()},
        start=begun["start"],
        folds=search.folds.count,
        block=search.folds.block,
        horizon=search.folds.horizon_of_losses,
        importances=study.importances(list(search.space)),
        out_of_time=out_of_time,
        interrupted=interrupted,
    )


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags that say what a network is, not how it is run: they belong to the best."""
    given = {
        key: value
        for key, value in flags.items()
        if value is not None and SECTION_OF[key] in WRITTEN and key not in RUN_ONLY
    }
    read = Config.of(**given).flat()
    return {key: given[key] if isinstance(read[key], dict) else read[key] for key in given}


def _why_none(tuned: Tuned) -> str:
    """Say what to do when no trial was completed."""
    reasons = list(dict.fromkeys(trial.reason for trial in tuned.trials if trial.reason))
    if reasons:
        return f"What ended them: {' '.join(reasons[:3])}"
    return f"Give {'a longer --timeout' if tuned.out_of_time else 'more --trials'}."
