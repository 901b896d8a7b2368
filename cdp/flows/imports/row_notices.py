"""What a dry run tells of cells that are refused, or read in a way that a person may not expect. Pure.

A cell is described by its shape, never by its value.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from cdp.flows.imports.cells import InvalidRow, Row
from cdp.flows.imports.mapping import Mapping
from cdp.flows.imports.parts import Value
from cdp.flows.imports.values import Lines, Values
from cdp.flows.ingest.stages import ReadMessage

LINES_NAMED_MAX: Final = 20
KINDS_MAX: Final = 500

EXPLANATIONS: Final = {
    "identifier_fraction": "an identifier that ends in .0, as data-frame tools write whole numbers; it is kept as it is",
    "identifier_text_mark": "an apostrophe that marks text for spreadsheets; it is left out",
    "malformed_identifier": "not a valid value of the identifier type; it is left out",
    "too_long_identifier": "longer than identifiers may be; it is left out",
    "too_many_identifier": "more identifiers than a message may name; it is left out",
    "unknown_type_identifier": "of a type that the policy does not have; it is left out",
    "blocked_identifier": "a value that names nobody; it is left out",
    "mistyped_property": "not of the type that the tracking plan states; it is stored sealed, for no segment",
    "time_of_import": "no time; it counts as stated at the time of the import",
    "future_time": "a time after the import; it counts as the time of the import",
    "local_time_twice": "a local time that the clocks show twice; it is read as the first",
    "local_time_skipped": "a local time that the clocks skip",
}
_SHAPES: Final = (
    (re.compile(r"[-+]?[0-9]+(\.[0-9]+)?[eE][-+]?[0-9]+"), "number with an exponent"),
    (re.compile(r"[-+]?[0-9]+\.0+"), "whole number with .0"),
    (re.compile(r"[-+]?[0-9]+"), "digits"),
    (re.compile(r"[-+]?[0-9]{1,3}([.,' \u00a0\u202f][0-9]{3})+([.,][0-9]+)?"), "number with group marks"),
    (re.compile(r"[-+]?[0-9]*[.,][0-9]+"), "number with a fraction"),
    (re.compile(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}.*"), "date"),
    (re.compile(r"[^@\s]+@[^@\s]+"), "text with @"),
    (re.compile(r"[^\W\d_]+"), "letters"),
)  # fmt: skip
_FRACTION: Final = re.compile(r"[0-9]+\.0+")


class RowNotice(NamedTuple):
    """One kind of refused or odd reading: a reason or a key of `EXPLANATIONS`, where, and the shape of the cell."""

    kind: str
    place: str
    shape: str


@dataclass(slots=True)
class RowNotices:
    """How many rows have each notice, and the lines of the first of them."""

    counts: dict[RowNotice, int] = field(default_factory=dict)
    lines: dict[RowNotice, list[int]] = field(default_factory=dict)

    def note(self, row: Row, notice: RowNotice) -> None:
        """Count an notice of a row. Beyond `KINDS_MAX` kinds, further ones are not counted apart."""
        if notice not in self.counts and len(self.counts) >= KINDS_MAX:
            notice = RowNotice(notice.kind, "", "")
        self.counts[notice] = self.counts.get(notice, 0) + 1
        named = self.lines.setdefault(notice, [])
        if len(named) < LINES_NAMED_MAX:
            named.append(row.line)

    def document(self) -> list[dict[str, Any]]:
        """The notices as a JSON list, the most frequent first."""
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return [
            {"kind": odd.kind, "place": odd.place, "shape": odd.shape, "rows": count, "lines": self.lines[odd]}
            for odd, count in ordered
        ]


Note = Callable[[Row, RowNotice], None]


def shape_of(cell: Any) -> str:
    """What a cell looks like, without its value."""
    if cell is None:
        return "nothing"
    if not isinstance(cell, str):
        return type(cell).__name__
    text = cell.strip()
    if not text:
        return "empty"
    name = next((name for shape, name in _SHAPES if shape.fullmatch(text)), "text")
    return f"{name}, {len(text)} characters" if len(text) != 1 else f"{name}, 1 character"


def refused_cell(invalid: InvalidRow, lines: Lines, values: Values) -> RowNotice:
    """The notice of a row that a cell makes invalid."""
    column = invalid.column or ""
    return RowNotice(invalid.reason.value, column, shape_of(values.cell(column, lines)) if column else "")


class NoticeReader:
    """Finds what is odd in rows that are read."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._values = Values(mapping)

    def of(self, row: Row, read: ReadMessage) -> Iterator[RowNotice]:
        """The notices of a message and its rows."""
        lines = row.all_fields
        for rule in self._mapping.identifiers.values():
            yield from self._of_identifier(rule, lines)
        for ignored, type_ in read.ignored:
            rule_of_type = self._mapping.identifiers.get(type_)
            columns = rule_of_type.columns if rule_of_type is not None else ()
            cell = self._values.cell(columns[0], lines) if columns else None
            yield RowNotice(f"{ignored.value}_identifier", columns[0] if columns else type_, shape_of(cell))
        for property_, expected in dict.fromkeys(read.classified.mistyped):
            yield RowNotice("mistyped_property", property_, f"not {expected}")
        yield from self._of_time(lines, read)

    def _of_identifier(self, rule: Value, lines: Lines) -> Iterator[RowNotice]:
        for column in rule.columns:
            cell = self._values.cell(column, lines)
            if not isinstance(cell, str):
                continue
            text = cell.strip()
            if _FRACTION.fullmatch(text):
                yield RowNotice("identifier_fraction", column, shape_of(cell))
            elif text[:1] == "'" and text[1:2] in tuple("+0123456789"):
                yield RowNotice("identifier_text_mark", column, shape_of(cell))

    def _of_time(self, lines: Lines, read: ReadMessage) -> Iterator[RowNotice]:
        when = self._mapping.timestamp
        if when is None or when.column is None:
            return
        cell = self._values.cell(when.column, lines)
        instant = self._values.instant(when, lines)
        if instant is None:
            yield RowNotice("time_of_import", when.column, shape_of(cell))
            return
        if instant > read.message.received_at:
            yield RowNotice("future_time", when.column, shape_of(cell))
        if not when.format.startswith("unix") and not _names_a_zone(cell):
            yield from _of_clocks(instant, ZoneInfo(when.zone), column=when.column, cell=cell)


