"""SQL of deferred messages. A caller that changes them holds the exclusive lock; readers are the export and the metrics."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from cdp.consent.deferral import DeferredDevice, Device, Total
from cdp.kit.db import Transaction
from cdp.kit.pg_binary import arrays
from cdp.vault.seal import SealedColumn

MESSAGE: Final = SealedColumn("consent.deferred_message", "sealed")
"""Where a deferred message is sealed; its row is the bytes of the event id."""


class DeferredMessage(NamedTuple):
    """A deferred message as it is stored; `counted_at` is the hour in which it was counted.

    `is_refused` marks one that ends when it is opened and is not permitted: its device granted and then refused something.
    """

    subject_id: int
    event_id: bytes
    occurred_at: datetime
    counted_at: datetime
    ends_at: datetime
    is_refused: bool
    sealed: bytes


class EndedMessages(NamedTuple):
    """How many messages of a device and source, counted in an hour, do not wait any more."""

    subject_id: int
    source_id: int
    counted_at: datetime
    messages: int


class DueMessage(NamedTuple):
    """A message to be opened, with its source."""

    message: DeferredMessage
    source_id: int


class DeferredCounts(NamedTuple):
    """How many messages wait, and how many of them should have ended or been opened."""

    messages: int
    overdue: int


def devices(tx: Transaction, pseudonyms: Collection[bytes], now: datetime) -> list[DeferredDevice]:
    """What waits for these devices at `now`."""
    rows = tx.execute(
        """
        SELECT d.subject_id, d.pseudonym, d.source_id, count(m.event_id)::integer,
               coalesce(sum(octet_length(m.sealed) - 29), 0)::bigint, min(m.occurred_at), d.granted_at IS NOT NULL
        FROM consent.deferred_device AS d
        LEFT JOIN consent.deferred_message AS m ON m.subject_id = d.subject_id AND m.ends_at > %(now)s
        WHERE d.pseudonym = ANY(%(pseudonyms)s::bytea[])
        GROUP BY d.subject_id
        """,
        {"pseudonyms": list(pseudonyms), "now": now},
    )
    return [DeferredDevice(subject_id, bytes(pseudonym), *rest) for subject_id, pseudonym, *rest in rows]


def totals(tx: Transaction, source_ids: Collection[int]) -> dict[int, Total]:
    """What waits for each of these sources, as triggers of the table count it: also what is beyond its term, until it is deleted."""
    if not source_ids:
        return {}
    rows = tx.execute(
        "SELECT source_id, messages, bytes FROM consent.deferred_total WHERE source_id = ANY(%(ids)s::integer[])",
        {"ids": list(source_ids)},
    )
    return {source_id: Total(messages, size) for source_id, messages, size in rows}


def subjects_of(tx: Transaction, event_ids: Sequence[bytes]) -> dict[bytes, int]:
    """The subjects of those messages that wait."""
    if not event_ids:
        return {}
    rows = tx.execute(
        "SELECT event_id, subject_id FROM consent.deferred_message WHERE event_id = ANY(%(ids)s::uuid[])",
        {"ids": arrays.uuids(event_ids)},
    )
    return {event_id.bytes: subject_id for event_id, subject_id in rows}


def add_devices(tx: Transaction, subjects: Mapping[Device, int]) -> None:
    """Add devices, each with the owner of its key."""
    if subjects:
        tx.execute(
            """
            INSERT INTO consent.deferred_device (subject_id, pseudonym, source_id)
            SELECT * FROM unnest(%(subjects)s::bigint[], %(pseudonyms)s::bytea[], %(sources)s::integer[])
            """,
            {
                "subjects": list(subjects.values()),
                "pseudonyms": [pseudonym for pseudonym, _ in subjects],
                "sources": [source_id for _, source_id in subjects],
            },
        )


def add_messages(tx: Transaction, messages: Sequence[DeferredMessage]) -> None:
    """Add messages, sealed under the keys of their devices."""
    tx.execute(
        """
        INSERT INTO consent.deferred_message
            (subject_id, event_id, occurred_at, counted_at, ends_at, is_refused, sealed, source_id)
        SELECT added.*, d.source_id
        FROM unnest(%(subjects)s::bigint[], %(events)s::uuid[], %(occurred)s::timestamptz[],
                    %(counted)s::timestamptz[], %(ends)s::timestamptz[], %(refused)s::bool[], %(sealed)s::bytea[])
             AS added (subject_id, event_id, occurred_at, counted_at, ends_at, is_refused, sealed)
        LEFT JOIN consent.deferred_device AS d USING (subject_id)
        """,
        {
            "subjects": [message.subject_id for message in messages],
            "events": arrays.uuids([message.event_id for message in messages]),
            "occurred": [message.occurred_at for message in messages],
            "counted": [message.counted_at for message in messages],
            "ends": [message.ends_at for message in messages],
            "refused": [message.is_refused for message in messages],
            "sealed": [message.sealed for message in messages],
        },
    )


def mark_granted(tx: Transaction, pseudonyms: Collection[bytes], now: datetime) -> None:
    """Mark what waits for these devices to be opened."""
    tx.execute(
        """
        UPDATE consent.deferred_device SET granted_at = %(now)s
        WHERE pseudonym = ANY(%(pseudonyms)s::bytea[]) AND granted_at IS NULL
        """,
        {"pseudonyms": list(pseudonyms), "now": now},
    )


def mark_refused(tx: Transaction, subject_ids: Collection[int]) -> None:
    """Mark what waits for devices and is to be opened: they refused something since."""
    tx.execute(
        """
        UPDATE consent.deferred_message SET is_refused = true
        WHERE subject_id = ANY(%(ids)s::bigint[]) AND NOT is_refused
        """,
        {"ids": list(subject_ids)},
    )


def subjects_of_devices(tx: Transaction, pseudonyms: Collection[bytes]) -> dict[int, bool]:
    """The owners of the keys of what waits for these devices, each with whether it is to be opened."""
    if not pseudonyms:
        return {}
    rows = tx.execute(
        """
        SELECT subject_id, granted_at IS NOT NULL FROM consent.deferred_device
        WHERE pseudonym = ANY(%(pseudonyms)s::bytea[])
        """,
        {"pseudonyms": list(pseudonyms)},
    )
    return dict(rows)


def delete_devices(tx: Transaction, subject_ids: Collection[int]) -> list[EndedMessages]:
    """Delete devices with all their messages; gives how many messages there were."""
    rows = tx.execute(
        """
        WITH messages AS (
            DELETE FROM consent.deferred_message WHERE subject_id = ANY(%(ids)s::bigint[]) RETURNING subject_id, counted_at
        ), gone AS (
            DELETE FROM consent.deferred_device WHERE subject_id = ANY(%(ids)s::bigint[]) RETURNING subject_id, source_id
        )
        SELECT subject_id, source_id, counted_at, count(*)::integer FROM messages JOIN gone USING (subject_id)
        GROUP BY subject_id, source_id, counted_at
        """,
        {"ids": list(subject_ids)},
    )
    return [EndedMessages(*row) for row in rows]


def delete_messages(tx: Transaction, event_ids: Sequence[bytes]) -> None:
    """Delete messages that were opened; their devices stay."""
    tx.execute(
        "DELETE FROM consent.deferred_message WHERE event_id = ANY(%(ids)s::uuid[])", {"ids": arrays.uuids(event_ids)}
    )


def delete_ended(tx: Transaction, now: datetime, rows_max: int) -> list[EndedMessages]:
    """Delete up to `rows_max` messages whose term is over; gives how many there were."""
    rows = tx.execute(
        """
        WITH ended AS (
            DELETE FROM consent.deferred_message
            WHERE event_id = ANY(ARRAY(
                SELECT event_id FROM consent.deferred_message WHERE ends_at <= %(now)s ORDER BY ends_at LIMIT %(limit)s
            ))
            RETURNING subject_id, counted_at
        )
        SELECT subject_id, d.source_id, ended.counted_at, count(*)::integer
        FROM ended JOIN consent.deferred_device AS d USING (subject_id)
        GROUP BY subject_id, d.source_id, ended.counted_at
        """,
        {"now": now, "limit": rows_max},
    )
    return [EndedMessages(*row) for row in rows]


def count_ended(tx: Transaction, now: datetime) -> int:
    """How many messages wait beyond their term."""
    ((count,),) = tx.execute("SELECT count(*) FROM consent.deferred_message WHERE ends_at <= %(now)s", {"now": now})
    return int(count)


def has_ended(tx: Transaction, now: datetime) -> bool:
    """Whether the term of a message is over."""
    rows = tx.execute("SELECT EXISTS (SELECT FROM consent.deferred_message WHERE ends_at <= %(now)s)", {"now": now})
    return bool(rows[0][0])


def delete_empty_devices(tx: Transaction, subject_ids: Collection[int]) -> list[int]:
    """Delete those of these devices for which nothing waits; gives the owners of their keys."""
    rows = tx.execute(
        """
        DELETE FROM consent.deferred_device AS d
        WHERE d.subject_id = ANY(%(ids)s::bigint[])
          AND NOT EXISTS (SELECT FROM consent.deferred_message AS m WHERE m.subject_id = d.subject_id)
        RETURNING subject_id
        """,
        {"ids": list(subject_ids)},
    )
    return [subject_id for (subject_id,) in rows]


def due_messages(tx: Transaction, now: datetime, messages_max: int) -> list[DueMessage]:
    """The messages of devices that granted something, all of each device, the earliest grants first.

    About `messages_max` of them, and at least those of one device.
    """
    rows = tx.execute(
        """
        WITH due AS (
            SELECT d.subject_id, d.source_id, d.granted_at,
                   sum((SELECT count(*) FROM consent.deferred_message AS m WHERE m.subject_id = d.subject_id))
                       OVER (ORDER BY d.granted_at, d.subject_id) AS until_here,
                   row_number() OVER (ORDER BY d.granted_at, d.subject_id) AS place
            FROM consent.deferred_device AS d
            WHERE d.granted_at IS NOT NULL
        )
        SELECT m.subject_id, m.event_id, m.occurred_at, m.counted_at, m.ends_at, m.is_refused, m.sealed, due.source_id
        FROM due JOIN consent.deferred_message AS m USING (subject_id)
        WHERE (due.until_here <= %(limit)s OR due.place = 1) AND m.ends_at > %(now)s
        ORDER BY due.granted_at, m.subject_id, m.occurred_at, m.event_id
        """,
        {"limit": messages_max, "now": now},
    )
    return [
        DueMessage(DeferredMessage._make((subject_id, event_id.bytes, *rest, bytes(sealed))), source_id)
        for subject_id, event_id, *rest, sealed, source_id in rows
    ]


def still_due(tx: Transaction, subject_ids: Collection[int], now: datetime) -> dict[bytes, bool]:
    """The messages of these devices that are still to be opened, each with whether its device refused something since."""
    rows = tx.execute(
        """
        SELECT m.event_id, m.is_refused
        FROM consent.deferred_device AS d JOIN consent.deferred_message AS m USING (subject_id)
        WHERE d.subject_id = ANY(%(ids)s::bigint[]) AND d.granted_at IS NOT NULL AND m.ends_at > %(now)s
        """,
        {"ids": list(subject_ids), "now": now},
    )
    return {event_id.bytes: is_refused for event_id, is_refused in rows}


def mark_opened(tx: Transaction, subject_ids: Collection[int]) -> None:
    """Let what was opened and is not answered wait on."""
    tx.execute(
        """
        UPDATE consent.deferred_device SET granted_at = NULL
        WHERE subject_id = ANY(%(ids)s::bigint[]) AND granted_at IS NOT NULL
        """,
        {"ids": list(subject_ids)},
    )


def counts(tx: Transaction, overdue_at: datetime) -> DeferredCounts:
    """What waits now; overdue is what should have ended or been opened by an instant."""
    rows = tx.execute(
        """
        SELECT (SELECT count(*) FROM consent.deferred_message),
               (SELECT count(*) FROM consent.deferred_message AS m JOIN consent.deferred_device AS d USING (subject_id)
                WHERE m.ends_at <= %(at)s OR d.granted_at <= %(at)s)
        """,
        {"at": overdue_at},
    )
    return DeferredCounts(*rows[0])
