"""SQL of one person's memberships."""

from collections.abc import Collection

from sqlalchemy import select

from cdp.kit.db import Transaction
from cdp.schema.segments import membership


def memberships_of(tx: Transaction, profile_ids: Collection[int]) -> dict[int, list[str]]:
    """The keys of the segments in which these profiles are stored as members."""
    found: dict[int, list[str]] = {}
    statement = select(membership.c.profile_id, membership.c.key).where(membership.c.profile_id.in_(list(profile_ids)))
    for profile_id, key in tx.all(statement.order_by(membership.c.key)) if profile_ids else ():
        found.setdefault(profile_id, []).append(key)
    return found
