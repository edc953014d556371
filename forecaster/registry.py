"""The folder of models: versions under a name, one of them in service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecaster import promotions
from forecaster.atomic import remove_folder, sweep
from forecaster.errors import DamagedError, ForecasterError, NotFoundError
from forecaster.locking import TIMEOUT, OnWait, silent, writing
from forecaster.manifest import MANIFEST, is_backfill
from forecaster.promotions import CHAMPION, Promotion
from forecaster.versions import (
    NAME,
    is_name,
    named,
    next_version,
    no_model,
    promote_command,
    prunable,
    require_name,
)

if TYPE_CHECKING:
    from forecaster.continuing import Judged
    from forecaster.model import Model


class Registry:
    """The models of one workspace.

    Versions never change. Which one is in service is one line in `champion`, replaced atomically,
    so readers need no lock; writers take turns, one a model.

    Args:
        folder: The models folder; made at the first save.
        lock_timeout: Seconds to wait for another writer of the same model.
        on_wait: Told whom there is to wait for.
    """

    def __init__(
        self, folder: Path, *, lock_timeout: float = TIMEOUT, on_wait: OnWait = silent
    ) -> None:
        self.folder = Path(folder)
        self.lock_timeout = lock_timeout
        self.on_wait = on_wait

    def names(self) -> list[str]:
        """Return the names of the models that have a version in service, sorted."""
        found = (path.parent.name for path in self.folder.glob("*/champion"))
        return sorted(filter(is_name, found))

    def all_names(self) -> list[str]:
        """Return the names of the models that have any version, in service or not, sorted."""
        found = {
            path.parents[2].name
            for path in self.folder.glob(f"*/versions/*/{MANIFEST}")
            if NAME.fullmatch(path.parent.name)  # not one that is being written
        }
        return sorted(set(filter(is_name, found)).union(self.names()))

    def champion(self, name: str) -> str:
        """Return the version of a model that is in service.

        Raises:
            NotFoundError: There is no such model; near names are given.
            DamagedError: The champion file names no version.
        """
        version = self.in_service(name)
        if version is None:
            raise self._no_model(name)
        if not NAME.fullmatch(version) or not self.version_folder(name, version).is_dir():
            others = self.versions(name)
            raise DamagedError(
                f"'{self.model_folder(name) / CHAMPION}' names the version {version[:80]!r}, which "
                "does not exist.",
                f"Put another into service: {promote_command(name, others[-1])}."
                if others
                else "No version is left: train again, or restore the folder from a backup.",
            )
        return version

    def in_service(self, name: str) -> str | None:
        """Return what `champion` says, be it a version or not; None when there is none."""
        return promotions.pointer(self.model_folder(name))

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model, oldest first."""
        found = (
            path.parent.name for path in self.model_folder(name).glob(f"versions/*/{MANIFEST}")
        )
        return sorted(version for version in found if NAME.fullmatch(version))

    def model_folder(self, name: str) -> Path:
        """Return where a model lies; its name is checked."""
        require_name(name)
        return self.folder / name

    def version_folder(self, name: str, version: str) -> Path:
        """Return where a version lies."""
        return self.model_folder(name) / "versions" / version

    def resolve(self, name: str, said: str) -> str:
        """Return the version that a person means.

        Args:
            name: The model.
            said: A version, how one begins or ends, `champion`, `previous` (in service before it)
                or `latest`.

        Raises:
            NotFoundError: There is no such model or version; those there are are named.
            InvalidInputError: Several versions begin or end so.
        """
        if said in {"champion", self.in_service(name)}:  # no list has it when its manifest is gone
            return self.champion(name)
        known = self.versions(name)
        if not known:
            raise self._no_model(name)
        if said == "latest":
            return known[-1]
        if said == "previous":
            return self._before(name)
        return named(name, said, known)

    def history(self, name: str) -> list[Promotion]:
        """Return which versions came into service, oldest first."""
        return promotions.history(self.model_folder(name), self.versions(name))

    def previous(self, name: str) -> str | None:
        """Return the version that was in service before the champion and still exists."""
        return promotions.previous(self.model_folder(name), self.versions(name))

    def find(self, name: str, version: str) -> Path:
        """Return the folder of the version that a person means, as `resolve` takes it."""
        return self.version_folder(name, self.resolve(name, version))

    def load(self, name: str) -> tuple[Model, str]:
        """Load the version in service, checked, and say which it is."""
        from forecaster import artifacts

        version = self.champion(name)
        while True:
            try:
                return artifacts.load(self.version_folder(name, version)), version
            except (DamagedError, NotFoundError) as error:
                now = self.champion(name)
                if now != version:  # another came into service, and this one may be pruned
                    version = now
                    continue
                others = [other for other in self.versions(name) if other != version]
                if others:
                    before = None
                    with suppress(DamagedError):  # of the record; what is said is of the version
                        before = self.previous(name)
                    other = promote_command(name, before or others[-1])
                    error.hint = f"Train it again, or put another into service: {other}."
                raise

    def require_writable(self, name: str) -> None:
        """Find out before a long training whether its model could be saved.

        Raises:
            InvalidInputError: The name cannot be a folder's.
            ForecasterError: The folder cannot be written.
        """
        folder = self.model_folder(name)
        while not folder.exists():
            folder = folder.parent
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise ForecasterError(
                f"The folder of models '{folder}' cannot be written.",
                "Check its permissions and its disk, or use another --workspace.",
            )

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """Be the only writer of a model in the body of `with`; what a crash left is cleared."""
        folder = self.model_folder(name)
        with writing(folder, timeout=self.lock_timeout, on_wait=self.on_wait):
            sweep(folder)
            sweep(folder / "versions")
            yield

    def save(
        self,
        name: str,
        model: Model,
        about: dict[str, Any],
        judged: Judged | None = None,
        *,
        promote: bool | None = None,
    ) -> str:
        """Write a new version and return its name.

        Args:
            name: The model.
            model: What is saved.
            about: What the manifest says besides.
            judged: What a warm start needs to know of the model that was judged.
            promote: Whether it is put into service; when None, unless it was trained on less recent
                rows of the champion's series: a backfill replaces nothing by itself.

        Raises:
            InvalidInputError: The name cannot be a folder's.
            TemporaryError: Another process is writing this model.
        """
        from forecaster import artifacts
        from forecaster.manifest import digest_of

        now = datetime.now(UTC)
        digest = digest_of(model.graph + model.weights)[:8]
        with self.writing(name):
            version = next_version(now, digest, self.versions(name))
            about = {"name": name, "version": version, "created": now.isoformat(), **about}
            if promote is None:
                promote = not self._replaces_newer(name, model, about)
            artifacts.save(model, self.version_folder(name, version), about, judged)
            if promote:
                self._put_into_service(name, version, "train")
        return version

    def promote(self, name: str, said: str, why: str = "promote") -> tuple[str | None, str]:
        """Put a version into service, once it is found to be whole; return the one before and it.

        Args:
            name: The model.
            said: A version, as for `resolve`.
            why: For the record of promotions.

        Raises:
            NotFoundError: There is no such version.
            DamagedError: It is not what was written.
            TemporaryError: Another process is writing this model.
        """
        self.resolve(name, said)  # before a folder is made for the lock
        with self.writing(name):
            version = self.resolve(name, said)
            return self._put_whole(name, version, why), version

    def rollback(self, name: str) -> tuple[str | None, str]:
        """Put the version that was in service before into service again; return both.

        Each rollback goes one champion further back; a promotion starts anew from there.

        Raises:
            NotFoundError: No champion came before, or none of them exists any more.
            DamagedError: That version is not what was written, or the record of promotions is damaged.
            TemporaryError: Another process is writing this model.
        """
        self._before(name)
        with self.writing(name):
            version = self._before(name)
            return self._put_whole(name, version, promotions.ROLLBACK), version

    def prune(
        self, name: str, keep: int, *, newer: bool = False, dry_run: bool = False
    ) -> list[str]:
        """Delete all but the newest versions; return those deleted, oldest first.

        The champion, the champion before it and, unless asked for, versions newer than the champion
        stay, and do not count.

        Args:
            name: The model.
            keep: How many of the others stay.
            newer: Versions newer than the champion may go too.
            dry_run: Only say which would go.

        Raises:
            NotFoundError: There is no such model.
            DamagedError: The champion file names no version, or the record of promotions cannot be
                read: nothing is deleted then.
        """
        if not self.versions(name):
            raise self._no_model(name)
        if dry_run:
            return self._prunable(name, keep, newer)
        with self.writing(name):
            gone = self._prunable(name, keep, newer)
            for version in gone:
                remove_folder(self.version_folder(name, version))
        return gone

    def _prunable(self, name: str, keep: int, newer: bool) -> list[str]:
        champion = None if self.in_service(name) is None else self.champion(name)
        versions, before = self.versions(name), self.previous(name)
        return prunable(versions, champion, before, keep, newer=newer)

    def _put_whole(self, name: str, version: str, why: str) -> str | None:
        from forecaster import artifacts

        artifacts.load(self.version_folder(name, version))
        return self._put_into_service(name, version, why)

    def _put_into_service(self, name: str, version: str, why: str) -> str | None:
        return promotions.put_into_service(
            self.model_folder(name), version, why, self.versions(name)
        )

    def _replaces_newer(self, name: str, model: Model, about: dict[str, Any]) -> bool:
        try:
            champion = self.version_folder(name, self.champion(name))
            return is_backfill(about["data"]["last"], model.scaling.ids, champion)
        except (ForecasterError, KeyError):  # there is nothing to compare with
            return False

    def _before(self, name: str) -> str:
        version = self.previous(name)
        if version is None:
            raise NotFoundError(
                f"No version of the model {name!r} that still exists was in service before the "
                "champion."
                if self.versions(name)
                else self._no_model(name).message,
                "List the versions with 'forecast models list' and put one into service with "
                "'forecast models promote'.",
            )
        return version

    def _no_model(self, name: str) -> NotFoundError:
        return no_model(name, self.folder, self.versions(name), self.names())
