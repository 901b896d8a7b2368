"""SQL of the steps of an erasure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from cdp.kit.db import Transaction
from cdp.rights.model import StepCount, Verb


def add_steps(tx: Transaction, request_id: int, steps: Sequence[tuple[int, StepCount]]) -> None:
    """Store the plan of an erasure; a plan that is already stored is not changed."""
    tx.execute(
        """
        INSERT INTO rights.step (request_id, position, table_name, verb, reason)
        SELECT %(request)s, * FROM unnest(%(positions)s::int2[], %(tables)s::text[], %(verbs)s::text[], %(reasons)s::text[])
        ON CONFLICT DO NOTHING
        """,
        {
            "request": request_id,
            "positions": [position for position, _ in steps],
            "tables": [step.table for _, step in steps],
            "verbs": [step.verb.value for _, step in steps],
            "reasons": [step.reason for _, step in steps],
        },
    )


def steps(tx: Transaction, request_id: int) -> dict[int, StepCount]:
    """The steps of an erasure by position, with the rows affected so far."""
    rows = tx.execute(
        """
        SELECT position, table_name, verb, rows_touched, reason, done_at IS NOT NULL AS is_done
        FROM rights.step
        WHERE request_id = %(request)s
        ORDER BY position
        """,
        {"request": request_id},
    )
    return {
        position: StepCount(table, Verb(verb), touched, reason, is_done)
        for position, table, verb, touched, reason, is_done in rows
    }


def advance_steps(
    tx: Transaction, request_id: int, touched: Mapping[int, int], *, done: Collection[int], now: datetime
) -> None:
    """Add the rows affected, by position of the step, and mark steps as done."""
    tx.execute(
        """
        UPDATE rights.step AS s
        SET rows_touched = s.rows_touched + moved.rows,
            done_at = CASE WHEN moved.position = ANY(%(done)s::int2[]) THEN %(now)s ELSE s.done_at END
        FROM unnest(%(positions)s::int2[], %(rows)s::bigint[]) AS moved (position, rows)
        WHERE s.request_id = %(request)s AND s.position = moved.position
        """,
        {
            "request": request_id,
            "positions": list(touched),
            "rows": list(touched.values()),
            "done": list(done),
            "now": now,
        },
    )
