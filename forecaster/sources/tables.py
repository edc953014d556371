"""Bytes of a CSV or Parquet file as an Arrow table; what is wrong is told by line and column."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from forecaster.errors import InvalidInputError

DELIMITERS = ",;\t|"
BLANKS = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "none", "#N/A", "-"]
CODED = pa.dictionary(pa.int32(), pa.string())
MARKS = {b"PK\x03\x04": "a zip or Excel file", b"\x89PNG": "an image", b"%PDF": "a PDF"}
Roles = Callable[[Sequence[str]], tuple[Collection[str], Collection[str]]]


@dataclass(frozen=True)
class Sheet:
    """A table as read, and where it came from.

    Attributes:
        table: Its columns; ids and times dictionary-coded, targets float64.
        label: The file, as errors name it.
        content: The bytes of the CSV; None for Parquet.
        delimiter: Of the CSV.
        notices: How it was read, where that was not plain.
    """

    table: pa.Table
    label: str
    content: bytes | None = None
    delimiter: str = ","
    notices: tuple[str, ...] = ()

    def place(self, row: int) -> str:
        """Say where a row is: by line in a CSV, by number elsewhere."""
        if self.content is None:
            return f"row {row + 1} of '{self.label}'"
        return f"line {_line(self.content, self.delimiter, row)} of '{self.label}'"


def read_sheet(content: bytes, label: str, roles: Roles) -> Sheet:
    """Read a table.

    Args:
        content: The whole file.
        label: The file, as errors name it.
        roles: Given the column names, says which are to be coded (ids, times) and which must be
            numbers; it raises when columns that are needed are missing.

    Raises:
        InvalidInputError: It is empty, binary, not UTF-8, ragged, or has text among numbers.
    """
    if content[:4] == b"PAR1":
        return _parquet(content, label, roles)
    _check_text(content, label)
    content = content.removeprefix(b"\xef\xbb\xbf")
    names, delimiter, skipped = _header(content, label)
    coded, numbers = roles([name for name in names if name])
    read = pacsv.ReadOptions(column_names=_unique(names, label), skip_rows=skipped)
    parse = pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in content)
    types = dict.fromkeys(coded, CODED)
    sheet = None
    if delimiter != ";":  # there, commas may be decimal: Arrow's own numbers have points only
        try:
            table = _read(content, read, parse, types | dict.fromkeys(numbers, pa.float64()))
            sheet = Sheet(table, label, content, delimiter)
        except pa.ArrowInvalid:  # what is wrong is told by the slower way below
            _check_lines(content, label, delimiter, len(names))
    if sheet is None:
        rest = {name: pa.string() for name in names if name and name not in coded}
        try:
            table = _read(content, read, parse, types | rest)
        except pa.ArrowInvalid as error:
            _check_lines(content, label, delimiter, len(names))
            raise InvalidInputError(f"'{label}' cannot be read as CSV: {error}.") from error
        sheet = _converted(Sheet(table, label, content, delimiter), coded, numbers)
    if unnamed := names.count(""):
        said = f"Columns without a name were left out: {unnamed}."
        sheet = replace(sheet, notices=(*sheet.notices, said))
    if not sheet.table.num_rows:
        raise InvalidInputError(f"'{label}' has column names but no rows.", "Add rows of data.")
    return sheet


def _read(
    content: bytes,
    read: pacsv.ReadOptions,
    parse: pacsv.ParseOptions,
    types: dict[str, pa.DataType],
) -> pa.Table:
    convert = pacsv.ConvertOptions(
        column_types=types,
        null_values=BLANKS,
        include_columns=[name for name in read.column_names if not name.startswith("\0")],
    )
    return pacsv.read_csv(pa.BufferReader(content), read, parse, convert)


def _check_text(content: bytes, label: str) -> None:
    if not content[:65536].strip() and not content.strip():
        raise InvalidInputError(f"'{label}' is empty.", "A header line and rows are needed.")
    for mark, kind in MARKS.items():
        if content.startswith(mark):
            raise InvalidInputError(
                f"'{label}' is {kind}, not CSV or Parquet.", "Export the table as CSV."
            )
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _not_utf8(label, "UTF-16", "UTF-16")
    if b"\0" in content[:65536]:
        raise InvalidInputError(
            f"'{label}' is binary, not CSV or Parquet.", "Export the table as CSV in UTF-8."
        )


def _not_utf8(label: str, found: str, name: str) -> InvalidInputError:
    return InvalidInputError(
        f"'{label}' is not UTF-8: {found}.",
        f"Convert it: iconv -f {name} -t UTF-8 FILE > NEW.",
    )


def _header(content: bytes, label: str) -> tuple[list[str], str, int]:
    """Return the column names, the delimiter, and the lines up to and with the header."""
    skipped, start = 0, 0
    while True:  # blank lines before the header
        end = content.find(b"\n", start)
        line = content[start : end if end >= 0 else None]
        skipped += 1
        if line.strip():
            break
        start = end + 1
    try:
        text = line.decode().rstrip("\r")
    except UnicodeDecodeError as error:
        raise _encoding(content, label) from error
    delimiter = max(DELIMITERS, key=text.count)  # the first of equals: the comma
    names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
    return names, delimiter, skipped


def _unique(names: list[str], label: str) -> list[str]:
    """Return names for Arrow; a column without one gets a mark to leave it out by."""
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InvalidInputError(
            f"'{label}' has more than one column named {', '.join(map(repr, twice))}.",
            "Give every column its own name.",
        )
    return [name or f"\0{number}" for number, name in enumerate(names)]


def _encoding(content: bytes, label: str) -> InvalidInputError:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        found = f"line {line} has the byte 0x{byte:02x}, as Windows-1252 or Latin-1 files have"
        return _not_utf8(label, found, "WINDOWS-1252")
    return InvalidInputError(f"'{label}' cannot be read as CSV.")


def _check_lines(content: bytes, label: str, delimiter: str, columns: int) -> None:
    """Raise for what is wrong with the text itself: its encoding, or the fields of a line."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _encoding(content, label) from error
    line = 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for fields in reader:
            if fields and len(fields) != columns:
                shown = delimiter.join(fields)[:80]
                raise InvalidInputError(
                    f"Line {line + 1} of '{label}' needs {columns} fields, as the header has, but "
                    f"has {len(fields)}: {shown!r}.",
                    "Mend that line; quote fields that contain the delimiter.",
                )
            line = reader.line_num
    except csv.Error as error:
        raise InvalidInputError(f"Line {line + 1} of '{label}' is not CSV: {error}.") from error


