"""Files as long frames: CSV or Parquet, from a path, an address or standard input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from forecaster.errors import InvalidInputError
from forecaster.sources.contents import contents
from forecaster.sources.layout import GUESSED, Columns, Layout, find_layout
from forecaster.sources.tables import Sheet, read_sheet
from forecaster.sources.timestamps import (
    WRITE_ISO,
    Times,
    UnreadableTimeError,
    in_zone,
    parse_times,
)

if TYPE_CHECKING:
    import numpy.typing as npt

KEYS = ("unique_id", "ds", "y")


def read_file(source: str | Path, columns: Columns = GUESSED) -> tuple[pd.DataFrame, list[str]]:
    """Read a file as a long frame.

    Args:
        source: Path, `http(s)://` address, or `-` for standard input; CSV (also `;`, tab or `|`,
            also gzipped) or Parquet.
        columns: Which column is what, as far as that is said.

    Returns:
        `unique_id`, `ds`, `y` and every other column as covariates; and how the file was read,
        in words, where that was not plain.

    Raises:
        NotFoundError: There is no such file or address.
        InvalidInputError: The file, line and value that cannot be used, and what to do.
        TemporaryError: The address cannot be reached.
    """
    frame, notices, _ = read_coded(source, columns)
    return frame.assign(unique_id=frame["unique_id"].astype("str")), notices


def read_coded(
    source: str | Path, columns: Columns = GUESSED
) -> tuple[pd.DataFrame, list[str], Columns]:
    """Read a file as `read_file` does, with categorical ids: the store takes them faster.

    Also return which columns were taken for ids, times and values, and the order of day and month,
    so that another day's file is read alike.
    """
    label, stem, content = contents(str(source))
    found: list[Layout] = []

    def roles(
        names: Sequence[str], numeric: Callable[[], list[str]]
    ) -> tuple[list[str], tuple[str, ...]]:
        layout = find_layout(names, numeric, label, columns)
        found.append(layout)
        return [name for name in (layout.series, layout.time) if name], layout.targets

    asked = (columns.id, columns.time, columns.target)
    sheet = read_sheet(content, label, roles, asked)
    layout = found[0]
    times, notices, day_first = _times(sheet, layout.time, columns)
    read = replace(columns, time=layout.time, day_first=day_first)
    if columns.wide:
        frame, more = _from_wide(sheet, layout, times)
    else:
        frame, series, more = _from_long(sheet, layout, times, stem, columns.unique_id)
        read = replace(read, id=series, target=layout.targets[0])
    if columns.timezone:
        frame["ds"] = in_zone(frame, columns.timezone)
    return frame, [*sheet.notices, *layout.notices, *notices, *more], read


def _times(sheet: Sheet, name: str, said: Columns) -> Times:
    """Return the time of every row."""
    column = sheet.table[name]
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise _bad_time(
            sheet,
            name,
            row,
            problem="a time is missing",
            value=None,
            hint="Fill it in or delete the row.",
        )
    if pa.types.is_temporal(column.type):
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("us"))
        elif not pa.types.is_timestamp(column.type):
            raise _bad_time(
                sheet,
                name,
                0,
                problem="a time of day is no date",
                value=str(column[0]),
                hint=WRITE_ISO,
            )
        clock = pd.DatetimeIndex(column.to_pandas())
        return Times(clock.tz_convert(said.timezone) if said.timezone and clock.tz else clock, [])
    of = pa.types
    if not any(check(column.type) for check in (of.is_dictionary, of.is_string, of.is_integer)):
        raise _bad_time(
            sheet, name, 0, problem="a time cannot be read", value=str(column[0]), hint=WRITE_ISO
        )
    codes, texts = _coded(column)
    try:
        times = parse_times(texts, said.timezone, said.day_first)
    except UnreadableTimeError as error:
        bad = next(i for i, text in enumerate(texts) if text.strip() == error.value)
        row = int(np.argmax(codes == bad))
        raise _bad_time(
            sheet, name, row, problem=error.problem, value=error.value, hint=error.hint
        ) from None
    return times._replace(values=times.values.take(codes))


def _bad_time(
    sheet: Sheet, name: str, row: int, *, problem: str, value: str | None, hint: str
) -> InvalidInputError:
    shown = f" ({value!r})" if value else ""
    return InvalidInputError(f"Column {name!r}, {sheet.place(row)}: {problem}{shown}.", hint)


def _coded(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Return the code of every row and the distinct texts, in order of appearance."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    return whole.indices.to_numpy(), whole.dictionary.to_pylist()


def _from_long(
    sheet: Sheet, layout: Layout, times: pd.Index[Any], stem: str, unique_id: str | None
) -> tuple[pd.DataFrame, str | None, list[str]]:
    """Return the rows, the column that names the series, and notices."""
    codes, ids, series, notices = _series(sheet, layout, times, unique_id or stem)
    if series is None and times.has_duplicates:
        _require_series(sheet, layout)
    if series is not None and unique_id is not None and ids != [unique_id]:
        raise InvalidInputError(
            f"'{sheet.label}' names its series itself, in the column {series!r}.",
            "Leave out --unique-id.",
        )
    columns: dict[str, Any] = {
        "unique_id": pd.Categorical.from_codes(codes, pd.Index(ids), validate=False),
        "ds": times,
        "y": sheet.table[layout.targets[0]].to_numpy(),
    }
    for name in sheet.table.column_names:
        if name not in (series, layout.time, layout.targets[0]):
            free = name
            while free in KEYS or (free != name and free in sheet.table.column_names):
                free += "_column"
            columns[free] = _covariate(sheet.table[name]).to_pandas()
    used = {"unique_id": series, "ds": layout.time, "y": layout.targets[0]}
    if renamed := [f"{key} is {name!r}" for key, name in used.items() if name not in (None, key)]:
        notices.append(f"Columns: {', '.join(renamed)}.")
    if kept := list(columns)[3:]:
        notices.append(f"Other columns kept: {', '.join(kept)}.")
    return pd.DataFrame(columns, copy=False), series, notices


def _covariate(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Make numbers of what pandas has no column for: decimals, incomplete truths, nothing at all."""
    incomplete = pa.types.is_boolean(column.type) and column.null_count
    number = incomplete or pa.types.is_decimal(column.type) or pa.types.is_null(column.type)
    return column.cast(pa.float64()) if number else column


