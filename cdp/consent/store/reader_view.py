"""SQL of what a reader role sees of one profile: its rows in the projections."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from cdp.kit.db import Transaction


class ReaderRow(NamedTuple):
    """One purpose for which a profile is permitted now, with its plain traits; string traits are numbers of terms."""

    profile_id: int
    purpose: str
    since: datetime
    until: datetime | None
    traits: Mapping[str, Any]


def rows_under(tx: Transaction, reader_pseudonym: str, purposes: Collection[str], *, now: datetime) -> list[ReaderRow]:
    """The projection rows of a reader pseudonym at `now`; empty for an unknown pseudonym or without permission."""
    rows = tx.execute(
        """
        SELECT profile_id, purpose, since, until, traits
        FROM consent.permitted
        WHERE purpose = ANY(%(purposes)s::text[]) AND reader_pseudonym = %(reader)s
          AND since <= %(now)s AND (until IS NULL OR until > %(now)s)
        ORDER BY purpose
        """,
        {"purposes": list(purposes), "reader": reader_pseudonym, "now": now},
    )
    return [ReaderRow(*row) for row in rows]
