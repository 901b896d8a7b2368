"""One row of an imported file, converted to a message by a mapping. Pure.

A row that cannot be converted is invalid with a reason; the reason contains no value, the report names the row.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from cdp.accounting.row_reasons import RowReason
from cdp.consent.model import Act, Authority
from cdp.consent.signals.model import ProposedAct, hash_of
from cdp.flows.imports.mapping import ConsentColumn, Value, When
from cdp.flows.imports.mapping import Mapping as ImportMapping
from cdp.kit.canonical import instant_text
from cdp.kit.clock import parse_instant
from cdp.sources.model import Source
from cdp.wire.consents import consents_in
from cdp.wire.frame import Frame
from cdp.wire.message import Invalid, Message
from cdp.wire.segment_spec import MESSAGE_BYTES_MAX, message_of

SIGNAL: Final = "import"
"""The signal that the ledger records for an imported consent."""

_NUMBER: Final = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_WHOLE: Final = re.compile(r"([-+]?[0-9]{1,18})\.0+")
"""A whole number in a column with gaps, as data-frame tools write it."""
_MINUS: Final = "\u2212"
"""The minus sign, which browsers print in Norwegian, Swedish and other languages in place of a hyphen."""
_EXACT_FLOAT_MAX: Final = 2.0**53
_TRUE: Final = frozenset({"true", "yes", "1", "t", "y"})
_FALSE: Final = frozenset({"false", "no", "0", "f", "n"})
_FIELD: Final = re.compile(r"\{([^{}]+)\}")
_OWN_KEYS: Final = {"user_id": "userId", "anonymous_id": "anonymousId"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Fields = Mapping[str, Any]


class _InvalidRow(Exception):
    def __init__(self, reason: RowReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: its number from 1, without the header; its cells, or the reason why they are missing."""

    number: int
    fields: Fields
    reason: RowReason | None = None


Reader = Callable[[Row, datetime], Message | Invalid]


def row_reader(mapping: ImportMapping, source: Source, file_digest: bytes) -> Reader:
    """A function that converts a row to a message received at an instant."""
    return _Rows(mapping, source, file_digest.hex()[:20]).read


