"""SQL of legal holds."""

from collections.abc import Sequence
from datetime import date

from cdp.kit.db import Transaction
from cdp.rights.model import LegalHold


def add_holds(tx: Transaction, holds: Sequence[LegalHold]) -> None:
    """Store legal holds; each is sealed under a key of its own."""
    tx.copy(
        "rights.hold",
        ("hold_id", "retention_class", "law", "keep_until", "sealed"),
        ("int8", "text", "text", "date", "bytea"),
        rows=((hold.hold_id, hold.retention_class, hold.law, hold.keep_until, hold.sealed) for hold in holds),
    )


def end_holds(tx: Transaction, today: date, limit: int) -> list[int]:
    """Delete up to `limit` holds that ended before `today`; returns their ids, whose keys are to be shredded."""
    rows = tx.execute(
        """
        DELETE FROM rights.hold
        WHERE hold_id IN (SELECT hold_id FROM rights.hold WHERE keep_until < %(today)s LIMIT %(limit)s)
        RETURNING hold_id
        """,
        {"today": today, "limit": limit},
    )
    return [hold_id for (hold_id,) in rows]
