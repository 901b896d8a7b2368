"""SQL of what staff should look at: shared identifiers, and profiles in quarantine."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from cdp.kit.db import Transaction


class SharedRow(NamedTuple):
    """A shared identifier; `people` are the profiles seen with it, its own one not counted.

    `since` is the instant at which a message or a link table proved it, None where a replay did.
    """

    identifier_id: int
    type: str
    people: int
    since: datetime | None


class QuarantinedRow(NamedTuple):
    """A profile beyond a bound, how many identifiers it has and how many profiles it took over."""

    profile_id: int
    identifiers: int
    merges: int


class ReachedBound(NamedTuple):
    """Which bound a profile reached, how often something was refused for it, and when first."""

    profile_id: int
    rule: str
    refusals: int
    since: datetime


def count_shared(tx: Transaction) -> dict[str, int]:
    """How many identifiers are shared, by type."""
    return dict(tx.execute("SELECT type, count(*)::int FROM identity.identifier WHERE is_shared GROUP BY 1 ORDER BY 1"))


def shared(tx: Transaction, limit: int) -> list[SharedRow]:
    """Shared identifiers, those seen with most people first."""
    rows = tx.execute(
        """
        WITH asked AS (SELECT identifier_id, type FROM identity.identifier WHERE is_shared),
        seen AS (
            SELECT asked.identifier_id, c.profile_id
            FROM asked
            JOIN identity.anchor_member AS m USING (identifier_id)
            JOIN identity.canonical AS c USING (anchor_id)
            UNION
            SELECT asked.identifier_id, l.profile_id
            FROM asked
            JOIN identity.edge AS e USING (identifier_id)
            JOIN identity.link AS l ON l.identifier_id = e.other_identifier_id
            UNION
            SELECT asked.identifier_id, l.profile_id
            FROM asked
            JOIN identity.edge AS e ON e.other_identifier_id = asked.identifier_id
            JOIN identity.link AS l ON l.identifier_id = e.identifier_id
        )
        SELECT asked.identifier_id, asked.type, count(seen.profile_id) FILTER (WHERE own.profile_id IS NULL)::int,
               (SELECT min(v.at) FROM identity.evidence AS v
                WHERE v.identifier_id = asked.identifier_id AND v.kind = 'shared')
        FROM asked
        LEFT JOIN seen USING (identifier_id)
        LEFT JOIN identity.link AS own ON own.identifier_id = asked.identifier_id AND own.profile_id = seen.profile_id
        GROUP BY 1, 2
        ORDER BY 3 DESC, 1
        LIMIT %(limit)s
        """,
        {"limit": limit},
    )
    return [SharedRow(*row) for row in rows]


def count_quarantined(tx: Transaction) -> int:
    """How many profiles are in quarantine."""
    rows = tx.execute("SELECT count(*)::int FROM identity.profile WHERE is_quarantined AND merged_into IS NULL")
    return int(rows[0][0])


def quarantined(tx: Transaction, limit: int) -> list[QuarantinedRow]:
    """Profiles beyond the bounds, largest first."""
    rows = tx.execute(
        """
        SELECT p.profile_id,
               (SELECT count(*)::int FROM identity.link AS l WHERE l.profile_id = p.profile_id),
               (SELECT count(*)::int FROM identity.profile AS absorbed WHERE absorbed.merged_into = p.profile_id)
        FROM identity.profile AS p
        WHERE p.is_quarantined AND p.merged_into IS NULL
        ORDER BY 2 DESC, 1
        LIMIT %(limit)s
        """,
        {"limit": limit},
    )
    return [QuarantinedRow(*row) for row in rows]


def reached_bounds(tx: Transaction, profile_ids: Collection[int]) -> list[ReachedBound]:
    """The bounds that messages and link tables met at these profiles."""
    rows = tx.execute(
        """
        SELECT profile_id, rule, count(*)::int, min(at)
        FROM identity.evidence
        WHERE kind = 'quarantine' AND profile_id = ANY(%(ids)s::bigint[])
        GROUP BY 1, 2
        ORDER BY 1, 2
        """,
        {"ids": list(profile_ids)},
    )
    return [ReachedBound(*row) for row in rows]
