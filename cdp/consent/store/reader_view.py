"""SQL of what a reader role sees of one profile: its rows in the projections."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from cdp.kit.db import Transaction
from cdp.policy.model import MARKETER

_OF_MARKETERS: Final = """
SELECT profile_id, purpose, since, until, traits
FROM consent.permitted
WHERE purpose = ANY(%(purposes)s::text[]) AND reader_pseudonym = %(reader)s
  AND since <= %(now)s AND (until IS NULL OR until > %(now)s)
ORDER BY purpose
"""
_OF_OTHERS: Final = """
SELECT p.profile_id, p.purpose, p.since, p.until, p.traits
FROM consent.projection AS r
JOIN consent.permitted AS p USING (profile_id, purpose)
WHERE r.role = %(role)s AND r.purpose = ANY(%(purposes)s::text[]) AND r.reader_pseudonym = %(reader)s
  AND p.since <= %(now)s AND (p.until IS NULL OR p.until > %(now)s)
ORDER BY p.purpose
"""


class ReaderRow(NamedTuple):
    """One purpose for which a profile is permitted now, with its plain traits; string traits are numbers of terms."""

    profile_id: int
    purpose: str
    since: datetime
    until: datetime | None
    traits: Mapping[str, Any]


def rows_under(
    tx: Transaction, reader_pseudonym: str, purposes: Collection[str], *, role: str, now: datetime
) -> list[ReaderRow]:
    """The projection rows of a pseudonym of a reader role at `now`; empty for an unknown one or without permission."""
    statement = _OF_MARKETERS if role == MARKETER else _OF_OTHERS
    rows = tx.execute(statement, {"purposes": list(purposes), "reader": reader_pseudonym, "role": role, "now": now})
    return [ReaderRow(*row) for row in rows]
