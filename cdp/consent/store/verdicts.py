"""SQL of the verdicts in force: permissions, refusals, and permissions that ended."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from cdp.consent.model import WITHOUT_CLEARING, Reason, Verdict
from cdp.kit.db import Transaction

Verdicts = Mapping[int, Mapping[str, Verdict]]
"""By profile and purpose."""

_WITHOUT_ROW = (Reason.NO_GRANT, Reason.NO_UNIQUE_IDENTIFIER)
"""Refusals that are not based on a record: they are represented by the absence of a row."""


@dataclass(frozen=True, slots=True)
class PermittedVerdict:
    """A verdict in force that permits."""

    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class VerdictChanges:
    """What `put_verdicts` changed, as pairs of profile and purpose.

    `ended` lost a permission or the earlier part of one: earlier data is to be cleared for the purpose. `begun` have a
    projection row that is new, emptied, or merged with that of another profile.
    """

    ended: frozenset[tuple[int, str]]
    begun: frozenset[tuple[int, str]]

    @property
    def has_changes(self) -> bool:
        return bool(self.ended or self.begun)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A permission that ended and whose earlier data is still to be cleared.

    `since` is the start of a permission granted again since; None without one.
    """

    withdrawal_id: int
    profile_id: int
    purpose: str
    withdrawn_at: datetime
    since: datetime | None


def has_stored_row(verdict: Verdict) -> bool:
    """Whether a verdict in force has a row; the absence of a row stands for the others."""
    return verdict.allowed or verdict.reason not in _WITHOUT_ROW


def permitted_of(tx: Transaction, profile_ids: Collection[int]) -> dict[int, dict[str, PermittedVerdict]]:
    """Per profile, the permissions in force by purpose; profiles without any are absent."""
    found: dict[int, dict[str, PermittedVerdict]] = {}
    if profile_ids:
        for profile_id, purpose, since, until in tx.execute(
            "SELECT profile_id, purpose, since, until FROM consent.permitted WHERE profile_id = ANY(%(ids)s::bigint[])",
            {"ids": list(profile_ids)},
        ):
            found.setdefault(profile_id, {})[purpose] = PermittedVerdict(since, until)
    return found


def refused_of(tx: Transaction, profile_ids: Collection[int]) -> dict[int, dict[str, Reason]]:
    """Per profile, the refusals that have a row, by purpose; profiles without any are absent."""
    found: dict[int, dict[str, Reason]] = {}
    if profile_ids:
        for profile_id, purpose, reason in tx.execute(
            "SELECT profile_id, purpose, reason FROM consent.refused WHERE profile_id = ANY(%(ids)s::bigint[])",
            {"ids": list(profile_ids)},
        ):
            found.setdefault(profile_id, {})[purpose] = Reason(reason)
    return found


def put_verdicts(
    tx: Transaction,
    verdicts: Verdicts,
    *,
    now: datetime,
    retired: Mapping[int, int] | None = None,
    new_profiles: Collection[int] = (),
) -> VerdictChanges:
    """Make these the verdicts in force, in three statements for any number of verdicts.

    `retired` maps profiles that were merged to the surviving ones, which must be among the verdicts. `new_profiles` have
    no verdicts yet, so none of theirs can end, and refusals without a row need no statement. A permission that begins
    later than before, because it ended in between, empties its projection row and gives it a new reader pseudonym.
    """
    pairs = [
        (profile, purpose, verdict)
        for profile, by_purpose in verdicts.items()
        for purpose, verdict in by_purpose.items()
        if verdict.allowed or verdict.reason not in _WITHOUT_ROW or profile not in new_profiles
    ]
    pairs.sort(key=lambda pair: pair[:2])
    successors = dict(retired or {})
    if not pairs and not successors:
        return VerdictChanges(frozenset(), frozenset())
    ended = _end(tx, [pair for pair in pairs if pair[0] not in new_profiles], successors, now=now)
    begun = _permit(tx, [pair for pair in pairs if pair[2].allowed])
    _refuse(tx, [pair for pair in pairs if not pair[2].allowed and pair[2].reason not in _WITHOUT_ROW])
    if successors:
        survivors = set(successors.values())
        begun |= {pair[:2] for pair in pairs if pair[0] in survivors and pair[2].allowed}
    return VerdictChanges(frozenset(ended), frozenset(begun))


Pair = tuple[int, str, Verdict]


