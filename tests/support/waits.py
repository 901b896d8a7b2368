"""Waiting for another thread or process: always for a condition, never for a fixed time."""

import time
from collections.abc import Callable
from typing import Final

from cdp.kit.db import Database

PATIENCE_SECONDS: Final = 300.0
"""Longer than anything takes on a busy machine: a wait that reaches it has failed."""


def until(holds: Callable[[], object], what: str = "a condition") -> None:
    """Wait until the condition holds; fails the test after `PATIENCE_SECONDS`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.01)


def until_blocked(database: Database) -> None:
    """Wait until a session of this database waits for a lock."""
    until(lambda: _sessions(database, "wait_event_type", "Lock"), "a session that waits for a lock")


def until_disconnected(database: Database, application: str) -> None:
    """Wait until an application has no session left: the statements of a killed process are committed or rolled back by then."""
    until(lambda: not _sessions(database, "application_name", application), f"the end of the sessions of {application}")


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
