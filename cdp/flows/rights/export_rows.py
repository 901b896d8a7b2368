"""Rows of an export in readable form: numbers replaced by names, sealed values opened, some values withheld."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from cdp.behavior.entries import joined, scalars_of
from cdp.behavior.model import NO_NAME, Term
from cdp.behavior.rules import instant_of
from cdp.behavior.store.batch import trait_row
from cdp.behavior.store.events import with_texts
from cdp.flows.rights.person import named_identifier_row, value_row
from cdp.flows.rights.unconfirmed import Unconfirmed, named_beside
from cdp.identity.model import Evidence, Identifier
from cdp.kit.canonical import instant_text
from cdp.kit.ids import encode_id
from cdp.policy.events import EventPlan, PropertyType
from cdp.policy.model import Policy
from cdp.rights.disclosure import disclosed_day, disclosed_message, disclosed_properties, trait_category
from cdp.rights.execute import EVENT_TABLES
from cdp.rights.plan import Section
from cdp.rights.withhold import withhold
from cdp.vault.seal import RowId, SealedColumn
from cdp.vault.vault import Item, Vault

Row = Mapping[str, Any]

_EVIDENCE: Final = frozenset(
    {"identity.identifier.authority", "identity.anchor_source.authority", "identity.edge.authority"}
)
"""Columns that hold an `Evidence` as a number."""

SEALS: Final[Mapping[str, Callable[[Row], tuple[int, RowId]]]] = {
    "behavior.event.sealed": lambda row: (row["anchor_id"], UUID(row["event_id"]).bytes),
    "behavior.restricted_event.sealed": lambda row: (row["anchor_id"], UUID(row["event_id"]).bytes),
    "consent.deferred_message.sealed": lambda row: (row["subject_id"], UUID(row["event_id"]).bytes),
    "behavior.trait.sealed": lambda row: (row["anchor_id"], trait_row(row["anchor_id"], row["name"])),
    "identity.identifier.sealed": lambda row: (row["identifier_id"], row["identifier_id"]),
    "identity.resolution.message_sealed": lambda row: (row["anchor_id"], row["sequence"]),
    "rights.request_value.sealed": lambda row: (row["request_id"], value_row(row["request_id"], row["position"])),
    "rights.request_identifier.sealed": lambda row: (
        row["request_id"],
        named_identifier_row(row["request_id"], row["position"]),
    ),
}
"""For each sealed column, the subject whose key opens it and the row id; a missing column fails the tests."""

_SEALED_AS: Final[Mapping[str, str]] = {"behavior.restricted_event": "behavior.event"}
"""Rows are moved from one table to the other without opening them."""

_JSON: Final = frozenset(
    {
        *(f"{table}.sealed" for table in EVENT_TABLES),
        "behavior.trait.sealed",
        "consent.deferred_message.sealed",
        "rights.request_value.sealed",
    }
)
_PLAIN: Final = frozenset(
    {*(f"{table}.plain" for table in EVENT_TABLES), "behavior.trait.plain", "behavior.bucket.last_plain"}
)
_TERMS_MAX: Final = 2**31


@dataclass(frozen=True, slots=True)
class ExportLookups:
    """Everything that translates numbers and sealed bytes.

    `vocabularies` are those with terms, by event and property; `segments` are texts by key and version; `identifiers` are
    the person's own, by id; `unconfirmed` are addresses beside them that may be somebody else's.
    """

    policy: Policy
    vault: Vault
    keys: Mapping[int, bytes]
    terms: Mapping[int, Term]
    vocabularies: Mapping[str, Mapping[str, str]]
    sources: Mapping[int, str]
    masks: Mapping[str, int]
    segments: Mapping[tuple[str, int], str]
    identifiers: Mapping[int, Mapping[str, str]]
    unconfirmed: Unconfirmed

    def event_name(self, name_id: int) -> str | None:
        """The name of a planned event; None if the name is sealed."""
        return self.terms[name_id].text if name_id in self.terms else None

    def purposes(self, bits: int) -> list[str]:
        """The purposes that these bits represent."""
        return [purpose for purpose, mask in self.masks.items() if bits & mask]

    def may_use(self, purpose: str, category: str) -> bool:
        """Whether the policy lets a purpose use data of this category."""
        rule = self.policy.purposes.get(purpose)
        return rule is not None and rule.allows(category)


def term_numbers_in(found: Mapping[str, Sequence[Row]]) -> set[int]:
    """Every number in these rows that may be the number of a term."""
    events = [row for table in EVENT_TABLES for row in found[table]]
    numbers = {row["name_id"] for row in events} - {NO_NAME}
    for row in events:
        numbers.update(_term_like(scalars_of(row["plain"] or {})))
    numbers.update(_term_like(row["plain"] for row in found["behavior.trait"]))
    numbers.update(_term_like(row["last_plain"] for row in found["behavior.bucket"]))
    return numbers


def export_rows(lookups: ExportLookups, section: Section, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows of a section, with the field names of the export."""
    opened = {
        column.column: _opened(lookups, f"{section.table}.{column.column}", column.column, rows=rows)
        for column in section.columns
        if column.is_sealed
    }
    exported = []
    for position, row in enumerate(rows):
        values = {
            column.field: opened[column.column][position]
            if column.is_sealed
            else _value(lookups, section.table, column.column, row=row)
            for column in section.columns
        }
        exported.append(_completed(lookups, section, row, values=values))
    return exported


