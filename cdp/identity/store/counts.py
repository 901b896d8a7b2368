"""SQL of aggregate counts of the mapping: for dashboards, not for decisions."""

from typing import NamedTuple

from sqlalchemy import func, select

from cdp.kit.db import Transaction
from cdp.schema.identity import identifier, profile


class MapCounts(NamedTuple):
    """How many current profiles there are, how many of them in quarantine, and how many shared identifiers."""

    profiles: int
    quarantined: int
    shared: int


def map_counts(tx: Transaction) -> MapCounts:
    """Counts over the whole mapping. Scans the tables: call it rarely."""
    current = tx.one_or_none(
        select(func.count(), func.count().filter(profile.c.is_quarantined)).where(profile.c.merged_into.is_(None))
    )
    assert current is not None
    profiles, quarantined = current
    shared = tx.scalar(select(func.count()).select_from(identifier).where(identifier.c.is_shared))
    return MapCounts(profiles, quarantined, shared)
