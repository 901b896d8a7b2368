"""Step that ends the database sessions of readers, and their limits."""

from typing import Final

from cdp.consent.store import reader_sessions as session_store
from cdp.consent.store.reader_sessions import SessionLimits
from cdp.kit.db import Transaction

LIMITS: Final = SessionLimits(
    transaction_seconds=300, idle_in_transaction_seconds=60, session_seconds=3600, sessions_per_login=8
)
"""docs/reference/consent.md, "SQL access for BI tools"."""


def end_reader_sessions(tx: Transaction) -> None:
    """End every session of a reader, before a step that none may hold up, if the role of the service may do so."""
    if session_store.may_end_sessions(tx):
        session_store.end_sessions(tx, LIMITS, all_of_them=True)
