"""The reference page of odd values: what each becomes by each way in, computed by reading it. Pure."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from cdp.behavior.classify import classify
from cdp.flows.imports.cells import InvalidRow
from cdp.flows.imports.mapping import Mapping as ImportMapping
from cdp.flows.imports.mapping import read_mapping
from cdp.flows.imports.parquet_rows import plain_cell
from cdp.flows.imports.parts import Value
from cdp.flows.imports.read import json_constant
from cdp.flows.imports.values import Values
from cdp.flows.ingest.plan import compile_ingest_plan
from cdp.kit.canonical import instant_text
from cdp.policy.jurisdictions import UNKNOWN
from cdp.policy.model import Policy
from cdp.schema.ids import SourceId
from cdp.sources.model import Source, SourceKind
from cdp.wire.document import read_document
from cdp.wire.frame import Frame
from cdp.wire.message import Invalid
from cdp.wire.segment_spec import read_message

PAGE: Final = "odd-values.md"
_NOW: Final = datetime(2026, 11, 30, 12, tzinfo=UTC)
_MISSING: Final = object()
_MAPPING: Final = b"type: identify\nidentifiers: {user_id: id}\n"
_GERMAN: Final = b"decimal: ','\nthousands: '.'\n" + _MAPPING


class OddValue(NamedTuple):
    """A value: as a JSON literal, as the text of a cell, and as a value of Parquet, each None where there is no such form."""

    literal: str | None
    cell: str | None
    parquet: Any = _MISSING


_NUMBERS: Final = (
    OddValue("20", "20", 20),
    OddValue("20.0", "20.0", 20.0),
    OddValue('"20.50"', "20.50", "20.50"),
    OddValue(None, None, Decimal("20.50")),
    OddValue('"12,50"', "12,50", "12,50"),
    OddValue('"1.234"', "1.234", "1.234"),
    OddValue('"1.234,50"', "1.234,50", "1.234,50"),
    OddValue('"1,234.50"', "1,234.50", "1,234.50"),
    OddValue('"12,50 €"', "12,50 €", "12,50 €"),
    OddValue('"\u22125"', "\u22125", "\u22125"),
    OddValue("1e3", "1e3", 1e3),
    OddValue("NaN", "NaN", float("nan")),
    OddValue("Infinity", "Infinity", float("inf")),
    OddValue("98765432109876543210", "98765432109876543210"),
    OddValue("true", "true", True),
    OddValue('""', "", ""),
    OddValue("null", None, None),
)
_INSTANTS: Final = (
    OddValue('"2026-10-02T09:59:00Z"', "2026-10-02T09:59:00Z", datetime(2026, 10, 2, 9, 59, tzinfo=UTC)),
    OddValue('"2026-10-02 09:59:00 +0200"', "2026-10-02 09:59:00 +0200", "2026-10-02 09:59:00 +0200"),
    OddValue('"2026-10-02 09:59"', "2026-10-02 09:59", datetime(2026, 10, 2, 9, 59)),  # noqa: DTZ001 - a local time
    OddValue('"2026-10-02"', "2026-10-02", date(2026, 10, 2)),
    OddValue('"02.10.2026"', "02.10.2026", "02.10.2026"),
    OddValue("1760000000", "1760000000", 1760000000),
    OddValue('"1.76E+12"', "1.76E+12", "1.76E+12"),
    OddValue('"2027-10-02T09:59:00Z"', "2027-10-02T09:59:00Z", "2027-10-02T09:59:00Z"),
    OddValue('""', "", ""),
    OddValue("null", None, None),
)
_TEXTS: Final = (
    OddValue('" A-17 "', " A-17 ", " A-17 "),
    OddValue("12347.0", "12347.0", 12347.0),
    OddValue("true", "true", True),
    OddValue("NaN", "NaN", float("nan")),
    OddValue('""', "", ""),
    OddValue("null", None, None),
)
_Read = Callable[[Any], str]


def pages(policy: Policy) -> Mapping[str, str]:
    """File name and text of the page under this policy, relative to docs/reference."""
    lines = [
        "<!-- Written by `cdp docs`. Change the code, then run it again. -->",
        "",
        "# Odd values",
        "",
        "What a value becomes by each way in, under the shipped policies: in a message (`/v1`), in a cell of CSV, in JSON Lines, in Parquet and in a delivery of a webhook. Except in messages, a value",
        "is what the mapping declares; *invalid* is the reason of the row or of the message. [Identifiers](identifiers.md) are read by rules of their own.",
        *_table(
            "A number",
            "`revenue` of an order; in files with `type: number`",
            _NUMBERS,
            of_message=_number(policy),
            type_="number",
        ),
        *_table(
            'A number in a file with `decimal: ","` and `thousands: "."`',
            "",
            _NUMBERS,
            of_message=None,
            type_="number",
            mapping=_GERMAN,
        ),
        *_table(
            "A time", "`timestamp`; in files with `zone: UTC`", _INSTANTS, of_message=_time(policy), type_="instant"
        ),
        "",
        "An event of a file without a time is invalid as `instant_missing`, unless the mapping has `empty: now`; a time after the import counts as that of the import.",
        *_table(
            "A text",
            "`order_id` of an order; in files with `type: text`",
            _TEXTS,
            of_message=_text(policy),
            type_="text",
        ),
    ]
    return {PAGE: "\n".join(lines) + "\n"}


def _table(
    title: str,
    where: str,
    values: tuple[OddValue, ...],
    *,
    of_message: _Read | None,
    type_: str,
    mapping: bytes = _MAPPING,
) -> list[str]:
    read = _cell(read_mapping("mapping.yaml", mapping), Value.model_validate({"column": "x", "type": type_}))
    lines = ["", f"## {title}", "", *([f"As {where}.", ""] if where else [])]
    heads = ["value", *(["message"] if of_message else []), "CSV", "JSON Lines", "Parquet", "webhook"]
    lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for value in values:
        shown = value.literal if value.literal is not None else repr(value.parquet)
        entries = [f"`` {shown} ``"]
        if of_message:
            entries.append("" if value.literal is None else of_message(value.literal))
        entries += [
            "" if value.cell is None else read(value.cell),
            "" if value.literal is None else read(json.loads(value.literal, parse_constant=json_constant)),
            "" if value.parquet is _MISSING else read(plain_cell(value.parquet)),
            "" if value.literal is None else read(_delivered(value.literal)),
        ]
        lines.append(f"| {' | '.join(entries)} |")
    return lines


def _delivered(literal: str) -> Any:
    """The value of a literal in the document of a webhook."""
    return read_document(b'{"x":%s}' % literal.encode(), b"application/json")["x"]


def _cell(mapping: ImportMapping, rule: Value) -> _Read:
    values = Values(mapping)

    def read(cell: Any) -> str:
        try:
            found = values.of(rule, ({"x": cell},))
        except InvalidRow as invalid:
            return f"invalid: `{invalid.reason.value}`"
        return _shown(found)

    return read


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "no value"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _message(policy: Policy, fields: str) -> Any:
    source = Source(SourceId(0), "docs", SourceKind.SERVER, frozenset(), UNKNOWN, 0)
    text = f'{{"type":"track","event":"Order Completed","userId":"u1","messageId":"m1",{fields}}}'
    found = read_message(text.encode(), Frame(source, _NOW))
    if isinstance(found, Invalid):
        return f"invalid: `{found.reason}`"
    return found, classify(found.kind, found.body, compile_ingest_plan(policy).events)


def _number(policy: Policy) -> _Read:
    return lambda literal: _property(policy, "revenue", literal)


def _text(policy: Policy) -> _Read:
    return lambda literal: _property(policy, "order_id", literal)


def _property(policy: Policy, name: str, literal: str) -> str:
    read = _message(policy, f'"properties":{{"{name}":{literal}}}')
    if isinstance(read, str):
        return read
    _, classified = read
    if name in classified.plain:
        return _shown(classified.plain[name])
    sealed = classified.sealed.get("properties", classified.sealed).get(name)
    if any(entry[0] == name for entry in classified.mistyped):
        return f"{_shown(sealed)}, sealed, counted as mistyped"
    return _shown(sealed)


def _time(policy: Policy) -> _Read:
    def read(literal: str) -> str:
        found = _message(policy, f'"timestamp":{literal}')
        if isinstance(found, str):
            return found
        message, _ = found
        is_now = message.occurred_at == _NOW
        return "the time of receipt" if is_now else f"`{instant_text(message.occurred_at)}`"

    return read
