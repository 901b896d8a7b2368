"""Profiles that are excluded from a projection before any condition is evaluated, and why."""

from datetime import datetime
from typing import NamedTuple

from cdp.kit.db import Transaction


class ExcludedProfiles(NamedTuple):
    """The number of profiles that are not permitted for one reason."""

    reason: str
    profiles: int


def excluded_by_reason(tx: Transaction, purpose: str, *, default_reason: str, now: datetime) -> list[ExcludedProfiles]:
    """Profiles not permitted for the purpose at `now`, by reason; `default_reason` is for those without a consent record."""
    rows = tx.execute(
        """
        SELECT reason, count(*)
        FROM (
            SELECT coalesce(
                       refused.reason, CASE WHEN permitted.until <= %(now)s THEN 'expired' ELSE %(default_reason)s END
                   ) AS reason
            FROM identity.profile AS profile
            LEFT JOIN consent.permitted AS permitted
                   ON permitted.profile_id = profile.profile_id AND permitted.purpose = %(purpose)s
            LEFT JOIN consent.refused AS refused
                   ON refused.profile_id = profile.profile_id AND refused.purpose = %(purpose)s
            WHERE profile.merged_into IS NULL
              AND (permitted.profile_id IS NULL OR permitted.since > %(now)s OR permitted.until <= %(now)s)
        ) AS excluded
        GROUP BY reason
        ORDER BY reason
        """,
        {"now": now, "purpose": purpose, "default_reason": default_reason},
    )
    return [ExcludedProfiles(*row) for row in rows]
