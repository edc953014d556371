"""The jobs of the command line: a workspace in, a result to print out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from forecaster import api, judging, series
from forecaster.archive import OTHER, STORE, Archive
from forecaster.config import SECTION_OF, Config
from forecaster.continuing import BUILT_FOR, KEPT
from forecaster.contradictions import check_gates
from forecaster.errors import (
    INTERRUPTED,
    ForecasterError,
    InvalidInputError,
    NotFoundError,
    PartialError,
    QualityGateError,
)
from forecaster.exporting import export, require_folder, require_format
from forecaster.locking import OnWait
from forecaster.locking import silent as quiet
from forecaster.manifest import NAMED, series_named
from forecaster.memory.tasks import TASKS, lengths_of, require_own
from forecaster.model import Model, Trained
from forecaster.predicting import predict as forecast
from forecaster.presets import check_asked
from forecaster.recipes import RECIPE, recipe
from forecaster.refreshing import require_no_input
from forecaster.registry import Registry
from forecaster.reports.costs import plot_costs
from forecaster.reports.memory import plot_memory
from forecaster.reports.plots import plot_forecasts, require_plot
from forecaster.statistical import OnWindow, silent
from forecaster.store import Store
from forecaster.words import by_reason, listed
from forecaster.workspace import Workspace, load_config

if TYPE_CHECKING:
    from forecaster.comparing import Candidates, Comparison
    from forecaster.judging import Judgement
    from forecaster.memory.remembered import Memory
    from forecaster.planning import OnEpoch, OnRun
    from forecaster.selecting import Selection
    from forecaster.series import Panel
    from forecaster.sources.layout import Columns


SAVE_TIMEOUT = 600.0  # seconds: a training is worth more than the wait for another writer


@dataclass(frozen=True, kw_only=True)
class Result:
    """What every job says of its series.

    Attributes:
        skipped: Series left out, and why.
        notices: What the reader should know, a line each.
        output: The table that was written.
    """

    skipped: dict[str, str]
    notices: tuple[str, ...]
    output: Path | None = None

    @property
    def exit_code(self) -> int:
        """0, or 7 when some series were skipped."""
        return PartialError.exit_code if self.skipped else 0


@dataclass(frozen=True, kw_only=True)
class BacktestResult(Result):
    """A backtest, ready to print."""

    judgement: Judgement
    config: Config
    selection: Selection | None
    warm_start: dict[str, Any] | None
    series: int
    rows: int
    filled: int  # of the rows, those that were missing or had no value
    fallback: dict[str, str] | None  # what forecasts each series that the network does not

    @property
    def calibrated_again(self) -> bool:
        """Whether what is published was calibrated on the folds that it is judged on."""
        return False

    @property
    def refused(self) -> bool:
        """Whether skill was asked for and is not proven."""
        return self.config.evaluation.require_skill and not self.judgement.has_skill

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {
            "series": self.series,
            "rows": self.rows,
            "filled": self.filled,
            "skipped": self.skipped,
            "notices": self.notices,
            "config": self.config.model_dump(),
            "selection": None if self.selection is None else self.selection.to_dict(),
            "warm_start": self.warm_start,
            "judgement": self.judgement.to_dict(),
            "fallback": self.fallback,
            "output": self.output,
        }


@dataclass(frozen=True, kw_only=True)
class TrainResult(BacktestResult):
    """A trained model, ready to print.

    Attributes:
        champion: The version in service, which is this one unless a newer model stays there.
    """

    name: str
    version: str
    champion: str
    judged: Trained
    published: Trained

    @property
    def calibrated_again(self) -> bool:
        """Whether it is a refit, which is calibrated on rows held out of the judged network."""
        return self.published is not self.judged

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        fits = {"judged": asdict(self.judged), "published": asdict(self.published)}
        names = {"name": self.name, "version": self.version, "champion": self.champion}
        return {**names, **fits} | super().to_dict()


@dataclass(frozen=True, kw_only=True)
class CompareResult(Result):
    """A comparison, ready to print."""

    comparison: Comparison
    plot: Path | None

    @property
    def exit_code(self) -> int:
        """0, or 7 when series or candidates are left out; 130 when it was interrupted."""
        if self.comparison.interrupted:
            return INTERRUPTED
        return PartialError.exit_code if self.comparison.failed else super().exit_code

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {
            **self.comparison.to_dict(),
            "skipped": self.skipped,
            "notices": self.notices,
            "output": self.output,
            "plot": self.plot,
        }


@dataclass(frozen=True, kw_only=True)
class MemoryResult(Result):
    """What cells remember, ready to print."""

    memory: Memory
    plot: Path | None

    @property
    def exit_code(self) -> int:
        """0, or 130 when it was interrupted."""
        return INTERRUPTED if self.memory.interrupted else 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {**self.memory.to_dict(), "output": self.output, "plot": self.plot}


@dataclass(frozen=True, kw_only=True)
class PredictResult(Result):
    """Forecasts, written or to be printed."""

    frame: pd.DataFrame
    name: str
    version: str
    plot: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`; the rows only when no file holds them."""
        document = {key: value for key, value in vars(self).items() if key != "frame"}
        if self.output is None:
            document["forecasts"] = self.frame.to_dict("records")
        return document | {"rows": len(self.frame)}


