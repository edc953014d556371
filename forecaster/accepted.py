"""The rows of a model's series that the data gates last let pass, to measure revisions against."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from forecaster.atomic import replace_file
from forecaster.errors import DamagedError

FILE = "accepted.parquet"
COLUMNS = ["unique_id", "ds", "y"]


def read_accepted(folder: Path) -> pd.DataFrame | None:
    """Read them from a model's folder: `unique_id, ds, y`; None when none were kept.

    Raises:
        DamagedError: The file is not what was written.
    """
    path = folder / FILE
    try:
        return pd.read_parquet(io.BytesIO(path.read_bytes()), columns=COLUMNS)
    except FileNotFoundError:
        return None
    except Exception as error:  # pyarrow has many
        raise DamagedError(f"'{path}' cannot be read: {error}.", "Delete it.") from error


def write_accepted(folder: Path, frame: pd.DataFrame) -> None:
    """Put the rows of a panel in place of those kept before."""
    buffer = io.BytesIO()
    frame[COLUMNS].dropna(subset="y").to_parquet(buffer, index=False)
    replace_file(folder / FILE, lambda file: file.write(buffer.getbuffer()))
