"""SQL of the policies that were in force."""

from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from cdp.kit.db import Transaction
from cdp.operations.model import AppliedPolicy


def add_policy(tx: Transaction, fingerprint: bytes, content: dict[str, Any], *, now: datetime) -> AppliedPolicy:
    """Record that a policy is in force from `now`."""
    rows = tx.execute(
        """
        INSERT INTO operations.applied_policy (fingerprint, content, applied_at)
        VALUES (%(fingerprint)s, %(content)s, %(now)s)
        RETURNING applied_policy_id, fingerprint, content, applied_at
        """,
        {"fingerprint": fingerprint, "content": Jsonb(content), "now": now},
    )
    return _policy(*rows[0])


def latest_policy(tx: Transaction) -> AppliedPolicy | None:
    """The policy in force, None before the first."""
    rows = tx.execute(
        """
        SELECT applied_policy_id, fingerprint, content, applied_at
        FROM operations.applied_policy
        ORDER BY applied_policy_id DESC
        LIMIT 1
        """
    )
    return _policy(*rows[0]) if rows else None


def policy_at(tx: Transaction, instant: datetime) -> AppliedPolicy | None:
    """The policy that was in force at an instant; None before the first."""
    rows = tx.execute(
        """
        SELECT applied_policy_id, fingerprint, content, applied_at
        FROM operations.applied_policy
        WHERE applied_at <= %(instant)s
        ORDER BY applied_policy_id DESC
        LIMIT 1
        """,
        {"instant": instant},
    )
    return _policy(*rows[0]) if rows else None


def policies(tx: Transaction) -> list[AppliedPolicy]:
    """Every policy that was in force, oldest first."""
    rows = tx.execute(
        """
        SELECT applied_policy_id, fingerprint, content, applied_at
        FROM operations.applied_policy
        ORDER BY applied_policy_id
        """
    )
    return [_policy(*row) for row in rows]


def policy_of(tx: Transaction, fingerprint: bytes) -> AppliedPolicy | None:
    """The policy with this fingerprint; None if it was never in force."""
    rows = tx.execute(
        """
        SELECT applied_policy_id, fingerprint, content, applied_at
        FROM operations.applied_policy
        WHERE fingerprint = %(fingerprint)s
        ORDER BY applied_policy_id DESC
        LIMIT 1
        """,
        {"fingerprint": fingerprint},
    )
    return _policy(*rows[0]) if rows else None


def _policy(applied_policy_id: int, fingerprint: bytes, content: dict[str, Any], applied_at: datetime) -> AppliedPolicy:
    return AppliedPolicy(applied_policy_id, bytes(fingerprint), content, applied_at)
