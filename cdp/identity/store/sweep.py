"""SQL of the sweep: identifiers that were not seen for longer than the policy keeps them, and what only they held."""

from collections.abc import Collection
from datetime import date, datetime

from cdp.kit.db import Transaction


def count_expired_identifiers(tx: Transaction, last_seen_on: date, *, without: Collection[int]) -> int:
    """How many identifiers were last seen on this day or earlier, `without` some."""
    rows = tx.execute(
        """
        SELECT count(*) FROM identity.identifier
        WHERE last_seen_on <= %(day)s AND identifier_id <> ALL(%(without)s::bigint[])
        """,
        {"day": last_seen_on, "without": list(without)},
    )
    return int(rows[0][0])


def expired_identifiers(tx: Transaction, last_seen_on: date, limit: int, *, without: Collection[int]) -> list[int]:
    """Up to `limit` of them, in the order of their ids."""
    rows = tx.execute(
        """
        SELECT identifier_id FROM identity.identifier
        WHERE last_seen_on <= %(day)s AND identifier_id <> ALL(%(without)s::bigint[])
        ORDER BY identifier_id LIMIT %(limit)s
        """,
        {"day": last_seen_on, "limit": limit, "without": list(without)},
    )
    return [identifier_id for (identifier_id,) in rows]


def anchors_naming(tx: Transaction, identifier_ids: Collection[int]) -> dict[int, bool]:
    """The anchors with any of these identifiers, and whether each names another one as well."""
    rows = tx.execute(
        """
        SELECT m.anchor_id, bool_or(m.identifier_id <> ALL(%(ids)s::bigint[])) AS names_another
        FROM identity.anchor_member AS m
        WHERE m.anchor_id IN (
            SELECT anchor_id FROM identity.anchor_member WHERE identifier_id = ANY(%(ids)s::bigint[])
        )
        GROUP BY m.anchor_id
        """,
        {"ids": list(identifier_ids)},
    )
    return dict(rows)


def count_empty_profiles(tx: Transaction, created_at: datetime) -> int:
    """How many profiles created at or before an instant have no anchor, no identifier and no surviving profile."""
    return len(empty_profiles(tx, created_at))


def empty_profiles(tx: Transaction, created_at: datetime, limit: int | None = None) -> list[int]:
    """Those profiles, up to `limit` of them."""
    rows = tx.execute(
        """
        SELECT p.profile_id
        FROM identity.profile AS p
        WHERE p.created_at <= %(created_at)s
          AND NOT EXISTS (SELECT FROM identity.canonical AS c WHERE c.profile_id = p.profile_id)
          AND NOT EXISTS (SELECT FROM identity.link AS l WHERE l.profile_id = p.profile_id)
          AND NOT EXISTS (SELECT FROM identity.profile AS survivor WHERE survivor.profile_id = p.merged_into)
        ORDER BY p.profile_id LIMIT %(limit)s
        """,
        {"created_at": created_at, "limit": limit},
    )
    return [profile_id for (profile_id,) in rows]


def count_nameless_anchors(tx: Transaction) -> int:
    """How many anchors name no identifier any more."""
    return len(nameless_anchors(tx))


def nameless_anchors(tx: Transaction, limit: int | None = None) -> list[int]:
    """Those anchors, up to `limit` of them."""
    rows = tx.execute(
        """
        SELECT a.anchor_id
        FROM identity.anchor AS a
        WHERE NOT EXISTS (SELECT FROM identity.anchor_member AS m WHERE m.anchor_id = a.anchor_id)
        LIMIT %(limit)s
        """,
        {"limit": limit},
    )
    return [anchor_id for (anchor_id,) in rows]
