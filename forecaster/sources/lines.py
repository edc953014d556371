"""The text of a CSV: its encoding, header and delimiter, and the place of a row in it."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as pacsv

from forecaster.errors import InvalidInputError
from forecaster.sources.numbers import BLANKS

DELIMITERS = ",;\t|"
SEP = re.compile(rb"\"?sep=([,;\t|])\"?[ \t]*\r?(?=\n)", re.IGNORECASE)  # Excel's own first line
MARKS = {
    b"PK\x03\x04": "a zip or Excel file",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"\x89PNG": "an image",
    b"%PDF": "a PDF",
}


@dataclass(frozen=True)
class Lines:
    """The text of a CSV.

    Attributes:
        content: UTF-8, without a byte order mark.
        label: The file, as errors name it.
        names: Of the columns; empty where the header has none.
        delimiter: One of `DELIMITERS`.
        skipped: Lines up to and with the header.
    """

    content: bytes
    label: str
    names: tuple[str, ...]
    delimiter: str
    skipped: int

    @classmethod
    def of(cls, content: bytes, label: str) -> Lines:
        """Look at the first lines.

        Raises:
            InvalidInputError: No text, not UTF-8, or two columns of one name.
        """
        _check_text(content, label)
        content = content.removeprefix(b"\xef\xbb\xbf")
        if b"\n" not in content:
            content = content.replace(b"\r", b"\n")  # as spreadsheets on old Macs end lines
        if told := SEP.match(content):  # from its line end on: lines keep their numbers
            content = content[told.end() :]
        names, delimiter, skipped = _header(content, label, told[1].decode() if told else None)
        counts = Counter(name for name in names if name)
        if twice := sorted(name for name, count in counts.items() if count > 1):
            raise InvalidInputError(
                f"'{label}' has more than one column named {', '.join(map(repr, twice))}.",
                "Give every column its own name.",
            )
        return cls(content, label, tuple(names), delimiter, skipped)

    def read(self, types: dict[str, pa.DataType]) -> pa.Table:
        """Read the columns that have names.

        Raises:
            InvalidInputError: The text itself is broken; the line is named.
            pa.ArrowInvalid: A cell is not of the type that its column was given.
        """
        # A column without a name gets a mark, for Arrow needs one.
        names = [name or f"\0{number}" for number, name in enumerate(self.names)]
        read = pacsv.ReadOptions(column_names=names, skip_rows=self.skipped)
        parse = pacsv.ParseOptions(
            delimiter=self.delimiter, newlines_in_values=b'"' in self.content
        )
        named = [name for name in self.names if name]
        convert = pacsv.ConvertOptions(
            column_types=types, null_values=BLANKS, include_columns=named
        )
        try:
            table = pacsv.read_csv(pa.BufferReader(self.content), read, parse, convert)
        except pa.ArrowInvalid:
            self._check()
            raise
        if any(map(pa.types.is_binary, table.schema.types)):  # what is no text to Arrow
            raise _encoding(self.content, self.label)
        return table

    def _check(self) -> None:
        """Raise for what is wrong with the text: its encoding, or the fields of a line."""
        for line, fields in self._records():
            if len(fields) != len(self.names):
                shown = self.delimiter.join(fields)[:80]
                raise InvalidInputError(
                    f"Line {line} of '{self.label}' needs {len(self.names)} fields, as the header "
                    f"has, but has {len(fields)}: {shown!r}.",
                    "Mend that line; quote fields that contain the delimiter.",
                )

    def number(self, row: int) -> int:
        """Return the line on which a row begins: line 1 is the first of the file."""
        return next((line for i, (line, _) in enumerate(self._records(), -1) if i == row), 0)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Give the fields of each record, the header's too, and the line on which it begins."""
        try:
            text = self.content.decode()
        except UnicodeDecodeError as error:
            raise _encoding(self.content, self.label) from error
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter)
        before = 0
        try:
            for fields in reader:
                if fields:
                    yield before + 1, fields
                before = reader.line_num
        except csv.Error as error:
            raise _not_csv(self.label, before + 1, error) from error


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


def _header(content: bytes, label: str, delimiter: str | None) -> tuple[list[str], str, int]:
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
    if text.count('"') % 2:
        raise InvalidInputError(
            f"The header of '{label}' goes on after line {skipped}: a quote is open there.",
            "Write the column names on one line.",
        )
    unquoted = re.sub(r'"[^"]*"', "", text)
    delimiter = delimiter or max(DELIMITERS, key=unquoted.count)  # the first of equals: the comma
    try:
        names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
    except csv.Error as error:
        raise _not_csv(label, skipped, error) from error
    return names, delimiter, skipped


def _not_csv(label: str, line: int, error: csv.Error) -> InvalidInputError:
    return InvalidInputError(
        f"Line {line} of '{label}' is not CSV: {error}.", "Mend that line, or export it anew."
    )


def _encoding(content: bytes, label: str) -> InvalidInputError:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        found = f"line {line} has the byte 0x{byte:02x}, as Windows-1252 or Latin-1 files have"
        return _not_utf8(label, found, "WINDOWS-1252")
    return InvalidInputError(f"'{label}' cannot be read as CSV.")
