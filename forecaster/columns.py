"""From the columns of a long frame to arrays: what each column must hold, said when it does not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from forecaster.config import DataSpec
from forecaster.errors import InvalidInputError
from forecaster.rows import Rows, named
from forecaster.statics import read_statics

KEYS = ("unique_id", "ds", "y")
OFFSET = re.compile(r":\d\d(?:\.\d+)?\s*(?:Z|[+-]\d\d:?(?:\d\d)?)$")


def read_columns(frame: pd.DataFrame, spec: DataSpec) -> Rows:
    """Check the columns of a long frame and turn them into arrays.

    Raises:
        InvalidInputError: A column is absent, or does not hold what it must.
    """
    if absent := [name for name in KEYS if name not in frame.columns]:
        raise InvalidInputError(
            f"A table of series needs the columns {', '.join(KEYS)}; {', '.join(absent)} not found "
            f"among {named(frame.columns, 20)}.",
            "Rename the columns, or name them when you fetch: --id, --time and --target.",
        )
    if frame.empty:
        raise InvalidInputError("The table of series has no rows.", "Fetch or add some data first.")
    frame = frame.rename(columns=str)
    if not frame.columns.is_unique:
        repeated = frame.columns[frame.columns.duplicated()].unique()
        raise InvalidInputError(
            f"Columns occur more than once: {named(repeated)}.", "Rename or remove the others."
        )
    notices: list[str] = []
    ids, codes = _series(frame["unique_id"])
    ds = _times(frame["ds"], spec.mixed_zones, notices)
    y = _numbers(frame["y"])
    names = _covariates(frame, spec, notices)
    covariates = np.empty((len(frame), len(names)))
    for number, name in enumerate(names):
        covariates[:, number] = _numbers(frame[name])
    inserted = np.zeros(len(y), dtype=bool)
    return Rows(
        ids,
        codes,
        ds,
        y,
        covariates,
        names,
        inserted,
        notices,
        future=spec.future,
        statics=read_statics(frame, spec.static, ids.tolist(), codes),
    )


def _series(column: pd.Series[Any]) -> tuple[np.ndarray, np.ndarray]:
    codes, values = pd.factorize(column)
    if (codes < 0).any():
        raise InvalidInputError(
            f"The column unique_id is empty in {int((codes < 0).sum())} rows, the first is row "
            f"{int((codes < 0).argmax())}.",
            "Give every row the name of its series.",
        )
    ids, order = np.unique(np.array([str(value) for value in values]), return_inverse=True)
    return ids.astype(object), order.astype(np.int32)[codes]


def _times(column: pd.Series[Any], mixed_zones: str, notices: list[str]) -> pd.Index[Any]:
    if (empty := column.isna().to_numpy()).any():
        raise InvalidInputError(
            f"The column ds is empty in {int(empty.sum())} rows, the first is row "
            f"{int(empty.argmax())}.",
            "Give every row its time, or remove it.",
        )
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return _precise(pd.DatetimeIndex(column))
    kind = pd.api.types.infer_dtype(column)
    if kind == "integer" or (kind == "floating" and (column % 1 == 0).all()):
        integers: pd.Index[Any] = pd.Index(column.to_numpy().astype(np.int64))
        return integers
    if kind not in ("string", "datetime", "date", "datetime64"):
        raise _not_times(column, f"found {kind}")
    zones = _zones(column, kind)
    if "none" in zones and len(zones) > 1:
        raise InvalidInputError(
            "Some times in the column ds have a zone and some have none, so that they cannot be "
            f"put in order; row {zones['none']} has none: {column.iloc[zones['none']]}.",
            "Give all of them a zone, or none.",
        )
    aware = "none" not in zones
    if len(zones) > 1 and mixed_zones == "error":
        raise InvalidInputError(
            f"The column ds mixes time zones: {named(zones)}.",
            "Convert them to one, or choose --mixed-zones utc.",
        )
    if len(zones) > 1:
        notices.append(f"Converted times of {len(zones)} zones ({named(zones)}) to UTC.")
    try:
        # One zone keeps its name; only several need a common one.
        times = pd.to_datetime(column, format="ISO8601", utc=aware and len(zones) > 1)
        return _precise(pd.DatetimeIndex(times))
    except (ValueError, TypeError) as error:
        raise _not_times(column, str(error).splitlines()[0]) from error


def _precise(times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    # Seconds could not hold the steps of a finer grid.
    return times.as_unit("us") if times.unit in ("s", "ms") else times


def _zones(column: pd.Series[Any], kind: str) -> dict[str, int]:
    """Return each zone among times or texts, and the first row that has it."""
    if kind == "date":
        return {"none": 0}
    found: dict[str, int] = {}
    for row, value in enumerate(column):
        if kind == "string":
            match = OFFSET.search(value)
            zone = re.sub(r"^:\d\d(\.\d+)?\s*", "", match[0]) if match else "none"
        else:
            zone = str(value.tzinfo or "none")
        found.setdefault(zone, row)
    return found


def _not_times(column: pd.Series[Any], why: str) -> InvalidInputError:
    return InvalidInputError(
        "The column ds must hold dates, ISO 8601 texts or integers, but holds "
        f"{column.iloc[0]!r} ({column.dtype}): {why}.",
        "Convert it, for example with pandas.to_datetime.",
    )


def _numbers(column: pd.Series[Any]) -> np.ndarray:
    """Return a column as (row,) float64, empty cells as NaN."""
    if not _is_number(column):
        converted = pd.to_numeric(column, errors="coerce")
        bad = (converted.isna() & column.notna()).to_numpy()
        if bad.any() or not _is_number(converted):
            row = int(bad.argmax())
            raise InvalidInputError(
                f"The column {column.name!r} must hold numbers; row {row} holds "
                f"{column.iloc[row]!r}, and {int(bad.sum())} of its {len(column)} rows are like it.",
                "Convert the column, or leave it out.",
            )
        column = converted
    return column.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)  # never the caller's own


def _is_number(column: pd.Series[Any]) -> bool:
    types = pd.api.types
    return types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column.dtype)


def _covariates(frame: pd.DataFrame, spec: DataSpec, notices: list[str]) -> tuple[str, ...]:
    """Return the covariates, past ones and then those known ahead."""
    others = [str(name) for name in frame.columns if name not in KEYS]
    numeric = [name for name in others if _is_number(frame[name])]
    taken = {*spec.future, *spec.static}
    past = spec.covariates
    if past == ("all",):
        past = tuple(name for name in numeric if name not in taken)
    chosen = (*past, *spec.future)
    for option, wanted, there, could in (
        ("covariates", past, others, numeric),
        ("future", spec.future, others, numeric),
        ("static", spec.static, others, others),
        ("available-after", spec.available_after, past, past),
    ):
        if unknown := [name for name in wanted if name not in there]:
            raise InvalidInputError(
                f"There is no covariate {named(unknown)}; the columns that could be are: "
                f"{named(could, 20) or 'none'}.",
                f"Check --{option}.",
            )
    if texts := [name for name in chosen if name not in numeric]:
        raise InvalidInputError(
            f"A covariate needs numbers, but {named(texts)} holds {frame[texts[0]].dtype}.",
            "Encode it as numbers (one column a category), or leave it out of "
            f"--{'covariates' if texts[0] in past else 'future'}.",
        )
    if unused := [name for name in others if name not in {*chosen, *taken}]:
        notices.append(f"Columns not used: {named(unused, 20)}.")
    return chosen
