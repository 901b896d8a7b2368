"""The rows of a CSV file with a header."""

import csv
import re
from collections.abc import Iterator
from typing import Final

from cdp.accounting.row_reasons import RowReason
from cdp.flows.imports.cells import Row, is_too_large, is_unicode
from cdp.flows.imports.lines import BoundedLines, RecordTooLong
from cdp.flows.imports.mapping import Mapping
from cdp.kit.errors import Fault
from cdp.policy.problems import choose

_CELL_MAX: Final = 1 << 20
_NOTE: Final = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""A first line that spreadsheets read: which character separates the cells."""


def csv_rows(lines: BoundedLines, mapping: Mapping) -> Iterator[Row]:
    """The rows. Faults: `header_too_long`, `separator_disagrees`, and those of `check_columns`."""
    csv.field_size_limit(_CELL_MAX)
    try:
        delimiter = _begin(lines, mapping)
        reader = csv.reader(lines, delimiter=delimiter)
        header = [name.strip() for name in next(reader, [])]
    except RecordTooLong:
        raise Fault(
            "header_too_long", "The header of the file is too long", "The first line of a CSV file names its columns."
        ) from None
    check_columns(header, mapping)
    number = 0
    while True:
        lines.begin_record()
        line = lines.count + 1
        try:
            cells = next(reader, None)
        except RecordTooLong:
            number += 1
            yield Row(number, {}, RowReason.ROW_TOO_LARGE, line=line)
            continue
        except csv.Error:
            cells = [""] * (len(header) + 1)
        if cells is None:
            return
        if cells:
            number += 1
            yield _row(number, header, cells, line=line)


def _begin(lines: BoundedLines, mapping: Mapping) -> str:
    """Skip the lines before the header; the separator of the cells."""
    for _ in range(mapping.skip_lines):
        lines.begin_record()
        next(lines, None)
    lines.begin_record()
    first = next(lines, "")
    noted = separator_note(first)
    if noted is None:
        lines.put_back(first)
        return mapping.delimiter
    if "delimiter" in mapping.model_fields_set and noted != mapping.delimiter:
        raise Fault(
            "separator_disagrees",
            "The file and the mapping name different separators",
            f"Line {mapping.skip_lines + 1} of the file is `sep={noted}`, a note for spreadsheets; the mapping has "
            f'`delimiter: "{mapping.delimiter}"`. Correct or remove `delimiter`, or leave the line out with '
            f"`skip_lines: {mapping.skip_lines + 1}`.",
        )
    lines.begin_record()
    return noted


def separator_note(line: str) -> str | None:
    """The separator that a line names for spreadsheets, if it is such a note."""
    note = _NOTE.fullmatch(line)
    return None if note is None else note[1]


def _row(number: int, header: list[str], cells: list[str], *, line: int) -> Row:
    if len(cells) != len(header):
        return Row(number, {}, RowReason.ROW_MALFORMED, line=line)
    fields = dict(zip(header, cells, strict=True))
    if is_too_large(fields):
        return Row(number, {}, RowReason.ROW_TOO_LARGE, line=line)
    return Row(number, fields, None if is_unicode("".join(cells)) else RowReason.TEXT_NOT_UNICODE, line=line)


def check_columns(header: list[str], mapping: Mapping) -> None:
    """Raises `other_encoding`, `unknown_column` and `doubled_column`."""
    if not is_unicode("".join(header)):
        raise Fault(
            "other_encoding",
            "The header has bytes that are invalid in the encoding",
            f"The mapping has `encoding: {mapping.encoding}`. Programs for Windows often write `encoding: cp1252`.",
        )
    missing = sorted(mapping.columns - set(header))
    if missing:
        listed = "; ".join(f"`{name}`: {choose(name, header)}" for name in missing)
        raise Fault("unknown_column", "The mapping names columns that the file does not have", listed)
    if len(set(header)) != len(header):
        raise Fault("doubled_column", "The header names a column twice", "Give every column a different name.")
