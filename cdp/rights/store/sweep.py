"""SQL of the sweep: requests that ended before the retention period of the policy."""

from datetime import datetime

from cdp.kit.db import Transaction


def count_expired_requests(tx: Transaction, expired_at: datetime) -> int:
    """How many requests ended at or before an instant."""
    rows = tx.execute(
        "SELECT count(*) FROM rights.request WHERE closed_at <= %(expired_at)s", {"expired_at": expired_at}
    )
    return int(rows[0][0])


def delete_expired_requests(tx: Transaction, expired_at: datetime, rows_max: int) -> list[int]:
    """Delete up to `rows_max` of them, with their steps and named identifiers; returns their ids.

    Suppressions and legal holds are not deleted.
    """
    rows = tx.execute(
        "DELETE FROM rights.request WHERE request_id IN ("
        "SELECT request_id FROM rights.request WHERE closed_at <= %(expired_at)s ORDER BY request_id LIMIT %(rows_max)s) "
        "RETURNING request_id",
        {"expired_at": expired_at, "rows_max": rows_max},
    )
    requests = [request_id for (request_id,) in rows]
    if requests:
        tx.execute("DELETE FROM rights.step WHERE request_id = ANY(%(requests)s)", {"requests": requests})
        tx.execute("DELETE FROM rights.request_identifier WHERE request_id = ANY(%(requests)s)", {"requests": requests})
        tx.execute("DELETE FROM rights.request_value WHERE request_id = ANY(%(requests)s)", {"requests": requests})
    return requests
