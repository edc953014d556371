"""The unattended cycle: lock, fetch, check, train, compare, promote, predict, export, prune.

Whatever happens, the last good model and the last good table stay in service. Each step works from
what is on disk, so a cycle that was cut off is made good by the next one.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from forecaster import api, challenging, comparing, gates, jobs, series
from forecaster.announcing import Announcer
from forecaster.archive import ABANDONED, Archive
from forecaster.atomic import replace_file, sweep, sweep_file
from forecaster.config import Config
from forecaster.errors import (
    DamagedError,
    ForecasterError,
    NotFoundError,
    PartialError,
    QualityGateError,
)
from forecaster.locking import OnWait
from forecaster.locking import silent as quiet
from forecaster.manifest import trained_on
from forecaster.predicting import export, require_folder, require_format
from forecaster.refreshing import refresh
from forecaster.registry import Registry
from forecaster.runs import Journal, OnStep, Records, Run, Step
from forecaster.sources.layout import GUESSED
from forecaster.statistical import OnWindow, silent
from forecaster.store import Store
from forecaster.words import listed
from forecaster.workspace import Workspace, load_config

if TYPE_CHECKING:
    from forecaster.planning import OnEpoch

COMMAND = "retrain"
ACCEPTED = "accepted.parquet"  # the rows that the data gates last let pass


def untold(step: Step) -> None:
    """Tell nobody of a step."""
    del step


@dataclass
class Retrained:
    """What came of a cycle.

    Attributes:
        name: The model.
        run: Its record: steps, champion, challenger, scores, exit code.
        output: The table that was written; None when the last one stays.
        rows: Of that table.
        notices: What the reader should know, a line each.
        failed: Series that failed or were skipped, and why.
        error: What ended it early, or kept the challenger out.
    """

    name: str
    run: Run
    output: Path | None = None
    rows: int = 0
    notices: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    error: ForecasterError | None = None

    @property
    def exit_code(self) -> int:
        """0; the error's code; 7 when series failed and nothing worse happened."""
        code = 0 if self.error is None else self.error.exit_code
        mild = code in (0, QualityGateError.exit_code)
        return PartialError.exit_code if self.failed and self.output and mild else code

    @property
    def message(self) -> str:
        """What ended it early, or the series that failed; empty when all is well."""
        if self.error is not None:
            return str(self.error)
        return f"Failed: {listed(list(self.failed))}." if self.failed else ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        document: dict[str, Any] = {
            "name": self.name,
            "output": self.output,
            "rows": self.rows,
            "failed": self.failed,
            "notices": self.notices,
            "run": self.run.to_dict(),
        }
        if self.error is not None:
            said = {"message": self.error.message, "hint": self.error.hint}
            document["error"] = {"code": self.exit_code, **said}
        return document


