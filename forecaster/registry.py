"""The folder of models: versions under a name, one of them in service."""

from __future__ import annotations

import hashlib
import os
import re
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecaster.atomic import replace_file, sweep
from forecaster.errors import DamagedError, ForecasterError, InvalidInputError, NotFoundError
from forecaster.locking import writing

if TYPE_CHECKING:
    from forecaster.continuing import Judged
    from forecaster.model import Model

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # device names on Windows


class Registry:
    """The models of one workspace.

    Args:
        folder: The models folder; made at the first save.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def names(self) -> list[str]:
        """Return the names of the models that have a version in service, sorted."""
        return sorted(path.parent.name for path in self.folder.glob("*/champion"))

    def champion(self, name: str) -> str:
        """Return the version of a model that is in service.

        Raises:
            NotFoundError: There is no such model; near names are given.
            DamagedError: The champion file names no version.
        """
        path = self._model(name) / "champion"
        try:
            version = path.read_text().strip()
        except FileNotFoundError as error:
            known = self.names()
            near = get_close_matches(name, known, n=3) or known[:5]
            raise NotFoundError(
                f"There is no model {name!r} in '{self.folder}'.",
                f"Models there: {', '.join(near)}." if near else "Train one: forecast train.",
            ) from error
        except (OSError, UnicodeDecodeError):
            version = "(unreadable)"
        if not NAME.fullmatch(version) or not self.version_folder(name, version).is_dir():
            raise DamagedError(
                f"'{path}' names the version {version[:80]!r}, which does not exist.",
                f"Write one of these into it: {', '.join(self.versions(name)) or '(none left)'}.",
            )
        return version

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model, oldest first."""
        return sorted(
            path.parent.name for path in self._model(name).glob("versions/*/manifest.json")
        )

    def version_folder(self, name: str, version: str) -> Path:
        """Return where a version lies."""
        return self._model(name) / "versions" / version

    def find(self, name: str, version: str) -> Path:
        """Return the folder of a version of a model; `champion` is the one in service.

        Raises:
            NotFoundError: There is no such model or version; those there are are named.
        """
        champion = self.champion(name)
        known = self.versions(name)
        if version not in {"champion", *known}:
            near = get_close_matches(version, known, n=3) or known[-3:]
            raise NotFoundError(
                f"The model {name!r} has no version {version!r}.",
                f"Its versions: champion (the one in service), {', '.join(near)}.",
            )
        return self.version_folder(name, champion if version == "champion" else version)

    def load(self, name: str) -> tuple[Model, str]:
        """Load the version in service, checked, and say which it is."""
        from forecaster import artifacts

        version = self.champion(name)
        try:
            return artifacts.load(self.version_folder(name, version)), version
        except DamagedError as error:
            others = [other for other in self.versions(name) if other != version]
            if others:
                champion = self._model(name) / "champion"
                error.hint = f"Train it again, or roll back: write {others[-1]} into '{champion}'."
            raise

    def require_writable(self, name: str) -> None:
        """Find out before a long training whether its model could be saved.

        Raises:
            InvalidInputError: The name cannot be a folder's.
            ForecasterError: The folder cannot be written.
        """
        folder = self._model(name)
        while not folder.exists():
            folder = folder.parent
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise ForecasterError(
                f"The folder of models '{folder}' cannot be written.",
                "Check its permissions and its disk, or use another --workspace.",
            )

    def save(
        self, name: str, model: Model, about: dict[str, Any], judged: Judged | None = None
    ) -> str:
        """Write a new version, put it into service and return its name.

        Raises:
            InvalidInputError: The name cannot be a folder's.
            TemporaryError: Another process is writing this model.
        """
        from forecaster import artifacts

        now = datetime.now(UTC)
        digest = hashlib.sha256(model.graph + model.weights).hexdigest()[:8]
        version = f"{now:%Y%m%dT%H%M%S%fZ}-{digest}"
        folder = self._model(name)
        with writing(folder):
            sweep(folder)
            sweep(folder / "versions")
            about = {"name": name, "version": version, "created": now.isoformat(), **about}
            artifacts.save(model, folder / "versions" / version, about, judged)
            replace_file(folder / "champion", lambda file: file.write(f"{version}\n".encode()))
        return version

    def _model(self, name: str) -> Path:
        require_name(name)
        return self.folder / name


def require_name(name: str) -> None:
    """Refuse a model name that cannot be a folder's on every system.

    Raises:
        InvalidInputError: Says what a name may be.
    """
    if not NAME.fullmatch(name) or RESERVED.fullmatch(name) or name.endswith("."):
        raise InvalidInputError(
            f"A model's name needs up to 64 letters, digits, '.', '_' or '-', and may not be a "
            f"device name such as CON; got {name[:80]!r}.",
            "Choose another --name.",
        )
