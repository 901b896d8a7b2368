"""SQL that counts the memberships and deliveries that would end if profiles lost purposes; nothing is changed."""

from collections.abc import Mapping, Sequence

from cdp.kit.db import Transaction


def memberships_lost(tx: Transaction, profile_ids: Sequence[int], purpose: str) -> Mapping[str, int]:
    """By segment of a purpose, how many of these profiles are members."""
    rows = tx.execute(
        """
        SELECT m.key, count(*) FROM segments.membership AS m JOIN segments.segment AS s USING (key)
        WHERE s.purpose = %(purpose)s AND m.profile_id = ANY(%(profiles)s::bigint[])
        GROUP BY m.key
        """,
        {"purpose": purpose, "profiles": list(profile_ids)},
    )
    return dict(rows)