def _series(
    sheet: Sheet, layout: Layout, times: pd.Index[Any], only: str
) -> tuple[npt.NDArray[np.int32], list[str], str | None, list[str]]:
    """Return the code of every row, the names, the column that has them, and notices."""
    series = layout.series
    one = np.zeros(len(times), dtype=np.int32), [only], None
    if series is None:
        return *one, []
    codes, ids = _ids(sheet, series)
    numbering = layout.guessed and series.lower() == "id" and len(ids) == len(times)
    if numbering and (times != times[0]).any():  # of one time, each row is of its own series
        said = f"Column {series!r} differs in every row, so it does not name series; "
        return *one, [f"{said}pass --id {series} if it does."]
    return codes, ids, series, []


def _require_series(sheet: Sheet, layout: Layout) -> None:
    """Refuse a file whose times repeat while a column of text may name its series."""
    others = [
        name
        for name in sheet.table.column_names
        if name not in (layout.time, layout.series, *layout.targets)
        and pa.types.is_string(sheet.table[name].type)
    ]
    if others:
        raise InvalidInputError(
            f"'{sheet.label}' has times that repeat, and no column is known to name its series.",
            f"Is it {' or '.join(map(repr, others))}? Say so: --id {others[0]}.",
        )


def _ids(sheet: Sheet, name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
    column = sheet.table[name]
    row = pc.index(pc.is_null(column), True).as_py() if column.null_count else -1
    if row < 0:
        codes, ids = _coded(column)
        if ids != (names := [uid.strip() for uid in ids]):  # of "a, b" no series is " b"
            places, found = pd.factorize(np.array(names, dtype=object))
            codes, ids = places.astype(np.int32)[codes], found.tolist()
        if "" not in ids:
            return codes, ids
        row = int(np.argmax(codes == ids.index("")))
    raise InvalidInputError(
        f"Column {name!r}, {sheet.place(row)}: the name of the series is missing.",
        "Fill it in or delete the row.",
    )


def _from_wide(
    sheet: Sheet, layout: Layout, times: pd.Index[Any]
) -> tuple[pd.DataFrame, list[str]]:
    """Stack the columns; the empty cells before a series begins and after it ends are no rows."""
    values = np.stack([sheet.table[name].to_numpy() for name in layout.targets])  # (series, row)
    known = ~np.isnan(values)
    live = np.maximum.accumulate(known, axis=1)
    live &= np.maximum.accumulate(known[:, ::-1], axis=1)[:, ::-1]
    series, row = np.nonzero(live)
    if not len(row):
        raise InvalidInputError(f"'{sheet.label}' has no value in any column.", "Add rows of data.")
    notices = []
    if empty := [
        name for name, some in zip(layout.targets, known.any(axis=1), strict=True) if not some
    ]:
        notices.append(f"Columns without any value were left out: {', '.join(empty)}.")
    if trimmed := int((~live).sum()) - len(empty) * len(times):
        notices.append(
            f"{trimmed} empty cells before the first or after the last value were left out."
        )
    frame = pd.DataFrame(
        {
            "unique_id": pd.Categorical.from_codes(series, pd.Index(layout.targets)),
            "ds": times.take(row),
            "y": values[series, row],
        }
    )
    return frame, notices
