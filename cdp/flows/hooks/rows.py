"""The rows of a delivery, and which mapping each of them has. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cdp.accounting.row_reasons import RowReason
from cdp.flows.hooks.mapping import HEADER, HookMapping
from cdp.flows.imports.cells import Fields, Row
from cdp.flows.imports.row import selection_of
from cdp.flows.imports.values import Lines

ROWS_MAX: Final = 2_500
"""Rows of one delivery, as many as messages of a batch."""


_VALUES_MAX: Final = 500_000
"""Values beside the elements of `rows`, counted once for each element: so much is copied at most."""


class TooManyRows(Exception):
    """A delivery with more rows than `ROWS_MAX`, or with so much beside each of them that it cannot be copied."""


@dataclass(frozen=True, slots=True)
class MappedRows:
    """Rows of one mapping, in the order of the delivery; without a mapping, those that none selects, or that are not objects."""

    mapping: HookMapping | None
    rows: Sequence[Row]


class RowSelector:
    """Finds the rows of deliveries and their mappings.

    Of an element, the first path of `rows` counts of whose rows a mapping selects one. Each of these rows has the first
    mapping with that path that selects it.
    """

    def __init__(self, mappings: Sequence[HookMapping]) -> None:
        self._mappings = mappings
        self._selects = [selection_of(mapping) for mapping in mappings]
        self._paths = tuple(dict.fromkeys(mapping.rows for mapping in mappings))
        named = {column for mapping in mappings for column in mapping.columns}
        self._headers = tuple(column for column in named if column.startswith(HEADER))

    def of(self, document: Any, headers: Mapping[bytes, bytes]) -> list[MappedRows]:
        """The rows of a delivery, those without a mapping last. Raises `TooManyRows`."""
        columns = {column: header_column(column, headers) for column in self._headers}
        by_mapping: dict[int, list[Row]] = {}
        left: list[Row] = []
        numbers = _Numbers()
        for element in document if isinstance(document, list) else [document]:
            if not isinstance(element, dict):
                left.append(Row(numbers.next(), {}, RowReason.ROW_MALFORMED))
                continue
            for position, row in self._of_element({**element, **columns}, numbers):
                (left if position is None else by_mapping.setdefault(position, [])).append(row)
        found = [MappedRows(self._mappings[at], rows) for at, rows in sorted(by_mapping.items())]
        return [*found, MappedRows(None, left)] if left else found

    def _of_element(self, element: Fields, numbers: "_Numbers") -> Iterator[tuple[int | None, Row]]:
        for path in self._paths:
            chosen = [(self._mapping_of(fields, path), fields) for fields in self._expanded(element, path, numbers)]
            if any(position is not None for position, _ in chosen):
                for position, fields in chosen:
                    reason = None if position is not None else RowReason.NOT_SELECTED
                    yield position, Row(numbers.next(), fields, reason)
                return
        yield None, Row(numbers.next(), element, RowReason.NOT_SELECTED)

    def _mapping_of(self, fields: Fields, path: str | None) -> int | None:
        lines: Lines = (fields,)
        for position, mapping in enumerate(self._mappings):
            if mapping.rows == path and self._selects[position](lines):
                return position
        return None

    def _expanded(self, element: Fields, path: str | None, numbers: "_Numbers") -> Iterator[Fields]:
        """The rows of an element. A list that is empty or missing gives one row if the mapping groups by something outside of it."""
        if path is None:
            yield element
            return
        rows = list(_elements(element, path.split("."), numbers))
        is_grouped = any(
            mapping.rows == path and mapping.group_by is not None and not f"{mapping.group_by}.".startswith(f"{path}.")
            for mapping in self._mappings
        )
        yield from rows or ([element] if is_grouped else [])


class _Numbers:
    """The numbers of the rows of a delivery, from 1, and how much was copied for them."""

    def __init__(self) -> None:
        self._last = 0
        self._copied = 0

    def next(self) -> int:
        self._last += 1
        if self._last > ROWS_MAX:
            raise TooManyRows
        return self._last

    def copy(self, values: int) -> None:
        """Count values that are copied."""
        self._copied += values
        if self._copied > _VALUES_MAX:
            raise TooManyRows


def _elements(value: Any, steps: Sequence[str], numbers: _Numbers) -> Iterator[Any]:
    """Copies of a value in which each list on the path is replaced by one of its elements."""
    if isinstance(value, list):
        for element in value:
            yield from _elements(element, steps, numbers)
    elif not steps:
        if value is not None:
            yield value
    elif isinstance(value, dict) and steps[0] in value:
        for element in _elements(value[steps[0]], steps[1:], numbers):
            numbers.copy(len(value))
            yield {**value, steps[0]: element}


def header_column(column: str, headers: Mapping[bytes, bytes]) -> str | None:
    """The value of a column that is a header, None for any other one and where there is no such header."""
    if not column.startswith(HEADER):
        return None
    value = headers.get(column[len(HEADER) :].strip().lower().encode("latin-1", "replace"))
    return None if value is None else value.decode("utf-8", "replace")