def train(
    workspace: Workspace,
    ids: Sequence[str],
    name: str,
    flags: Mapping[str, Any],
    on_epoch: OnEpoch,
    on_window: OnWindow = silent,
    warm_start: str | None = None,
    on_wait: OnWait = quiet,
    on_refused: Callable[[BacktestResult], None] = lambda _: None,
) -> TrainResult:
    """Train on stored series, from a version's weights when asked; save it and put it into service.

    A backfill is only saved. `on_wait` is told when another process is changing the model,
    `on_refused` how a model did that has not the skill that is required.
    """
    registry = Registry(workspace.models, lock_timeout=SAVE_TIMEOUT, on_wait=on_wait)
    registry.require_writable(name)
    config, _ = load_config(workspace, flags)
    if warm_start is None:  # else the version's settings come in
        check_asked(config)
    forecaster = api.Forecaster.of(config)
    start = None if warm_start is None else registry.find(name, warm_start)
    store = Store(workspace.data)
    entries = store.entries()  # before the rows: a recipe is never too new
    frame = store.read(list(ids) or None)
    try:
        forecaster.fit(frame, on_epoch, on_window=on_window, warm_start=start)
    except QualityGateError:
        on_refused(BacktestResult(**_outcome(forecaster.evaluated)))
        raise
    about = forecaster.about | {NAMED: bool(ids)}
    if warm_start is None:
        with suppress(InvalidInputError):  # `retrain` keeps some settings where no flag says them
            asked, _ = load_config(workspace, {key: flags[key] for key in flags if key not in KEPT})
            about[RECIPE] = recipe(asked, entries, forecaster.model.scaling.ids)
    version = registry.save(name, forecaster.model, about, forecaster.judged)
    return TrainResult(
        **_outcome(forecaster.evaluated),
        name=name,
        version=version,
        champion=registry.champion(name),
        judged=forecaster.evaluated.backtest.models[-1].trained,
        published=forecaster.model.trained,
    )


def backtest(
    workspace: Workspace,
    ids: Sequence[str],
    flags: Mapping[str, Any],
    output: Path | None,
    on_epoch: OnEpoch,
    on_window: OnWindow = silent,
) -> BacktestResult:
    """Judge settings on stored series; write every forecast when asked, skill or not."""
    require_output(workspace, output)
    config, _ = load_config(workspace, {**flags, "refit_all": False})
    check_asked(config)
    frame = Store(workspace.data).read(list(ids) or None)
    evaluated = api.evaluate(frame, config, on_epoch, on_window)
    if output:
        export(evaluated.backtest.folds.to_frame(), output)
    return BacktestResult(**_outcome(evaluated), output=output)


