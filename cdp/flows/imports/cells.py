"""Rows of a file and their cells. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cdp.accounting.row_reasons import RowReason
from cdp.wire.segment_spec import MESSAGE_BYTES_MAX

_EXACT_FLOAT_MAX: Final = 2.0**53
_PLACE: Final = re.compile(r"[0-9]{1,4}")

Fields = Mapping[str, Any]


class InvalidRow(Exception):
    """A row that cannot be converted to a message, for the given `reason`; `column` is that of the cell, if it is one."""

    def __init__(self, reason: RowReason, column: str | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.column = column


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: its number from 1, without the header; its cells, or the reason why they are missing.

    `line` is the line of the file on which it begins; in Parquet, its number. `more` are the further rows of the same message, where the mapping groups rows.
    """

    number: int
    fields: Fields
    reason: RowReason | None = None
    more: "tuple[Row, ...]" = ()
    line: int = 0

    @property
    def numbers(self) -> Iterator[int]:
        """The numbers of all rows of the message."""
        yield self.number
        for row in self.more:
            yield row.number

    @property
    def all_fields(self) -> tuple[Fields, ...]:
        """The cells of all rows of the message."""
        return (self.fields, *(row.fields for row in self.more)) if self.more else (self.fields,)


def cell_of(fields: Fields, column: str, absent: frozenset[str]) -> Any:
    """The value of a column of a row, in JSON of a path, in which a number is a place in a list; None where it is missing or one of the `absent` texts."""
    found = fields.get(column)
    if found is None and "." in column and column not in fields:
        found = _within(fields, column)
    return None if isinstance(found, str) and found.strip() in absent else found


def text_of(raw: Any) -> str:
    """A cell as text; a whole number without a fraction, as in `12347.0` of JSON."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, float) and raw.is_integer() and abs(raw) < _EXACT_FLOAT_MAX:
        return str(int(raw))
    return raw if isinstance(raw, str) else str(raw)


def without_text_mark(value: Any) -> Any:
    """An identifier without the apostrophe by which exports tell spreadsheets that a number is text: `'+4930...`, `'123`."""
    is_marked = isinstance(value, str) and len(value) > 1 and value[0] == "'" and value[1] in "+0123456789"
    return value[1:] if is_marked else value


def is_too_large(fields: Fields) -> bool:
    """Whether the cells of a row together are longer than a message may be."""
    return sum(len(cell) for cell in fields.values() if isinstance(cell, str)) > MESSAGE_BYTES_MAX


def is_unicode(text: str) -> bool:
    """Whether every byte of the text was valid: a surrogate represents one that was not."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _within(fields: Fields, path: str) -> Any:
    found: Any = fields
    for step in path.split("."):
        if isinstance(found, list):
            found = found[int(step)] if _PLACE.fullmatch(step) and int(step) < len(found) else None
        else:
            found = found.get(step) if isinstance(found, dict) else None
    return found
