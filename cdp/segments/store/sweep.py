"""SQL of the sweep: membership changes that have outlived their retention."""

from datetime import datetime

from cdp.kit.db import Transaction


def count_expired_changes(tx: Transaction, expired_at: datetime) -> int:
    """The number of changes at or before an instant."""
    ((count,),) = tx.execute(
        "SELECT count(*) FROM segments.membership_change WHERE changed_at <= %(expired_at)s", {"expired_at": expired_at}
    )
    return int(count)


def delete_expired_changes(tx: Transaction, expired_at: datetime, rows_max: int) -> int:
    """Delete up to `rows_max` of them; the number deleted. Present memberships stay."""
    ((count,),) = tx.execute(
        """
        WITH deleted AS (
            DELETE FROM segments.membership_change WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM segments.membership_change WHERE changed_at <= %(expired_at)s LIMIT %(rows_max)s
            )) RETURNING 1
        ) SELECT count(*) FROM deleted
        """,
        {"expired_at": expired_at, "rows_max": rows_max},
    )
    return int(count)
