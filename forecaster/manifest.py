"""What a model version says of itself, and whether its files are what was written.

Neither numpy nor pydantic is imported here: listing versions starts as fast as click.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from forecaster.errors import DamagedError, InvalidInputError, NotFoundError

FORMAT = 1
MANIFEST = "manifest.json"
FILES = (
    "config.toml",
    "network.weights.h5",
    "network.onnx",
    "scaling.json",
    "intervals.json",
    "golden.npz",
)
NAMED = "series_named"  # whether the user named the series, in place of all that were stored
AGAIN = "Train it again, or restore the folder from a backup."


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what a version says of itself, without loading it.

    Raises:
        NotFoundError: There is no such folder.
        DamagedError: The manifest is missing or no manifest.
        InvalidInputError: A newer version of the program wrote it.
    """
    if not folder.is_dir():
        raise NotFoundError(f"There is no model version '{folder}'.")
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        found, files = manifest["format"], dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"The manifest '{path}' cannot be read: {error}.", AGAIN) from error
    if type(found) is not int or found < FORMAT:
        raise DamagedError(f"The manifest '{path}' has the format {found!r}.", AGAIN)
    if found > FORMAT:
        raise InvalidInputError(
            f"'{folder}' has the newer format {found}; this version of forecast reads format {FORMAT}.",
            "Upgrade forecast, or train the model again.",
        )
    if missing := set(FILES) - files.keys():
        raise DamagedError(f"The manifest '{path}' does not name {sorted(missing)}.", AGAIN)
    return dict(manifest)


def checked(path: Path, digest: str) -> bytes:
    """Read a file of a version.

    Raises:
        DamagedError: It cannot be read, or is not what was written.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"'{path}' cannot be read: {error.strerror}.", AGAIN) from error
    if digest_of(content) != digest:
        raise DamagedError(f"'{path}' is not what was written: its SHA-256 differs.", AGAIN)
    return content


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    import hashlib  # loads OpenSSL: not for a list

    return hashlib.sha256(content).hexdigest()


def trained_on(folder: Path) -> tuple[str, ...]:
    """Return the series that a version was trained on.

    Raises:
        DamagedError: The file that names them cannot be read.
    """
    path = folder / "scaling.json"
    try:
        return tuple(str(uid) for uid in json.loads(path.read_bytes())["ids"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"'{path}' cannot be read: {error}.", AGAIN) from error


def series_named(folder: Path) -> bool:
    """Tell whether the user named the series of a version; False where it does not say."""
    with suppress(DamagedError, InvalidInputError, NotFoundError):
        return read_manifest(folder).get(NAMED) is True
    return False


def is_backfill(last: object, ids: Iterable[str], champion: Path) -> bool:
    """Tell whether a new version knows series of the champion, but not their latest rows.

    Args:
        last: Latest row of the new version, as manifests write it.
        ids: The series it was trained on.
        champion: Folder of the version in service.

    Raises:
        DamagedError: The champion does not say what it was trained on.
    """
    data = read_manifest(champion).get("data", {})
    if not isinstance(data, dict):
        raise DamagedError(f"'data' in '{champion / MANIFEST}' is no table: {data!r:.80}.", AGAIN)
    return _earlier(str(last), str(data.get("last"))) and not set(trained_on(champion)).isdisjoint(
        ids
    )


def _earlier(first: str, second: str) -> bool:
    """Compare two rows' times as manifests write them; what cannot be compared is not earlier."""
    with suppress(ValueError):
        return int(first) < int(second)
    try:
        return datetime.fromisoformat(first) < datetime.fromisoformat(second)
    except (ValueError, TypeError):
        return False
