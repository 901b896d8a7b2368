"""SQL of the sweep: requests that ended before the retention period of the policy, and suppressions whose term is over."""

from collections.abc import Collection
from datetime import date, datetime

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
        tx.execute("DELETE FROM rights.review WHERE request_id = ANY(%(requests)s)", {"requests": requests})
        tx.execute("DELETE FROM rights.request_value WHERE request_id = ANY(%(requests)s)", {"requests": requests})
    return requests


def count_ended_suppressions(tx: Transaction, now: datetime) -> int:
    """How many suppressions of every purpose have a term that is over."""
    return int(tx.execute("SELECT count(*) FROM rights.suppression WHERE until <= %(now)s", {"now": now})[0][0])


def end_suppressions(tx: Transaction, now: datetime, rows_max: int, *, opt_out_purposes: Collection[str]) -> int:
    """Delete up to `rows_max` of them; returns how many.

    The opt-out purposes stay suppressed: without the person's records, nothing else refuses them.
    """
    rows = tx.execute(
        """
        WITH ended AS (
            DELETE FROM rights.suppression AS s
            WHERE s.ctid = ANY(ARRAY(SELECT ctid FROM rights.suppression WHERE until <= %(now)s LIMIT %(rows_max)s))
            RETURNING s.pseudonym, s.purpose
        ), refused AS (
            INSERT INTO rights.suppression (pseudonym, purpose, request_id, since)
            SELECT ended.pseudonym, stays.purpose, 0, %(now)s
            FROM ended CROSS JOIN unnest(%(purposes)s::text[]) AS stays (purpose)
            WHERE ended.purpose = ''
            ON CONFLICT DO NOTHING
        )
        SELECT count(*) FROM ended
        """,
        {"now": now, "rows_max": rows_max, "purposes": sorted(opt_out_purposes)},
    )
    return int(rows[0][0])


def count_ended_holds(tx: Transaction, today: date) -> int:
    """How many legal holds ended before a day."""
    return int(tx.execute("SELECT count(*) FROM rights.hold WHERE keep_until < %(today)s", {"today": today})[0][0])
