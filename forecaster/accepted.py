"""The rows of a model's series that the data gates last let pass, to measure revisions against."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

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


def write_accepted(folder: Path, frame: pd.DataFrame, before: pd.DataFrame | None) -> None:
    """Put the rows of a long frame in place of those kept before; other series' are kept."""
    kept = frame[COLUMNS].dropna(subset="y")
    if before is not None:
        others = as_of(before[~before["unique_id"].isin(kept["unique_id"])], kept["ds"].dtype)
        if len(others) and others["ds"].dtype == kept["ds"].dtype:
            kept = pd.concat([others, kept], ignore_index=True)
    buffer = io.BytesIO()
    kept.to_parquet(buffer, index=False)
    replace_file(folder / FILE, lambda file: file.write(buffer.getbuffer()))


def once(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the last value of each time of each series: some times stand in several rows."""
    keys = ["unique_id", "ds"]
    if not rows.duplicated(keys).any():
        return rows
    return rows.groupby(keys, observed=True, sort=False)["y"].last().reset_index()


def as_of(accepted: pd.DataFrame, dtype: Any) -> pd.DataFrame:
    """Return rows with their times in the unit and zone of others, where both have one, or none."""
    kinds = [(each.kind, hasattr(each, "tz")) for each in (accepted["ds"].dtype, dtype)]
    return accepted.astype({"ds": dtype}) if kinds[0] == kinds[1] else accepted