def retrain(
    workspace: Workspace,
    ids: Sequence[str],
    name: str,
    flags: Mapping[str, Any],
    *,
    wait: float = 0.0,
    on_wait: OnWait = quiet,
    on_step: OnStep = untold,
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
        TemporaryError: Another process is changing the model; nothing was begun.
    """
    config, origins = load_config(workspace, flags)
    output = _output(workspace, config, origins, name)
    registry = Registry(workspace.models, lock_timeout=wait, on_wait=on_wait)
    registry.require_writable(name)
    announcer = Announcer(workspace.folder, config, name, on_step)
    journal = Journal(COMMAND, Records(registry.model_folder(name)), announcer.step)
    try:
        with _turn(registry, name, journal):
            cycle = _Cycle(workspace, registry, name, config, journal)
            try:
                cycle.go(list(ids), flags, output, on_epoch, on_window)
            except ForecasterError as error:
                cycle.error = error
            result = cycle.result()
            journal.end(result.exit_code, result.message)
            result.run = journal.run
    except BaseException as error:
        announcer.end(journal.run, _code(error), str(error) or type(error).__name__)
        raise
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
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _output(workspace: Workspace, config: Config, origins: Mapping[str, str], name: str) -> Path:
    """Return where the table goes; the folder is made when nobody named another."""
    said = config.retrain.output
    if said is None:
        path = workspace.folder / "forecasts" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
    of_file = origins["output"] == str(workspace.config_file)
    path = (workspace.folder if of_file else Path()) / Path(said).expanduser()
    require_folder(path)
    require_format(path)
    return path


class _Cycle:
    """One cycle under way: the steps, and what later ones need of earlier ones."""

    def __init__(
        self, workspace: Workspace, registry: Registry, name: str, config: Config, journal: Journal
    ) -> None:
        self.workspace, self.registry, self.name = workspace, registry, name
        self.config, self.journal = config, journal
        self.store = Store(workspace.data)
        self.notices: list[str] = []
        self.failed: dict[str, str] = {}
        self.error: ForecasterError | None = None
        self.output: Path | None = None
        self.rows = 0

    def result(self) -> Retrained:
        """Return what came of it so far."""
        return Retrained(
            self.name,
            self.journal.run,
            self.output,
            self.rows,
            self.notices,
            self.failed,
            self.error,
        )

    def go(
        self,
        asked: list[str],
        flags: Mapping[str, Any],
        output: Path,
        on_epoch: OnEpoch,
        on_window: OnWindow,
    ) -> None:
        """Run all steps after the lock."""
        champion = self._champion()
        self.journal.note(champion=champion)
        ids = self._ids(asked, champion)
        self._fetch(ids)
        frame = self._check(ids)
        unexpected = None
        try:
            self._improve(ids, frame, champion, on_epoch, on_window)
        except ForecasterError as error:
            self.error = error
        except Exception as error:
            unexpected = error
        self._publish(flags, output)
        self._prune()
        if unexpected is not None:
            raise unexpected

    def _champion(self) -> str | None:
        """Return the version in service; None when there is none that exists."""
        try:
            return self.registry.champion(self.name)
        except NotFoundError:
            return None
        except DamagedError as error:
            self.notices.append(str(error))
            return None

    def _ids(self, asked: list[str], champion: str | None) -> list[str]:
        """Return the series: those asked for, else the champion's that are stored, else all."""
        stored = self.store.entries()
        if asked:
            for uid in asked:
                self.store.entry(uid)
            return sorted(set(asked))
        versions = [champion] if champion else []
        for version in (*versions, *reversed(self.registry.versions(self.name))):
            with suppress(DamagedError):
                known = trained_on(self.registry.version_folder(self.name, version))
                if kept := [uid for uid in known if uid in stored]:
                    return kept
        return list(stored)

    def _fetch(self, ids: list[str]) -> None:
        if not self.config.retrain.fetch:
            return self.journal.skip("fetch", "--no-fetch")
        with self.journal.step("fetch") as say:
            report = refresh(self.store, ids)
            self.notices += report.notices
            self.failed |= {each.unique_id: str(each.error) for each in report.failed}
            asked, failed = len(report.outcomes), report.failed
            if asked and len(failed) == asked and failed[0].error:
                raise _as_all(report.exit_code, failed[0].error, asked)
            gates.require_fetched(self.config.gates, report.share, asked)
            say(
                f"{asked - len(failed)} of {asked} series fetched, {len(report.kept)} kept as stored."
            )
        return None

    def _check(self, ids: list[str]) -> pd.DataFrame:
        """Read the rows and hold the data gates against them."""
        with self.journal.step("check") as say:
            frame = self.store.read(ids or None)
            spec = self.config.gates
            stored = self.store.entries()
            data = gates.Data(
                panel=series.prepare(frame, self.config.data),
                frame=frame,
                entries={uid: stored[uid] for uid in ids or stored},
                accepted=self._accepted(),
                horizon=self.config.network.horizon,
            )
            gates.require_data(spec, data, datetime.now(UTC))
            if spec.max_revised is not None or spec.max_jump is not None:
                self._accept(frame)
            say(f"{len(data.panel.ids)} series, {len(frame):,} rows.")
        return frame

    @property
    def _accepted_file(self) -> Path:
        return self.registry.model_folder(self.name) / ACCEPTED

    def _accepted(self) -> pd.DataFrame | None:
        try:
            return pd.read_parquet(io.BytesIO(self._accepted_file.read_bytes()))
        except FileNotFoundError:
            return None
        except Exception as error:
            self.notices.append(
                f"'{self._accepted_file}' cannot be read and is written anew: {error}."
            )
            return None

    def _accept(self, frame: pd.DataFrame) -> None:
        buffer = io.BytesIO()
        frame[["unique_id", "ds", "y"]].to_parquet(buffer, index=False)
        replace_file(self._accepted_file, lambda file: file.write(buffer.getbuffer()))

    def _improve(
        self,
        ids: list[str],
        frame: pd.DataFrame,
        champion: str | None,
        on_epoch: OnEpoch,
        on_window: OnWindow,
    ) -> None:
        """Train a challenger and put it into service when it is better."""
        with self.journal.step("train") as say:
            recipe = challenging.recipe(self.config, self.store.entries(), ids)
            challenger, why = challenging.trained_already(
                self.registry, self.name, recipe, champion
            )
            if challenger is None and not why:
                challenger = self._train(frame, recipe, champion, on_epoch, on_window)
                why = f"Version {challenger}."
            self.journal.note(challenger=challenger)
            say(why)
        if challenger is None:
            for name in ("compare", "promote"):
                self.journal.skip(name, "nothing new")
            return
        with self.journal.step("compare") as say:
            challenging.require_gates(
                self.config.gates, self.registry, self.name, champion, challenger
            )
            say(self._compare(frame, champion, challenger))
        with self.journal.step("promote") as say:
            self.registry.promote(self.name, challenger, why=COMMAND)
            self.journal.note(champion=challenger, promoted=True)
            say(f"Version {challenger} is in service.")

    def _train(
        self,
        frame: pd.DataFrame,
        recipe: str,
        champion: str | None,
        on_epoch: OnEpoch,
        on_window: OnWindow,
    ) -> str:
        forecaster = api.Forecaster.of(self.config)
        start = None
        if self.config.retrain.start == "warm" and champion is not None:
            start = self.registry.version_folder(self.name, champion)
        forecaster.fit(frame, on_epoch, on_window=on_window, warm_start=start)
        skipped = forecaster.evaluated.panel.skipped
        self.failed |= skipped
        self.notices += forecaster.evaluated.panel.notices
        about = {**forecaster.about, challenging.RECIPE: recipe}
        return self.registry.save(
            self.name, forecaster.model, about, forecaster.judged, promote=False
        )

    def _compare(self, frame: pd.DataFrame, champion: str | None, challenger: str) -> str:
        """Return what speaks for the challenger; raise when nothing does."""
        if champion is None:
            return "There is no champion: the gates alone decide."
        old, new = (
            self.registry.version_folder(self.name, version) for version in (champion, challenger)
        )
        found = comparing.compare(old, new, lambda config: api.panel_of(frame, config))
        self.journal.note(scores=found.to_dict())
        said = challenging.verdict(found, self.config.retrain.margin)
        if found.reason:
            self.notices.append(said)
        return said

    def _publish(self, flags: Mapping[str, Any], output: Path) -> None:
        """Forecast with the version that is in service now, and put the table into place."""
        if self.registry.in_service(self.name) is None:
            for name in ("predict", "export"):
                self.journal.skip(name, "no version is in service")
            return
        with self.journal.step("predict") as say:
            found = jobs.predict(
                self.workspace,
                [],
                self.name,
                flags,
                horizon=None,
                file=None,
                columns=GUESSED,
                output=None,
                plot=None,
            )
            self.failed |= found.skipped
            self.notices += [line for line in found.notices if line not in self.notices]
            self.rows = len(found.frame)
            say(f"{self.rows} rows by version {found.version}.")
        with self.journal.step("export") as say:
            sweep_file(output)
            export(found.frame, output)
            self.output = output
            say(f"{output}")

    def _prune(self) -> None:
        spec = self.config.retrain
        with self.journal.step("prune") as say:
            gone = []
            if self.registry.versions(self.name):
                gone = self.registry.prune(self.name, spec.keep, newer=True)
            runs = self.journal.records.prune(spec.keep_runs)
            tables, archive = 0, Archive(self.workspace.forecasts)
            sweep(archive.folder / self.name, older_than=ABANDONED)
            if spec.keep_forecasts is not None:
                tables = len(archive.prune(spec.keep_forecasts, self.name))
            say(f"{len(gone)} versions, {runs} records and {tables} forecasts deleted.")


def _as_all(code: int, first: ForecasterError, count: int) -> ForecasterError:
    """Return the error of a fetch in which every series failed, of the code that they share."""
    error = ForecasterError(f"None of {count} series was fetched: {first.message}", first.hint)
    error.exit_code = code
    return error
