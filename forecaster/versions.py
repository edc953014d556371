"""Names of models and of their versions: which may be, which is meant, which comes next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path

from forecaster.errors import InvalidInputError, NotFoundError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # device names on Windows
STAMP = "%Y%m%dT%H%M%S%fZ"


def is_name(name: str) -> bool:
    """Tell whether a name can be a folder's on every system."""
    return bool(NAME.fullmatch(name) and not RESERVED.fullmatch(name) and not name.endswith("."))


def require_name(name: str) -> None:
    """Refuse a model name that cannot be a folder's on every system.

    Raises:
        InvalidInputError: Says what a name may be.
    """
    if not is_name(name):
        raise InvalidInputError(
            f"A model's name needs up to 64 letters, digits, '.', '_' or '-', and may not be a "
            f"device name such as CON; got {name[:80]!r}.",
            "Choose another --name.",
        )


def named(name: str, said: str, versions: Sequence[str]) -> str:
    """Return the version of a model that is `said`, or the only one that begins or ends so.

    Raises:
        NotFoundError: There is none; near ones are named.
        InvalidInputError: There are several.
    """
    if said in versions:
        return said
    found = [version for version in versions if version.startswith(said) or version.endswith(said)]
    if len(found) > 1:
        raise InvalidInputError(
            f"{len(found)} versions of the model {name!r} begin or end with {said!r}: "
            f"{', '.join(found[:3])}{' ...' if found[3:] else ''}.",
            "Write more of the one that you mean.",
        )
    if not found:
        near = get_close_matches(said, versions, n=3) or versions[-3:]
        raise NotFoundError(
            f"The model {name!r} has no version {said!r}.",
            f"Its versions: champion (the one in service), {', '.join(near)}.",
        )
    return found[0]


def no_model(
    name: str, folder: Path, versions: Sequence[str], names: Sequence[str]
) -> NotFoundError:
    """Say that a model has no version in service, and what to do about it.

    Args:
        name: The model.
        folder: Where models lie.
        versions: Its versions, oldest first.
        names: The models that have one in service.
    """
    if versions:
        return NotFoundError(
            f"There is no model {name!r} in service in '{folder}'.",
            f"It has versions; put one into service: {promote_command(name, versions[-1])}.",
        )
    near = get_close_matches(name, names, n=3) or names[:5]
    return NotFoundError(
        f"There is no model {name!r} in '{folder}'.",
        f"Models there: {', '.join(near)}." if near else "Train one: forecast train.",
    )


def promote_command(name: str, version: str) -> str:
    """Return what puts a version into service."""
    return f"forecast models promote {version} --name {name}"


def next_version(now: datetime, digest: str, versions: Sequence[str]) -> str:
    """Name a version by time and content, after all others even if the clock was set back.

    >>> next_version(datetime(2026, 1, 2), "c0ffee", ["20270101T000000000000Z-beef"])
    '20270101T000000000001Z-c0ffee'
    """
    stamp = now.strftime(STAMP)
    latest = versions[-1][: len(stamp)] if versions else ""
    if latest >= stamp:
        with suppress(ValueError):  # a name that we did not give
            stamp = (datetime.strptime(latest, STAMP) + timedelta(microseconds=1)).strftime(STAMP)
    return f"{stamp}-{digest}"


def prunable(
    versions: Sequence[str], champion: str | None, before: str | None, keep: int, *, newer: bool
) -> list[str]:
    """Return the versions that may be deleted, oldest first.

    Args:
        versions: All of them, oldest first.
        champion: The one in service, which stays.
        before: The one in service before it, which stays.
        keep: How many of the others stay.
        newer: Whether versions newer than the champion are among the others.

    >>> prunable(["a", "b", "c", "d", "e"], "d", "b", 1, newer=False)
    ['a']
    """
    others = [
        version
        for version in versions
        if version not in {champion, before}
        and (newer or (champion is not None and version < champion))
    ]
    return others[: max(0, len(others) - keep)]
