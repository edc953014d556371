"""The steps of an unattended cycle, each of which works from what is on disk."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from forecaster import api, challenging, comparing, gates, jobs, series
from forecaster.accepted import read_accepted, write_accepted
from forecaster.archive import ABANDONED, Archive
from forecaster.atomic import sweep, sweep_file
from forecaster.config import Config
from forecaster.errors import (
    DamagedError,
    ForecasterError,
    NotFoundError,
    PartialError,
    QualityGateError,
)
from forecaster.manifest import trained_on
from forecaster.predicting import export
from forecaster.refreshing import refresh
from forecaster.registry import Registry
from forecaster.runs import Journal, Run
from forecaster.sources.layout import GUESSED
from forecaster.statistical import OnWindow
from forecaster.store import Store
from forecaster.words import listed
from forecaster.workspace import Workspace

if TYPE_CHECKING:
    from forecaster.planning import OnEpoch

COMMAND = "retrain"


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
        return " ".join(f"Failed: {line}" for line in self.failures)

    @property
    def failures(self) -> list[str]:
        """The series that failed and why, a line for each reason."""
        by_reason: dict[str, list[str]] = {}
        for uid, why in self.failed.items():
            by_reason.setdefault(why, []).append(uid)
        return [f"{listed(ids)}: {why}" for why, ids in by_reason.items()]

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


class Cycle:
    """One cycle under way.

    Args:
        workspace: Where the model lies.
        registry: Of its versions; its lock is held.
        config: Settings that were asked for.
        origins: Where each comes from.
        journal: The record of the run.
        result: What comes of it, filled in step by step.
    """

    def __init__(
        self,
        workspace: Workspace,
        registry: Registry,
        config: Config,
        origins: Mapping[str, str],
        journal: Journal,
        result: Retrained,
    ) -> None:
        self.workspace, self.registry, self.name = workspace, registry, result.name
        self.asked, self.config, self.origins = config, config, origins
        self.journal, self.result = journal, result
        self.store = Store(workspace.data)

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
        if champion is not None:
            folder = self.registry.version_folder(self.name, champion)
            self.config = challenging.as_built(self.asked, self.origins, folder)
        if mended := self.store.mend():
            self.result.notices.append(mended)
        ids = self._ids(asked, champion)
        if self.config.retrain.fetch:
            self._fetch(ids)
        else:
            self.journal.skip("fetch", "--no-fetch")
        frame = self._check(ids)
        unexpected = None
        try:
            self._improve(ids, frame, champion, on_epoch, on_window)
        except ForecasterError as error:
            self.result.error = error
        except Exception as error:
            unexpected = error
        try:
            self._publish(flags, output)
        except Exception:
            self._prune()  # nights on which nothing can be published do not fill the disk
            raise
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
            self.result.notices.append(str(error))
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
        """Fetch the series again; those that fail stay as they are."""
        with self.journal.step("fetch") as say:
            report = refresh(self.store, ids)
            self.result.notices += report.notices
            self.result.failed |= {each.unique_id: str(each.error) for each in report.failed}
            asked, failed = len(report.outcomes), report.failed
            if asked and len(failed) == asked and failed[0].error:
                raise _as_all(report.exit_code, failed[0].error, asked)
            gates.require_fetched(self.config.gates, report.share, asked)
            said = [f"{asked - len(failed)} of {asked} series fetched"]
            if failed:
                said.append(f"{len(failed)} failed and stay as they are stored")
            if report.kept:
                said.append(f"{len(report.kept)} cannot be fetched again")
            say(f"{', '.join(said)}.")

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
                write_accepted(self.registry.model_folder(self.name), frame)
            say(f"{len(data.panel.ids)} series, {len(frame):,} rows.")
        return frame

    def _accepted(self) -> pd.DataFrame | None:
        try:
            return read_accepted(self.registry.model_folder(self.name))
        except DamagedError as error:
            self.result.notices.append(f"{error.message} It is written anew.")
            return None

    def _improve(
        self,
        ids: list[str],
        frame: pd.DataFrame,
        champion: str | None,
        on_epoch: OnEpoch,
        on_window: OnWindow,
    ) -> None:
        """Train a challenger and put it into service when it is better."""
        if not self.config.retrain.train:
            for name in ("train", "compare", "promote"):
                self.journal.skip(name, "--no-train")
            return
        with self.journal.step("train") as say:
            recipe = challenging.recipe(self.asked, self.store.entries(), ids)
            challenger, why = challenging.trained_already(
                self.registry, self.name, recipe, champion
            )
            if challenger is None and not why:
                challenger = self._train(frame, recipe, champion, on_epoch, on_window)
                why = f"Version {challenger}."
            if challenger is not None:
                why += f" {challenging.said_of(self.registry, self.name, challenger)}"
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
        start = None
        if self.config.retrain.start == "warm" and champion is not None:
            start = self.registry.version_folder(self.name, champion)
        forecaster, notices = challenging.train(self.config, frame, start, on_epoch, on_window)
        self.result.failed |= forecaster.evaluated.panel.skipped
        self.result.notices += notices
        about = {**forecaster.about, challenging.RECIPE: recipe}
        return self.registry.save(
            self.name, forecaster.model, about, forecaster.judged, promote=False
        )

    def _compare(self, frame: pd.DataFrame, champion: str | None, challenger: str) -> str:
        """Return what speaks for the challenger; raise when nothing does."""
        if champion is None:
            self.journal.note(scores=comparing.Comparison(reason="there is no champion").to_dict())
            return "There is no champion: the gates alone decided."
        old, new = (
            self.registry.version_folder(self.name, version) for version in (champion, challenger)
        )
        found = comparing.compare(old, new, lambda config: api.panel_of(frame, config))
        self.journal.note(scores=found.to_dict())
        said = challenging.verdict(found, self.config.retrain.margin)
        if found.reason:
            self.result.notices.append(said)
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
            self.result.failed |= found.skipped
            self.result.notices += [
                line for line in found.notices if line not in self.result.notices
            ]
            self.result.rows = len(found.frame)
            say(f"{self.result.rows} rows by version {found.version}.")
        with self.journal.step("export") as say:
            sweep_file(output)
            export(found.frame, output)
            self.result.output = output
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
