"""Bytes of a CSV or Parquet file as an Arrow table; what is wrong is told by line and column."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from forecaster.errors import InvalidInputError
from forecaster.sources.lines import Lines
from forecaster.sources.numbers import THOUSANDS, ambiguous, first_bad, numeric

INDEX = re.compile(r"__index_level_\d+__")  # where pandas keeps an index that has no name
CODED = pa.dictionary(pa.int32(), pa.string())
Numeric = Callable[[], list[str]]  # the names of the columns that hold numbers only
Roles = Callable[[Sequence[str], Numeric], tuple[Collection[str], Collection[str]]]


@dataclass(frozen=True)
class Sheet:
    """A table as read, and where it came from.

    Attributes:
        table: Its columns; ids and times dictionary-coded, targets float64.
        label: The file, as errors name it.
        lines: The text of a CSV; None for Parquet.
        notices: How it was read, where that was not plain.
    """

    table: pa.Table
    label: str
    lines: Lines | None = None
    notices: tuple[str, ...] = ()

    def place(self, row: int) -> str:
        """Say where a row is: by line in a CSV, by number elsewhere."""
        if self.lines is None:
            return f"row {row + 1} of '{self.label}'"
        return f"line {self.lines.number(row)} of '{self.label}'"


def read_sheet(
    content: bytes, label: str, roles: Roles, asked: Collection[str | None] = ()
) -> Sheet:
    """Read a table.

    Args:
        content: The whole file.
        label: The file, as errors name it.
        roles: Given the column names, says which are to be coded (ids, times) and which must be
            numbers; it raises when columns that are needed are missing.
        asked: Columns that were named, which are kept whatever they are.

    Raises:
        InvalidInputError: It is empty, binary, not UTF-8, ragged, or has text among numbers.
    """
    if content[:4] == b"PAR1":
        return _parquet(content, label, roles, asked)
    return _csv(Lines.of(content, label), roles)


def _csv(lines: Lines, roles: Roles) -> Sheet:
    named = [name for name in lines.names if name]

    def numbers_only() -> list[str]:
        return _of_numbers(_texts(lines, named), lines.delimiter)

    coded, numbers = roles(named, numbers_only)
    types = dict.fromkeys(coded, CODED)
    sheet = None
    if lines.delimiter != ";":  # there, commas may be decimal: Arrow's own numbers have points only
        try:
            table = lines.read(types | dict.fromkeys(numbers, pa.float64()))
            sheet = Sheet(table, lines.label, lines)
        except pa.ArrowInvalid:
            pass  # what is wrong is told by the slower way below
    if sheet is None:
        rest = [name for name in named if name not in coded]
        sheet = _converted(Sheet(_texts(lines, rest, types), lines.label, lines), rest, numbers)
    if not sheet.table.num_rows:
        raise InvalidInputError(
            f"'{lines.label}' has column names but no rows.", "Add rows of data."
        )
    if unnamed := lines.names.count(""):
        said = f"Columns without a name were left out: {unnamed}."
        return Sheet(sheet.table, sheet.label, lines, (*sheet.notices, said))
    return sheet


def _texts(
    lines: Lines, names: Collection[str], others: dict[str, pa.DataType] | None = None
) -> pa.Table:
    try:
        return lines.read(dict.fromkeys(names, pa.string()) | (others or {}))
    except pa.ArrowInvalid as error:
        raise InvalidInputError(f"'{lines.label}' cannot be read as CSV: {error}.") from error


def _of_numbers(table: pa.Table, delimiter: str) -> list[str]:
    """Return the names of the columns that have numbers, and nothing else."""
    found = []
    for name in table.column_names:
        kind = table[name].type
        if pa.types.is_string(kind):
            try:
                column = numeric(table[name], delimiter)[0]
            except pa.ArrowInvalid:
                continue
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            column = table[name]
        else:
            continue
        if column.null_count < len(column):
            found.append(name)
    return found


def _converted(sheet: Sheet, rest: Collection[str], numbers: Collection[str]) -> Sheet:
    """Turn text columns into numbers where they are; a column that must be numbers raises."""
    delimiter = sheet.lines.delimiter if sheet.lines else ","
    texts = dict(zip(sheet.table.column_names, sheet.table.columns, strict=True))
    columns, notices, points = dict(texts), [], []
    for name in rest:
        try:
            columns[name], comma = numeric(texts[name], delimiter)
            if comma:
                notices.append(f"Column {name!r}: decimal commas were read.")
            else:
                points.append(name)
        except pa.ArrowInvalid:
            if name in numbers:
                raise _not_a_number(sheet, name, delimiter) from None
            columns[name] = _truths(texts[name])
    for name in points if notices else ():  # where commas are decimal, points may be thousands
        if (row := ambiguous(texts[name])) >= 0:
            said = (
                f"{texts[name][row].as_py()!r} may be thousands: other columns have decimal commas"
            )
            if name in numbers:
                raise InvalidInputError(f"Column {name!r}, {sheet.place(row)}: {said}.", THOUSANDS)
            columns[name] = texts[name]
            notices.append(f"Column {name!r} was kept as text: {said}.")
    return Sheet(pa.table(columns), sheet.label, sheet.lines, tuple(notices))


def _not_a_number(sheet: Sheet, name: str, delimiter: str) -> InvalidInputError:
    row, value, hint = first_bad(sheet.table[name], delimiter)
    return InvalidInputError(
        f"Column {name!r} needs numbers, but {sheet.place(row)} has {value!r}.", hint
    )


def _truths(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.bool_())
    except pa.ArrowInvalid:
        return column


def _parquet(content: bytes, label: str, roles: Roles, asked: Collection[str | None]) -> Sheet:
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(
            f"'{label}' cannot be read as Parquet: {str(error).rstrip('.')}.", "Get it again."
        ) from error
    table = _without_index(table, asked)
    sheet = Sheet(pa.table({name: _plain(table[name]) for name in table.column_names}), label)
    _, numbers = roles(table.column_names, lambda: _of_numbers(sheet.table, ","))
    if not table.num_rows:
        raise InvalidInputError(f"'{label}' has no rows.", "Add rows of data.")
    columns = dict(zip(table.column_names, sheet.table.columns, strict=True))
    for name in numbers:
        columns[name] = _parquet_number(sheet, name)
    return Sheet(pa.table(columns), label)


def _without_index(table: pa.Table, asked: Collection[str | None]) -> pa.Table:
    """Leave out the numbers that pandas gave rows; an index of times is the column of times."""
    for name in filter(INDEX.fullmatch, {*table.column_names} - {*asked}):
        kind = table.schema.field(name).type
        if pa.types.is_integer(kind):
            table = table.drop_columns(name)
        elif pa.types.is_timestamp(kind) and "ds" not in table.column_names:
            table = table.rename_columns({name: "ds"})
    return table


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    return column


def _parquet_number(sheet: Sheet, name: str) -> pa.ChunkedArray:
    column = sheet.table[name]
    if pa.types.is_string(column.type):
        try:
            return numeric(column, ",")[0]
        except pa.ArrowInvalid:
            raise _not_a_number(sheet, name, ",") from None
    if pa.types.is_temporal(column.type):
        raise InvalidInputError(
            f"Column {name!r} of '{sheet.label}' needs numbers, but it holds {column.type}.",
            "Choose another column with --target.",
        )
    return column.cast(pa.float64(), safe=False)
