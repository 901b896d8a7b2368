"""SQL of one person's memberships."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select

from cdp.kit.db import Transaction
from cdp.schema.segments import membership


def memberships_of(tx: Transaction, profile_ids: Collection[int]) -> dict[int, list[str]]:
    """The keys of the segments in which these profiles are stored as members."""
    found: dict[int, list[str]] = {}
    asked = select(membership.c.profile_id, membership.c.key).where(membership.c.profile_id.in_(list(profile_ids)))
    for profile_id, key in tx.all(asked.order_by(membership.c.key)) if profile_ids else ():
        found.setdefault(profile_id, []).append(key)
    return found


def expire_changes(tx: Transaction, before: datetime, rows_max: int) -> int:
    """Delete membership changes from before an instant, at most so many at once; tells how many there were."""
    rows = tx.bulk(
        """
        WITH old AS (
            SELECT profile_id, change_id FROM segments.membership_change
            WHERE changed_at < %(before)s
            LIMIT %(rows_max)s
        ), gone AS (
            DELETE FROM segments.membership_change AS change USING old
            WHERE change.profile_id = old.profile_id AND change.change_id = old.change_id
            RETURNING 1
        )
        SELECT count(*) FROM gone
        """,
        {"before": before, "rows_max": rows_max},
    )
    found: int = rows[0][0]
    return found
