"""SQL of the identity room for consent: whose acts decide about which profile."""

from collections.abc import Collection

from cdp.kit.db import Transaction


def deciding_identifiers(tx: Transaction, profile_ids: Collection[int]) -> dict[int, dict[int, bool]]:
    """Per profile, the identifiers whose acts decide about it, and whether each links nobody.

    These are its own, and of those in its anchors the shared ones and those that no profile owns: a no
    of theirs counts for every profile ever seen with them. An identifier that another profile owns
    decides about that one alone.
    """
    found: dict[int, dict[int, bool]] = {profile_id: {} for profile_id in profile_ids}
    if not found:
        return {}
    rows = tx.execute(
        """
        WITH asked AS (SELECT * FROM unnest(%(ids)s::bigint[]) AS a (profile_id))
        SELECT asked.profile_id, i.identifier_id, i.is_shared
        FROM asked
        JOIN identity.link USING (profile_id)
        JOIN identity.identifier AS i USING (identifier_id)
        UNION
        SELECT asked.profile_id, i.identifier_id, TRUE
        FROM asked
        JOIN identity.canonical USING (profile_id)
        JOIN identity.anchor_member USING (anchor_id)
        JOIN identity.identifier AS i USING (identifier_id)
        WHERE i.is_shared OR NOT EXISTS (SELECT FROM identity.link AS l WHERE l.identifier_id = i.identifier_id)
        """,
        {"ids": list(found)},
    )
    for profile_id, identifier_id, is_shared in rows:
        found[profile_id][identifier_id] = is_shared
    return found


def profiles_decided_by(tx: Transaction, identifier_ids: Collection[int]) -> set[int]:
    """The profiles about which acts on these identifiers decide: see `deciding_identifiers`."""
    if not identifier_ids:
        return set()
    rows = tx.execute(
        """
        SELECT profile_id FROM identity.link WHERE identifier_id = ANY(%(ids)s::bigint[])
        UNION
        SELECT c.profile_id
        FROM identity.identifier AS i
        JOIN identity.anchor_member USING (identifier_id)
        JOIN identity.canonical AS c USING (anchor_id)
        WHERE i.identifier_id = ANY(%(ids)s::bigint[])
          AND (i.is_shared OR NOT EXISTS (SELECT FROM identity.link AS l WHERE l.identifier_id = i.identifier_id))
        """,
        {"ids": list(identifier_ids)},
    )
    return {row[0] for row in rows}


def anchors_of(tx: Transaction, profile_ids: Collection[int]) -> dict[int, list[int]]:
    """Per profile, the anchors that make it today."""
    found: dict[int, list[int]] = {}
    if profile_ids:
        rows = tx.execute(
            "SELECT profile_id, anchor_id FROM identity.canonical WHERE profile_id = ANY(%(ids)s::bigint[])",
            {"ids": list(profile_ids)},
        )
        for profile_id, anchor_id in rows:
            found.setdefault(profile_id, []).append(anchor_id)
    return found


def next_profiles(tx: Transaction, after: int, limit: int) -> list[int]:
    """Up to `limit` living profiles with ids beyond `after`, in order; also those that a link table alone made."""
    rows = tx.execute(
        """
        SELECT profile_id
        FROM (
            (SELECT DISTINCT profile_id FROM identity.canonical WHERE profile_id > %(after)s
             ORDER BY profile_id LIMIT %(limit)s)
            UNION
            (SELECT DISTINCT profile_id FROM identity.link WHERE profile_id > %(after)s
             ORDER BY profile_id LIMIT %(limit)s)
        ) AS living
        ORDER BY profile_id
        LIMIT %(limit)s
        """,
        {"after": after, "limit": limit},
    )
    return [row[0] for row in rows]
