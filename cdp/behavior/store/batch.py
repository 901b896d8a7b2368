"""SQL of behavior that every message needs: stored message ids, terms, and storing a batch.

The number of statements per batch is constant.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import islice
from typing import Final, NamedTuple

from cdp.behavior.model import EventEntry, EventId, Occurred, StatedTrait, Terms
from cdp.behavior.store.buckets import merge_buckets
from cdp.behavior.store.events import append_events
from cdp.behavior.store.landmarks import current_landmarks
from cdp.behavior.store.partitions import ensure_partitions
from cdp.behavior.store.terms import intern_terms
from cdp.behavior.store.traits import merge_traits
from cdp.behavior.traits import TraitPlan, fold
from cdp.kit.db import Transaction
from cdp.kit.pg_binary import arrays
from cdp.vault.seal import SealedColumn

__all__ = [
    "EVENT",
    "TRAIT",
    "Remembered",
    "append",
    "append_traits",
    "ensure_partitions",
    "intern_terms",
    "known_messages",
    "remember_messages",
    "trait_row",
]

EVENT: Final = SealedColumn("behavior.event", "sealed")
"""Where the payload of an event is stored; its row is the bytes of the event id."""
TRAIT: Final = SealedColumn("behavior.trait", "sealed")
"""Where a sealed stated trait is stored; its row is `trait_row`."""


_ENTRIES_AT_ONCE: Final = 200


class Remembered(NamedTuple):
    """The id of a stored message, kept so that the message is counted once."""

    event_id: EventId
    body_digest: bytes
    keep_until: date


def trait_row(anchor_id: int, name: str) -> bytes:
    """The row with which a sealed stated trait is authenticated."""
    return anchor_id.to_bytes(8, "big") + name.encode()


def known_messages(tx: Transaction, event_ids: Sequence[EventId]) -> dict[EventId, bytes]:
    """The body digests of those messages that are already stored."""
    rows = tx.execute(
        "SELECT d.event_id, d.body_digest FROM unnest(%(ids)s::uuid[]) AS wanted(event_id) "
        "JOIN behavior.duplicate d USING (event_id)",
        {"ids": arrays.uuids(event_ids)},
    )
    return {EventId(event_id.bytes): bytes(digest) for event_id, digest in rows}


def remember_messages(tx: Transaction, rows: Sequence[Remembered]) -> set[EventId]:
    """Store message ids; returns those that were new, so that of two concurrent messages only one counts."""
    duplicates = tx.execute(
        """
        WITH requested AS (
            SELECT * FROM unnest(%(ids)s::uuid[], %(digests)s::bytea[], %(until)s::date[])
                AS r (event_id, body_digest, keep_until)
        ), inserted AS (
            INSERT INTO behavior.duplicate (event_id, body_digest, keep_until)
            SELECT * FROM requested
            ON CONFLICT DO NOTHING
            RETURNING event_id
        )
        SELECT event_id FROM requested WHERE event_id NOT IN (SELECT event_id FROM inserted)
        """,
        {
            "ids": arrays.uuids([row.event_id for row in rows]),
            "digests": arrays.blobs([row.body_digest for row in rows]),
            "until": arrays.days([row.keep_until for row in rows]),
        },
    )
    return {row.event_id for row in rows}.difference([EventId(event_id.bytes) for (event_id,) in duplicates])


def append(tx: Transaction, batch: Iterable[EventEntry], terms: Terms, *, plan: TraitPlan, now: datetime) -> None:
    """Store a batch: events, stated traits, and what the events add to computed traits; at most five statements.

    Refused terms of every entry are sealed (`classify.seal_refused_terms`), and its partition exists
    (`ensure_partitions`). Entries are consumed as they are produced, while the server stores the previous ones.
    """
    entries: list[EventEntry] = []
    append_events(tx, _in_parts(iter(batch), entries), terms.ids)
    append_traits(tx, entries, terms)
    occurred = [_occurred(entry) for entry in entries if entry.classified.name in plan.by_event]
    if occurred:
        merge_buckets(tx, fold(occurred, plan, current_landmarks(tx, plan, now)), terms.ids)


def append_traits(tx: Transaction, entries: Sequence[EventEntry], terms: Terms) -> None:
    """Store the stated traits of these entries and nothing else of them; one statement at most."""
    stated = _stated(entries)
    if stated:
        merge_traits(tx, stated, terms.ids)


def _in_parts(batch: Iterator[EventEntry], consumed: list[EventEntry]) -> Iterator[list[EventEntry]]:
    """Some entries at a time; `consumed` collects all of them."""
    while part := list(islice(batch, _ENTRIES_AT_ONCE)):
        consumed += part
        yield part


def _stated(entries: Sequence[EventEntry]) -> list[StatedTrait]:
    stated = []
    for entry in entries:
        classified = entry.classified
        if not classified.plain_traits and not entry.sealed_traits:
            continue
        at = (entry.occurred_at, entry.received_at, entry.event_id, entry.bits)
        for name, plain in classified.plain_traits.items():
            stated.append(StatedTrait(entry.anchor_id, name, *at, plain=plain))
        for name, sealed in entry.sealed_traits.items():
            stated.append(StatedTrait(entry.anchor_id, name, *at, sealed=sealed))
    return stated


def _occurred(entry: EventEntry) -> Occurred:
    name = entry.classified.name or ""
    return Occurred(entry.anchor_id, entry.event_id, entry.occurred_at, entry.bits, name, entry.classified.plain)
