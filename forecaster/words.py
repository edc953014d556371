"""Words of messages: light, for the modules that must not load tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAMED = 3


def counted(count: int, what: str) -> str:
    """Count things in words; `{s}` marks where the plural's letter goes when not at the end.

    >>> counted(1, "row"), counted(2, "row"), counted(2, "gap{s} in time")
    ('1 row', '2 rows', '2 gaps in time')
    """
    ending = "" if count == 1 else "s"
    return f"{count:,} {what.replace('{s}', ending) if '{s}' in what else what + ending}"


def of_series(count: int, total: int) -> str:
    """Begin a sentence on what some of all series have.

    >>> of_series(1, 40), of_series(3, 40)
    ('1 of 40 series has', '3 of 40 series have')
    """
    return f"{count} of {total} series {'has' if count == 1 else 'have'}"


def as_flag(value: Any, between: str = ",") -> Any:
    """Write a list as its flag takes it, and leave anything else as it is.

    >>> as_flag([64, 32]), as_flag(("rnn", "gru"), "-"), as_flag(0.1)
    ('64,32', 'rnn-gru', 0.1)
    """
    return between.join(map(str, value)) if isinstance(value, (list, tuple)) else value


def listed(names: Sequence[str]) -> str:
    """Name the first few of many, and count the rest.

    >>> listed(["a", "b", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(map(repr, names[:NAMED])) + more


def by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names that each reason holds for.

    >>> by_reason({"a": "it is gone", "b": "it is empty", "c": "it is gone"})
    {'it is gone': ['a', 'c'], 'it is empty': ['b']}
    """
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return names