def _end(tx: Transaction, pairs: list[Pair], retired: Mapping[int, int], *, now: datetime) -> set[tuple[int, str]]:
    """Delete verdicts that are no longer in force, and record permissions that ended or now begin later."""
    if not pairs and not retired:
        return set()
    rows = tx.execute(
        """
        WITH verdict AS (
            SELECT * FROM unnest(%(profiles)s::bigint[], %(purposes)s::text[], %(since)s::timestamptz[], %(silent)s::bool[],
                                 %(stored)s::bool[])
                AS v (profile_id, purpose, since, is_silent, is_storage_permitted)
        ), successor AS (
            SELECT * FROM unnest(%(retired)s::bigint[], %(survivors)s::bigint[]) AS s (retired_id, profile_id)
        ), in_force AS (  -- current permissions, assigned to the surviving profile
            SELECT p.profile_id AS stored_for, coalesce(s.profile_id, p.profile_id) AS profile_id, p.purpose, p.since
            FROM consent.permitted AS p
            LEFT JOIN successor AS s ON s.retired_id = p.profile_id
            WHERE p.profile_id = ANY(%(profiles)s::bigint[] || %(retired)s::bigint[])
        ), lost AS (  -- permissions that end, begin later than before, or belonged to a retired profile
            SELECT in_force.*, verdict.since IS NULL OR stored_for <> profile_id AS is_over
            FROM in_force
            LEFT JOIN verdict USING (profile_id, purpose)
            WHERE (verdict.profile_id IS NOT NULL OR stored_for <> profile_id)
              AND (verdict.since IS NULL OR verdict.since > in_force.since OR stored_for <> profile_id)
        ), deleted AS (
            DELETE FROM consent.permitted AS p
            USING lost
            WHERE p.profile_id = lost.stored_for AND p.purpose = lost.purpose AND lost.is_over
        ), no_longer_refused AS (
            DELETE FROM consent.refused AS r
            USING verdict AS v
            WHERE r.profile_id = v.profile_id AND r.purpose = v.purpose AND v.is_silent
        ), retired_refusals AS (
            DELETE FROM consent.refused WHERE profile_id = ANY(%(retired)s::bigint[])
        ), moved AS (  -- withdrawals of retired profiles that are still to be cleared
            UPDATE consent.withdrawal AS w SET profile_id = s.profile_id
            FROM successor AS s
            WHERE w.profile_id = s.retired_id
        ), over AS (
            SELECT DISTINCT lost.profile_id, lost.purpose, coalesce(verdict.is_storage_permitted, false) AS is_stored
            FROM lost
            LEFT JOIN verdict USING (profile_id, purpose)
            WHERE verdict.since IS NULL OR verdict.since > lost.since
        ), to_clear AS (  -- what a restriction or a quarantine refuses stays stored
            INSERT INTO consent.withdrawal (profile_id, purpose, withdrawn_at)
            SELECT profile_id, purpose, %(now)s::timestamptz FROM over WHERE NOT is_stored
        )
        SELECT profile_id, purpose FROM over
        """,
        {
            "profiles": [profile for profile, _, _ in pairs],
            "purposes": [purpose for _, purpose, _ in pairs],
            "since": [verdict.since for _, _, verdict in pairs],
            "silent": [verdict.allowed or verdict.reason in _WITHOUT_ROW for _, _, verdict in pairs],
            "stored": [verdict.reason in WITHOUT_CLEARING for _, _, verdict in pairs],
            "retired": list(retired),
            "survivors": list(retired.values()),
            "now": now,
        },
    )
    return {(profile_id, purpose) for profile_id, purpose in rows}


def _permit(tx: Transaction, pairs: list[Pair]) -> set[tuple[int, str]]:
    if not pairs:
        return set()
    rows = tx.execute(
        """
        INSERT INTO consent.permitted AS p (profile_id, purpose, since, until)
        SELECT * FROM unnest(%(profiles)s::bigint[], %(purposes)s::text[], %(since)s::timestamptz[],
                             %(until)s::timestamptz[])
        ON CONFLICT (profile_id, purpose) DO UPDATE
        SET since = excluded.since,
            until = excluded.until,
            reader_pseudonym = CASE WHEN excluded.since > p.since THEN excluded.reader_pseudonym
                                    ELSE p.reader_pseudonym END,
            traits = CASE WHEN excluded.since = p.since THEN p.traits ELSE '{}'::jsonb END
        WHERE (p.since, p.until) IS DISTINCT FROM (excluded.since, excluded.until)
        RETURNING p.profile_id, p.purpose
        """,
        {
            "profiles": [profile for profile, _, _ in pairs],
            "purposes": [purpose for _, purpose, _ in pairs],
            "since": [verdict.since for _, _, verdict in pairs],
            "until": [verdict.until for _, _, verdict in pairs],
        },
    )
    return {(profile_id, purpose) for profile_id, purpose in rows}


