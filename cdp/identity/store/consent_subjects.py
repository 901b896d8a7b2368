"""SQL that consent needs: which identifiers decide about which profile."""

from collections.abc import Collection

from cdp.kit.db import Transaction


def deciding_identifiers(tx: Transaction, profile_ids: Collection[int]) -> dict[int, dict[int, bool]]:
    """Per profile, the identifiers whose consent acts decide about it, and whether each of them links no profiles.

    These are the identifiers that the profile owns, and of those in its anchors the shared ones and those without an
    owner: their refusals apply to every profile ever seen with them. An identifier that another profile owns
    decides about that profile alone.
    """
    found: dict[int, dict[int, bool]] = {profile_id: {} for profile_id in profile_ids}
    if not found:
        return {}
    rows = tx.execute(
        """
        WITH requested AS (SELECT * FROM unnest(%(ids)s::bigint[]) AS a (profile_id))
        SELECT requested.profile_id, i.identifier_id, i.is_shared AS links_nobody
        FROM requested
        JOIN identity.link USING (profile_id)
        JOIN identity.identifier AS i USING (identifier_id)
        UNION
        SELECT requested.profile_id, i.identifier_id, TRUE
        FROM requested
        JOIN identity.canonical USING (profile_id)
        JOIN identity.anchor_member USING (anchor_id)
        JOIN identity.identifier AS i USING (identifier_id)
        WHERE i.is_shared OR NOT EXISTS (SELECT FROM identity.link AS l WHERE l.identifier_id = i.identifier_id)
        """,
        {"ids": list(found)},
    )
    for profile_id, identifier_id, links_nobody in rows:
        found[profile_id][identifier_id] = links_nobody
    return found


def profiles_decided_by(tx: Transaction, identifier_ids: Collection[int]) -> set[int]:
    """The profiles that consent acts of these identifiers decide about: see `deciding_identifiers`."""
    return {profile_id for profile_ids in decided_by_each(tx, identifier_ids).values() for profile_id in profile_ids}


def decided_by_each(tx: Transaction, identifier_ids: Collection[int]) -> dict[int, set[int]]:
    """Per identifier, the profiles that its consent acts decide about; an identifier that decides about none is absent."""
    found: dict[int, set[int]] = {}
    if identifier_ids:
        rows = tx.execute(
            """
            SELECT identifier_id, profile_id FROM identity.link WHERE identifier_id = ANY(%(ids)s::bigint[])
            UNION
            SELECT i.identifier_id, c.profile_id
            FROM identity.identifier AS i
            JOIN identity.anchor_member USING (identifier_id)
            JOIN identity.canonical AS c USING (anchor_id)
            WHERE i.identifier_id = ANY(%(ids)s::bigint[])
              AND (i.is_shared OR NOT EXISTS (SELECT FROM identity.link AS l WHERE l.identifier_id = i.identifier_id))
            """,
            {"ids": list(identifier_ids)},
        )
        for identifier_id, profile_id in rows:
            found.setdefault(identifier_id, set()).add(profile_id)
    return found


def anchors_of(tx: Transaction, profile_ids: Collection[int]) -> dict[int, list[int]]:
    """Per profile, its current anchors; a profile without anchors is absent."""
    found: dict[int, list[int]] = {}
    if profile_ids:
        rows = tx.execute(
            "SELECT profile_id, anchor_id FROM identity.canonical WHERE profile_id = ANY(%(ids)s::bigint[])",
            {"ids": list(profile_ids)},
        )
        for profile_id, anchor_id in rows:
            found.setdefault(profile_id, []).append(anchor_id)
    return found


def subjects_of(tx: Transaction, profile_ids: Collection[int]) -> set[int]:
    """The subjects of keys that stand for these profiles: the identifiers they own, or their anchors if they own none."""
    if not profile_ids:
        return set()
    rows = tx.execute(
        """
        SELECT l.identifier_id FROM identity.link AS l WHERE l.profile_id = ANY(%(ids)s::bigint[])
        UNION
        SELECT c.anchor_id FROM identity.canonical AS c
        WHERE c.profile_id = ANY(%(ids)s::bigint[])
          AND NOT EXISTS (SELECT FROM identity.link AS l WHERE l.profile_id = c.profile_id)
        """,
        {"ids": list(profile_ids)},
    )
    return {subject_id for (subject_id,) in rows}


def next_profiles(tx: Transaction, after: int, limit: int) -> list[int]:
    """Up to `limit` current profiles with ids above `after`, in order, including those that only a link table created."""
    rows = tx.execute(
        """
        SELECT profile_id
        FROM (
            (SELECT DISTINCT profile_id FROM identity.canonical WHERE profile_id > %(after)s
             ORDER BY profile_id LIMIT %(limit)s)
            UNION
            (SELECT DISTINCT profile_id FROM identity.link WHERE profile_id > %(after)s
             ORDER BY profile_id LIMIT %(limit)s)
        ) AS current_profile
        ORDER BY profile_id
        LIMIT %(limit)s
        """,
        {"after": after, "limit": limit},
    )
    return [profile_id for (profile_id,) in rows]
