"""The rows of one message, converted to it by a mapping. Pure.

Rows that cannot be converted are invalid with a reason; the reason contains no value, the report names the rows.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import msgspec

from cdp.accounting.row_reasons import RowReason
from cdp.flows.imports.cells import Fields, InvalidRow, Row, is_unicode, text_of, without_text_mark
from cdp.flows.imports.consents import RowConsents
from cdp.flows.imports.mapping import Mapping
from cdp.flows.imports.origin import RowOrigin, origin_of_file
from cdp.flows.imports.row_notices import Note, refused_cell
from cdp.flows.imports.values import Lines, Values
from cdp.kit.canonical import instant_text, sha256
from cdp.sources.model import Source
from cdp.wire.consents import consents_in
from cdp.wire.frame import Frame
from cdp.wire.message import Invalid, Message
from cdp.wire.segment_spec import MESSAGE_BYTES_MAX, message_of

_OWN_KEYS: Final = {"user_id": "userId", "anonymous_id": "anonymousId"}
_EVENTS: Final = frozenset({"track", "page", "screen"})
"""The types of messages that say what happened, and therefore need an instant."""

_encode: Final = msgspec.json.Encoder(enc_hook=str).encode

Reader = Callable[[Row, datetime], Message | Invalid]


def row_reader(mapping: Mapping, source: Source, file_digest: bytes, *, note: Note | None = None) -> Reader:
    """A function that converts a row of a file, with the further rows of its message, to a message received at an instant.

    `note` receives each cell for which a row is invalid.
    """
    return reader_of(mapping, source, origin_of_file(file_digest), note=note)


def reader_of(mapping: Mapping, source: Source, origin: RowOrigin, *, note: Note | None = None) -> Reader:
    """As `row_reader`, for rows of any origin."""
    return _Rows(mapping, source, origin, note=note).read


class _Rows:
    """A mapping, prepared for many rows."""

    def __init__(self, mapping: Mapping, source: Source, origin: RowOrigin, *, note: Note | None = None) -> None:
        self._note = note
        self._mapping = mapping
        self._source = source
        self._origin = origin
        self._values = Values(mapping)
        self._consents = RowConsents(mapping, self._values, origin)
        self._selects = selection_of(mapping)
        self._same = _columns_of_one_message(mapping)

    def read(self, row: Row, now: datetime) -> Message | Invalid:
        frame = Frame(self._source, now, is_imported=self._origin.is_imported, delivery=self._origin.delivery)
        lines = row.all_fields if row.reason is None else tuple(_readable(fields) for fields in row.all_fields)
        acts, wrong = self._consents.of(lines, now)
        try:
            if row.reason is not None:
                raise InvalidRow(row.reason)
            body = self._body(row, lines)
            if wrong is not None:
                raise wrong
            if not self._origin.is_imported and len(_encode(body)) > MESSAGE_BYTES_MAX:
                raise InvalidRow(RowReason.ROW_TOO_LARGE)
        except InvalidRow as invalid:
            if self._note is not None:
                self._note(row, refused_cell(invalid, lines, self._values))
            consents = consents_in(self._named(lines), frame, acts=acts)
            return Invalid(self._source, invalid.reason.value, consents, delivery=self._origin.delivery)
        return message_of(body, frame, acts=acts)

    def _named(self, lines: Lines) -> dict[str, Any]:
        """The identifiers and the instant of rows that are not a message: whom their refusals are about, and when."""
        body: dict[str, Any] = {"type": "identify", "context": {}}
        for type_, rule in self._mapping.identifiers.items():
            with suppress(InvalidRow):
                _add_identifier(body, type_, self._values.of(rule, lines))
        with suppress(InvalidRow):
            self._add_instant(body, lines)
        return body

    def _body(self, row: Row, lines: Lines) -> dict[str, Any]:
        mapping, values = self._mapping, self._values
        if row.more and values.differs(self._same, lines):
            raise InvalidRow(RowReason.GROUP_DISAGREES)
        if not self._selects(lines):
            raise InvalidRow(RowReason.NOT_SELECTED, mapping.only[0].column)
        kind = values.of(mapping.type, lines)
        if not isinstance(kind, str):
            raise InvalidRow(RowReason.TYPE_UNKNOWN)
        body: dict[str, Any] = {"type": kind, "messageId": self._message_id(row, lines), "context": {}}
        for key, rule in (
            ("event", mapping.event),
            ("previousId", mapping.previous_id),
            ("groupId", mapping.group_id),
        ):
            found = None if rule is None else values.of(rule, lines)
            if found is not None:
                body[key] = found
        for type_, rule in mapping.identifiers.items():
            _add_identifier(body, type_, values.of(rule, lines))
        if not self._add_instant(body, lines) and kind in _EVENTS and self._needs_instant:
            raise InvalidRow(RowReason.INSTANT_MISSING, mapping.timestamp.column if mapping.timestamp else None)
        self._add_content(body, kind, lines)
        return body

    @property
    def _needs_instant(self) -> bool:
        when = self._mapping.timestamp
        return when is not None and when.empty == "refuse"

    def _add_content(self, body: dict[str, Any], kind: str, lines: Lines) -> None:
        mapping, values = self._mapping, self._values
        properties, traits = values.all_of(mapping.properties, lines), values.all_of(mapping.traits, lines)
        if mapping.products:
            products = [product for line in lines if (product := self._product(line))]
            if products:
                properties["products"] = products
        if kind in ("identify", "group"):
            body["traits"] = traits
        elif traits:
            body["context"]["traits"] = traits
        if properties:
            body["properties"] = properties

    def _product(self, line: Fields) -> dict[str, Any]:
        """The article of a row; empty where only constants would be in it."""
        rules = self._mapping.products
        found = self._values.all_of(rules, (line,))
        return found if any(rules[name].value is None for name in found) else {}

    def _message_id(self, row: Row, lines: Lines) -> str:
        mapping = self._mapping
        if mapping.message_id is not None:
            found = self._values.of(mapping.message_id, lines)
            if found is None:
                raise InvalidRow(RowReason.MESSAGE_ID_MISSING, mapping.message_id.column)
            return str(found)
        if mapping.group_by is None:
            return f"{self._origin.prefix}-{row.number}"
        group = text_of(self._values.cell(mapping.group_by, lines)).strip()
        return f"{self._origin.prefix}-{sha256(group.encode()).hex()[:32]}"

    def _add_instant(self, body: dict[str, Any], lines: Lines) -> bool:
        """Add the instant; whether there is one."""
        instant = None if self._mapping.timestamp is None else self._values.instant(self._mapping.timestamp, lines)
        if instant is not None:
            body["timestamp"] = instant_text(instant)
        return instant is not None


def selection_of(mapping: Mapping) -> Callable[[Lines], bool]:
    """Whether a mapping selects the rows of a message, by its `only`."""
    values = Values(mapping)
    conditions = [(one.column, frozenset(text.casefold() for text in one.values)) for one in mapping.only]

    def holds(column: str, selected: frozenset[str], lines: Lines) -> bool:
        cell = values.cell(column, lines)
        return cell is not None and text_of(cell).strip().casefold() in selected

    return lambda lines: all(holds(column, selected, lines) for column, selected in conditions)


def _add_identifier(body: dict[str, Any], type_: str, value: Any) -> None:
    """Put an identifier where a message carries it."""
    own = _OWN_KEYS.get(type_)
    if value is None:
        return
    value = without_text_mark(value)
    if own is not None:
        body[own] = value
    else:
        entry = {"type": type_, "id": str(value), "collection": "users", "encoding": "none"}
        body["context"].setdefault("externalIds", []).append(entry)


def _columns_of_one_message(mapping: Mapping) -> tuple[str, ...]:
    """The columns that must not differ between the rows of one message: whom it is about, what it is, and when."""
    rules = (mapping.type, mapping.event, mapping.message_id, mapping.previous_id, mapping.group_id)
    named = [rule for rule in (*rules, *mapping.identifiers.values()) if rule is not None]
    columns = [column for rule in named for column in rule.columns]
    if mapping.timestamp is not None and mapping.timestamp.column is not None:
        columns.append(mapping.timestamp.column)
    return tuple(dict.fromkeys(columns))


def _readable(fields: Fields) -> Fields:
    """The cells of a row that cannot be read as a whole, without those that have invalid bytes."""
    return {name: cell for name, cell in fields.items() if not isinstance(cell, str) or is_unicode(cell)}