def _names_a_zone(cell: Any) -> bool:
    if isinstance(cell, datetime):
        return cell.tzinfo is not None
    return isinstance(cell, str) and re.search(r"(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})$", cell.strip()) is not None


def _of_clocks(instant: datetime, zone: ZoneInfo, *, column: str, cell: Any) -> Iterator[RowNotice]:
    """Whether the clocks of a zone show the local time of an instant twice, or never."""
    local = instant.astimezone(zone)
    naive = local.replace(tzinfo=None)
    first, second = naive.replace(tzinfo=zone, fold=0), naive.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        yield RowNotice("local_time_twice", column, shape_of(cell))
    elif first.astimezone(UTC) != instant or _was_moved(local, cell):
        yield RowNotice("local_time_skipped", column, shape_of(cell))


def _was_moved(local: datetime, cell: Any) -> bool:
    """Whether a text has another hour than the time that was read from it: the clocks skipped it."""
    found = re.search(r"[T ]([0-9]{2}):([0-9]{2})", cell) if isinstance(cell, str) else None
    return found is not None and (int(found[2]), int(found[1]) % 12) != (local.minute, local.hour % 12)


def first_lines(lines: list[int], count: int) -> str:
    """The lines of the first rows, and whether there are more."""
    return ", ".join([*map(str, islice(lines, LINES_NAMED_MAX)), *(["..."] if count > len(lines) else [])])
