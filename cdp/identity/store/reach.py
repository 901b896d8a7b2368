"""SQL of the reach of a subject request: the neighborhood of the verified identifiers, and repairs after an erasure."""

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
    """The input of `reach`: everything of the profiles that own these identifiers, and who else their anchors name.

    Of other profiles, the anchors that carry one of these identifiers.

    `server_sources` are the ids of the sources whose assertions are followed.
    """
    rows = tx.execute(
        "SELECT DISTINCT profile_id FROM identity.link WHERE identifier_id = ANY(%(ids)s::bigint[])",
        {"ids": list(identifier_ids)},
    )
    profile_ids = [profile_id for (profile_id,) in rows]
    anchors = _anchors(tx, profile_ids, server_sources)
    members = {member for anchor in anchors.values() for member in anchor.members}
    naming = _naming(tx, identifier_ids, profile_ids)
    others = {member for carrier in naming for member in carrier.members}
    identifiers = _identifiers(tx, profile_ids, members | others | set(identifier_ids))
    return Neighborhood(
        identifiers=identifiers,
        anchors=anchors,
        ambiguous=_ambiguous(tx, profile_ids, identifiers, unique_types=unique_types),
        unreferenced=_unreferenced(tx, profile_ids, members | set(identifier_ids), anchor_ids=list(anchors)),
        edges=_edges(tx, profile_ids, server_sources),
        naming=naming,
        apart=_apart(tx, identifier_ids) if naming else frozenset(),
    )


def retired_into(tx: Transaction, profile_ids: Collection[int]) -> frozenset[int]:
    """The profiles that were merged into these."""
    rows = tx.execute(
        "SELECT profile_id FROM identity.profile WHERE merged_into = ANY(%(ids)s::bigint[])", {"ids": list(profile_ids)}
    )
    return frozenset(profile_id for (profile_id,) in rows)


def profiles_of(tx: Transaction, anchor_ids: Collection[int], identifier_ids: Collection[int]) -> frozenset[int]:
    """The profiles that have any of these anchors, or own any of these identifiers."""
    rows = tx.execute(
        """
        SELECT profile_id FROM identity.canonical WHERE anchor_id = ANY(%(anchors)s::bigint[])
        UNION
        SELECT profile_id FROM identity.link WHERE identifier_id = ANY(%(identifiers)s::bigint[])
        """,
        {"anchors": list(anchor_ids), "identifiers": list(identifier_ids)},
    )
    return frozenset(profile_id for (profile_id,) in rows)


def empty_among(tx: Transaction, profile_ids: Collection[int]) -> frozenset[int]:
    """Those of these profiles that have no anchor and own no identifier."""
    rows = tx.execute(
        """
        SELECT requested.id FROM unnest(%(ids)s::bigint[]) AS requested (id)
        WHERE NOT EXISTS (SELECT FROM identity.canonical AS c WHERE c.profile_id = requested.id)
          AND NOT EXISTS (SELECT FROM identity.link AS l WHERE l.profile_id = requested.id)
        """,
        {"ids": list(profile_ids)},
    )
    return frozenset(profile_id for (profile_id,) in rows)


def reassign_origin(tx: Transaction, profile_ids: Collection[int]) -> None:
    """Make the earliest remaining recorded step the origin of each of these profiles whose own one is deleted.

    Without this, undoing or recomputing its links later would give the profile another id. Two profiles may exchange
    their origins, which are unique: the new ones are written as negative numbers, which no step has, and then negated.
    """
    if not profile_ids:
        return
    tx.execute(
        """
        WITH step AS (  -- the recorded steps that remain, of anchors and of link tables
            SELECT c.profile_id, r.sequence
            FROM identity.canonical AS c JOIN identity.resolution AS r USING (anchor_id)
            WHERE c.profile_id = ANY(%(ids)s::bigint[])
            UNION ALL
            SELECT l.profile_id, e.sequence
            FROM identity.link AS l JOIN identity.edge AS e USING (identifier_id)
            WHERE l.profile_id = ANY(%(ids)s::bigint[])
        ), remaining AS (
            SELECT profile_id, min(sequence) AS earliest FROM step GROUP BY profile_id
        ), changed AS (  -- the profiles whose origin is deleted
            SELECT remaining.profile_id, p.origin_sequence AS origin, remaining.earliest
            FROM remaining JOIN identity.profile AS p USING (profile_id)
            WHERE p.origin_sequence <> remaining.earliest
              AND NOT EXISTS (SELECT FROM step WHERE step.sequence = p.origin_sequence)
        )
        UPDATE identity.profile AS p
        SET origin_sequence = CASE WHEN p.profile_id = changed.profile_id THEN -changed.earliest ELSE -changed.origin END
        FROM changed
        WHERE p.profile_id = changed.profile_id OR p.origin_sequence = changed.earliest
        """,
        {"ids": list(profile_ids)},
    )
    tx.execute("UPDATE identity.profile SET origin_sequence = -origin_sequence WHERE origin_sequence < 0")


def _anchors(tx: Transaction, profile_ids: Collection[int], server_sources: Collection[int]) -> dict[int, MemberSet]:
    rows = tx.execute(
        """
        SELECT c.anchor_id, c.profile_id, array_agg(m.identifier_id) AS members,
               EXISTS (
                   SELECT FROM identity.anchor_source AS a
                   WHERE a.anchor_id = c.anchor_id AND a.source_id = ANY(%(servers)s::integer[])
               ) AS is_server_asserted
        FROM identity.canonical AS c JOIN identity.anchor_member AS m USING (anchor_id)
        WHERE c.profile_id = ANY(%(profiles)s::bigint[])
        GROUP BY c.anchor_id, c.profile_id
        """,
        {"profiles": list(profile_ids), "servers": list(server_sources)},
    )
    return {
        anchor_id: MemberSet(profile_id, frozenset(members), is_server_asserted)
        for anchor_id, profile_id, members, is_server_asserted in rows
    }