def _line(content: bytes, delimiter: str, row: int) -> int:
    reader = csv.reader(io.StringIO(content.decode(), newline=""), delimiter=delimiter)
    before, records = 0, -1  # the header is not a row
    for fields in reader:
        if fields:
            if records == row:
                return before + 1
            records += 1
        before = reader.line_num
    return before


def _converted(sheet: Sheet, coded: Collection[str], numbers: Collection[str]) -> Sheet:
    """Turn text columns into numbers where they are; a column that must be numbers raises."""
    columns, notices = {}, []
    for name in sheet.table.column_names:
        column = sheet.table[name]
        if name not in coded:
            try:
                column, comma = _numeric(column, sheet.delimiter)
                notices += [f"Column {name!r}: decimal commas were read."] if comma else []
            except pa.ArrowInvalid:
                if name in numbers:
                    raise _not_a_number(sheet, name) from None
                column = _truths(column)
        columns[name] = column
    return Sheet(pa.table(columns), sheet.label, sheet.content, sheet.delimiter, tuple(notices))


def _truths(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.bool_())
    except pa.ArrowInvalid:
        return column


def _numeric(column: pa.ChunkedArray, delimiter: str) -> tuple[pa.ChunkedArray, bool]:
    text = pc.utf8_trim_whitespace(column)
    text = pc.if_else(pc.is_in(text, pa.array(BLANKS)), pa.scalar(None, pa.string()), text)
    comma = delimiter == ";" and bool(pc.any(pc.match_substring(text, ",")).as_py())
    if comma:
        # One column is written one way: a point beside a comma would be a thousands separator.
        if pc.any(pc.match_substring(text, ".")).as_py():
            raise pa.ArrowInvalid("points and commas")
        text = pc.replace_substring(text, ",", ".")
    return text.cast(pa.float64()), comma


def _not_a_number(sheet: Sheet, name: str) -> InvalidInputError:
    column = pc.utf8_trim_whitespace(sheet.table[name])
    mixed = sheet.delimiter == ";" and pc.any(pc.match_substring(column, ",")).as_py()
    for row, value in enumerate(column.to_pylist()):
        if value in BLANKS or (_is_number(value) and not (mixed and "." in value)):
            continue
        if mixed and "." not in value and _is_number(value.replace(",", ".")):
            continue
        hint = "Correct it, leave it empty, or choose another column with --target."
        if _is_number(value.replace(",", "").replace("'", "").replace(" ", "")):
            hint = "Write numbers without thousands separators and with a decimal point: 1234.5."
        return InvalidInputError(
            f"Column {name!r} needs numbers, but {sheet.place(row)} has {value!r}.", hint
        )
    return InvalidInputError(f"Column {name!r} of '{sheet.label}' needs numbers.")


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return "_" not in value  # Python reads 1_000, nobody else does


def _parquet(content: bytes, label: str, roles: Roles) -> Sheet:
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(
            f"'{label}' cannot be read as Parquet: {str(error).rstrip('.')}.", "Get it again."
        ) from error
    coded, numbers = roles(table.column_names)
    if not table.num_rows:
        raise InvalidInputError(f"'{label}' has no rows.", "Add rows of data.")
    del coded
    columns = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
            column = column.cast(pa.string())
        columns[name] = column
    sheet = Sheet(pa.table(columns), label)
    for name in numbers:
        columns[name] = _parquet_number(sheet, name)
    return Sheet(pa.table(columns), label)


def _parquet_number(sheet: Sheet, name: str) -> pa.ChunkedArray:
    column = sheet.table[name]
    if pa.types.is_string(column.type):
        try:
            return _numeric(column, ",")[0]
        except pa.ArrowInvalid:
            raise _not_a_number(sheet, name) from None
    if pa.types.is_temporal(column.type):
        raise InvalidInputError(
            f"Column {name!r} of '{sheet.label}' needs numbers, but it holds {column.type}.",
            "Choose another column with --target.",
        )
    return column.cast(pa.float64(), safe=False)
