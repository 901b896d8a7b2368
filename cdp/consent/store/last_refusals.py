"""SQL of a refusal that comes last for many profiles at once: one statement, whatever their number."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from cdp.consent.last_refusal import LastRefusal
from cdp.consent.model import Record
from cdp.kit.db import Transaction


class RefusedProfiles(NamedTuple):
    """The profiles whose permission ended, and those whose verdict must be decided from their records."""

    ended: frozenset[int]
    undecided: frozenset[int]


def refuse_all(
    tx: Transaction, profile_ids: Collection[int], purpose: str, *, meaning: LastRefusal, now: datetime
) -> RefusedProfiles:
    """Put a refusal of a purpose in force for these profiles, none of which granted it later.

    It ends permissions as `put_verdicts` does: the projection row goes, and earlier data is to be cleared.
    """
    rows = tx.execute(
        """
        WITH in_force AS MATERIALIZED (
            SELECT requested.profile_id, r.reason
            FROM unnest(%(ids)s::bigint[]) AS requested (profile_id)
            LEFT JOIN consent.refused AS r ON r.profile_id = requested.profile_id AND r.purpose = %(purpose)s
        ), concerned AS MATERIALIZED (
            SELECT profile_id FROM in_force
            WHERE reason IS NULL OR reason <> ALL(%(kept)s::text[] || %(undecided)s::text[])
        ), ended AS (
            DELETE FROM consent.permitted AS p
            USING concerned
            WHERE p.profile_id = concerned.profile_id AND p.purpose = %(purpose)s
            RETURNING p.profile_id
        ), to_clear AS (
            INSERT INTO consent.withdrawal (profile_id, purpose, withdrawn_at)
            SELECT profile_id, %(purpose)s, %(now)s::timestamptz FROM ended
        ), refused AS (
            INSERT INTO consent.refused (profile_id, purpose, reason)
            SELECT profile_id, %(purpose)s, %(reason)s FROM concerned
            ON CONFLICT (profile_id, purpose) DO UPDATE SET reason = excluded.reason
        )
        SELECT profile_id, TRUE FROM ended
        UNION ALL
        SELECT profile_id, FALSE FROM in_force WHERE reason = ANY(%(undecided)s::text[])
        """,
        {
            "ids": list(profile_ids),
            "purpose": purpose,
            "reason": meaning.reason.value,
            "kept": sorted(reason.value for reason in meaning.kept),
            "undecided": sorted(reason.value for reason in meaning.undecided),
            "now": now,
        },
    )
    ended = frozenset(profile_id for profile_id, is_ended in rows if is_ended)
    return RefusedProfiles(ended, frozenset(profile_id for profile_id, is_ended in rows if not is_ended))


def granted_after(
    tx: Transaction, identifier_ids: Collection[int], purpose: str, *, at: datetime, or_in_two_steps: bool
) -> frozenset[int]:
    """The identifiers among these with a grant of a purpose after an instant, or, if asked for, one that confirms an opt-in."""
    rows = tx.execute(
        """
        SELECT DISTINCT identifier_id FROM consent.record
        WHERE identifier_id = ANY(%(ids)s::bigint[]) AND purpose = %(purpose)s AND act = 'grant'
          AND (least(occurred_at, recorded_at) > %(at)s OR %(two_steps)s AND is_two_step)
        """,
        {"ids": list(identifier_ids), "purpose": purpose, "at": at, "two_steps": or_in_two_steps},
    )
    return frozenset(identifier_id for (identifier_id,) in rows)


def is_first_in_jurisdiction(tx: Transaction, act: Record) -> bool:
    """Whether no other act of its identifier was recorded under the jurisdiction of an act."""
    rows = tx.execute(
        """
        SELECT 1 FROM consent.record
        WHERE identifier_id = %(identifier)s AND jurisdiction = %(jurisdiction)s AND record_id <> %(record)s
        LIMIT 1
        """,
        {"identifier": act.identifier_id, "jurisdiction": act.jurisdiction, "record": act.record_id},
    )
    return not rows