class _Rows:
    """A mapping, prepared for many rows."""

    def __init__(self, mapping: ImportMapping, source: Source, prefix: str) -> None:
        self._mapping = mapping
        self._source = source
        self._prefix = prefix
        self._absent = frozenset(mapping.absent)
        self._zone = None if mapping.timestamp is None else ZoneInfo(mapping.timestamp.zone)
        self._answers = {purpose: _answers_of(rule) for purpose, rule in mapping.consents.items()}

    def read(self, row: Row, now: datetime) -> Message | Invalid:
        if row.reason is not None:
            return Invalid(self._source, row.reason.value)
        frame = Frame(self._source, now, is_imported=True)
        acts, wrong = self._acts(row.fields)
        if acts and not self._is_dated(row.fields):
            acts = tuple(replace(act, is_undated=act.act is Act.GRANT) for act in acts)
        try:
            body = self._body(row)
            if wrong is not None:
                raise _InvalidRow(wrong)
        except _InvalidRow as invalid:
            return Invalid(self._source, invalid.reason.value, consents_in(self._named(row), frame, acts=acts))
        return message_of(body, frame, acts=acts)

    def _is_dated(self, fields: Fields) -> bool:
        return self._mapping.timestamp is not None and self._cell(self._mapping.timestamp.column, fields) is not None

    def _named(self, row: Row) -> dict[str, Any]:
        """The identifiers and the instant of a row that is not a message: whom its refusals are about, and when."""
        body: dict[str, Any] = {"type": "identify", "context": {}}
        for type_, rule in self._mapping.identifiers.items():
            with suppress(_InvalidRow):
                self._add_identifier(body, type_, self._value(rule, row.fields))
        with suppress(_InvalidRow):
            self._add_instant(body, row.fields)
        return body

    def _body(self, row: Row) -> dict[str, Any]:
        mapping, fields = self._mapping, row.fields
        kind = self._value(mapping.type, fields)
        if not isinstance(kind, str):
            raise _InvalidRow(RowReason.TYPE_UNKNOWN)
        body: dict[str, Any] = {"type": kind, "messageId": self._message_id(row), "context": {}}
        for key, rule in (
            ("event", mapping.event),
            ("previousId", mapping.previous_id),
            ("groupId", mapping.group_id),
        ):
            found = None if rule is None else self._value(rule, fields)
            if found is not None:
                body[key] = found
        self._add_identifiers(body, fields)
        self._add_instant(body, fields)
        properties = self._values(mapping.properties, fields)
        traits = self._values(mapping.traits, fields)
        if kind in ("identify", "group"):
            body["traits"] = traits
        elif traits:
            body["context"]["traits"] = traits
        if properties:
            body["properties"] = properties
        return body

    def _message_id(self, row: Row) -> str:
        if self._mapping.message_id is None:
            return f"import-{self._prefix}-{row.number}"
        found = self._value(self._mapping.message_id, row.fields)
        if found is None:
            raise _InvalidRow(RowReason.MESSAGE_ID_MISSING)
        return str(found)

    def _add_identifiers(self, body: dict[str, Any], fields: Fields) -> None:
        for type_, rule in self._mapping.identifiers.items():
            self._add_identifier(body, type_, self._value(rule, fields))

    def _add_identifier(self, body: dict[str, Any], type_: str, value: Any) -> None:
        """Put an identifier where a message carries it."""
        own = _OWN_KEYS.get(type_)
        if value is None:
            return
        if own is not None:
            body[own] = value
        else:
            entry = {"type": type_, "id": str(value), "collection": "users", "encoding": "none"}
            body["context"].setdefault("externalIds", []).append(entry)

    def _add_instant(self, body: dict[str, Any], fields: Fields) -> None:
        if self._mapping.timestamp is not None:
            instant = self._instant(self._mapping.timestamp, fields)
            if instant is not None:
                body["timestamp"] = instant_text(instant)

    def _values(self, rules: Mapping[str, Value], fields: Fields) -> dict[str, Any]:
        found = ((name, self._value(rule, fields)) for name, rule in rules.items())
        return {name: value for name, value in found if value is not None}

    def _value(self, rule: Value, fields: Fields) -> Any:
        """The value for this row; None when there is none."""
        if rule.value is not None:
            return rule.value
        raw = self._cell(rule.column, fields) if rule.column is not None else self._filled(rule.template or "", fields)
        if raw is None:
            return None
        if rule.map is not None:
            text = _text(raw).strip()
            if text in rule.map:
                return rule.map[text]
            if rule.otherwise is None:
                raise _InvalidRow(RowReason.VALUE_NOT_MAPPED)
            return rule.otherwise
        return self._typed(rule.type, raw)

    def _filled(self, template: str, fields: Fields) -> str | None:
        cells = {name: self._cell(name, fields) for name in _FIELD.findall(template)}
        if any(cell is None for cell in cells.values()):
            return None
        return _FIELD.sub(lambda match: _text(cells[match.group(1)]), template)

    def _cell(self, column: str | None, fields: Fields) -> Any:
        assert column is not None
        return cell_of(fields, column, self._absent)

    def _typed(self, type_: str, raw: Any) -> Any:
        match type_:
            case "text":
                return _text(raw).strip()
            case "number" | "integer":
                return self._number(raw, is_whole=type_ == "integer")
            case "boolean":
                return _boolean(raw)
            case "instant":
                return instant_text(_iso(raw, UTC))
            case _:
                return raw

    def _number(self, raw: Any, *, is_whole: bool) -> int | float:
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            text = repr(raw)
        elif isinstance(raw, str):
            text = raw.strip().replace(_MINUS, "-")
            text = text.replace(",", ".") if self._mapping.decimal == "," else text
        else:
            raise _InvalidRow(RowReason.NUMBER_MALFORMED)
        if _INTEGER.fullmatch(text):
            return int(text)
        if is_whole and (whole := _WHOLE.fullmatch(text)) is not None:
            return int(whole[1])
        if is_whole or not _NUMBER.fullmatch(text):
            raise _InvalidRow(RowReason.NUMBER_MALFORMED)
        return float(text)

    def _instant(self, when: When, fields: Fields) -> datetime | None:
        raw = self._cell(when.column, fields)
        if raw is None:
            return None
        assert self._zone is not None
        try:
            match when.format:
                case "iso8601":
                    return _iso(raw, self._zone)
                case "unix_seconds":
                    return _EPOCH + timedelta(seconds=float(raw))
                case "unix_milliseconds":
                    return _EPOCH + timedelta(milliseconds=float(raw))
                case pattern:
                    return _aware(datetime.strptime(_text(raw).strip(), pattern), self._zone)  # noqa: DTZ007 - next
        except (ValueError, TypeError, OverflowError):
            raise _InvalidRow(RowReason.INSTANT_MALFORMED) from None

    def _acts(self, fields: Fields) -> tuple[tuple[ProposedAct, ...], RowReason | None]:
        """The consents of a row, and why the row is invalid if an answer is not mapped; the other answers still count."""
        acts = []
        wrong = None
        for purpose, rule in self._mapping.consents.items():
            raw = self._cell(rule.column, fields) if rule.column is not None else rule.answer
            if raw is None:
                continue
            answer = _text(raw).strip().casefold()
            act = self._answers[purpose].get(answer)
            if act is None:
                wrong = RowReason.CONSENT_NOT_MAPPED
                continue
            acts.append(
                ProposedAct(
                    purpose,
                    act,
                    Authority.IMPORTED,
                    None,
                    SIGNAL,
                    hash_of([purpose, answer]),
                    "import.column" if rule.column is not None else "import.value",
                )
            )
        return tuple(acts), wrong


