"""SQL of legal holds."""

from collections.abc import Sequence
from datetime import date

from cdp.kit.db import Transaction
from cdp.rights.model import HoldCount, LegalHold


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


def hold_counts(tx: Transaction) -> list[HoldCount]:
    """How many holds there are, by class and law."""
    rows = tx.execute(
        "SELECT retention_class, law, count(*), min(keep_until), max(keep_until) FROM rights.hold "
        "GROUP BY retention_class, law ORDER BY retention_class, law"
    )
    return [HoldCount(*row) for row in rows]


def holds_of(tx: Transaction, retention_class: str, *, after: int, limit: int) -> list[LegalHold]:
    """Up to `limit` holds of a class with ids above `after`, in the order of their random ids."""
    rows = tx.execute(
        "SELECT hold_id, retention_class, law, keep_until, sealed FROM rights.hold "
        "WHERE retention_class = %(class)s AND hold_id > %(after)s ORDER BY hold_id LIMIT %(limit)s",
        {"class": retention_class, "after": after, "limit": limit},
    )
    return [LegalHold(hold_id, class_, law, until, bytes(sealed)) for hold_id, class_, law, until, sealed in rows]
