"""SQL of the sweep: changes of membership that are older than the policy keeps them."""

from datetime import datetime

from cdp.kit.db import Transaction


def count_expired_changes(tx: Transaction, expired_at: datetime) -> int:
    """How many changes happened at or before an instant."""
    rows = tx.execute(
        "SELECT count(*) FROM segments.membership_change WHERE changed_at <= %(expired_at)s", {"expired_at": expired_at}
    )
    return int(rows[0][0])


def delete_expired_changes(tx: Transaction, expired_at: datetime, rows_max: int) -> int:
    """Delete up to `rows_max` of them; how many there were. Who is in a segment now stays."""
    rows = tx.execute(
        """
        WITH gone AS (
            DELETE FROM segments.membership_change WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM segments.membership_change WHERE changed_at <= %(expired_at)s LIMIT %(rows_max)s
            )) RETURNING 1
        ) SELECT count(*) FROM gone
        """,
        {"expired_at": expired_at, "rows_max": rows_max},
    )
    return int(rows[0][0])
