"""SQL of figures about the map that name nobody: for dashboards, not for decisions."""

from typing import NamedTuple

from sqlalchemy import func, select

from cdp.kit.db import Transaction
from cdp.schema.identity import identifier, profile


class MapCounts(NamedTuple):
    """Living profiles, those of them in quarantine, and shared identifiers."""

    profiles: int
    quarantined: int
    shared: int


def map_counts(tx: Transaction) -> MapCounts:
    """Counts of the whole map; reads it all, so ask rarely."""
    living = tx.one_or_none(
        select(func.count(), func.count().filter(profile.c.is_quarantined)).where(profile.c.merged_into.is_(None))
    )
    assert living is not None
    shared = tx.scalar(select(func.count()).select_from(identifier).where(identifier.c.is_shared))
    return MapCounts(living[0], living[1], shared)
