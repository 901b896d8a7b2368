"""SQL of what staff should review: shared identifiers, words that were left out, and profiles in quarantine."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from cdp.kit.db import Transaction


class SharedRow(NamedTuple):
    """A shared identifier and the number of profiles seen with it, not counting its own profile.

    `since` is the instant at which a message or a link table proved it to be shared, None if a replay did.
    """

    identifier_id: int
    type: str
    profiles: int
    since: datetime | None


class QuarantinedRow(NamedTuple):
    """A profile beyond a bound, with the number of its identifiers and of the profiles merged into it."""

    profile_id: int
    identifiers: int
    merges: int


class ReachedBound(NamedTuple):
    """A bound that a profile reached: how many links were refused because of it, and since when."""

    profile_id: int
    rule: str
    refusals: int
    since: datetime


class LeftOutRow(NamedTuple):
    """An identifier that messages or rows named and that a higher or newer word has, by the rule that left it out.

    `words` counts the recorded steps that named it and that no reviewer rejected, `profiles` the profiles on whose side
    they are.
    """

    identifier_id: int
    type: str
    rule: str
    words: int
    profiles: int
    since: datetime


def count_left_out(tx: Transaction) -> int:
    """The number of identifiers that a lower or older word named in vain."""
    rows = tx.execute(
        """
        SELECT count(DISTINCT v.identifier_id)::int
        FROM identity.evidence AS v
        LEFT JOIN identity.rejected_case AS r ON r.identifier_id = v.identifier_id AND r.kind = 'left_out'
        WHERE v.kind = 'refusal' AND (v.rule LIKE 'authority:%%' OR v.rule LIKE 'stale:%%')
          AND (r.through_sequence IS NULL OR v.sequence > r.through_sequence)
        """
    )
    return next(int(count) for (count,) in rows)


def left_out(tx: Transaction, limit: int) -> list[LeftOutRow]:
    """Up to `limit` identifiers that lower or older words named in vain, those named by most profiles first."""
    rows = tx.execute(
        """
        SELECT v.identifier_id, i.type, split_part(v.rule, ':', 1) AS rule, count(DISTINCT v.sequence)::int AS words,
               count(DISTINCT v.profile_id)::int AS profiles, min(v.at) AS since
        FROM identity.evidence AS v
        JOIN identity.identifier AS i USING (identifier_id)
        LEFT JOIN identity.rejected_case AS r ON r.identifier_id = v.identifier_id AND r.kind = 'left_out'
        WHERE v.kind = 'refusal' AND (v.rule LIKE 'authority:%%' OR v.rule LIKE 'stale:%%')
          AND (r.through_sequence IS NULL OR v.sequence > r.through_sequence)
        GROUP BY v.identifier_id, i.type, split_part(v.rule, ':', 1)
        ORDER BY profiles DESC, words DESC, since, v.identifier_id
        LIMIT %(limit)s
        """,
        {"limit": limit},
    )
    return [LeftOutRow(*row) for row in rows]


def count_shared(tx: Transaction) -> dict[str, int]:
    """The number of shared identifiers by type; types without any are absent."""
    return dict(
        tx.execute("SELECT type, count(*)::int FROM identity.identifier WHERE is_shared GROUP BY type ORDER BY type")
    )


def shared(tx: Transaction, limit: int) -> list[SharedRow]:
    """Up to `limit` shared identifiers, those seen with most profiles first."""
    rows = tx.execute(
        """
        WITH listed AS (SELECT identifier_id, type FROM identity.identifier WHERE is_shared),
        seen AS (  -- the profiles of its anchors, and of the identifiers that edges connect with it
            SELECT listed.identifier_id, c.profile_id
            FROM listed
            JOIN identity.anchor_member AS m USING (identifier_id)
            JOIN identity.canonical AS c USING (anchor_id)
            UNION
            SELECT listed.identifier_id, l.profile_id
            FROM listed
            JOIN identity.edge AS e USING (identifier_id)
            JOIN identity.link AS l ON l.identifier_id = e.other_identifier_id
            UNION
            SELECT listed.identifier_id, l.profile_id
            FROM listed
            JOIN identity.edge AS e ON e.other_identifier_id = listed.identifier_id
            JOIN identity.link AS l ON l.identifier_id = e.identifier_id
        )
        SELECT listed.identifier_id, listed.type,
               count(seen.profile_id) FILTER (WHERE own.profile_id IS NULL)::int AS profiles,
               (SELECT min(v.at) FROM identity.evidence AS v
                WHERE v.identifier_id = listed.identifier_id AND v.kind = 'shared') AS since
        FROM listed
        LEFT JOIN seen USING (identifier_id)
        LEFT JOIN identity.link AS own ON own.identifier_id = listed.identifier_id AND own.profile_id = seen.profile_id
        GROUP BY listed.identifier_id, listed.type
        ORDER BY profiles DESC, identifier_id
        LIMIT %(limit)s
        """,
        {"limit": limit},
    )
    return [SharedRow(*row) for row in rows]


def count_quarantined(tx: Transaction) -> int:
    """The number of profiles in quarantine."""
    ((count,),) = tx.execute("SELECT count(*) FROM identity.profile WHERE is_quarantined AND merged_into IS NULL")
    return int(count)


def quarantined(tx: Transaction, limit: int) -> list[QuarantinedRow]:
    """Up to `limit` profiles in quarantine, those with most identifiers first."""
    rows = tx.execute(
        """
        SELECT p.profile_id,
               (SELECT count(*)::int FROM identity.link AS l WHERE l.profile_id = p.profile_id) AS identifiers,
               (SELECT count(*)::int FROM identity.profile AS absorbed WHERE absorbed.merged_into = p.profile_id) AS merges
        FROM identity.profile AS p
        WHERE p.is_quarantined AND p.merged_into IS NULL
        ORDER BY identifiers DESC, p.profile_id
        LIMIT %(limit)s
        """,
        {"limit": limit},
    )
    return [QuarantinedRow(*row) for row in rows]


def reached_bounds(tx: Transaction, profile_ids: Collection[int]) -> list[ReachedBound]:
    """The bounds at which messages and link tables were refused for these profiles."""
    rows = tx.execute(
        """
        SELECT profile_id, rule, count(*)::int AS refusals, min(at) AS since
        FROM identity.evidence
        WHERE kind = 'quarantine' AND profile_id = ANY(%(ids)s::bigint[])
        GROUP BY profile_id, rule
        ORDER BY profile_id, rule
        """,
        {"ids": list(profile_ids)},
    )
    return [ReachedBound(*row) for row in rows]
