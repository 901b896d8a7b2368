"""SQL of identifiers that must be kept apart."""

from collections.abc import Collection
from datetime import datetime

from cdp.kit.db import Transaction


def never_pairs(tx: Transaction, identifier_ids: Collection[int]) -> dict[int, set[int]]:
    """For these identifiers, those that each must be kept apart from; both directions."""
    apart: dict[int, set[int]] = {}
    for one, other in tx.execute(
        """
        SELECT identifier_id, other_identifier_id
        FROM identity.never
        WHERE identifier_id = ANY(%(ids)s::bigint[]) OR other_identifier_id = ANY(%(ids)s::bigint[])
        """,
        {"ids": list(identifier_ids)},
    ):
        apart.setdefault(one, set()).add(other)
        apart.setdefault(other, set()).add(one)
    return apart


def separate(tx: Transaction, pairs: Collection[tuple[int, int]], now: datetime) -> None:
    """Keep these pairs apart from now on."""
    ordered = [(min(pair), max(pair)) for pair in pairs]
    tx.execute(
        """
        INSERT INTO identity.never (identifier_id, other_identifier_id, created_at)
        SELECT one, other, %(now)s FROM unnest(%(ones)s::bigint[], %(others)s::bigint[]) AS pair (one, other)
        ON CONFLICT DO NOTHING
        """,
        {"ones": [pair[0] for pair in ordered], "others": [pair[1] for pair in ordered], "now": now},
    )


def allow_together(tx: Transaction, one: int, other: int) -> bool:
    """Take a `never` back; False when there was none."""
    rows = tx.execute(
        """
        DELETE FROM identity.never
        WHERE identifier_id = %(one)s AND other_identifier_id = %(other)s
        RETURNING 1
        """,
        {"one": min(one, other), "other": max(one, other)},
    )
    return bool(rows)