def compare(
    workspace: Workspace,
    ids: Sequence[str],
    flags: Mapping[str, Any],
    candidates: Candidates,
    seeds: int,
    *,
    output: Path | None,
    plot: Path | None,
    on_run: OnRun,
    on_window: OnWindow = silent,
) -> CompareResult:
    """Compare candidates on stored series; write every run and draw them when asked."""
    from forecaster.comparing import compared, configured  # here: forecasts need none of it

    require_output(workspace, output)
    require_plot(plot)
    config, _ = load_config(workspace, flags)
    configs = configured(config, candidates)
    frame = Store(workspace.data).read(list(ids) or None)
    found = compared(frame, configs, seeds, on_run, on_window)
    if output:
        export(found.to_frame(), output)
    if plot:
        best = judging.best_of({name: row["mase"] for name, row in found.baselines.items()})
        plot_costs(found.means(), found.spreads(), {best: found.baselines[best]["mase"]}, plot)
    return CompareResult(
        comparison=found,
        skipped=found.panel.skipped,
        notices=(*found.panel.notices, *skips(found.panel.skipped)),
        output=output,
        plot=plot,
    )


def remember(
    workspace: Workspace,
    task: str,
    length: str,
    cells: Sequence[str],
    seeds: int,
    flags: Mapping[str, Any],
    *,
    output: Path | None,
    plot: Path | None,
    tell: Callable[[str], None],
    on_run: OnRun,
) -> MemoryResult:
    """Train cells on a memory task; write every network and draw them when asked."""
    require_own(flags)
    lengths = lengths_of(length)
    from forecaster.memory import remembering  # here: forecasts need none of it

    require_output(workspace, output)
    require_plot(plot)
    config, _ = load_config(workspace, flags)
    check_gates(config.network.gate_bias, cells)
    asked = TASKS[task], cells, lengths, seeds, config
    tell(remembering.cost(*asked))
    memory = remembering.remember(*asked, on_run)
    if output:
        export(memory.to_frame(), output)
    if plot:
        plot_memory(memory, plot)
    return MemoryResult(memory=memory, skipped={}, notices=(), output=output, plot=plot)


def require_output(workspace: Workspace, output: Path | None, file: str | None = None) -> None:
    """Refuse, before the work, a table that cannot be written or would replace what is read."""
    if output == Path("-"):
        raise InvalidInputError("--output needs a file here, but is '-'.", "Name one.")
    require_folder(output)
    require_format(output)
    require_no_input(workspace, output)
    if output is not None and file is not None and Path(file).resolve() == output.resolve():
        raise InvalidInputError(
            f"--data and --output are both '{output}', which would be overwritten.",
            "Name another --output.",
        )


def _outcome(evaluated: api.Evaluated) -> dict[str, Any]:
    model, earlier = evaluated.backtest.models[-1], evaluated.earlier
    return {
        "judgement": evaluated.backtest.judgement,
        "config": evaluated.config,
        "selection": evaluated.selection,
        "warm_start": None if earlier is None else earlier.to_dict(evaluated.panel),
        "series": len(evaluated.panel.ids),
        "rows": len(evaluated.panel.y),
        "filled": int(evaluated.panel.filled.sum()),
        "fallback": model.fallback and model.fallback.by_series(model.scaling.ids),
        "skipped": evaluated.panel.skipped,
        "notices": (*evaluated.panel.notices, *skips(evaluated.panel.skipped)),
    }


def skips(skipped: Mapping[str, str]) -> list[str]:
    """Say which series were left out, and why, a line for each reason."""
    return [f"Skipped {listed(ids)}: {why}." for why, ids in by_reason(skipped).items()]


