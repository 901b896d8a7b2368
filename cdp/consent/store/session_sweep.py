"""SQL of the sweep: recorded sessions of readers past the retention period of the audit log's facts."""

from datetime import datetime

from cdp.kit.db import Transaction


def count_expired_sessions(tx: Transaction, expired_at: datetime) -> int:
    """How many sessions of readers were last seen before an instant."""
    rows = tx.execute(
        "SELECT count(*) FROM consent.reader_session WHERE seen_at < %(expired_at)s", {"expired_at": expired_at}
    )
    return int(rows[0][0])


def delete_expired_sessions(tx: Transaction, expired_at: datetime, rows_max: int) -> int:
    """Delete up to `rows_max` of them; returns how many."""
    rows = tx.execute(
        """
        WITH expired AS (
            SELECT started_at, pid FROM consent.reader_session WHERE seen_at < %(expired_at)s
            ORDER BY started_at, pid
            LIMIT %(rows_max)s
            FOR UPDATE SKIP LOCKED
        )
        DELETE FROM consent.reader_session AS s USING expired AS e
        WHERE s.started_at = e.started_at AND s.pid = e.pid
        RETURNING 1
        """,
        {"expired_at": expired_at, "rows_max": rows_max},
    )
    return len(rows)
