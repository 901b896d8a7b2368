"""SQL of legal holds."""

from collections.abc import Sequence
from datetime import date

from cdp.kit.db import Transaction
from cdp.rights.model import LegalHold


def add_holds(tx: Transaction, holds: Sequence[LegalHold]) -> None:
    """Keep columns under a statutory hold, each row under a key of its own."""
    tx.copy(
        "rights.hold",
        ("hold_id", "retention_class", "law", "keep_until", "sealed"),
        ("int8", "text", "text", "date", "bytea"),
        rows=((each.hold_id, each.retention_class, each.law, each.keep_until, each.sealed) for each in holds),
    )


def end_holds(tx: Transaction, today: date, limit: int) -> list[int]:
    """Delete holds whose time is over; their ids, for their keys to be shredded."""
    rows = tx.execute(
        """
        DELETE FROM rights.hold
        WHERE hold_id IN (SELECT hold_id FROM rights.hold WHERE keep_until < %(today)s LIMIT %(limit)s)
        RETURNING hold_id
        """,
        {"today": today, "limit": limit},
    )
    return [row[0] for row in rows]
