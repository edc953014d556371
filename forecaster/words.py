"""Words of messages: light, for the modules that must not load tables."""

from __future__ import annotations


def counted(count: int, what: str) -> str:
    """Count things in words.

    >>> counted(1, "row"), counted(2, "row")
    ('1 row', '2 rows')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"
