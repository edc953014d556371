"""Files as long frames: CSV or Parquet, from a path, an address or standard input."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from forecaster.errors import ForecasterError, InvalidInputError, NotFoundError
from forecaster.sources.tables import Sheet, read_sheet
from forecaster.sources.timestamps import WRITE_ISO, UnreadableTimeError, parse_times

if TYPE_CHECKING:
    import numpy.typing as npt

IDS = ("unique_id", "item_id", "segment", "symbol", "series", "ticker", "store", "id")
TIMES = ("ds", "date", "timestamp", "time", "datetime", "month", "week", "quarter", "year", "step")
TARGETS = ("y", "target", "close", "value", "adjusted")
KEYS = ("unique_id", "ds", "y")


@dataclass(frozen=True)
class Layout:
    """Which column is what.

    Attributes:
        series: Column of the ids; None when the file is one series.
        time: Column of the timestamps.
        targets: Column of the values; in a wide file one for each series.
        guessed: Whether the ids' column was guessed by its name.
    """

    series: str | None
    time: str
    targets: tuple[str, ...]
    guessed: bool = False


def read_file(
    source: str | Path,
    *,
    id_column: str | None = None,
    time_column: str | None = None,
    target: str | None = None,
    wide: bool = False,
    unique_id: str | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Read a file as a long frame.

    Args:
        source: Path, `http(s)://` address, or `-` for standard input; CSV (also `;`, tab or `|`,
            also gzipped) or Parquet.
        id_column: Column that names the series; guessed when None.
        time_column: Column of the timestamps; guessed when None.
        target: Column of the values; guessed when None.
        wide: The file has one column a series beside the times.
        unique_id: Name of the series when no column names it; the file's stem when None.

    Returns:
        `unique_id`, `ds`, `y` and every other column as covariates; and how the file was read,
        in words, where that was not plain.

    Raises:
        NotFoundError: There is no such file or address.
        InvalidInputError: The file, line and value that cannot be used, and what to do.
        TemporaryError: The address cannot be reached.
    """
    frame, notices = read_coded(
        source,
        id_column=id_column,
        time_column=time_column,
        target=target,
        wide=wide,
        unique_id=unique_id,
    )
    return frame.assign(unique_id=frame["unique_id"].astype("str")), notices


