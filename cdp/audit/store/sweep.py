"""SQL of the sweep: facts past the retention period of salts; their leaves remain and reveal nothing."""

from datetime import datetime

from cdp.audit.fact import KINDS
from cdp.audit.store.facts import expire_facts
from cdp.kit.db import Transaction


def count_expired_facts(tx: Transaction, expired_at: datetime) -> int:
    """How many facts were recorded before an instant."""
    rows = tx.execute("SELECT count(*) FROM audit.fact WHERE recorded_at < %(expired_at)s", {"expired_at": expired_at})
    return int(rows[0][0])


def delete_expired_facts(tx: Transaction, expired_at: datetime, rows_max: int) -> int:
    """Erase up to `rows_max` of them with their salts; returns how many."""
    return expire_facts(tx, KINDS, expired_at, limit=rows_max)
