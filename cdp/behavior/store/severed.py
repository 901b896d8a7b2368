"""SQL that reads severed events: counts by month and coarsened values, without any person."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from cdp.kit.db import Transaction


@dataclass(frozen=True, slots=True)
class SeveredEvents:
    """How many expired events of one name and month had the same coarsened values; terms are numbers."""

    retention_class: str
    event: str | None
    month: date
    plain: Mapping[str, Any]
    events: int


def severed_events(tx: Transaction, retention_class: str, limit: int) -> list[SeveredEvents]:
    """Up to `limit` rows of a class, the latest months first."""
    rows = tx.execute(
        """
        SELECT s.retention_class, t.term, s.month, s.plain, s.events
        FROM behavior.severed AS s LEFT JOIN behavior.term AS t ON t.term_id = s.name_id
        WHERE s.retention_class = %(class)s
        ORDER BY s.month DESC, t.term, s.severed_id
        LIMIT %(limit)s
        """,
        {"class": retention_class, "limit": limit},
    )
    return [SeveredEvents(*row) for row in rows]
