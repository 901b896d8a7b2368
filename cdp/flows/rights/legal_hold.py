"""Steps of legal holds: the columns of a person's events that a law requires to keep, separated from the person."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from cdp.behavior.entries import joined, scalars_of
from cdp.behavior.model import NO_NAME, PlainField, Term
from cdp.behavior.store.batch import EVENT
from cdp.behavior.store.events import with_texts
from cdp.behavior.store.terms import texts_of
from cdp.flows.context import Context
from cdp.kit.canonical import canonical_json, instant_text
from cdp.kit.db import Transaction
from cdp.kit.ids import new_ids
from cdp.rights import execute
from cdp.rights.model import LegalHold, Scope
from cdp.rights.store import legal_holds as legal_hold_store
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item

HOLD_COLUMN: Final = SealedColumn("rights.hold", "sealed")

Row = Mapping[str, Any]


class _EventLookups(NamedTuple):
    """Terms by number, and their vocabularies by event and property."""

    terms: Mapping[int, Term]
    vocabularies: Mapping[str, Mapping[str, str]]


def held_classes(context: Context) -> frozenset[str]:
    """The retention classes with a legal hold."""
    return frozenset(key for key, rule in context.policy.retention.classes.items() if rule.hold is not None)


def count_held_events(tx: Transaction, context: Context, scope: Scope, *, now: datetime) -> int:
    """How many legal holds `hold_events` would add for the person's events at `now`."""
    rules = context.policy.retention.classes
    since = {key: now - timedelta(days=rule.hold.keep_for_days) for key, rule in rules.items() if rule.hold is not None}
    return execute.count_events(tx, scope, occurred_after=since)


def hold_events(tx: Transaction, context: Context, events: Sequence[Row], *, now: datetime) -> int:
    """Seal the held columns of events that are about to be deleted under new keys; returns how many holds were added.

    Events whose hold period has ended are skipped.
    """
    current = [row for row in events if _keep_until(context, row) > now]
    if not current:
        return 0
    lookups = _lookups_for(tx, context, current)
    keys = context.vault.subject_keys.keys_for(tx, {row["anchor_id"] for row in current})
    opened = context.vault.open_many(
        keys, EVENT, [Item(row["anchor_id"], UUID(row["event_id"]).bytes, bytes(row["sealed"])) for row in current]
    )
    bodies = [_held_columns(context, row, lookups, sealed=sealed) for row, sealed in zip(current, opened, strict=True)]
    ids = new_ids(len(bodies))
    envelopes = context.vault.seal_many(
        context.vault.subject_keys.create(tx, ids),
        HOLD_COLUMN,
        [Item(hold_id, hold_id, canonical_json(body)) for hold_id, body in zip(ids, bodies, strict=True)],
    )
    legal_hold_store.add_holds(
        tx,
        [
            LegalHold(hold_id, row["retention_class"], _law(context, row), _keep_until(context, row).date(), envelope)
            for hold_id, row, envelope in zip(ids, current, envelopes, strict=True)
        ],
    )
    context.vault.subject_keys.evict(ids)
    return len(ids)


def _held_columns(context: Context, row: Row, lookups: _EventLookups, *, sealed: bytes | None) -> dict[str, Any]:
    """The columns that the legal hold of the class names, from the plain and the sealed part of an event."""
    hold = context.policy.retention.classes[row["retention_class"]].hold
    assert hold is not None
    name = lookups.terms[row["name_id"]].text if row["name_id"] in lookups.terms else ""
    plain = with_texts(row["plain"], lookups.vocabularies.get(name, lookups.vocabularies[""]), lookups.terms)
    properties = {} if sealed is None else msgspec.json.decode(sealed).get("properties") or {}
    columns = {**properties, **{key: _held_value(value, properties.get(key)) for key, value in plain.items()}}
    return {
        "event": name or None,
        "occurred_at": instant_text(row["occurred_at"]),
        **{key: value for key, value in columns.items() if key in hold.columns},
    }


def _held_value(plain: PlainField, sealed: Any) -> Any:
    """A plain value with terms as text; a list with the plain and the sealed fields of its entries."""
    if not isinstance(plain, list):
        return plain.text if isinstance(plain, Term) else plain
    entries = [{field: _held_value(value, None) for field, value in entry.items()} for entry in plain]
    return joined(entries, sealed) if isinstance(sealed, list) and len(sealed) == len(entries) else entries


def _lookups_for(tx: Transaction, context: Context, rows: Sequence[Row]) -> _EventLookups:
    """The terms that these events may contain, by number."""
    numbers = {row["name_id"] for row in rows} - {NO_NAME}
    for row in rows:
        numbers.update(value for value in scalars_of(row["plain"] or {}) if type(value) is int and 0 < value < 2**31)
    return _EventLookups(texts_of(tx, numbers), context.vocabularies)


def _keep_until(context: Context, row: Row) -> datetime:
    hold = context.policy.retention.classes[row["retention_class"]].hold
    assert hold is not None
    end: datetime = row["occurred_at"] + timedelta(days=hold.keep_for_days)
    return end


def _law(context: Context, row: Row) -> str:
    hold = context.policy.retention.classes[row["retention_class"]].hold
    assert hold is not None
    return hold.law
