"""Which version of a model is in service, and which ones were before it.

One line in `champion` names the version in service; it is replaced atomically and is the truth. The
record of promotions is written just before, so a crash between the two leaves an entry that did not
happen, which `settled` drops.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from forecaster.atomic import replace_file
from forecaster.errors import DamagedError

CHAMPION = "champion"
RECORD = "promotions.json"
ASIDE = "promotions.json.damaged"
FORMAT = 1
KEPT = 1000  # entries: some years of nights
ROLLBACK = "rollback"


@dataclass(frozen=True)
class Promotion:
    """A version that came into service.

    Attributes:
        version: Its name.
        at: UTC, ISO 8601; None when it is not known.
        why: `train`, `retrain`, `promote`, `rollback`, or `unrecorded` for what another hand did.
    """

    version: str
    at: str | None
    why: str


def pointer(folder: Path) -> str | None:
    """Return what the champion file of a model says, whatever it is; None when there is none."""
    try:
        return (folder / CHAMPION).read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        return "(unreadable)"


def put_into_service(folder: Path, version: str, why: str, versions: Sequence[str]) -> str | None:
    """Make a version the champion, and return the one before; the caller holds the lock.

    Args:
        folder: Of the model.
        version: What predictions use from now on.
        why: For the record.
        versions: All versions, oldest first.
    """
    before = pointer(folder)
    if before != version:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            earlier = history(folder, versions)
        except DamagedError:  # it must not stop anybody from putting a good model into service
            (folder / RECORD).replace(folder / ASIDE)
            earlier = history(folder, versions)
        _write(folder, [*earlier, Promotion(version, now, why)])
        replace_file(folder / CHAMPION, lambda file: file.write(f"{version}\n".encode()))
    return before


def history(folder: Path, versions: Sequence[str]) -> list[Promotion]:
    """Return which versions came into service, oldest first.

    Raises:
        DamagedError: The record cannot be read.
    """
    return settled(_read(folder), pointer(folder), versions)


def previous(folder: Path, versions: Sequence[str]) -> str | None:
    """Return the version that was in service before the champion and still exists.

    Raises:
        DamagedError: The record cannot be read.
    """
    existing = set(versions) - {pointer(folder)}
    before = line(history(folder, versions))[:-1]
    return next((version for version in reversed(before) if version in existing), None)


def _read(folder: Path) -> list[Promotion] | None:
    """Return the record of a model, oldest first; None when there never was one.

    Raises:
        DamagedError: It cannot be read, or a newer version of the program wrote it.
    """
    try:
        content = json.loads((folder / RECORD).read_bytes())
        if content["format"] != FORMAT:
            raise ValueError(f"it has the format {content['format']!r}, not {FORMAT}")
        return [Promotion(**entry) for entry in content["promotions"]]
    except FileNotFoundError:
        return [] if (folder / ASIDE).exists() else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(
            f"The record of promotions '{folder / RECORD}' cannot be read: {error}.",
            f"Say what is to be in service: forecast models promote VERSION --name {folder.name}; "
            f"the file is then set aside as {ASIDE}.",
        ) from error


def _write(folder: Path, promotions: Sequence[Promotion]) -> None:
    """Replace the record; what follows at once in the same folder makes it last."""
    entries = [asdict(promotion) for promotion in promotions[-KEPT:]]
    content = json.dumps({"format": FORMAT, "promotions": entries}, indent=1).encode()
    replace_file(folder / RECORD, lambda file: file.write(content), sync=False)


def settled(
    recorded: Sequence[Promotion] | None, champion: str | None, versions: Sequence[str]
) -> list[Promotion]:
    """Return the record as it agrees with the version in service.

    Args:
        recorded: As read; without one, every version was put into service when it was made.
        champion: The version in service.
        versions: All versions, oldest first.
    """
    if recorded is None:
        known = [version for version in versions if champion is not None and version <= champion]
        recorded = [Promotion(version, None, "train") for version in known]
    if champion is None or (recorded and recorded[-1].version == champion):
        return list(recorded)
    if len(recorded) > 1 and recorded[-2].version == champion:
        return list(recorded[:-1])
    return [*recorded, Promotion(champion, None, "unrecorded")]


def line(promotions: Sequence[Promotion]) -> list[str]:
    """Return the champions one after another, without those that were rolled back.

    >>> steps = [Promotion("a", None, "train"), Promotion("b", None, "train")]
    >>> line([*steps, Promotion("a", None, "rollback"), Promotion("c", None, "train")])
    ['a', 'c']
    """
    champions: list[str] = []
    for promotion in promotions:
        if promotion.why == ROLLBACK and promotion.version in champions:
            while champions[-1] != promotion.version:
                champions.pop()
        elif champions[-1:] != [promotion.version]:
            champions.append(promotion.version)
    return champions
