"""SQL of the marks by which memberships follow changes: which profiles to evaluate again, and after which event."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg

from cdp.kit.db import Transaction
from cdp.kit.db_faults import is_conflict
from cdp.segments.store import due as due_store

MARKS_MAX: Final = 10_000
"""More than this at once, such as an import, is left to the next refresh of all profiles and plan of all instants."""


@dataclass(frozen=True, slots=True)
class StaleMark:
    """One mark; `event` is the name of the event that arrived, None when anything may have changed."""

    profile_id: int
    stale_id: int
    event: str | None


def mark(tx: Transaction, changed: Iterable[tuple[int, str | None]]) -> None:
    """Mark profiles, each with the name of an event that arrived or None; nothing if there is no segment; one statement."""
    pairs = set(changed)
    wholly = {profile_id for profile_id, event in pairs if event is None}
    rows = [pair for pair in pairs if pair[1] is None or pair[0] not in wholly]
    if len(rows) > MARKS_MAX:
        due_store.request_plan(tx)
    elif rows:
        tx.execute(
            """
            INSERT INTO segments.stale (profile_id, event)
            SELECT * FROM unnest(%(profiles)s::bigint[], %(events)s::text[])
            WHERE EXISTS (SELECT FROM segments.segment WHERE ended_at IS NULL)
            """,
            {"profiles": [profile_id for profile_id, _ in rows], "events": [event for _, event in rows]},
        )


def claim(tx: Transaction) -> bool:
    """Process marks exclusively until the transaction ends; False when another transaction does so.

    It locks the table, because any login of the database could hold an advisory lock. Writers of marks do not wait.
    """
    try:
        with tx.savepoint():
            tx.execute("LOCK TABLE segments.stale IN SHARE UPDATE EXCLUSIVE MODE NOWAIT")
    except psycopg.Error as error:
        if is_conflict(error):
            return False
        raise
    return True


def read_marks(tx: Transaction, limit: int) -> list[StaleMark]:
    """At most `limit` marks of committed changes."""
    rows = tx.execute("SELECT profile_id, stale_id, event FROM segments.stale LIMIT %(limit)s", {"limit": limit})
    return [StaleMark(*row) for row in rows]


def delete_marks(tx: Transaction, processed: Sequence[StaleMark]) -> None:
    """Delete marks that were processed."""
    if processed:
        tx.execute(
            """
            DELETE FROM segments.stale AS s
            USING unnest(%(profiles)s::bigint[], %(ids)s::bigint[]) AS processed (profile_id, stale_id)
            WHERE s.profile_id = processed.profile_id AND s.stale_id = processed.stale_id
            """,
            {"profiles": [mark.profile_id for mark in processed], "ids": [mark.stale_id for mark in processed]},
        )
