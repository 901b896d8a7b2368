"""SQL of the message accounting: appended per batch, summed on reading, compacted by the worker."""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime

from cdp.accounting.model import AccountingEntry, State
from cdp.kit.db import Transaction
from cdp.schema.ids import SourceId


def hour_of(instant: datetime) -> datetime:
    """The start of the hour in which an instant is counted."""
    return instant.replace(minute=0, second=0, microsecond=0)


def add_accounting(tx: Transaction, hour: datetime, counts: Mapping[tuple[SourceId, State, str], int]) -> None:
    """Append the outcomes of a batch: (source, state, reason) to number of messages, none of them zero.

    One statement, whatever their number; none when there are none.
    """
    if not counts:
        return
    tx.execute(
        """
        INSERT INTO accounting.accounting (source_id, hour, state, reason, messages)
        SELECT source_id, %(hour)s, state, reason, messages
        FROM unnest(%(sources)s::integer[], %(states)s::text[], %(reasons)s::text[], %(messages)s::integer[])
            AS counted (source_id, state, reason, messages)
        """,
        {
            "hour": hour,
            "sources": [source for source, _, _ in counts],
            "states": [state.value for _, state, _ in counts],
            "reasons": [reason for _, _, reason in counts],
            "messages": list(counts.values()),
        },
    )


def move_deferred(tx: Transaction, ended: Mapping[tuple[SourceId, datetime, State, str], int]) -> None:
    """Count deferred messages whose wait ended in the state in which each ended, in the hour in which it was counted.

    `ended` maps (source, hour, state, reason) to a number above zero. The sum of each hour stays the same.
    """
    by_hour: dict[datetime, Counter[tuple[SourceId, State, str]]] = {}
    for (source_id, hour, state, reason), number in ended.items():
        counts = by_hour.setdefault(hour, Counter())
        counts[source_id, state, reason] += number
        counts[source_id, State.DEFERRED, ""] -= number
    for hour, counts in by_hour.items():
        add_accounting(tx, hour, counts)


def accounting(
    tx: Transaction, since: datetime, until: datetime, *, source_ids: Collection[SourceId] | None = None
) -> list[AccountingEntry]:
    """Counts of the hours that begin in [since, until), of all sources or of these, in order."""
    rows = tx.execute(
        """
        SELECT source_id, hour, state, reason, sum(messages)::bigint
        FROM accounting.accounting
        WHERE hour >= %(since)s AND hour < %(until)s
          AND (%(sources)s::integer[] IS NULL OR source_id = ANY(%(sources)s::integer[]))
        GROUP BY source_id, hour, state, reason
        HAVING sum(messages) <> 0
        ORDER BY hour, source_id, state, reason
        """,
        {"since": since, "until": until, "sources": None if source_ids is None else list(source_ids)},
    )
    return [
        AccountingEntry(SourceId(source_id), hour, State(state), reason, messages)
        for source_id, hour, state, reason, messages in rows
    ]


def compact_accounting(tx: Transaction, before: datetime) -> int:
    """Combine the rows of each hour that began before `before` into one; returns the number of rows saved.

    `accounting` returns the same as before. Rows committed concurrently are left for the next run.
    """
    rows = tx.execute(
        """
        -- keys that have several rows
        WITH split AS (
            SELECT source_id, hour, state, reason
            FROM accounting.accounting
            WHERE hour < %(before)s
            GROUP BY source_id, hour, state, reason
            HAVING count(*) > 1
        ), deleted AS (
            DELETE FROM accounting.accounting AS old USING split
            WHERE (old.source_id, old.hour, old.state, old.reason)
                = (split.source_id, split.hour, split.state, split.reason)
            RETURNING old.source_id, old.hour, old.state, old.reason, old.messages
        ), kept AS (
            INSERT INTO accounting.accounting (source_id, hour, state, reason, messages)
            SELECT source_id, hour, state, reason, sum(messages)::integer
            FROM deleted
            GROUP BY source_id, hour, state, reason
            HAVING sum(messages) <> 0
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM deleted) - (SELECT count(*) FROM kept)
        """,
        {"before": before},
    )
    ((rows_saved,),) = rows
    return int(rows_saved)