def cell_of(fields: Fields, column: str, absent: frozenset[str]) -> Any:
    """The value of a column of a row, in JSON Lines of a path; None where it is missing or one of the `absent` texts."""
    found = fields.get(column)
    if found is None and "." in column and column not in fields:
        found = _within(fields, column)
    return None if isinstance(found, str) and found.strip() in absent else found


def is_too_large(fields: Mapping[str, Any]) -> bool:
    """Whether the cells of a row together are longer than a message may be."""
    return sum(len(cell) for cell in fields.values() if isinstance(cell, str)) > MESSAGE_BYTES_MAX


def _answers_of(rule: ConsentColumn) -> dict[str, Act]:
    granting = {text.casefold(): Act.GRANT for text in rule.grant}
    return granting | {text.casefold(): Act.REFUSE for text in rule.refuse}


def _within(fields: Fields, path: str) -> Any:
    found: Any = fields
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _text(raw: Any) -> str:
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, float) and raw.is_integer() and abs(raw) < _EXACT_FLOAT_MAX:
        return str(int(raw))
    return raw if isinstance(raw, str) else str(raw)


def _boolean(raw: Any) -> bool:
    text = _text(raw).strip().casefold()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise _InvalidRow(RowReason.BOOLEAN_MALFORMED)


def _iso(raw: Any, zone: Any) -> datetime:
    try:
        naive = datetime.fromisoformat(_text(raw).strip())
        return parse_instant(_text(raw).strip()) if naive.tzinfo is not None else _aware(naive, zone)
    except (ValueError, OverflowError):
        raise _InvalidRow(RowReason.INSTANT_MALFORMED) from None


def _aware(instant: datetime, zone: Any) -> datetime:
    """In UTC; a local time that the clocks skipped or repeated is the first possible one."""
    return (instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)).astimezone(UTC)
