"""SQL of the steps of an erasure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import select

from cdp.kit.db import Transaction
from cdp.rights.model import StepCount, Verb
from cdp.schema.rights import step


def add_steps(tx: Transaction, request_id: int, steps: Sequence[tuple[int, StepCount]]) -> None:
    """Store the plan of an erasure; a plan that is stored already stays as it is."""
    tx.execute(
        """
        INSERT INTO rights.step (request_id, position, table_name, verb, reason)
        SELECT %(request)s, * FROM unnest(%(positions)s::int2[], %(tables)s::text[], %(verbs)s::text[], %(reasons)s::text[])
        ON CONFLICT DO NOTHING
        """,
        {
            "request": request_id,
            "positions": [position for position, _ in steps],
            "tables": [each.table for _, each in steps],
            "verbs": [each.verb.value for _, each in steps],
            "reasons": [each.reason for _, each in steps],
        },
    )


def steps(tx: Transaction, request_id: int) -> dict[int, StepCount]:
    """The steps of an erasure by position, with the rows touched so far."""
    columns = (step.c.position, step.c.table_name, step.c.verb, step.c.rows_touched, step.c.reason, step.c.done_at)
    rows = tx.all(select(*columns).where(step.c.request_id == request_id).order_by(step.c.position))
    return {row[0]: StepCount(row[1], Verb(row[2]), row[3], row[4], row[5] is not None) for row in rows}


def advance_steps(
    tx: Transaction, request_id: int, touched: Mapping[int, int], *, done: Collection[int], now: datetime
) -> None:
    """Add rows touched by step, and mark steps as done."""
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
