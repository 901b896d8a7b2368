"""Who is left out of a projection before any condition is asked, and why."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from cdp.kit.db import Transaction

_REFUSED = text(
    """
    SELECT reason, count(*), bit_xor(profile_id)
    FROM (
        SELECT who.profile_id,
               coalesce(refused.reason, CASE WHEN permitted.until <= :now THEN 'expired' ELSE :silent END) AS reason
        FROM identity.profile AS who
        LEFT JOIN consent.permitted AS permitted ON permitted.profile_id = who.profile_id AND permitted.purpose = :purpose
        LEFT JOIN consent.refused AS refused ON refused.profile_id = who.profile_id AND refused.purpose = :purpose
        WHERE who.merged_into IS NULL
          AND (permitted.profile_id IS NULL OR permitted.since > :now OR permitted.until <= :now)
    ) AS left_out
    GROUP BY reason
    ORDER BY reason
    """
)


class LeftOut(NamedTuple):
    """The number of profiles that are not permitted for one reason, and the XOR of their ids: their cell key."""

    reason: str
    profiles: int
    cell: int | None


def left_out_by_reason(tx: Transaction, purpose: str, *, silent: str, now: datetime) -> list[LeftOut]:
    """Profiles without permission for the purpose at `now`, by reason; `silent` is the reason of those without any act."""
    rows = tx.all(_REFUSED, {"now": now, "purpose": purpose, "silent": silent})
    return [LeftOut(*row) for row in rows]
