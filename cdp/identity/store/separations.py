"""SQL of pairs of identifiers that must not be linked again after an unmerge."""

from collections.abc import Collection
from datetime import datetime

from cdp.kit.db import Transaction


def never_pairs(tx: Transaction, identifier_ids: Collection[int]) -> dict[int, set[int]]:
    """Per identifier, those that it must be kept apart from, in both directions, for pairs with any of these."""
    separated: dict[int, set[int]] = {}
    for one, other in tx.execute(
        """
        SELECT identifier_id, other_identifier_id
        FROM identity.never
        WHERE identifier_id = ANY(%(ids)s::bigint[]) OR other_identifier_id = ANY(%(ids)s::bigint[])
        """,
        {"ids": list(identifier_ids)},
    ):
        separated.setdefault(one, set()).add(other)
        separated.setdefault(other, set()).add(one)
    return separated


def separate(tx: Transaction, pairs: Collection[tuple[int, int]], now: datetime) -> None:
    """Keep these pairs apart from now on; pairs that are kept apart already stay as they are."""
    ordered = [(min(pair), max(pair)) for pair in pairs]
    tx.execute(
        """
        INSERT INTO identity.never (identifier_id, other_identifier_id, created_at)
        SELECT one, other, %(now)s FROM unnest(%(ones)s::bigint[], %(others)s::bigint[]) AS pair (one, other)
        ON CONFLICT DO NOTHING
        """,
        {"ones": [one for one, _ in ordered], "others": [other for _, other in ordered], "now": now},
    )


def allow_together(tx: Transaction, one: int, other: int) -> bool:
    """Allow two identifiers to be linked again; False if nothing kept them apart."""
    rows = tx.execute(
        """
        DELETE FROM identity.never
        WHERE identifier_id = %(one)s AND other_identifier_id = %(other)s
        RETURNING 1
        """,
        {"one": min(one, other), "other": max(one, other)},
    )
    return bool(rows)
