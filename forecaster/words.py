"""Words of messages: light, for the modules that must not load tables."""

from __future__ import annotations

from collections.abc import Sequence

NAMED = 3


def counted(count: int, what: str) -> str:
    """Count things in words.

    >>> counted(1, "row"), counted(2, "row")
    ('1 row', '2 rows')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Name the first few of many.

    >>> listed(["a", "b", "c", "d"])
    "'a', 'b', 'c' ..."
    """
    return ", ".join(map(repr, names[:NAMED])) + (" ..." if len(names) > NAMED else "")
