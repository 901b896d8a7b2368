"""SQL that tells which segments some profiles are in."""

from collections.abc import Sequence

from cdp.kit.db import Transaction


def memberships_of(tx: Transaction, profile_ids: Sequence[int]) -> dict[int, list[str]]:
    """The keys of the segments that each profile is in, in order; profiles in none are absent."""
    found: dict[int, list[str]] = {}
    for profile_id, key in tx.bulk(
        """
        SELECT profile_id, key
        FROM segments.membership
        WHERE profile_id = ANY(%(profiles)s::bigint[])
        ORDER BY key
        """,
        {"profiles": list(profile_ids)},
    ):
        found.setdefault(profile_id, []).append(key)
    return found