def _opened(lookups: ExportLookups, name: str, column: str, *, rows: Sequence[Row]) -> list[Any]:
    """The sealed values of a column, opened; None where there is no value, or its key is shredded."""
    table = name.removesuffix(f".{column}")
    sealed = [(position, row) for position, row in enumerate(rows) if row[column] is not None]
    items = [Item(*SEALS[name](row), bytes(row[column])) for _, row in sealed]
    values = lookups.vault.open_many(lookups.keys, SealedColumn(_SEALED_AS.get(table, table), column), items)
    found: list[Any] = [None] * len(rows)
    for (position, _), value in zip(sealed, values, strict=True):
        if value is not None:
            found[position] = (
                lookups.unconfirmed.hide(msgspec.json.decode(value))
                if name in _JSON
                else value.decode("utf-8", "replace")
            )
    return found


def _value(lookups: ExportLookups, table: str, column: str, *, row: Row) -> Any:
    value = row[column]
    if value is None:
        return None
    if f"{table}.{column}" in _PLAIN:
        return _plain(lookups, table, row, value=value)
    if column == "name_id":
        return lookups.event_name(value)
    if column == "bits":
        return lookups.purposes(value)
    if column == "source_id":
        return lookups.sources.get(value)
    if f"{table}.{column}" in _EVIDENCE:
        return Evidence(value).name.lower()
    return _json_value(value)


def _json_value(value: Any) -> Any:
    """A value that JSON can represent exactly."""
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, date):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, int) and abs(value) > 2**53:
        return str(value)
    return value


def _plain(lookups: ExportLookups, table: str, row: Row, *, value: Any) -> Any:
    """Plain values with terms and instants as text."""
    plan = lookups.policy.events
    if table in EVENT_TABLES:
        name = lookups.event_name(row["name_id"]) or ""
        event = plan.events.get(name)
        values = with_texts(value, lookups.vocabularies.get(name, lookups.vocabularies[""]), lookups.terms)
        types = _types_of(event) if event is not None else {}
        types |= {f"context.{key}": rule.type for key, rule in plan.context.items()}
        return {
            key: [{field: _text_of(one, types.get(f"{key}.{field}")) for field, one in entry.items()} for entry in item]
            if isinstance(item, list)
            else _text_of(item, types.get(key))
            for key, item in values.items()
        }
    if table == "behavior.trait":
        stated = plan.traits.get(row["name"])
        return _term_text_or(
            lookups, value, stated.vocabulary if stated else None, type_=stated.type if stated else None
        )
    trait = lookups.policy.traits.get(row["trait"])
    rule = lookups.policy.property_of(trait.event, trait.property) if trait is not None and trait.property else None
    return _term_text_or(
        lookups, value, rule.vocabulary if rule else None, type_=rule.type if rule else PropertyType.INSTANT
    )


