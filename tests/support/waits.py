"""Waiting for what another thread or process does: for a condition, patiently, and never for a fixed time."""

import time
from collections.abc import Callable
from typing import Final

from cdp.kit.db import Database

PATIENCE_SECONDS: Final = 300.0
"""Longer than anything takes on a machine that does ten other things: who waits that long waits in vain."""


def until(holds: Callable[[], object], what: str = "what the test waits for") -> None:
    """Ask until it holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"it never came true: {what}"
        time.sleep(0.01)


def until_blocked(database: Database) -> None:
    """Until somebody waits for a lock in this database."""
    until(lambda: _sessions(database, "wait_event_type", "Lock"), "a session that waits for a lock")


def until_gone(database: Database, application: str) -> None:
    """Until no session of this application is left: what a killed process had sent is done or taken back by then."""
    until(lambda: not _sessions(database, "application_name", application), f"the end of {application}'s sessions")


def _sessions(database: Database, column: str, value: str) -> int:
    with database.transaction(read_only=True) as tx:
        rows = tx.execute(
            """
            SELECT count(*) FROM pg_stat_activity AS a
            WHERE a.datname = current_database() AND to_jsonb(a) ->> %(column)s = %(value)s
            """,
            {"column": column, "value": value},
        )
        return int(rows[0][0])
