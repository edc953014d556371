"""Columns of text as numbers: what is one, in which writing, and what to say when it is not."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

BLANKS = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "none", "#N/A", "-"]
THOUSANDS = "Write numbers without thousands separators and with a decimal point: 1234.5."
GROUPED = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$"
OTHERWISE = "Correct it, leave it empty, or choose another column with --target."


def numeric(column: pa.ChunkedArray, delimiter: str) -> tuple[pa.ChunkedArray, bool]:
    """Return a column of text as float64, and whether decimal commas were read.

    Raises:
        pa.ArrowInvalid: Some cell is no number.
    """
    text = pc.utf8_trim_whitespace(column)
    text = pc.if_else(pc.is_in(text, pa.array(BLANKS)), pa.scalar(None, pa.string()), text)
    comma = delimiter == ";" and bool(pc.any(pc.match_substring(text, ",")).as_py())
    if comma:
        # One column is written one way: a point beside a comma would be a thousands separator.
        if pc.any(pc.match_substring(text, ".")).as_py():
            raise pa.ArrowInvalid("points and commas")
        text = pc.replace_substring(text, ",", ".")
    return text.cast(pa.float64()), comma


def ambiguous(column: pa.ChunkedArray) -> int:
    """Return the first row that is 1.234 or 1234, where all points of a column are such; else -1."""
    text = pc.utf8_trim_whitespace(column)
    grouped = pc.match_substring_regex(text, GROUPED)
    other = pc.and_not(pc.match_substring(text, "."), grouped)
    return -1 if pc.any(other).as_py() else int(pc.index(grouped, True).as_py())


def first_bad(column: pa.ChunkedArray, delimiter: str) -> tuple[int, str, str]:
    """Return the first cell that `numeric` refuses: its row, its text, and what to do."""
    column = pc.utf8_trim_whitespace(column)
    mixed = delimiter == ";" and bool(pc.any(pc.match_substring(column, ",")).as_py())
    for row, value in enumerate(column.to_pylist()):
        if value is None or value in BLANKS or (_is_number(value) and not (mixed and "." in value)):
            continue
        if mixed and "." not in value and _is_number(value.replace(",", ".")):
            continue
        grouped = _is_number(value.replace(",", "").replace("'", "").replace(" ", ""))
        return row, value, THOUSANDS if grouped else OTHERWISE
    return 0, "", OTHERWISE


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return "_" not in value  # Python reads 1_000, nobody else does