def _types_of(event: EventPlan) -> dict[str, PropertyType]:
    """The types of the properties of an event, and of the fields of lists, named as `products.sku`."""
    types: dict[str, PropertyType] = {}
    for key, rule in event.properties.items():
        types[key] = rule.type
        types |= {f"{key}.{field}": inner.type for field, inner in rule.fields.items()}
    return types


def _term_text_or(lookups: ExportLookups, value: Any, vocabulary: str | None, *, type_: PropertyType | None) -> Any:
    return _text_of(lookups.terms.get(value, value) if vocabulary else value, type_)


def _text_of(value: Any, type_: PropertyType | None) -> Any:
    if isinstance(value, Term):
        return value.text
    if type_ is PropertyType.INSTANT and isinstance(value, int | float) and not isinstance(value, bool):
        return instant_text(instant_of(value))
    return value


def _completed(lookups: ExportLookups, section: Section, row: Row, *, values: dict[str, Any]) -> dict[str, Any]:
    """The row with derived fields: its identifier, request id, segment text or expiry, and withheld values."""
    if section.table in EVENT_TABLES:
        return _completed_event(lookups, section, row, values=values)
    plan = lookups.policy.events
    if section.table == "consent.deferred_message" and values["message"] is not None:
        own = frozenset(Identifier(entry["type"], entry["value"]) for entry in lookups.identifiers.values())
        body = values["message"]["body"]
        shown = disclosed_message(plan, _event_of(body), body)
        return values | {"message": named_beside(lookups.policy, body, own).hide(shown)}
    if section.table == "behavior.trait":
        category = trait_category(plan, row["name"])
        usable = [key for key in values["purposes"] if lookups.may_use(key, category)]
        disclosed = withhold({"plain": values.pop("plain"), "value": values.pop("value")}, lambda _: category)
        value = disclosed["plain"] if row["plain"] is not None else disclosed["value"]
        return values | {"purposes": usable, "value": value}
    if section.table == "behavior.bucket":
        trait = lookups.policy.traits.get(row["trait"])
        read = lookups.policy.property_of(trait.event, trait.property) if trait and trait.property else None
        return disclosed_day(trait, read, values)
    if row.get("identifier_id") in lookups.identifiers and section.table != "identity.identifier":
        values = {"identifier": dict(lookups.identifiers[row["identifier_id"]])} | values
    if "request_id" in row:
        values["id"] = encode_id("req", row["request_id"])
    if section.table.startswith("segments."):
        values["because"] = lookups.segments.get((row["key"], row["version"]))
    return values


def _event_of(body: Mapping[str, Any]) -> str:
    """The name under which the tracking plan has a message as it was sent."""
    name = body.get("event") if body.get("type") == "track" else body.get("type")
    return name if isinstance(name, str) else ""


def _completed_event(lookups: ExportLookups, section: Section, row: Row, *, values: dict[str, Any]) -> dict[str, Any]:
    plan = lookups.policy.events
    name = lookups.event_name(row["name_id"]) or ""
    if isinstance(values["message"], dict):
        values["properties"], values["message"] = _with_joined_lists(values["properties"] or {}, values["message"])
        values["message"] = disclosed_message(plan, name, values["message"])
    values["properties"] = disclosed_properties(plan, name, values["properties"] or {})
    if section.table != "behavior.event":  # kept until the restriction ends
        return values
    keep_for_days = lookups.policy.retention.classes[row["retention_class"]].keep_for_days
    return values | {"expires_at": instant_text(row["occurred_at"] + timedelta(days=keep_for_days))}


def _with_joined_lists(plain: dict[str, Any], message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plain properties of an event with the sealed fields of their lists, and its message without these."""
    sealed = message.get("properties")
    if not isinstance(sealed, dict):
        return plain, message
    lists = {
        key: joined(value, sealed[key])
        for key, value in plain.items()
        if isinstance(value, list) and isinstance(sealed.get(key), list) and len(sealed[key]) == len(value)
    }
    if not lists:
        return plain, message
    rest = {key: value for key, value in sealed.items() if key not in lists}
    others = {key: value for key, value in message.items() if key != "properties"}
    return plain | lists, others | ({"properties": rest} if rest else {})


def _term_like(values: Iterable[Any]) -> set[int]:
    return {value for value in values if type(value) is int and 0 < value < _TERMS_MAX}
