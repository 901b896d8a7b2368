"""SQL of figures about the log: leaves waiting to be sequenced, and entries by kind."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from cdp.kit.db import Transaction
from cdp.schema.audit import entry, fact


class Backlog(NamedTuple):
    """Leaves that are not sequenced; `since` is the instant of the oldest, None if there is none."""

    leaves: int
    since: datetime | None


def backlog(tx: Transaction) -> Backlog:
    """The leaves that are not sequenced yet."""
    waiting = select(func.count(), func.min(entry.c.recorded_at)).where(entry.c.leaf_index.is_(None))
    row = tx.one_or_none(waiting)
    assert row is not None
    return Backlog(*row)


def counts_by_kind(tx: Transaction, *, since: datetime | None = None, until: datetime | None = None) -> dict[str, int]:
    """How many entries of each kind were recorded in [since, until), excluding erased facts."""
    counted = select(fact.c.kind, func.count()).group_by(fact.c.kind).order_by(fact.c.kind)
    if since is not None:
        counted = counted.where(fact.c.recorded_at >= since)
    if until is not None:
        counted = counted.where(fact.c.recorded_at < until)
    return {kind: int(count) for kind, count in tx.all(counted)}
