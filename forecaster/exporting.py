"""Tables as files: CSV or Parquet, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from forecaster.atomic import is_stream, replace_file
from forecaster.errors import ForecasterError, InvalidInputError
from forecaster.profiles import written

PARQUET = {".parquet", ".pq"}


def require_folder(path: Path | None) -> None:
    """Refuse an output whose folder does not exist, before any work is done for it.

    Raises:
        InvalidInputError: There is no such folder, or the output is one.
        ForecasterError: The folder cannot be written to.
    """
    if path is None or is_stream(path):
        return
    if not path.parent.is_dir():
        raise InvalidInputError(
            f"The folder '{path.parent}' of the output does not exist.", "Make it first."
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ForecasterError(
            f"The folder '{path.parent}' of the output cannot be written to.",
            "Name another, or change its permissions.",
        )
    if path.is_dir():
        raise InvalidInputError(f"The output '{path}' is a folder.", "Name a file in it.")


def require_format(path: Path | None) -> None:
    """Refuse an output whose suffix promises a format that is not written.

    Raises:
        InvalidInputError: The suffix is neither CSV's nor Parquet's.
    """
    if path is not None and path.suffix.lower() not in {*PARQUET, ".csv", ".txt", ""}:
        raise InvalidInputError(
            f"An output is CSV (.csv) or Parquet (.parquet); got '{path}'.", "Choose one of them."
        )


def export(frame: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all: Parquet by its suffix, else CSV.

    Raises:
        InvalidInputError: The folder does not exist.
        ForecasterError: The disk is full or the place is read-only; an existing file is as it was.
    """
    require_folder(path)
    try:
        if path.suffix.lower() in PARQUET:
            replace_file(path, lambda file: frame.to_parquet(file, index=False))
        else:
            replace_file(path, lambda file: file.write(to_csv(frame).encode()))
    except OSError as error:
        raise ForecasterError(
            f"'{path}' cannot be written: {error.strerror}.", "A file that was there is as it was."
        ) from error


def to_csv(frame: pd.DataFrame, digits: int | None = None) -> str:
    """Return a table as CSV: ISO-8601 times, no index, numbers in full or to so many digits."""
    text = frame.assign(
        **{name: _iso(frame[name]) for name in ("ds", "cutoff") if name in frame.columns}
    )
    return str(
        text.to_csv(
            index=False, lineterminator="\n", float_format=f"%.{digits}g" if digits else None
        )
    )


def _iso(column: pd.Series) -> pd.Series:
    """Write times as ISO 8601: plain dates when all are midnights without a zone."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        return column
    # Each distinct time is written once: many series share their clock.
    codes, distinct = pd.factorize(column)
    texts = pd.Series(written(pd.DatetimeIndex(distinct)), dtype="str")
    return texts.reindex(codes).set_axis(column.index)  # -1 is of no time
