"""SQL of events: appending them, clearing a purpose from them, and reading those of a person."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from cdp.behavior.model import EVENT_NAMES, NO_NAME, EventEntry, EventId, PlainEntries, PlainField, StoredEvent, Term
from cdp.behavior.store.terms import texts_of
from cdp.kit.copy import copy_pieces
from cdp.kit.db import Transaction
from cdp.kit.pg_binary.copying import Field, bigints, instants, integers, octets, pack_rows
from cdp.policy.events import DIGEST

__all__ = [
    "ClearedEvents",
    "append_events",
    "clear_bits",
    "events_of",
    "plain_json",
    "term_ids",
    "texts_of",
    "uncovered",
    "with_texts",
]

_COLUMNS: Final = (
    "anchor_id",
    "occurred_at",
    "event_id",
    "retention_class",
    "received_at",
    "source_id",
    "name_id",
    "bits",
    "plain",
    "sealed",
)
_encode = msgspec.json.Encoder().encode


class ClearedEvents(NamedTuple):
    """The result of clearing a purpose: events without another purpose are deleted, the others keep theirs."""

    events_deleted: int
    events_cleared: int


def append_events(tx: Transaction, parts: Iterable[Sequence[EventEntry]], ids: Mapping[Term, int]) -> None:
    """Append a batch by binary COPY; its partitions exist, and `ids` holds every name and term of it.

    Each part is produced and packed while the server stores the previous one.
    """
    copy_pieces(tx, "behavior.event", _COLUMNS, pieces=(pack_rows(len(part), _fields(part, ids)) for part in parts))


def _fields(entries: Sequence[EventEntry], ids: Mapping[Term, int]) -> list[Field]:
    """The columns of these entries, in the order of `_COLUMNS`."""
    named = {entry.classified.name for entry in entries}
    names = {name: NO_NAME if name is None else ids[Term(EVENT_NAMES, name)] for name in named}
    return [
        bigints([entry.anchor_id for entry in entries]),
        instants([entry.occurred_at for entry in entries]),
        octets([entry.event_id for entry in entries], 16),
        octets([entry.classified.retention_class.encode() for entry in entries]),
        instants([entry.received_at for entry in entries]),
        integers([entry.source_id for entry in entries]),
        integers([names[entry.classified.name] for entry in entries]),
        bigints([entry.bits for entry in entries]),
        octets([plain_json(entry.classified.plain, ids) for entry in entries]),
        octets([entry.sealed for entry in entries]),
    ]


def plain_json(plain: Mapping[str, PlainField], ids: Mapping[Term, int]) -> bytes | None:
    """The binary form of a jsonb of plain values: terms as ids; None for no values."""
    if not plain:
        return None
    return b"\x01" + _encode(
        {
            name: ids[value] if type(value) is Term else _entries(value, ids) if type(value) is list else value
            for name, value in plain.items()
        }
    )


def _entries(entries: PlainEntries, ids: Mapping[Term, int]) -> list[dict[str, Any]]:
    return [
        {field: ids[value] if type(value) is Term else value for field, value in entry.items()} for entry in entries
    ]


def clear_bits(tx: Transaction, anchor_ids: Sequence[int], mask: int, *, before: datetime) -> ClearedEvents:
    """Clear a purpose from events before an instant; events left without any purpose are deleted.

    The caller recomputes the buckets of the same anchors in the same transaction.
    """
    params = {"anchors": list(anchor_ids), "mask": mask, "before": before}
    deleted = tx.execute(
        """
        WITH deleted AS (
            DELETE FROM behavior.event
            WHERE anchor_id = ANY(%(anchors)s) AND occurred_at < %(before)s
              AND bits & %(mask)s::bigint <> 0 AND bits & ~%(mask)s::bigint = 0
            RETURNING 1
        ) SELECT count(*) FROM deleted
        """,
        params,
    )
    cleared = tx.execute(
        """
        WITH changed AS (
            UPDATE behavior.event SET bits = bits & ~%(mask)s::bigint
            WHERE anchor_id = ANY(%(anchors)s) AND occurred_at < %(before)s AND bits & %(mask)s::bigint <> 0
            RETURNING 1
        ) SELECT count(*) FROM changed
        """,
        params,
    )
    ((events_deleted,),), ((events_cleared,),) = deleted, cleared
    return ClearedEvents(events_deleted, events_cleared)


def uncovered(tx: Transaction, profile_ids: Collection[int], masks: Mapping[str, int]) -> set[tuple[int, str]]:
    """The (profile, purpose) pairs with events or traits from before the purpose was permitted, or without permission.

    These arise when anchors move between profiles: data collected under the consent of another profile is not covered.
    """
    rows = tx.execute(
        """
        WITH purpose AS (
            SELECT * FROM unnest(%(purposes)s::text[], %(masks)s::bigint[]) AS m (purpose, mask)
        ), anchor AS (
            SELECT c.profile_id, c.anchor_id
            FROM unnest(%(profiles)s::bigint[]) AS a (profile_id)
            JOIN identity.canonical AS c USING (profile_id)
        ), stored AS (
            SELECT a.profile_id, e.bits, e.occurred_at FROM anchor AS a JOIN behavior.event AS e USING (anchor_id)
            UNION ALL
            SELECT a.profile_id, t.bits, t.occurred_at FROM anchor AS a JOIN behavior.trait AS t USING (anchor_id)
        )
        SELECT h.profile_id, m.purpose
        FROM stored AS h
        JOIN purpose AS m ON h.bits & m.mask <> 0
        LEFT JOIN consent.permitted AS p ON p.profile_id = h.profile_id AND p.purpose = m.purpose
        GROUP BY h.profile_id, m.purpose, p.since
        HAVING p.since IS NULL OR min(h.occurred_at) < p.since
        """,
        {"profiles": list(profile_ids), "purposes": list(masks), "masks": list(masks.values())},
    )
    return {(profile_id, purpose) for profile_id, purpose in rows}


def events_of(
    tx: Transaction, anchor_ids: Sequence[int], vocabularies: Mapping[str, Mapping[str, str]]
) -> list[StoredEvent]:
    """All events of these anchors, including expired ones until they are dropped, oldest first.

    `vocabularies` names, by event and property, those that hold terms (`rules.vocabularies_of`).
    """
    rows = tx.execute(
        """
        SELECT e.anchor_id, e.event_id, e.occurred_at, e.received_at, e.retention_class, e.source_id, n.term, e.bits,
               e.plain, e.sealed
        FROM behavior.event e LEFT JOIN behavior.term n ON n.term_id = e.name_id
        WHERE e.anchor_id = ANY(%(anchors)s)
        ORDER BY e.occurred_at, e.event_id
        """,
        {"anchors": list(anchor_ids)},
    )
    numbers: set[int] = set()
    for *_, name, _, plain, _ in rows:
        numbers |= term_ids(plain, vocabularies.get(name or "", {}))
    texts = texts_of(tx, numbers) if numbers else {}
    return [
        StoredEvent(
            anchor_id=anchor_id,
            event_id=EventId(event_id.bytes),
            occurred_at=occurred_at,
            received_at=received_at,
            retention_class=retention_class,
            source_id=source_id,
            name=name,
            bits=bits,
            plain=with_texts(plain, vocabularies.get(name or "", {}), texts),
            sealed=bytes(sealed),
        )
        for anchor_id, event_id, occurred_at, received_at, retention_class, source_id, name, bits, plain, sealed in rows
    ]


def with_texts(
    stored: Mapping[str, Any] | None, vocabularies: Mapping[str, str], texts: Mapping[int, Term]
) -> dict[str, PlainField]:
    """Stored plain values with their terms written out again, without the digests by which events belong together."""
    return {
        name: [
            {field: _with_text(f"{name}.{field}", one, vocabularies, texts=texts) for field, one in entry.items()}
            for entry in value
        ]
        if type(value) is list
        else _with_text(name, value, vocabularies, texts=texts)
        for name, value in (stored or {}).items()
        if not name.startswith(DIGEST)
    }


def _with_text(name: str, value: Any, vocabularies: Mapping[str, str], *, texts: Mapping[int, Term]) -> Any:
    return texts.get(value, value) if name in vocabularies else value


def term_ids(stored: Mapping[str, Any] | None, vocabularies: Mapping[str, str]) -> set[int]:
    """The ids of the terms among stored plain values."""
    found: set[int] = set()
    for name, value in (stored or {}).items():
        if type(value) is list:
            for entry in value:
                found |= {one for field, one in entry.items() if f"{name}.{field}" in vocabularies and type(one) is int}
        elif name in vocabularies and type(value) is int:
            found.add(value)
    return found
