"""SQL of events that fell due while the processing of their person was restricted (GDPR Art. 18)."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from cdp.behavior.store.sweep import MonthPartition
from cdp.kit.db import Transaction

_COLUMNS: Final = ("anchor_id", "event_id", "occurred_at", "retention_class", "name_id", "plain", "sealed")

_COUNT_ENDED: Final = """
    SELECT count(*) FROM behavior.restricted_event AS e
    JOIN unnest(%(classes)s::text[], %(instants)s::timestamptz[]) AS due (retention_class, expired_at)
        ON e.retention_class = due.retention_class AND e.occurred_at <= due.expired_at
    WHERE e.anchor_id <> ALL(%(restricted)s::bigint[])
"""

_DELETE_ENDED: Final = """
    DELETE FROM behavior.restricted_event WHERE ctid = ANY(ARRAY(
        SELECT e.ctid FROM behavior.restricted_event AS e
        JOIN unnest(%(classes)s::text[], %(instants)s::timestamptz[]) AS due (retention_class, expired_at)
            ON e.retention_class = due.retention_class AND e.occurred_at <= due.expired_at
        WHERE e.anchor_id <> ALL(%(restricted)s::bigint[])
        LIMIT %(rows_max)s
    ))
    RETURNING anchor_id, event_id::text, occurred_at, retention_class, name_id, plain, sealed
"""


def keep_restricted(tx: Transaction, partition: MonthPartition, restricted: Collection[int]) -> int:
    """Move the events of these anchors out of a month that is about to be dropped; returns how many."""
    rows = tx.execute(
        sql.SQL(
            """
            WITH kept AS (
                DELETE FROM {} WHERE anchor_id = ANY(%(anchors)s::bigint[])
                RETURNING anchor_id, occurred_at, event_id, retention_class, received_at, source_id, name_id, bits, plain, sealed
            ), moved AS (
                INSERT INTO behavior.restricted_event (anchor_id, occurred_at, event_id, retention_class, received_at,
                                                       source_id, name_id, bits, plain, sealed)
                SELECT * FROM kept
                RETURNING 1
            ) SELECT count(*) FROM moved
            """
        ).format(sql.Identifier("behavior", partition.table)),
        {"anchors": list(restricted)},
    )
    return next(int(count) for (count,) in rows)


def count_restricted(tx: Transaction, partition: MonthPartition, restricted: Collection[int]) -> int:
    """How many events `keep_restricted` would move."""
    rows = tx.execute(
        sql.SQL("SELECT count(*) FROM {} WHERE anchor_id = ANY(%(anchors)s::bigint[])").format(
            sql.Identifier("behavior", partition.table)
        ),
        {"anchors": list(restricted)},
    )
    return next(int(count) for (count,) in rows)


def count_ended(tx: Transaction, expired_at: Mapping[str, datetime], *, restricted: Collection[int]) -> int:
    """How many events `delete_and_return_ended` would delete in all."""
    rows = tx.execute(_COUNT_ENDED, _due(expired_at, restricted))
    return next(int(count) for (count,) in rows)


def delete_and_return_ended(
    tx: Transaction, expired_at: Mapping[str, datetime], rows_max: int, *, restricted: Collection[int]
) -> list[dict[str, Any]]:
    """Delete up to `rows_max` events of anchors that are not restricted any more, and return them, for a legal hold.

    `expired_at` is the instant by which an event must have occurred to have expired, by retention class.
    """
    rows = tx.execute(
        _DELETE_ENDED,
        {**_due(expired_at, restricted), "rows_max": rows_max},
    )
    return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]


def _due(expired_at: Mapping[str, datetime], restricted: Collection[int]) -> dict[str, Any]:
    return {"classes": list(expired_at), "instants": list(expired_at.values()), "restricted": list(restricted)}
