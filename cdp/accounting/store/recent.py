"""SQL of the latest messages of each source: what became of them, without ids and values."""

from collections.abc import Sequence
from datetime import datetime

from cdp.accounting.model import RecentMessage, State
from cdp.kit.db import Transaction
from cdp.schema.ids import SourceId

_SEPARATOR = "\n"


def add_recent(tx: Transaction, messages: Sequence[RecentMessage]) -> None:
    """Append messages, oldest first. One statement; none when there are none."""
    if not messages:
        return
    tx.execute(
        """
        INSERT INTO accounting.recent_message (source_id, received_at, type, event, state, reason, notices, delivery)
        SELECT source_id, date_trunc('second', received_at), type, event, state, reason,
               string_to_array(notices, %(separator)s),  -- of an empty text, an empty array
               delivery
        FROM unnest(%(sources)s::integer[], %(received)s::timestamptz[], %(types)s::text[], %(events)s::text[],
                    %(states)s::text[], %(reasons)s::text[], %(notices)s::text[], %(deliveries)s::text[])
            WITH ORDINALITY AS m (source_id, received_at, type, event, state, reason, notices, delivery, number)
        ORDER BY number
        """,
        {
            "separator": _SEPARATOR,
            "sources": [message.source_id for message in messages],
            "received": [message.received_at for message in messages],
            "types": [message.type for message in messages],
            "events": [message.event for message in messages],
            "states": [message.state.value for message in messages],
            "reasons": [message.reason for message in messages],
            "notices": [_SEPARATOR.join(message.notices) for message in messages],
            "deliveries": [message.delivery for message in messages],
        },
    )


def recent_of(tx: Transaction, source_id: SourceId, limit: int) -> list[RecentMessage]:
    """The latest messages of a source, newest first."""
    rows = tx.execute(
        """
        SELECT received_at, type, event, state, reason, notices, delivery
        FROM accounting.recent_message
        WHERE source_id = %(source)s
        ORDER BY recent_message_id DESC
        LIMIT %(limit)s
        """,
        {"source": source_id, "limit": limit},
    )
    return [
        RecentMessage(source_id, received_at, type_, event, State(state), reason, tuple(notices), delivery)
        for received_at, type_, event, state, reason, notices, delivery in rows
    ]


def prune_recent(tx: Transaction, *, kept: int, since: datetime) -> None:
    """Delete all but the latest `kept` messages of each source, and every one received before `since`."""
    tx.execute(
        """
        DELETE FROM accounting.recent_message AS m
        USING (
            SELECT s.source_id, (
                SELECT r.recent_message_id FROM accounting.recent_message AS r
                WHERE r.source_id = s.source_id
                ORDER BY r.recent_message_id DESC
                OFFSET %(kept)s LIMIT 1
            ) AS last_deleted
            FROM (SELECT DISTINCT source_id FROM accounting.recent_message) AS s
        ) AS bound
        WHERE m.source_id = bound.source_id
          AND (m.recent_message_id <= bound.last_deleted OR m.received_at < %(since)s)
        """,
        {"kept": kept, "since": since},
    )
