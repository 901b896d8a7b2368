"""SQL that ends the memberships of a whole segment."""

from datetime import datetime

from cdp.kit.db import Transaction


def end_all(tx: Transaction, key: str, now: datetime) -> int:
    """End every membership of a segment as an exit, with the instants at which it might have changed; returns how many."""
    ((exited,),) = tx.execute(
        """
        WITH no_longer_due AS (DELETE FROM segments.due WHERE key = %(key)s),
        ended AS (DELETE FROM segments.membership WHERE key = %(key)s RETURNING profile_id, version),
        recorded AS (
            INSERT INTO segments.membership_change (profile_id, key, version, change, changed_at)
            SELECT profile_id, %(key)s, version, 'exited', %(now)s FROM ended
        )
        SELECT count(*) FROM ended
        """,
        {"key": key, "now": now},
    )
    return int(exited)
