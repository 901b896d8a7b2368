"""SQL of anchors: found by the digest of their members, with the sources that asserted them."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from cdp.kit.db import Transaction


class StoredAnchor(NamedTuple):
    """An anchor as stored, with the sources that asserted it and the highest authority among them."""

    anchor_id: int
    profile_id: int
    is_settled: bool
    sources: frozenset[int]
    authority: int


class NewAnchor(NamedTuple):
    """An anchor with its members, strongest first."""

    anchor_id: int
    members_digest: bytes
    created_at: datetime
    is_settled: bool
    members: tuple[int, ...]
    profile_id: int


def anchors_by_digest(tx: Transaction, digests: Collection[bytes]) -> dict[bytes, StoredAnchor]:
    """The stored anchors with these member digests, each with the profile that it belongs to now."""
    if not digests:
        return {}
    rows = tx.execute(
        """
        SELECT a.members_digest, a.anchor_id, c.profile_id, a.is_settled,
               s.sources, s.authority
        FROM unnest(%(digests)s::bytea[]) AS requested (members_digest)
        JOIN identity.anchor AS a USING (members_digest)
        JOIN identity.canonical AS c USING (anchor_id)
        CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(source_id), '{}') AS sources, coalesce(max(authority), 0) AS authority
            FROM identity.anchor_source WHERE anchor_id = a.anchor_id
        ) AS s
        """,
        {"digests": list(digests)},
    )
    return {
        members_digest: StoredAnchor(anchor_id, profile_id, is_settled, frozenset(sources), authority)
        for members_digest, anchor_id, profile_id, is_settled, sources, authority in rows
    }


def unowned_identifiers_of(tx: Transaction, profile_ids: Collection[int]) -> dict[int, set[int]]:
    """Per profile, the identifiers of its anchors that no profile owns alone: shared ones, and ones without a profile."""
    found: dict[int, set[int]] = {}
    for profile_id, identifier_id in tx.execute(
        """
        SELECT DISTINCT c.profile_id, m.identifier_id
        FROM unnest(%(ids)s::bigint[]) AS requested (profile_id)
        JOIN identity.canonical AS c USING (profile_id)
        JOIN identity.anchor_member AS m USING (anchor_id)
        JOIN identity.identifier AS i USING (identifier_id)
        WHERE i.is_shared OR NOT EXISTS (SELECT FROM identity.link AS l WHERE l.identifier_id = m.identifier_id)
        """,
        {"ids": list(profile_ids)},
    ):
        found.setdefault(profile_id, set()).add(identifier_id)
    return found


def sources_of(tx: Transaction, profile_ids: Collection[int]) -> dict[int, set[int]]:
    """Per profile, the sources that asserted any of its anchors, or any edge of its identifiers."""
    found: dict[int, set[int]] = {}
    for profile_id, source_id in tx.execute(
        """
        WITH requested AS (SELECT DISTINCT profile_id FROM unnest(%(ids)s::bigint[]) AS a (profile_id))
        SELECT DISTINCT c.profile_id, s.source_id
        FROM requested
        JOIN identity.canonical AS c USING (profile_id)
        JOIN identity.anchor_source AS s USING (anchor_id)
        UNION
        SELECT l.profile_id, e.source_id
        FROM requested
        JOIN identity.link AS l USING (profile_id)
        JOIN identity.edge AS e USING (identifier_id)
        UNION
        SELECT l.profile_id, e.source_id
        FROM requested
        JOIN identity.link AS l USING (profile_id)
        JOIN identity.edge AS e ON e.other_identifier_id = l.identifier_id
        """,
        {"ids": list(profile_ids)},
    ):
        found.setdefault(profile_id, set()).add(source_id)
    return found


def without_source_of(tx: Transaction, profile_ids: Collection[int], source_ids: Collection[int]) -> set[int]:
    """The profiles among these with no anchor that one of these sources asserted."""
    rows = tx.execute(
        """
        SELECT requested.profile_id
        FROM unnest(%(ids)s::bigint[]) AS requested (profile_id)
        WHERE NOT EXISTS (
            SELECT FROM identity.canonical AS c
            JOIN identity.anchor_source AS s USING (anchor_id)
            WHERE c.profile_id = requested.profile_id AND s.source_id = ANY(%(sources)s::int[])
        )
        """,
        {"ids": list(profile_ids), "sources": list(source_ids)},
    )
    return {profile_id for (profile_id,) in rows}


def sources_of_steps(tx: Transaction, steps: Collection[int]) -> dict[int, set[int]]:
    """Per step, the sources that asserted it; an edge is named by the negative of its sequence."""
    found: dict[int, set[int]] = {}
    for step, source_id in tx.execute(
        """
        SELECT anchor_id, source_id FROM identity.anchor_source WHERE anchor_id = ANY(%(anchors)s::bigint[])
        UNION
        SELECT -sequence, source_id FROM identity.edge WHERE sequence = ANY(%(edges)s::bigint[])
        """,
        {"anchors": [step for step in steps if step > 0], "edges": [-step for step in steps if step < 0]},
    ):
        found.setdefault(step, set()).add(source_id)
    return found


def members_of_types(tx: Transaction, anchor_ids: Collection[int], types: Collection[str]) -> set[int]:
    """The identifiers of these types that these anchors name."""
    rows = tx.execute(
        """
        SELECT DISTINCT m.identifier_id
        FROM identity.anchor_member AS m
        JOIN identity.identifier AS i USING (identifier_id)
        WHERE m.anchor_id = ANY(%(anchors)s::bigint[]) AND i.type = ANY(%(types)s::text[])
        """,
        {"anchors": list(anchor_ids), "types": list(types)},
    )
    return {identifier_id for (identifier_id,) in rows}


def insert_anchor_sources(tx: Transaction, pairs: Collection[tuple[int, int]], authorities: Mapping[int, int]) -> None:
    """Record which source asserted which anchor, as (anchor id, source id), with the authority of the source.

    Repetitions are ignored.
    """
    if pairs:
        tx.execute(
            """
            INSERT INTO identity.anchor_source (anchor_id, source_id, authority)
            SELECT * FROM unnest(%(anchors)s::bigint[], %(sources)s::int[], %(authorities)s::smallint[])
            ON CONFLICT DO NOTHING
            """,
            {
                "anchors": [anchor_id for anchor_id, _ in pairs],
                "sources": [source_id for _, source_id in pairs],
                "authorities": [authorities[source_id] for _, source_id in pairs],
            },
        )


def anchor_counts(tx: Transaction, profile_ids: Collection[int]) -> dict[int, int]:
    """How many anchors each profile has; a profile without anchors is absent."""
    rows = tx.execute(
        """
        SELECT profile_id, count(*)::int AS anchors FROM identity.canonical
        WHERE profile_id = ANY(%(ids)s::bigint[]) GROUP BY profile_id
        """,
        {"ids": list(profile_ids)},
    )
    return dict(rows)