def _refuse(tx: Transaction, pairs: list[Pair]) -> None:
    if pairs:
        tx.execute(
            """
            INSERT INTO consent.refused AS r (profile_id, purpose, reason)
            SELECT * FROM unnest(%(profiles)s::bigint[], %(purposes)s::text[], %(reasons)s::text[])
            ON CONFLICT (profile_id, purpose) DO UPDATE SET reason = excluded.reason
            WHERE r.reason <> excluded.reason
            """,
            {
                "profiles": [profile for profile, _, _ in pairs],
                "purposes": [purpose for _, purpose, _ in pairs],
                "reasons": [verdict.reason.value for _, _, verdict in pairs],
            },
        )


def put_traits(tx: Transaction, traits: Mapping[tuple[int, str], Mapping[str, Any]]) -> None:
    """Replace the traits of projection rows; a profile without permission has no row and is skipped."""
    if traits:
        tx.execute(
            """
            UPDATE consent.permitted AS p
            SET traits = stated.traits
            FROM unnest(%(profiles)s::bigint[], %(purposes)s::text[], %(traits)s::jsonb[])
                AS stated (profile_id, purpose, traits)
            WHERE p.profile_id = stated.profile_id AND p.purpose = stated.purpose AND p.traits <> stated.traits
            """,
            {
                "profiles": [profile for profile, _ in traits],
                "purposes": [purpose for _, purpose in traits],
                "traits": [Jsonb(dict(values)) for values in traits.values()],
            },
        )


def ended_by(tx: Transaction, now: datetime, limit: int) -> set[int]:
    """At most `limit` profiles with a permission that expired but whose row still exists."""
    rows = tx.execute(
        "SELECT DISTINCT profile_id FROM consent.permitted WHERE until <= %(now)s LIMIT %(limit)s",
        {"now": now, "limit": limit},
    )
    return {profile_id for (profile_id,) in rows}


def withdrawals(tx: Transaction, limit: int, profile_ids: Collection[int] | None = None) -> list[Withdrawal]:
    """The oldest withdrawals that are still to be cleared, of all profiles or of these.

    Those of profiles under a restriction or in quarantine wait until that ends.
    """
    rows = tx.execute(
        """
        SELECT w.withdrawal_id, w.profile_id, w.purpose, w.withdrawn_at, p.since
        FROM consent.withdrawal AS w
        LEFT JOIN consent.permitted AS p USING (profile_id, purpose)
        WHERE (%(all)s OR w.profile_id = ANY(%(profiles)s::bigint[]))
          AND NOT EXISTS (
              SELECT FROM consent.refused AS r
              WHERE r.profile_id = w.profile_id AND r.purpose = w.purpose AND r.reason = ANY(%(stored)s::text[])
          )
        ORDER BY w.withdrawal_id
        LIMIT %(limit)s
        """,
        {
            "limit": limit,
            "all": profile_ids is None,
            "profiles": list(profile_ids or ()),
            "stored": [reason.value for reason in sorted(WITHOUT_CLEARING)],
        },
    )
    return [Withdrawal(*row) for row in rows]


def add_withdrawals(tx: Transaction, pairs: Collection[tuple[int, str]], now: datetime) -> None:
    """Record that these profiles have data that their current permission for a purpose does not cover."""
    if pairs:
        tx.execute(
            """
            INSERT INTO consent.withdrawal (profile_id, purpose, withdrawn_at)
            SELECT pair.profile_id, pair.purpose, %(now)s::timestamptz
            FROM unnest(%(profiles)s::bigint[], %(purposes)s::text[]) AS pair (profile_id, purpose)
            WHERE NOT EXISTS (
                SELECT FROM consent.withdrawal AS w
                WHERE w.profile_id = pair.profile_id AND w.purpose = pair.purpose
            )
            """,
            {
                "profiles": [profile_id for profile_id, _ in pairs],
                "purposes": [purpose for _, purpose in pairs],
                "now": now,
            },
        )


def delete_withdrawals(tx: Transaction, withdrawal_ids: Collection[int]) -> None:
    """Delete withdrawals whose data is cleared."""
    if withdrawal_ids:
        tx.execute(
            "DELETE FROM consent.withdrawal WHERE withdrawal_id = ANY(%(ids)s::bigint[])", {"ids": list(withdrawal_ids)}
        )
