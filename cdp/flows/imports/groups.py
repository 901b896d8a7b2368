"""Consecutive rows with the same value of a column, as one row with more rows. Pure.

A row that cannot be read, or has no value in the column, may belong to the group before it or after it: both are then
incomplete, and an order with too few articles is not stored.

The rows of a group that name several people are invalid one by one, so that what each refuses is recorded for its own
person; a row that names nobody belongs to the person of the row before it.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from cdp.accounting.row_reasons import RowReason
from cdp.flows.imports.cells import Fields, Row, cell_of, text_of
from cdp.flows.imports.mapping import Mapping
from cdp.flows.imports.values import Values
from cdp.wire.segment_spec import MESSAGE_BYTES_MAX

GROUP_ROWS_MAX: Final = 500
"""Rows of one message."""


def grouped(rows: Iterator[Row], mapping: Mapping) -> Iterator[Row]:
    """The rows, those of one group as one; unchanged if the mapping does not group rows."""
    return rows if mapping.group_by is None else _Groups(mapping).of(rows)


class _Groups:
    def __init__(self, mapping: Mapping) -> None:
        self._column = mapping.group_by or ""
        self._columns = mapping.columns | {column.partition(".")[0] for column in mapping.columns}
        self._absent = frozenset(mapping.absent)
        self._values = Values(mapping)
        self._naming = tuple(column for rule in mapping.identifiers.values() for column in rule.columns)
        self._person: Fields = {}
        self._rows: list[Row] = []
        self._key: str | None = None
        self._size = 0
        self._is_incomplete = False
        self._is_too_large = False

    def of(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The groups, in the order of their rows."""
        for row in rows:
            key = self._key_of(row)
            if key is None:
                self._is_incomplete = True
                yield from self._ended()
                yield row if row.reason is not None else replace(row, reason=RowReason.GROUP_MISSING)
                self._key, self._is_incomplete = None, True
                continue
            if key != self._key:
                yield from self._ended()
                self._key, self._person = key, {}
            self._size += self._size_of(row)
            self._rows.append(row)
            if self._size > MESSAGE_BYTES_MAX or len(self._rows) > GROUP_ROWS_MAX:
                self._is_too_large = True
                yield from self._emitted()
        yield from self._ended()

    def _ended(self) -> Iterator[Row]:
        """The group that ends here, if one began."""
        yield from self._emitted()
        if self._key is not None:
            self._is_incomplete = False
        self._is_too_large = False

    def _emitted(self) -> Iterator[Row]:
        if not self._rows:
            return
        first, *more = self._rows
        reason = next((row.reason for row in self._rows if row.reason is not None), None)
        if reason is None and self._is_too_large:
            reason = RowReason.GROUP_TOO_LARGE
        if reason is None and self._is_incomplete:
            reason = RowReason.GROUP_INCOMPLETE
        if self._values.differs(self._naming, (self._person, *(row.fields for row in self._rows))):
            yield from self._each(reason or RowReason.GROUP_DISAGREES)
        else:
            yield Row(first.number, self._with_person(first.fields), reason, tuple(more), first.line)
        self._rows, self._size = [], 0

    def _each(self, reason: RowReason) -> Iterator[Row]:
        """The rows one by one, each invalid and with its person."""
        for row in self._rows:
            if not self._person:
                self._with_person(row.fields)
        for row in self._rows:
            yield Row(row.number, self._with_person(row.fields), row.reason or reason, line=row.line)

    def _with_person(self, fields: Fields) -> Fields:
        """A row with the person of the row before it, if it names nobody itself."""
        named = {column: cell_of(fields, column, self._absent) for column in self._naming}
        if any(cell is not None for cell in named.values()):
            self._person = named
            return fields
        return {**fields, **self._person}

    def _key_of(self, row: Row) -> str | None:
        cell = cell_of(row.fields, self._column, self._absent)
        return None if cell is None else text_of(cell).strip()

    def _size_of(self, row: Row) -> int:
        cells = (cell for name, cell in row.fields.items() if name in self._columns and cell is not None)
        return sum(len(cell if isinstance(cell, str) else repr(cell)) for cell in cells)
