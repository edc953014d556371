"""Static covariates: what is constant within a series, read from its rows and made numbers.

A column of numbers is standardised over the series trained on; one of words becomes a feature for
each word, and a word that no series trained on has is none of them: zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from forecaster.arrays import Floats, Ints
from forecaster.errors import InvalidInputError
from forecaster.words import listed

Statics = dict[str, np.ndarray]  # by column `(series,)`: float64, or words


def read_statics(
    frame: pd.DataFrame, names: Sequence[str], ids: Sequence[str], codes: Ints
) -> Statics:
    """Take the one value that each series has in each column; empty cells are passed over.

    Args:
        frame: Has the columns.
        names: Of the columns.
        ids: Of the series.
        codes: Place of each row's series `(row,)`.

    Raises:
        InvalidInputError: A series has no value, or several different ones.
    """
    return {name: _constant(frame[name], ids, codes) for name in names}


def _constant(column: pd.Series[Any], ids: Sequence[str], codes: Ints) -> np.ndarray:
    found, distinct = pd.factorize(column)
    present = found >= 0
    low, high = np.full(len(ids), len(distinct)), np.full(len(ids), -1)
    np.minimum.at(low, codes[present], found[present])
    np.maximum.at(high, codes[present], found[present])
    if (empty := high < 0).any():
        raise InvalidInputError(
            f"The static column {column.name!r} has no value in series {ids[int(empty.argmax())]!r}.",
            "Fill it in, or leave the column out of --static.",
        )
    if (changes := low < high).any():
        series = int(changes.argmax())
        seen = distinct[np.unique(found[present & (codes == series)])]
        raise InvalidInputError(
            f"The static column {column.name!r} changes within series {ids[series]!r}: it has "
            f"{listed([_word(value) for value in seen])}.",
            "A static column is constant within each series; name it in --covariates if it has "
            "numbers that change.",
        )
    if not pd.api.types.is_numeric_dtype(column.dtype):
        return np.array([_word(distinct[place]) for place in low], dtype=object)
    values = np.asarray(distinct, dtype=np.float64)[low]
    if not np.isfinite(values).all():
        series = int(np.isfinite(values).argmin())
        raise InvalidInputError(
            f"The static column {column.name!r} is infinite in series {ids[series]!r}.",
            "Repair it, or leave the column out of --static.",
        )
    return values


def _word(value: object) -> str:
    """Write a value as a word; 3.0 as 3, as a column of words and numbers has it.

    >>> _word(3.0), _word("3"), _word(12345678901234567)
    ('3', '3', '12345678901234567')
    """
    return f"{value:.15g}" if isinstance(value, (float, np.floating)) else str(value)


@dataclass(frozen=True)
class StaticScaling:
    """How one static column becomes features.

    Attributes:
        name: Of the column.
        center: Subtracted from numbers.
        scale: Numbers are divided by it.
        words: One feature each; None for a column of numbers.
    """

    name: str
    center: float = 0.0
    scale: float = 1.0
    words: tuple[str, ...] | None = None

    @classmethod
    def fit(cls, name: str, values: np.ndarray) -> StaticScaling:
        """Fit on one value a series."""
        if values.dtype == object:
            return cls(name, words=tuple(sorted(set(values.tolist()))))
        spread = float(values.std())
        return cls(name, float(values.mean()), spread if spread > 0 else 1.0)

    def features(self, values: np.ndarray) -> Floats:
        """Return `(series, feature)`.

        Raises:
            InvalidInputError: There are words where numbers are needed.
        """
        if self.words is not None:
            return np.asarray(_words(values)[:, None] == np.array(self.words, dtype=object))
        if values.dtype == object:
            raise InvalidInputError(
                f"The static column {self.name!r} had numbers when the model was trained, and now "
                f"has words such as {values[0]!r}.",
                "Give numbers.",
            )
        return np.asarray((values - self.center) / self.scale)[:, None]

    def unknown(self, values: np.ndarray) -> list[str]:
        """Return the words that no series trained on has."""
        return [] if self.words is None else sorted(set(_words(values)) - set(self.words))


def _words(values: np.ndarray) -> np.ndarray:
    return np.array([_word(value) for value in values.tolist()], dtype=object)


def unknown_words(
    scalings: Sequence[StaticScaling], statics: Mapping[str, np.ndarray]
) -> list[str]:
    """Say which words of static columns the model has never seen, a line a column."""
    return [
        f"No series trained on has {listed(words)} in the static column {scaling.name!r}: it counts "
        "as none of those that have."
        for scaling in scalings
        if (words := scaling.unknown(statics[scaling.name]))
    ]