def predict(
    workspace: Workspace,
    ids: Sequence[str],
    name: str,
    flags: Mapping[str, Any],
    *,
    horizon: int | None,
    file: str | None,
    columns: Columns,
    output: Path | None,
    plot: Path | None,
) -> PredictResult:
    """Forecast with the version in service; keep the table, write it and a plot when asked."""
    require_output(workspace, output, file)
    require_plot(plot)
    model, version = Registry(workspace.models).load(name)
    config = settings_today(model, workspace, flags)
    frame, notices, missing = rows_for(workspace, model, ids, name, version, file, columns)
    panel = series.prepare(frame, config.data)
    prediction = forecast(
        model,
        panel,
        horizon=horizon,
        level=config.prediction.level,
        version=version,
        bounds=config.bounds,
        too_short=config.data.too_short,
        adaptive=config.prediction.adaptive_intervals,
        max_age=config.prediction.max_age,
    )
    skipped = missing | prediction.skipped
    kept = pd.concat([prediction.frame, prediction.baselines], axis=1)
    unkept = _keep(workspace, kept, panel, name, version, stored=file is None)
    if output:
        export(prediction.frame, output)
    if plot:
        plot_forecasts(panel, prediction.frame, plot)
    return PredictResult(
        frame=prediction.frame,
        name=name,
        version=version,
        notices=(*notices, *panel.notices, *prediction.notices, *unkept, *skips(skipped)),
        skipped=skipped,
        output=output,
        plot=plot,
    )


def _keep(
    workspace: Workspace,
    table: pd.DataFrame,
    panel: Panel,
    name: str,
    version: str,
    *,
    stored: bool,
) -> tuple[str, ...]:
    """Keep a forecast before it is published; a full or read-only archive does not stop it."""
    try:
        Archive(workspace.forecasts).publish(
            table,
            name=name,
            version=version,
            data_hash=panel.digest(),
            source=STORE if stored else OTHER,
        )
    except ForecasterError as error:
        return (str(error),)
    return ()


def settings_today(model: Model, workspace: Workspace, flags: Mapping[str, Any]) -> Config:
    """Return the model's settings, with what is asked for today in place of its policies and bounds."""
    asked, origins = load_config(workspace, flags)
    fixed = BUILT_FOR - {"calendar"}  # the network was built for these
    today = {
        key: value
        for key, value in asked.flat().items()
        if SECTION_OF[key] in {"data", "bounds", "prediction"}
        and key not in fixed
        and (SECTION_OF[key] == "prediction" or origins[key] != "default")
    }
    return model.config.replace(**today)


def require_known(model: Model, ids: Sequence[str], name: str) -> None:
    """Refuse series that a model was not trained on.

    Raises:
        NotFoundError: Names them, and those that it knows.
    """
    known = model.scaling.ids
    if strange := sorted(set(ids) - set(known)):
        raise NotFoundError(
            f"The model {name!r} was not trained on {', '.join(map(repr, strange[:5]))}; it "
            f"knows {', '.join(map(repr, known[:5]))}{' ...' if len(known) > 5 else ''}.",
            "Train with them, or forecast them as new series with --data FILE.",
        )


def rows_for(
    workspace: Workspace,
    model: Model,
    ids: Sequence[str],
    name: str,
    version: str,
    file: str | None,
    columns: Columns,
) -> tuple[pd.DataFrame, tuple[str, ...], dict[str, str]]:
    """Return the rows to forecast from, with notices and the series that are not stored any more.

    They are those of a file, or of the stored series that the model knows. Nothing is said of others
    where the user named these at training.
    """
    if file is None:
        require_known(model, ids, name)
        known = model.scaling.ids
        store = Store(workspace.data)
        stored = set(store.ids())
        gone = [] if ids else [uid for uid in known if uid not in stored]
        wanted = list(ids) or [uid for uid in known if uid in stored]
        frame = store.read(wanted or list(known))
        new = [] if ids else sorted(stored - set(known))
        if new and series_named(Registry(workspace.models).version_folder(name, version)):
            new = []
        strangers = (
            f"Left out, because the model {name!r} was trained without them: {listed(new)}. "
            f"Train again{'' if model.config.network.joint else ', or give them with --data'}.",
        )
        return frame, strangers if new else (), dict.fromkeys(gone, "it is not stored any more")
    from forecaster.sources.files import read_file

    frame, said = read_file(file, columns)
    if missing := sorted(set(ids) - set(frame["unique_id"])):
        raise NotFoundError(
            f"'{file}' has no series {missing[0]!r}; it has "
            f"{', '.join(map(repr, frame['unique_id'].unique()[:5]))}."
        )
    return (frame[frame["unique_id"].isin(ids)] if ids else frame), tuple(said), {}
