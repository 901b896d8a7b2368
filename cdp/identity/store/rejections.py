"""SQL of the cases of the identity review that a reviewer rejected."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from cdp.identity.model import CaseKind
from cdp.kit.db import Transaction


class RejectedRow(NamedTuple):
    """A rejected case with what it was decided on: sealed for `reread`, None for `left_out`."""

    identifier_id: int
    kind: CaseKind
    type: str
    reason: str
    evidence: bytes | None
    rejected_at: datetime


def reject_reading(tx: Transaction, identifier_id: int, reason: str, *, evidence: bytes, now: datetime) -> None:
    """Record that a reviewer rejected what an identifier reads as; `evidence` is that reading, sealed."""
    _put(tx, identifier_id, CaseKind.REREAD, reason=reason, evidence=evidence, through_sequence=None, now=now)


def reject_claims(tx: Transaction, identifier_id: int, reason: str, *, now: datetime) -> bool:
    """Record that a reviewer rejected all claims of an identifier that were left out so far; False if there are none."""
    ((through_sequence,),) = tx.execute(
        """
        SELECT max(sequence) FROM identity.evidence
        WHERE identifier_id = %(id)s AND kind = 'refusal' AND (rule LIKE 'authority:%%' OR rule LIKE 'stale:%%')
        """,
        {"id": identifier_id},
    )
    if through_sequence is None:
        return False
    _put(
        tx,
        identifier_id,
        CaseKind.LEFT_OUT,
        reason=reason,
        evidence=None,
        through_sequence=through_sequence,
        now=now,
    )
    return True


def rejected_readings(tx: Transaction, identifier_ids: Collection[int]) -> dict[int, bytes]:
    """The sealed evidence of the rejected readings of these identifiers; identifiers without any are absent."""
    rows = tx.execute(
        """
        SELECT identifier_id, evidence FROM identity.rejected_case
        WHERE kind = 'reread' AND identifier_id = ANY(%(ids)s::bigint[])
        """,
        {"ids": list(identifier_ids)},
    )
    return dict(rows)


def rejected(tx: Transaction, limit: int) -> list[RejectedRow]:
    """Up to `limit` rejected cases, the latest first."""
    rows = tx.execute(
        """
        SELECT r.identifier_id, r.kind, i.type, r.reason, r.evidence, r.rejected_at
        FROM identity.rejected_case AS r
        JOIN identity.identifier AS i USING (identifier_id)
        ORDER BY r.rejected_at DESC, r.identifier_id, r.kind
        LIMIT %(limit)s
        """,
        {"limit": limit},
    )
    return [RejectedRow(identifier_id, CaseKind(kind), *others) for identifier_id, kind, *others in rows]


def count_rejected(tx: Transaction) -> int:
    """The number of rejected cases."""
    ((count,),) = tx.execute("SELECT count(*) FROM identity.rejected_case")
    return int(count)


def end_rejections(tx: Transaction, identifier_ids: Collection[int]) -> None:
    """Delete the rejections of the readings of these identifiers, because a reviewer accepted one."""
    tx.execute(
        "DELETE FROM identity.rejected_case WHERE kind = 'reread' AND identifier_id = ANY(%(ids)s::bigint[])",
        {"ids": list(identifier_ids)},
    )


def _put(
    tx: Transaction,
    identifier_id: int,
    kind: CaseKind,
    *,
    reason: str,
    evidence: bytes | None,
    through_sequence: int | None,
    now: datetime,
) -> None:
    tx.execute(
        """
        INSERT INTO identity.rejected_case (identifier_id, kind, reason, evidence, through_sequence, rejected_at)
        VALUES (%(id)s, %(kind)s, %(reason)s, %(evidence)s, %(through)s, %(now)s)
        ON CONFLICT (identifier_id, kind) DO UPDATE
        SET reason = excluded.reason, evidence = excluded.evidence, through_sequence = excluded.through_sequence,
            rejected_at = excluded.rejected_at
        """,
        {
            "id": identifier_id,
            "kind": kind.value,
            "reason": reason,
            "evidence": evidence,
            "through": through_sequence,
            "now": now,
        },
    )
