"""SQL of the reach: who owns the verified identifiers, and everything that hangs together with them."""

from collections.abc import Collection

from cdp.identity.reach import MemberSet, Neighborhood, OwnedIdentifier
from cdp.kit.db import Transaction


def load_neighborhood(
    tx: Transaction,
    identifier_ids: Collection[int],
    *,
    unique_types: Collection[str],
    server_sources: Collection[int],
) -> Neighborhood:
    """What `reach` judges: the profiles that own these identifiers, whole, and who else their anchors name.

    `server_sources` are the ids of the sources whose word is vouched for.
    """
    homes = [
        row[0]
        for row in tx.execute(
            "SELECT DISTINCT profile_id FROM identity.link WHERE identifier_id = ANY(%(ids)s::bigint[])",
            {"ids": list(identifier_ids)},
        )
    ]
    anchors = _anchors(tx, homes, server_sources)
    members = {member for held in anchors.values() for member in held.members}
    identifiers = _identifiers(tx, homes, members | set(identifier_ids))
    return Neighborhood(
        identifiers=identifiers,
        anchors=anchors,
        ambiguous=_crowded(tx, homes, identifiers, unique_types=unique_types),
        unreferenced=_lonely(tx, homes, members, anchor_ids=list(anchors)),
        edges=_edges(tx, homes, server_sources),
    )


def retired_into(tx: Transaction, profile_ids: Collection[int]) -> frozenset[int]:
    """The profiles that were merged into these."""
    rows = tx.execute(
        "SELECT profile_id FROM identity.profile WHERE merged_into = ANY(%(ids)s::bigint[])", {"ids": list(profile_ids)}
    )
    return frozenset(row[0] for row in rows)


def profiles_of(tx: Transaction, anchor_ids: Collection[int], identifier_ids: Collection[int]) -> frozenset[int]:
    """The profiles that hold any of these anchors, or own any of these identifiers."""
    rows = tx.execute(
        """
        SELECT profile_id FROM identity.canonical WHERE anchor_id = ANY(%(anchors)s::bigint[])
        UNION
        SELECT profile_id FROM identity.link WHERE identifier_id = ANY(%(identifiers)s::bigint[])
        """,
        {"anchors": list(anchor_ids), "identifiers": list(identifier_ids)},
    )
    return frozenset(row[0] for row in rows)


def empty_among(tx: Transaction, profile_ids: Collection[int]) -> frozenset[int]:
    """Those of the profiles that hold no anchor and own no identifier."""
    rows = tx.execute(
        """
        SELECT asked.id FROM unnest(%(ids)s::bigint[]) AS asked (id)
        WHERE NOT EXISTS (SELECT FROM identity.canonical AS c WHERE c.profile_id = asked.id)
          AND NOT EXISTS (SELECT FROM identity.link AS l WHERE l.profile_id = asked.id)
        """,
        {"ids": list(profile_ids)},
    )
    return frozenset(row[0] for row in rows)


def reassign_origin(tx: Transaction, profile_ids: Collection[int]) -> None:
    """Let each profile that goes on be born by the earliest recorded step left to it.

    Without this, undoing or recomputing its links later would give it another id. Two profiles that would swap
    births do so by way of the negative numbers, which no step has.
    """
    if not profile_ids:
        return
    tx.execute(
        """
        WITH step AS (  -- the recorded steps that stay, of anchors and of link tables
            SELECT c.profile_id, r.sequence
            FROM identity.canonical AS c JOIN identity.resolution AS r USING (anchor_id)
            WHERE c.profile_id = ANY(%(ids)s::bigint[])
            UNION ALL
            SELECT l.profile_id, e.sequence
            FROM identity.link AS l JOIN identity.edge AS e USING (identifier_id)
            WHERE l.profile_id = ANY(%(ids)s::bigint[])
        ), left_over AS (
            SELECT profile_id, min(sequence) AS earliest FROM step GROUP BY profile_id
        ), changed AS (
            SELECT left_over.profile_id, p.origin_sequence AS born, left_over.earliest
            FROM left_over JOIN identity.profile AS p USING (profile_id)
            WHERE p.origin_sequence <> left_over.earliest
              AND NOT EXISTS (SELECT FROM step WHERE step.sequence = p.origin_sequence)
        )
        UPDATE identity.profile AS p
        SET origin_sequence = CASE WHEN p.profile_id = changed.profile_id THEN -changed.earliest ELSE -changed.born END
        FROM changed
        WHERE p.profile_id = changed.profile_id OR p.origin_sequence = changed.earliest
        """,
        {"ids": list(profile_ids)},
    )
    tx.execute("UPDATE identity.profile SET origin_sequence = -origin_sequence WHERE origin_sequence < 0")


