"""One part of the store: a Parquet file that holds one or many series, rows sorted.

A part is written once and never changed. Its series are found by row number, so that reading one
series of a large part reads only the row groups that hold it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forecaster.errors import DamagedError, InvalidInputError
from forecaster.profiles import Profile, profiles

if TYPE_CHECKING:
    from forecaster.index import Entry

Ints = npt.NDArray[np.int64]

KEYS = ("unique_id", "ds", "y")
GROUP_ROWS = 128 * 1024  # rows that are read to get at one series, at most twice this


class VanishedError(DamagedError):
    """A part that the index named is not there."""


@dataclass(frozen=True)
class Part:
    """Series ready to be written: `offsets` (series + 1,) bounds the rows of each id in `table`."""

    table: pa.Table
    ids: list[str]
    offsets: Ints

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Part:
        """Check, sort and convert a long frame.

        Raises:
            InvalidInputError: A column is missing, an id is empty, a timestamp is missing.
        """
        if missing := [name for name in ("unique_id", "ds", "y") if name not in frame]:
            raise InvalidInputError(
                f"A long frame needs the columns unique_id, ds and y; missing: {missing}; "
                f"found: {[str(name) for name in frame.columns]}."
            )
        if frame.empty:
            raise InvalidInputError("There are no rows to store.")
        codes, ids = _ids(frame["unique_id"])
        ds = _times(frame["ds"])
        columns = {
            "ds": pa.array(ds),
            "y": pa.array(frame["y"].to_numpy(np.float64, na_value=np.nan)),
        } | {str(name): _covariate(frame[name]) for name in frame.columns if name not in KEYS}
        order = _order(codes, ds.asi8 if isinstance(ds, pd.DatetimeIndex) else ds.to_numpy())
        if order is not None:
            codes, taken = codes[order], pa.array(order)
            columns = {name: column.take(taken) for name, column in columns.items()}
        offsets = np.searchsorted(codes, np.arange(len(ids) + 1)).astype(np.int64)
        names = pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(ids, pa.string()))
        return cls(_solid({"unique_id": names, **columns}), ids, offsets)

    @cached_property
    def hashes(self) -> list[str]:
        """Digest of the numbers of each series."""
        return _hashes(self.table, self.offsets[:-1], np.diff(self.offsets))

    @property
    def digest(self) -> str:
        """Twelve digits that name the content."""
        lines = [f"{uid}\0{digest}" for uid, digest in zip(self.ids, self.hashes, strict=True)]
        return hashlib.blake2b("\n".join(lines).encode(), digest_size=6).hexdigest()

    @property
    def time(self) -> str:
        """`naive`, `integer`, or the name of the time zone."""
        return _time(self.table)

    @property
    def covariates(self) -> list[str]:
        """Names of the columns besides the id, the time and the target."""
        return [name for name in self.table.column_names if name not in KEYS]

    def profiles(self) -> list[Profile]:
        """Describe each series."""
        ds = pd.Index(self.table["ds"].to_pandas())
        return profiles(ds, self.table["y"].to_numpy(), self.offsets)

    def encoded(self) -> memoryview:
        """Return the Parquet file, the ids in it as a column, so that any tool can read it."""
        schema = self.table.schema
        text = [name for name in schema.names if pa.types.is_string(schema.field(name).type)]
        file = pa.BufferOutputStream()
        pq.write_table(
            self.table,
            file,
            row_group_size=GROUP_ROWS,
            compression="lz4",
            # Dictionaries pay for ids and text only; on numbers they cost time and save nothing.
            use_dictionary=["unique_id", *text],
            write_statistics=False,
        )
        return memoryview(file.getvalue())


def _solid(columns: dict[str, pa.Array]) -> pa.Table:
    """Make a table that knows which columns have no nulls: Parquet then writes no null flags."""
    fields = [
        pa.field(name, column.type, nullable=column.null_count > 0)
        for name, column in columns.items()
    ]
    return pa.table(list(columns.values()), schema=pa.schema(fields))


@dataclass(frozen=True)
class Piece:
    """The rows of some series of one part: series i has `rows[i]` rows from `starts[i]`."""

    table: pa.Table
    ids: list[str]
    starts: Ints
    rows: Ints


def load(path: Path, members: Mapping[str, Entry]) -> Piece:
    """Read some series of a part.

    Raises:
        VanishedError: The file is not there.
        DamagedError: Its content is not what was stored.
    """
    piece = _read(path, members)
    if bad := _differing(piece, members):
        raise _damage(path, bad, "the content differs from what was stored")
    return piece


def damages(path: Path, members: Mapping[str, Entry]) -> dict[str, str]:
    """Return, by id, what is wrong with the series of a part; empty when all is well."""
    try:
        bad = _differing(_read(path, members), members)
    except DamagedError as error:
        return dict.fromkeys(members, str(error))
    reason = "the content differs from what was stored"
    return {uid: str(_damage(path, [uid], reason)) for uid in bad}


def stored_rows(path: Path) -> int:
    """Return how many rows a part holds, live or dead.

    Raises:
        VanishedError: The file is not there.
        DamagedError: It is not Parquet.
    """
    with _opened(path, [path.name]) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _opened(path: Path, ids: list[str]) -> Iterator[pq.ParquetFile]:
    """Open a part; what cannot be read in the body of `with` is damage to its series."""
    try:
        with pq.ParquetFile(path, memory_map=False) as file:
            yield file
    except FileNotFoundError as error:
        raise _damage(path, ids, "the file is missing", VanishedError) from error
    except PermissionError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise _damage(path, ids, " ".join(str(error).split())) from error


def _read(path: Path, members: Mapping[str, Entry]) -> Piece:
    ids = list(members)
    starts = np.array([entry.start for entry in members.values()], dtype=np.int64)
    rows = np.array([entry.rows for entry in members.values()], dtype=np.int64)
    with _opened(path, ids) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        edges = np.concatenate([[0], np.cumsum(sizes)])
        if len(ids) == 0 or (starts + rows).max() > edges[-1]:
            raise pa.ArrowInvalid(f"{edges[-1]} rows are fewer than were stored")
        first = np.searchsorted(edges, starts, "right") - 1
        last = np.searchsorted(edges, starts + rows - 1, "right") - 1
        needed = np.zeros(len(sizes) + 1, dtype=np.int64)
        np.add.at(needed, first, 1)
        np.add.at(needed, last + 1, -1)
        wanted = np.cumsum(needed)[:-1] > 0
        table = file.read_row_groups(np.flatnonzero(wanted).tolist())
    # Row groups that were left out move the rows behind them forward.
    skipped = np.concatenate([[0], np.cumsum(np.where(wanted, 0, sizes))])
    return Piece(table, ids, starts - skipped[first], rows)


def _differing(piece: Piece, members: Mapping[str, Entry]) -> list[str]:
    try:
        found = _hashes(piece.table, piece.starts, piece.rows)
    except (KeyError, pa.ArrowException):  # a column is missing or of another type: trust nothing
        return piece.ids
    return [
        uid for uid, digest in zip(piece.ids, found, strict=True) if digest != members[uid].hash
    ]


def _damage(
    path: Path, ids: list[str], reason: str, kind: type[DamagedError] = DamagedError
) -> DamagedError:
    others = f" (and {len(ids) - 1} more)" if len(ids) > 1 else ""
    return kind(
        f"The stored series {ids[0]!r}{others} cannot be read from '{path}': {reason.rstrip('.')}.",
        "Fetch it again." if len(ids) == 1 else "Fetch them again.",
    )


def gathered(pieces: Iterable[Piece]) -> tuple[pa.Table, list[str], Ints]:
    """Put series together in the order of their ids.

    Returns:
        The rows; the ids; offsets (series + 1,).
    """
    pieces = list(pieces)
    base = np.cumsum([0, *(len(piece.table) for piece in pieces)])
    ids = [uid for piece in pieces for uid in piece.ids]
    starts = np.concatenate([piece.starts + base[i] for i, piece in enumerate(pieces)])
    rows = np.concatenate([piece.rows for piece in pieces])
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__))
    starts, rows = starts[order], rows[order]
    offsets = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
    table = _stacked([piece.table for piece in pieces])
    if not (np.array_equal(starts, offsets[:-1]) and offsets[-1] == len(table)):
        shift = np.repeat(starts - offsets[:-1], rows)
        table = table.take(pa.array(shift + np.arange(offsets[-1])))
    return table, [ids[i] for i in order], offsets


def _stacked(tables: list[pa.Table]) -> pa.Table:
    if len(tables) == 1:
        return tables[0]
    if len({_time(table) for table in tables}) > 1:
        tables = [_in_utc(table) for table in tables]
    for name in {name for table in tables for name in table.column_names} - {"unique_id", "ds"}:
        columns = [table[name] for table in tables if name in table.column_names]
        if len({column.type for column in columns}) > 1:
            tables = [_cast(table, name, _common(columns)) for table in tables]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowInvalid:  # nanoseconds reach from 1677 to 2262 only
        tables = [_in_microseconds(table) for table in tables]
        return pa.concat_tables(tables, promote_options="permissive")


def _time(table: pa.Table) -> str:
    kind = table.schema.field("ds").type
    return (kind.tz or "naive") if pa.types.is_timestamp(kind) else "integer"


def _in_utc(table: pa.Table) -> pa.Table:
    return _cast(table, "ds", pa.timestamp(table.schema.field("ds").type.unit, "UTC"))


def _in_microseconds(table: pa.Table) -> pa.Table:
    return _cast(table, "ds", pa.timestamp("us", table.schema.field("ds").type.tz))


def _common(columns: list[pa.ChunkedArray]) -> pa.DataType:
    """Return what holds columns of several types: text in some series makes it text."""
    text = (
        pa.types.is_string(column.type) and column.null_count < len(column) for column in columns
    )
    return pa.string() if any(text) else pa.float64()


def _cast(table: pa.Table, name: str, kind: pa.DataType) -> pa.Table:
    if name not in table.column_names:
        return table
    column = table[name]
    if pa.types.is_string(kind) and pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)  # no text "nan"
    column = column.cast(kind, safe=False)
    return table.set_column(table.column_names.index(name), name, column)


def long_frame(table: pa.Table) -> pd.DataFrame:
    """Turn stored rows into a long frame with plain columns."""
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        if pa.types.is_boolean(column.type) and column.null_count:
            column = column.cast(pa.float64())  # a series without this column has no truth to tell
        columns[name] = column.to_pandas()
    return pd.DataFrame(columns, copy=False)


def _ids(column: pd.Series[Any]) -> tuple[npt.NDArray[np.integer[Any]], list[str]]:
    """Return the code of every row and the sorted ids that the codes stand for."""
    if isinstance(column.dtype, pd.CategoricalDtype):  # already coded: no text is looked at
        codes, found = column.cat.codes.to_numpy(), column.cat.categories
    else:
        codes, found = pd.factorize(_text(column))
    if (codes < 0).any():
        raise InvalidInputError(
            f"Row {int(np.argmax(codes < 0))} has no unique_id.", "Every row needs one."
        )
    ids = [str(uid) for uid in found]
    used = np.flatnonzero(np.bincount(codes, minlength=len(ids))).tolist()
    if any(not ids[i] for i in used):
        raise InvalidInputError("A unique_id is empty.", "Give every series a name.")
    order = sorted(used, key=ids.__getitem__)
    rank = np.empty(len(ids), dtype=codes.dtype)  # few series, narrow codes: they sort faster
    rank[order] = np.arange(len(order))
    return rank[codes], [ids[i] for i in order]


def _text(column: pd.Series[Any]) -> pd.Series[Any]:
    try:
        return column if isinstance(column.dtype, pd.StringDtype) else column.astype("str")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"The unique_id {error.object!a} is not text: it holds half of a character.",
            "Rename it.",
        ) from error


def _times(column: pd.Series[Any]) -> pd.Index[Any]:
    if column.isna().any():
        row = int(np.argmax(column.isna()))
        raise InvalidInputError(f"Row {row} has no timestamp.", "Every row needs one.")
    if pd.api.types.is_integer_dtype(column.dtype):
        steps: pd.Index[Any] = pd.Index(column.to_numpy(np.int64))
        return steps
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        times = pd.DatetimeIndex(column)
        micro = times.as_unit("us")
        # One unit for all, so that parts fit together; nanoseconds stay where they are needed.
        exact: pd.Index[Any] = (
            micro if times.unit != "ns" or bool((micro == times).all()) else times
        )
        return exact
    raise InvalidInputError(
        f"ds needs timestamps or integers, found {column.dtype}.", "Convert it with pd.to_datetime."
    )


def _order(codes: npt.NDArray[np.integer[Any]], times: Ints) -> Ints | None:
    """Return the order that sorts rows by series, then time; None when they are sorted."""
    if _ascending(codes, times):
        return None
    # Most files hold one series after another, each in order of time: a stable sort of the
    # series alone puts them right, in a fraction of the time that two keys take.
    order: Ints = np.argsort(codes, kind="stable")
    return order if _ascending(codes[order], times[order]) else np.lexsort((times, codes))


def _ascending(codes: npt.NDArray[np.integer[Any]], times: Ints) -> bool:
    before, after = codes[:-1], codes[1:]
    return bool(((before < after) | ((before == after) & (times[:-1] <= times[1:]))).all())


def _covariate(column: pd.Series[Any]) -> pa.Array:
    """Keep numbers and truths as they are, and no value at all as numbers; the rest becomes text."""
    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind in "bif":
        return pa.array(column.to_numpy({"b": np.bool_, "i": np.int64, "f": np.float64}[kind.kind]))
    if pd.api.types.is_numeric_dtype(kind) and kind.kind in "biuf":
        return pa.array(column.to_numpy(np.float64, na_value=np.nan))
    if column.isna().all():
        return pa.array(np.full(len(column), np.nan))
    return pa.array(column.astype("str"), pa.string(), from_pandas=True)


def _hashes(table: pa.Table, starts: Ints, rows: Ints) -> list[str]:
    """Digest the numbers of every series; text counts by the hash of each value."""
    columns = [np.ascontiguousarray(_numbers(table[name])) for name in table.column_names[1:]]
    views = [column.data.cast("B") for column in columns]
    widths = [column.itemsize for column in columns]
    kinds = [f"{name}:{table.schema.field(name).type}" for name in table.column_names[1:]]
    prefix = hashlib.blake2b("\n".join(kinds).encode(), digest_size=8)
    digests = []
    for start, end in zip(starts.tolist(), (starts + rows).tolist(), strict=True):
        digest = prefix.copy()
        for view, width in zip(views, widths, strict=True):
            digest.update(view[start * width : end * width])
        digests.append(digest.hexdigest())
    return digests


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    kind = column.type
    if pa.types.is_string(kind):
        coded = column.combine_chunks().dictionary_encode()
        words = coded.dictionary.to_numpy(zero_copy_only=False).astype(object)
        hashes = np.append(pd.util.hash_array(words, categorize=False), np.uint64(0))
        coded_hashes: npt.NDArray[Any] = hashes[coded.indices.fill_null(len(words)).to_numpy()]
        return coded_hashes
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    numbers: npt.NDArray[Any] = column.to_numpy()
    return numbers
