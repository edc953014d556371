"""The folder a user works in, and the configuration that is in force there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecaster.atomic import at_home
from forecaster.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from forecaster.config import Config

PREFIX = "FORECAST_"

# environment variables that are not settings of a run, and what reads them
OTHER_VARIABLES = {
    "FORECAST_WORKSPACE": "the workspace folder",
    "FORECAST_RETRY_SECONDS": "how long at most to try again when Yahoo does not answer",
    "FORECAST_EVENT": "told to the commands of [notify]: failure, refusal or promotion",
    "FORECAST_NAME": "told to the commands of [notify]: the model",
    "FORECAST_EXIT_CODE": "told to the commands of [notify]: what the run ended with",
    "FORECAST_MESSAGE": "told to the commands of [notify]: what happened",
}

INSTEAD = ("folds", "test_size")  # two ways to say one thing: the one of higher origin counts


class Workspace:
    """A folder with `forecast.toml`, `data/` and `models/`; each may be missing yet.

    Args:
        folder: The folder itself.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.forecasts = self.data / "forecasts"
        self.models = self.folder / "models"
        self.config_file = self.folder / "forecast.toml"
        kept = ("parts", "forecasts", "index.json", "index.copy.json")
        self.own = (self.models, self.config_file, *(self.data / name for name in kept))

    @classmethod
    def find(
        cls, option: str | None = None, environment: Mapping[str, str] = os.environ
    ) -> Workspace:
        """Return the workspace that was asked for: by option, by environment, else this folder.

        Raises:
            NotFoundError: The folder that was named does not exist.
            InvalidInputError: It is not a folder, or its path is not UTF-8.
        """
        named = option or environment.get("FORECAST_WORKSPACE")
        if not named:
            return cls(_require_utf8(Path.cwd()))
        folder = at_home(named)
        if not folder.exists():
            raise NotFoundError(
                f"There is no workspace '{folder}' ({_who(option)}).",
                f"Create it with `forecast init {folder}`.",
            )
        if not folder.is_dir():
            raise InvalidInputError(
                f"A workspace is a folder, but '{folder}' is a file ({_who(option)}).",
                "Name the folder that holds forecast.toml, data/ and models/.",
            )
        return cls(_require_utf8(folder))

    def create(self, *, force: bool = False) -> None:
        """Make the folders and a `forecast.toml` in which every setting is explained.

        Raises:
            InvalidInputError: There is a `forecast.toml` already, and no `force`, or the path of the
                folder is not UTF-8.
        """
        from forecaster.atomic import replace_file
        from forecaster.config_template import commented_toml

        _require_utf8(self.folder)
        if self.config_file.exists() and not force:
            raise InvalidInputError(
                f"'{self.config_file}' exists already; nothing was changed.",
                "Edit it, or replace it with --force.",
            )
        self.data.mkdir(parents=True, exist_ok=True)
        self.models.mkdir(exist_ok=True)
        replace_file(self.config_file, lambda file: file.write(commented_toml().encode()))

    def __repr__(self) -> str:
        return f"Workspace({str(self.folder)!r})"


def load_config(
    workspace: Workspace,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Config, dict[str, str]]:
    """Return the configuration in force, and where each setting comes from.

    A flag wins over a `FORECAST_*` environment variable, that over `forecast.toml`, and that over
    the default. A flag that is None was not given; an empty variable counts as not set. Of `folds`
    and `test_size`, which say the same, the one of the higher origin takes the other one out.

    Returns:
        The configuration, and for each setting its origin: the flag, the variable, the path of
        the file, or `default`.

    Raises:
        InvalidInputError: An unknown setting, or a value that is not allowed; names the setting,
            its origin, the value found and those allowed.
    """
    from forecaster.config import SECTION_OF, validated

    path = str(workspace.config_file)
    sections = _read_file(workspace.config_file)
    validated(sections, {"": path})
    origins = dict.fromkeys(SECTION_OF, "default")
    origins |= {key: path for section in sections.values() for key in section}
    variables = _read_environment(environment)
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    for layer in (variables, given):
        for key, other in (INSTEAD, INSTEAD[::-1]):
            if key in layer and other not in layer:
                sections.get(SECTION_OF[other], {}).pop(other, None)
                origins[other] = "default"
        for key, value in layer.items():
            sections.setdefault(SECTION_OF[key], {})[key] = value
    origins |= {key: PREFIX + key.upper() for key in variables}
    origins |= {key: f"--{key.replace('_', '-')}" for key in given}
    named = {f"{SECTION_OF[key]}.{key}": origin for key, origin in origins.items()}
    return validated(sections, named), origins


def _read_file(path: Path) -> dict[str, Any]:
    import tomllib  # here, not above: commands that need no settings start faster

    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"'{path}' is not valid TOML: {error}.",
            "Mend that line; a table such as [training] may stand there once. `forecast init` writes an "
            "example.",
        ) from error


def _read_environment(environment: Mapping[str, str]) -> dict[str, str]:
    from difflib import get_close_matches

    from forecaster.config import SECTION_OF

    known = {PREFIX + key.upper(): key for key in SECTION_OF}
    found = {}
    for name, value in sorted(environment.items()):
        if name.startswith(PREFIX) and name not in OTHER_VARIABLES and value:
            if name not in known:
                names = [
                    known_name.removeprefix(PREFIX) for known_name in (*known, *OTHER_VARIABLES)
                ]
                near = get_close_matches(name.removeprefix(PREFIX), names, n=1)
                raise InvalidInputError(
                    f"The environment variable {name} is not one that forecast knows.",
                    f"Did you mean {PREFIX}{near[0]}?" if near else "Unset it.",
                )
            found[known[name]] = value
    return found


def _require_utf8(folder: Path) -> Path:
    """Return a folder; refuse one whose path the libraries that read data cannot be given."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"The path of the workspace {str(folder.absolute())!a} is not UTF-8: what is stored there "
            "cannot be read.",
            "Rename that folder.",
        ) from error
    return folder


def _who(option: str | None) -> str:
    return "--workspace" if option else "FORECAST_WORKSPACE"