def _anchors(tx: Transaction, homes: Collection[int], server_sources: Collection[int]) -> dict[int, MemberSet]:
    rows = tx.execute(
        """
        SELECT c.anchor_id, c.profile_id, array_agg(m.identifier_id),
               EXISTS (
                   SELECT FROM identity.anchor_source AS a
                   WHERE a.anchor_id = c.anchor_id AND a.source_id = ANY(%(servers)s::integer[])
               )
        FROM identity.canonical AS c JOIN identity.anchor_member AS m USING (anchor_id)
        WHERE c.profile_id = ANY(%(homes)s::bigint[])
        GROUP BY c.anchor_id, c.profile_id
        """,
        {"homes": list(homes), "servers": list(server_sources)},
    )
    return {row[0]: MemberSet(row[1], frozenset(row[2]), row[3]) for row in rows}


def _edges(tx: Transaction, homes: Collection[int], server_sources: Collection[int]) -> tuple[MemberSet, ...]:
    rows = tx.execute(
        """
        SELECT l.profile_id, e.identifier_id, e.other_identifier_id, bool_or(e.source_id = ANY(%(servers)s::integer[]))
        FROM identity.link AS l
        JOIN identity.edge AS e USING (identifier_id)
        WHERE l.profile_id = ANY(%(homes)s::bigint[])
        GROUP BY l.profile_id, e.identifier_id, e.other_identifier_id
        """,
        {"homes": list(homes), "servers": list(server_sources)},
    )
    return tuple(MemberSet(row[0], frozenset(row[1:3]), row[3]) for row in rows)


def _identifiers(tx: Transaction, homes: Collection[int], members: Collection[int]) -> dict[int, OwnedIdentifier]:
    rows = tx.execute(
        """
        WITH wanted AS (
            SELECT unnest(%(members)s::bigint[]) AS identifier_id
            UNION
            SELECT identifier_id FROM identity.link WHERE profile_id = ANY(%(homes)s::bigint[])
        )
        SELECT identifier_id, i.type, l.profile_id, i.is_shared
        FROM wanted JOIN identity.identifier AS i USING (identifier_id) LEFT JOIN identity.link AS l USING (identifier_id)
        """,
        {"homes": list(homes), "members": list(members)},
    )
    return {row[0]: OwnedIdentifier(row[1], row[2], row[3]) for row in rows}


def _crowded(
    tx: Transaction, homes: Collection[int], identifiers: dict[int, OwnedIdentifier], *, unique_types: Collection[str]
) -> frozenset[int]:
    """Profiles in quarantine, and those that own two values of a unique type."""
    rows = tx.execute(
        "SELECT profile_id FROM identity.profile WHERE profile_id = ANY(%(homes)s::bigint[]) AND is_quarantined",
        {"homes": list(homes)},
    )
    crowded = {row[0] for row in rows}
    seen: set[tuple[int, str]] = set()
    for owned in identifiers.values():
        if owned.profile_id is not None and owned.type in unique_types:
            if (owned.profile_id, owned.type) in seen:
                crowded.add(owned.profile_id)
            seen.add((owned.profile_id, owned.type))
    return frozenset(crowded)


def _lonely(
    tx: Transaction, homes: Collection[int], members: Collection[int], *, anchor_ids: Collection[int]
) -> frozenset[int]:
    """Members that no other anchor holds, and whose own profile has no anchors elsewhere."""
    rows = tx.execute(
        """
        SELECT asked.id
        FROM unnest(%(members)s::bigint[]) AS asked (id)
        LEFT JOIN identity.link AS l ON l.identifier_id = asked.id
        WHERE NOT EXISTS (
                SELECT FROM identity.anchor_member AS m
                WHERE m.identifier_id = asked.id AND m.anchor_id <> ALL(%(anchors)s::bigint[])
              )
          AND NOT EXISTS (
                SELECT FROM identity.edge AS e WHERE e.identifier_id = asked.id OR e.other_identifier_id = asked.id
              )
          AND (l.profile_id IS NULL OR l.profile_id = ANY(%(homes)s::bigint[]) OR NOT EXISTS (
                SELECT FROM identity.canonical AS c WHERE c.profile_id = l.profile_id
              ))
        """,
        {"members": list(members), "homes": list(homes), "anchors": list(anchor_ids)},
    )
    return frozenset(row[0] for row in rows)
