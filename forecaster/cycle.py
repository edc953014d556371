"""The steps of an unattended cycle, each of which works from what is on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from forecaster import challenging, gates, jobs, preparing, recipes, rivals, series
from forecaster.accepted import read_accepted, write_accepted
from forecaster.archive import ABANDONED, Archive
from forecaster.atomic import sweep, sweep_file
from forecaster.config import Config
from forecaster.errors import (
    DamagedError,
    ForecasterError,
    InvalidInputError,
    NotFoundError,
)
from forecaster.exporting import export
from forecaster.index import Entry
from forecaster.manifest import NAMED, series_named, trained_on
from forecaster.refreshing import refresh
from forecaster.registry import Registry
from forecaster.retrained import Retrained
from forecaster.runs import Journal
from forecaster.sources.layout import GUESSED
from forecaster.statistical import OnWindow
from forecaster.store import Store
from forecaster.words import counted
from forecaster.workspace import Workspace

if TYPE_CHECKING:
    from forecaster.planning import OnEpoch

COMMAND = "retrain"


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
        self.named = False
        self.entries: dict[str, Entry] = {}

    def go(
        self,
        ids: list[str],
        flags: Mapping[str, Any],
        output: Path,
        on_epoch: OnEpoch,
        on_window: OnWindow,
    ) -> None:
        """Run all steps after the lock.

        Whatever becomes of the challenger, the champion forecasts; and nights on which nothing can be
        published do not fill the disk.
        """
        champion = self._champion()
        self.journal.note(champion=champion)
        if mended := self.store.mend():
            self.result.notices.append(mended)
        jobs.require_output(self.workspace, output)
        if output.exists() and not output.is_file():
            raise InvalidInputError(
                f"A file is needed to replace, but '{output}' is none.", "Name another --output."
            )
        self.config = challenging.as_built(self.asked, self.origins, self._versions(champion))
        wanted, self.named = self._ids(ids, champion)
        if self.config.retrain.fetch:
            self._fetch(wanted)
        else:
            self.journal.skip("fetch", "--no-fetch")
        frame = self._check(wanted)
        improving = _error_of(lambda: self._improve(wanted, frame, champion, on_epoch, on_window))
        publishing = _error_of(lambda: self._publish(flags, output))
        errors = (publishing, improving, _error_of(self._prune))
        found = [error for error in errors if error is not None]
        if found:
            worst = min(found, key=lambda error: isinstance(error, ForecasterError))
            self.result.notices += [str(error) for error in found if error is not worst]
            raise worst

    def _champion(self) -> str | None:
        """Return the version in service; None when there is none that exists."""
        try:
            return self.registry.champion(self.name)
        except NotFoundError:
            return None
        except DamagedError as error:
            self.result.notices.append(str(error))
            return None

    def _versions(self, champion: str | None) -> list[Path]:
        """Return the folders of the champion and of the others, the newest first."""
        names = [champion] if champion else []
        names += [each for each in reversed(self.registry.versions(self.name)) if each != champion]
        return [self.registry.version_folder(self.name, version) for version in names]

    def _ids(self, asked: list[str], champion: str | None) -> tuple[list[str], bool]:
        """Return the series and whether the user named them.

        They are those asked for, else the champion's that are stored, else all.
        """
        stored = self.store.entries()
        if asked:
            for uid in asked:
                self.store.entry(uid)
            return sorted(set(asked)), True
        for folder in self._versions(champion):
            with suppress(DamagedError):
                known = trained_on(folder)
                if kept := [uid for uid in known if uid in stored]:
                    return kept, series_named(folder)
        return list(stored), False

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
            stored = self.store.entries()  # before the rows: a recipe is never too new
            frame = self.store.read(ids or None)
            self.entries, spec = stored, self.config.gates
            accepted = self._accepted() if spec.uses_accepted else None
            data = gates.Data(
                panel=series.prepare(frame, self.config.data),
                frame=frame,
                entries={uid: stored[uid] for uid in ids or stored},
                accepted=accepted,
                horizon=self.config.network.horizon,
            )
            gates.require_data(spec, data, datetime.now(UTC))
            if spec.uses_accepted:
                write_accepted(self.registry.model_folder(self.name), frame, accepted)
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
            if champion is None:
                raise NotFoundError(
                    f"--no-train needs a version in service, but the model {self.name!r} has none.",
                    "Run once without --no-train.",
                )
            for name in ("train", "compare", "promote"):
                self.journal.skip(name, "--no-train")
            return
        with self.journal.step("train") as say:
            recipe = recipes.recipe(self.asked, self.entries, ids)
            challenger, why = challenging.trained_already(
                self.registry, self.name, recipe, champion
            )
            if challenger is None and not why:
                challenger = self._train(frame, recipe, champion, on_epoch, on_window)
                why = f"Version {challenger}."
            if challenger is not None:
                why += f" {challenging.verdict_of(self.registry, self.name, challenger)}"
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
        about = {**forecaster.about, NAMED: self.named, recipes.RECIPE: recipe}
        return self.registry.save(
            self.name, forecaster.model, about, forecaster.judged, promote=False
        )

    def _compare(self, frame: pd.DataFrame, champion: str | None, challenger: str) -> str:
        """Return what speaks for the challenger; raise when nothing does."""
        if champion is None:
            self.journal.note(scores=rivals.Duel(reason="there is no champion").to_dict())
            return "There is no champion: the gates alone decided."
        old, new = (
            self.registry.version_folder(self.name, version) for version in (champion, challenger)
        )
        found = rivals.compare(old, new, lambda config: preparing.panel_of(frame, config))
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
            parts = (len(gone), "version"), (runs, "record"), (tables, "forecast")
            say(f"{', '.join(counted(*part) for part in parts)} deleted.")


def _error_of(step: Callable[[], None]) -> Exception | None:
    """Run a step and return what it raised."""
    try:
        step()
    except Exception as error:
        return error
    return None


def _as_all(code: int, first: ForecasterError, count: int) -> ForecasterError:
    """Return the error of a fetch in which every series failed, of the code that they share."""
    error = ForecasterError(f"None of {count} series was fetched: {first.message}", first.hint)
    error.exit_code = code
    return error
