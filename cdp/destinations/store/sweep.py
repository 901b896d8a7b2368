"""SQL of the sweep: deliveries past their retention period."""

from datetime import datetime

from cdp.kit.db import Transaction


def count_expired_deliveries(tx: Transaction, expired_at: datetime) -> int:
    """How many deliveries were created at or before an instant."""
    rows = tx.execute(
        "SELECT count(*) FROM destinations.outbox WHERE created_at <= %(expired_at)s", {"expired_at": expired_at}
    )
    return int(rows[0][0])


def delete_expired_deliveries(tx: Transaction, expired_at: datetime, rows_max: int) -> int:
    """Delete up to `rows_max` of them, acknowledged or not; returns how many."""
    rows = tx.execute(
        """
        WITH deleted AS (
            DELETE FROM destinations.outbox WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM destinations.outbox WHERE created_at <= %(expired_at)s LIMIT %(rows_max)s
            )) RETURNING 1
        ) SELECT count(*) FROM deleted
        """,
        {"expired_at": expired_at, "rows_max": rows_max},
    )
    return int(rows[0][0])
