"""SQL of reviews: whether identifiers that wait in a request belong to its person."""

from collections.abc import Mapping
from datetime import datetime

from cdp.kit.db import Transaction


def decide(tx: Transaction, request_id: int, decisions: Mapping[int, bool], *, now: datetime) -> None:
    """Store the decision about each identifier: True if it belongs to the person. A later decision replaces it."""
    tx.execute(
        """
        INSERT INTO rights.review (request_id, identifier_id, is_included, decided_at)
        SELECT %(request)s, *, %(now)s FROM unnest(%(identifiers)s::bigint[], %(included)s::bool[])
        ON CONFLICT (request_id, identifier_id) DO UPDATE
        SET is_included = excluded.is_included, decided_at = excluded.decided_at
        """,
        {
            "request": request_id,
            "identifiers": list(decisions),
            "included": list(decisions.values()),
            "now": now,
        },
    )


def decisions(tx: Transaction, request_id: int) -> dict[int, bool]:
    """The decisions of a request, by identifier."""
    rows = tx.execute(
        "SELECT identifier_id, is_included FROM rights.review WHERE request_id = %(request)s", {"request": request_id}
    )
    return dict(rows)


def delete_decisions(tx: Transaction, request_id: int) -> None:
    """Delete the decisions of a request that ended."""
    tx.execute("DELETE FROM rights.review WHERE request_id = %(request)s", {"request": request_id})
