"""SQL of the mapping as it was at an earlier instant, from the mapping and what it was before."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cdp.kit.db import Transaction

_OF_THEN: Final = """
        WITH owned AS (
            SELECT identifier_id FROM identity.link WHERE profile_id = %(profile)s AND since <= %(at)s
            UNION
            SELECT identifier_id FROM identity.former_link
            WHERE profile_id = %(profile)s AND since <= %(at)s AND until > %(at)s
        ), anchor AS (
            SELECT anchor_id FROM identity.canonical WHERE profile_id = %(profile)s AND since <= %(at)s
            UNION
            SELECT anchor_id FROM identity.former_canonical
            WHERE profile_id = %(profile)s AND since <= %(at)s AND until > %(at)s
        )"""
"""The identifiers that a profile owned at an instant, and its anchors then, as the first tables of a statement."""


@dataclass(frozen=True, slots=True)
class FormerMapping:
    """What the mapping said about the person of one identifier at an instant.

    `profile_id` is None if no profile owned the identifier then, which then decides alone. `deciding` are the identifiers whose consent acts decided,
    and whether each of them linked no profiles; `types` those of the identifiers that the profile owned; `sources` those
    that asserted its anchors or edges.
    """

    profile_id: int | None
    deciding: dict[int, bool]
    types: frozenset[str]
    sources: frozenset[int]
    is_quarantined: bool


def mapping_at(tx: Transaction, identifier_id: int, at: datetime) -> FormerMapping:
    """The mapping around an identifier at an instant, in five statements."""
    profile_id = _owner(tx, identifier_id, at)
    if profile_id is None:
        deciding = {identifier_id: _is_shared(tx, identifier_id, at)}
        return FormerMapping(None, deciding, frozenset(), frozenset(), is_quarantined=False)
    return FormerMapping(
        profile_id=profile_id,
        deciding=_deciding(tx, profile_id, at),
        types=_types(tx, profile_id, at),
        sources=_sources(tx, profile_id, at),
        is_quarantined=_is_quarantined(tx, profile_id, at),
    )


def anchors_at(tx: Transaction, profile_id: int, at: datetime) -> list[int]:
    """The anchors that belonged to a profile at an instant."""
    rows = tx.execute(
        """
        SELECT anchor_id FROM identity.canonical WHERE profile_id = %(profile)s AND since <= %(at)s
        UNION
        SELECT anchor_id FROM identity.former_canonical
        WHERE profile_id = %(profile)s AND since <= %(at)s AND until > %(at)s
        """,
        {"profile": profile_id, "at": at},
    )
    return [anchor_id for (anchor_id,) in rows]


def _owner(tx: Transaction, identifier_id: int, at: datetime) -> int | None:
    rows = tx.execute(
        """
        SELECT profile_id FROM identity.link WHERE identifier_id = %(identifier)s AND since <= %(at)s
        UNION ALL
        SELECT profile_id FROM identity.former_link
        WHERE identifier_id = %(identifier)s AND since <= %(at)s AND until > %(at)s
        """,
        {"identifier": identifier_id, "at": at},
    )
    return next((profile_id for (profile_id,) in rows), None)


def _is_shared(tx: Transaction, identifier_id: int, at: datetime) -> bool:
    """Whether an identifier was shared at an instant; False for one that is not stored."""
    rows = tx.execute(
        """
        SELECT coalesce(
            (
                SELECT f.is_shared FROM identity.former_sharing AS f
                WHERE f.identifier_id = i.identifier_id AND f.until > %(at)s
                ORDER BY f.until LIMIT 1
            ),
            i.is_shared
        )
        FROM identity.identifier AS i WHERE i.identifier_id = %(identifier)s
        """,
        {"identifier": identifier_id, "at": at},
    )
    return any(is_shared for (is_shared,) in rows)


def _deciding(tx: Transaction, profile_id: int, at: datetime) -> dict[int, bool]:
    """As `consent_subjects.deciding_identifiers`, of then."""
    rows = tx.execute(
        _OF_THEN
        + """, named AS (
            SELECT identifier_id, TRUE AS is_owned FROM owned
            UNION ALL
            SELECT identifier_id, FALSE FROM anchor JOIN identity.anchor_member USING (anchor_id)
        ), known AS (  -- each with whether it was shared, and whether any profile owned it
            SELECT named.identifier_id, named.is_owned,
                   coalesce(
                       (
                           SELECT f.is_shared FROM identity.former_sharing AS f
                           WHERE f.identifier_id = i.identifier_id AND f.until > %(at)s
                           ORDER BY f.until LIMIT 1
                       ),
                       i.is_shared
                   ) AS is_shared,
                   EXISTS (SELECT FROM identity.link AS l WHERE l.identifier_id = i.identifier_id AND l.since <= %(at)s)
                   OR EXISTS (
                       SELECT FROM identity.former_link AS l
                       WHERE l.identifier_id = i.identifier_id AND l.since <= %(at)s AND l.until > %(at)s
                   ) AS has_owner
            FROM named JOIN identity.identifier AS i USING (identifier_id)
        )
        SELECT identifier_id, is_shared FROM known WHERE is_owned
        UNION
        SELECT identifier_id, TRUE FROM known WHERE NOT is_owned AND (is_shared OR NOT has_owner)
        """,
        {"profile": profile_id, "at": at},
    )
    return dict(rows)


def _types(tx: Transaction, profile_id: int, at: datetime) -> frozenset[str]:
    rows = tx.execute(
        """
        SELECT i.type
        FROM identity.link AS l JOIN identity.identifier AS i USING (identifier_id)
        WHERE l.profile_id = %(profile)s AND l.since <= %(at)s
        UNION
        SELECT i.type
        FROM identity.former_link AS l JOIN identity.identifier AS i USING (identifier_id)
        WHERE l.profile_id = %(profile)s AND l.since <= %(at)s AND l.until > %(at)s
        """,
        {"profile": profile_id, "at": at},
    )
    return frozenset(type_ for (type_,) in rows)


def _sources(tx: Transaction, profile_id: int, at: datetime) -> frozenset[int]:
    rows = tx.execute(
        _OF_THEN
        + """
        SELECT s.source_id FROM anchor JOIN identity.anchor_source AS s USING (anchor_id) WHERE s.since <= %(at)s
        UNION
        SELECT e.source_id FROM owned JOIN identity.edge AS e USING (identifier_id) WHERE e.received_at <= %(at)s
        UNION
        SELECT e.source_id FROM owned JOIN identity.edge AS e ON e.other_identifier_id = owned.identifier_id
        WHERE e.received_at <= %(at)s
        """,
        {"profile": profile_id, "at": at},
    )
    return frozenset(source_id for (source_id,) in rows)


def _is_quarantined(tx: Transaction, profile_id: int, at: datetime) -> bool:
    rows = tx.execute(
        """
        SELECT coalesce(
            (
                SELECT f.is_quarantined FROM identity.former_quarantine AS f
                WHERE f.profile_id = p.profile_id AND f.until > %(at)s
                ORDER BY f.until LIMIT 1
            ),
            p.is_quarantined
        )
        FROM identity.profile AS p
        WHERE p.profile_id = %(profile)s
        """,
        {"profile": profile_id, "at": at},
    )
    return any(is_quarantined for (is_quarantined,) in rows)