def read_coded(
    source: str | Path,
    *,
    id_column: str | None = None,
    time_column: str | None = None,
    target: str | None = None,
    wide: bool = False,
    unique_id: str | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Read a file as `read_file` does, with categorical ids: the store takes them faster."""
    if wide and (id_column or target or unique_id):
        raise InvalidInputError(
            "A wide file names its series by its columns.",
            "Leave out --id, --target and --unique-id.",
        )
    label, stem, content = _content(str(source))
    found: list[Layout] = []

    def roles(names: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
        layout = _layout(
            names, label, id_column=id_column, time_column=time_column, target=target, wide=wide
        )
        found.append(layout)
        return [name for name in (layout.series, layout.time) if name], layout.targets

    sheet = read_sheet(content, label, roles)
    layout = found[0]
    times, notices = _times(sheet, layout.time)
    if wide:
        frame, more = _from_wide(sheet, layout, times)
    else:
        frame, more = _from_long(sheet, layout, times, unique_id or stem, unique_id)
    return frame, [*sheet.notices, *notices, *more]


def _content(source: str) -> tuple[str, str, bytes]:
    """Return how errors name the source, the name of its only series, and its bytes."""
    scheme = urlsplit(source).scheme.lower() if "://" in source else ""
    if source == "-":
        label, stem, content = "standard input", "stdin", sys.stdin.buffer.read()
    elif scheme in ("http", "https"):
        from forecaster.sources.downloads import download, public

        label, stem = public(source), unquote(PurePosixPath(urlsplit(source).path).name)
        content = download(source)
    elif scheme:
        raise InvalidInputError(
            f"'{source}' cannot be fetched: {scheme}:// is not known.",
            "Pass a path, an http(s):// address, or - for standard input.",
        )
    else:
        label, stem, content = source, Path(source).name, _local(Path(source))
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidInputError(
                f"'{label}' is damaged gzip: {error}.".replace("..", "."), "Get it again."
            ) from error
    for suffix in (".gz", ".csv", ".tsv", ".txt", ".parquet", ".pq"):
        stem = stem[: -len(suffix)] if stem.lower().endswith(suffix) else stem
    return label, stem or "series", content


def _local(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except FileNotFoundError as error:
        from difflib import get_close_matches

        folder = path.parent
        near = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        match = get_close_matches(path.name, near, n=1)
        hint = f"Did you mean '{folder / match[0]}'?" if match else "Check the path."
        raise NotFoundError(f"There is no file '{path}'.", hint) from error
    except IsADirectoryError as error:
        raise InvalidInputError(f"'{path}' is a folder, not a file.", "Name a file.") from error
    except OSError as error:
        raise ForecasterError(f"'{path}' cannot be read: {error.strerror}.") from error


def _layout(
    names: Sequence[str],
    label: str,
    *,
    id_column: str | None,
    time_column: str | None,
    target: str | None,
    wide: bool,
) -> Layout:
    found = f"'{label}' has the columns {', '.join(names)}"
    for option, name in (("--id", id_column), ("--time", time_column), ("--target", target)):
        if name is not None and name not in names:
            raise InvalidInputError(
                f"There is no column {name!r} ({option}): {found}.", "Name one of them."
            )
    time = time_column or _guess(names, TIMES)
    if time is None:
        hint = f"Name it with --time. Known names are {', '.join(TIMES)}."
        if any(name.replace(".", "", 1).isdigit() for name in names):
            hint = f"The first line must hold the column names. {hint}"
        raise InvalidInputError(f"A column of times is needed: {found}.", hint)
    others = [name for name in names if name != time]
    if wide:
        if not others:
            raise InvalidInputError(
                f"A wide file needs a column a series beside the time: {found}."
            )
        return Layout(None, time, tuple(others))
    series = id_column or _guess([name for name in others if name != target], IDS)
    others = [name for name in others if name != series]
    value = target or _guess(others, TARGETS) or (others[0] if len(others) == 1 else None)
    if value is None:
        raise InvalidInputError(
            f"A column of values is needed: {found}.",
            f"Name it with --target, or pass --wide when each column is a series. "
            f"Known names are {', '.join(TARGETS)}.",
        )
    if len({time, series, value}) < 3:
        raise InvalidInputError(
            f"One column cannot be two things: id {series!r}, time {time!r}, target {value!r}.",
            "Name three different columns with --id, --time and --target.",
        )
    return Layout(series, time, (value,), guessed=id_column is None)


def _guess(names: Sequence[str], known: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in known if name in lower), None)


def _times(sheet: Sheet, name: str) -> tuple[pd.Index[Any], list[str]]:
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
    if pa.types.is_integer(column.type) or pa.types.is_temporal(column.type):
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("us"))
        elif not (pa.types.is_timestamp(column.type) or pa.types.is_integer(column.type)):
            raise _bad_time(
                sheet,
                name,
                0,
                problem="a time of day is no date",
                value=str(column[0]),
                hint=WRITE_ISO,
            )
        values = column.to_pandas()
        return pd.Index(values.astype("int64") if pa.types.is_integer(column.type) else values), []
    if not (pa.types.is_dictionary(column.type) or pa.types.is_string(column.type)):
        raise _bad_time(
            sheet, name, 0, problem="a time cannot be read", value=str(column[0]), hint=WRITE_ISO
        )
    codes, texts = _coded(column)
    try:
        times, notices = parse_times(texts)
    except UnreadableTimeError as error:
        bad = next(i for i, text in enumerate(texts) if text.strip() == error.value)
        row = int(np.argmax(codes == bad))
        raise _bad_time(
            sheet, name, row, problem=error.problem, value=error.value, hint=error.hint
        ) from None
    return times.take(codes), notices


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
) -> tuple[pd.DataFrame, list[str]]:
    rows, series = sheet.table.num_rows, layout.series
    notices = []
    codes, ids = np.zeros(rows, dtype=np.int32), [stem]
    if series is not None:
        codes, ids = _ids(sheet, series)
        if layout.guessed and series.lower() == "id" and len(ids) == rows > 1:
            # A column that numbers the rows is no name of series.
            notices.append(
                f"Column {series!r} differs in every row, so it does not name series; "
                f"pass --id {series} if it does."
            )
            codes, ids, series = np.zeros(rows, dtype=np.int32), [stem], None
        elif unique_id is not None and ids != [unique_id]:
            raise InvalidInputError(
                f"'{sheet.label}' names its series itself, in the column {series!r}.",
                "Leave out --unique-id.",
            )
    elif times.has_duplicates:
        _require_series(sheet, layout)
    columns: dict[str, Any] = {
        "unique_id": pd.Categorical.from_codes(codes, pd.Index(ids), validate=False),
        "ds": times,
        "y": sheet.table[layout.targets[0]].to_numpy(),
    }
    for name in sheet.table.column_names:
        if name not in (series, layout.time, layout.targets[0]):
            free = f"{name}_column" if name in KEYS else name
            columns[free] = sheet.table[name].to_pandas()
    used = {"unique_id": series, "ds": layout.time, "y": layout.targets[0]}
    if renamed := [f"{key} is {name!r}" for key, name in used.items() if name not in (None, key)]:
        notices.append(f"Columns: {', '.join(renamed)}.")
    if kept := list(columns)[3:]:
        notices.append(f"Kept as covariates: {', '.join(kept)}.")
    return pd.DataFrame(columns, copy=False), notices


def _require_series(sheet: Sheet, layout: Layout) -> None:
    """Refuse a file whose times repeat while a column of text may name its series."""
    texts = [
        name
        for name in sheet.table.column_names
        if name not in (layout.time, *layout.targets)
        and (pa.types.is_dictionary(kind := sheet.table[name].type) or pa.types.is_string(kind))
    ]
    if texts:
        raise InvalidInputError(
            f"'{sheet.label}' has times that repeat, and no column is known to name its series.",
            f"Is it {' or '.join(map(repr, texts))}? Say so: --id {texts[0]}.",
        )


def _ids(sheet: Sheet, name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
    column = sheet.table[name]
    row = pc.index(pc.is_null(column), True).as_py() if column.null_count else -1
    if row < 0:
        codes, ids = _coded(column)
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