def _naming(tx: Transaction, identifier_ids: Collection[int], profile_ids: Collection[int]) -> tuple[MemberSet, ...]:
    """The anchors of other profiles that carry one of these identifiers."""
    rows = tx.execute(
        """
        SELECT c.profile_id, array_agg(m.identifier_id)
        FROM identity.canonical AS c JOIN identity.anchor_member AS m USING (anchor_id)
        WHERE c.anchor_id IN (
                SELECT anchor_id FROM identity.anchor_member WHERE identifier_id = ANY(%(ids)s::bigint[])
              )
          AND c.profile_id <> ALL(%(profiles)s::bigint[])
        GROUP BY c.anchor_id, c.profile_id
        """,
        {"ids": list(identifier_ids), "profiles": list(profile_ids)},
    )
    return tuple(MemberSet(profile_id, frozenset(members), is_server_asserted=False) for profile_id, members in rows)


def _apart(tx: Transaction, identifier_ids: Collection[int]) -> frozenset[frozenset[int]]:
    """The pairs with one of these identifiers that staff separated."""
    rows = tx.execute(
        "SELECT identifier_id, other_identifier_id FROM identity.never "
        "WHERE identifier_id = ANY(%(ids)s::bigint[]) OR other_identifier_id = ANY(%(ids)s::bigint[])",
        {"ids": list(identifier_ids)},
    )
    return frozenset(frozenset(pair) for pair in rows)


def _edges(tx: Transaction, profile_ids: Collection[int], server_sources: Collection[int]) -> tuple[MemberSet, ...]:
    rows = tx.execute(
        """
        SELECT l.profile_id, e.identifier_id, e.other_identifier_id,
               bool_or(e.source_id = ANY(%(servers)s::integer[])) AS is_server_asserted
        FROM identity.link AS l
        JOIN identity.edge AS e USING (identifier_id)
        WHERE l.profile_id = ANY(%(profiles)s::bigint[])
        GROUP BY l.profile_id, e.identifier_id, e.other_identifier_id
        """,
        {"profiles": list(profile_ids), "servers": list(server_sources)},
    )
    return tuple(
        MemberSet(profile_id, frozenset((one, other)), is_server_asserted)
        for profile_id, one, other, is_server_asserted in rows
    )


def _identifiers(tx: Transaction, profile_ids: Collection[int], members: Collection[int]) -> dict[int, OwnedIdentifier]:
    rows = tx.execute(
        """
        WITH wanted AS (
            SELECT unnest(%(members)s::bigint[]) AS identifier_id
            UNION
            SELECT identifier_id FROM identity.link WHERE profile_id = ANY(%(profiles)s::bigint[])
        )
        SELECT identifier_id, i.type, l.profile_id, i.is_shared
        FROM wanted JOIN identity.identifier AS i USING (identifier_id) LEFT JOIN identity.link AS l USING (identifier_id)
        """,
        {"profiles": list(profile_ids), "members": list(members)},
    )
    return {identifier_id: OwnedIdentifier(*columns) for identifier_id, *columns in rows}


def _ambiguous(
    tx: Transaction,
    profile_ids: Collection[int],
    identifiers: dict[int, OwnedIdentifier],
    *,
    unique_types: Collection[str],
) -> frozenset[int]:
    """The profiles that are in quarantine, or own two values of a unique type."""
    rows = tx.execute(
        "SELECT profile_id FROM identity.profile WHERE profile_id = ANY(%(profiles)s::bigint[]) AND is_quarantined",
        {"profiles": list(profile_ids)},
    )
    ambiguous = {profile_id for (profile_id,) in rows}
    seen: set[tuple[int, str]] = set()
    for owned in identifiers.values():
        if owned.profile_id is not None and owned.type in unique_types:
            if (owned.profile_id, owned.type) in seen:
                ambiguous.add(owned.profile_id)
            seen.add((owned.profile_id, owned.type))
    return frozenset(ambiguous)


def _unreferenced(
    tx: Transaction, profile_ids: Collection[int], members: Collection[int], *, anchor_ids: Collection[int]
) -> frozenset[int]:
    """Members that occur in no other anchor and no edge, and whose profile, if it is another one, has no anchors."""
    rows = tx.execute(
        """
        SELECT requested.id
        FROM unnest(%(members)s::bigint[]) AS requested (id)
        LEFT JOIN identity.link AS l ON l.identifier_id = requested.id
        WHERE NOT EXISTS (
                SELECT FROM identity.anchor_member AS m
                WHERE m.identifier_id = requested.id AND m.anchor_id <> ALL(%(anchors)s::bigint[])
              )
          AND NOT EXISTS (
                SELECT FROM identity.edge AS e WHERE e.identifier_id = requested.id OR e.other_identifier_id = requested.id
              )
          AND (l.profile_id IS NULL OR l.profile_id = ANY(%(profiles)s::bigint[]) OR NOT EXISTS (
                SELECT FROM identity.canonical AS c WHERE c.profile_id = l.profile_id
              ))
        """,
        {"members": list(members), "profiles": list(profile_ids), "anchors": list(anchor_ids)},
    )
    return frozenset(identifier_id for (identifier_id,) in rows)
