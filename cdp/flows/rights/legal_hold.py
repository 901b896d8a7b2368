"""Statutory holds: what a law keeps of an erased person's events, cut to the columns it names and away from the person."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from cdp.behavior.model import NO_NAME, Term
from cdp.behavior.store.batch import EVENT
from cdp.behavior.store.events import with_texts
from cdp.behavior.store.terms import texts_of
from cdp.flows.context import Context
from cdp.kit.canonical import canonical_json, instant_text
from cdp.kit.db import Transaction
from cdp.kit.ids import new_ids
from cdp.rights.model import LegalHold
from cdp.rights.store import legal_holds as legal_hold_store
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item

HOLD_COLUMN: Final = SealedColumn("rights.hold", "sealed")

Row = Mapping[str, Any]


class _EventLookups(NamedTuple):
    """Terms by number, and by event and property the vocabularies that hold them."""

    terms: Mapping[int, Term]
    vocabularies: Mapping[str, Mapping[str, str]]


def held_classes(context: Context) -> frozenset[str]:
    """The retention classes of which a law keeps something."""
    return frozenset(key for key, each in context.policy.retention.classes.items() if each.hold is not None)


def hold_events(tx: Transaction, context: Context, events: Sequence[Row], *, now: datetime) -> int:
    """Seal the held columns of events that are about to be deleted under hold keys; how many rows that made.

    Events whose hold is already over leave nothing.
    """
    living = [row for row in events if _keep_until(context, row) > now]
    if not living:
        return 0
    words = _lookups_for(tx, context, living)
    keys = context.vault.subject_keys.keys_for(tx, {row["anchor_id"] for row in living})
    opened = context.vault.open_many(
        keys, EVENT, [Item(row["anchor_id"], UUID(row["event_id"]).bytes, bytes(row["sealed"])) for row in living]
    )
    bodies = [_held_columns(context, row, words, sealed=sealed) for row, sealed in zip(living, opened, strict=True)]
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
            for hold_id, row, envelope in zip(ids, living, envelopes, strict=True)
        ],
    )
    context.vault.subject_keys.evict(ids)
    return len(ids)


def _held_columns(context: Context, row: Row, words: _EventLookups, *, sealed: bytes | None) -> dict[str, Any]:
    """The columns that the hold of the class names, of the plain and the sealed part of an event."""
    hold = context.policy.retention.classes[row["retention_class"]].hold
    assert hold is not None
    name = words.terms[row["name_id"]].text if row["name_id"] in words.terms else ""
    plain = with_texts(row["plain"], words.vocabularies.get(name, words.vocabularies[""]), words.terms)
    told = {} if sealed is None else msgspec.json.decode(sealed).get("properties") or {}
    columns = {key: value.text if isinstance(value, Term) else value for key, value in {**told, **plain}.items()}
    return {
        "event": name or None,
        "occurred_at": instant_text(row["occurred_at"]),
        **{key: value for key, value in columns.items() if key in hold.columns},
    }


def _lookups_for(tx: Transaction, context: Context, rows: Sequence[Row]) -> _EventLookups:
    """The terms that the events may name, by number."""
    numbers = {row["name_id"] for row in rows} - {NO_NAME}
    for row in rows:
        numbers.update(value for value in (row["plain"] or {}).values() if type(value) is int and 0 < value < 2**31)
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
