"""SQL of due instants: when time alone may change a membership, per segment and profile."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import psycopg

from cdp.kit.db import Transaction
from cdp.kit.db_faults import is_conflict


def claim(tx: Transaction) -> bool:
    """Process due instants exclusively until the transaction ends; False when another transaction does so.

    Writers of instants do not wait, as for `marks.claim`.
    """
    try:
        with tx.savepoint():
            tx.execute("LOCK TABLE segments.due IN SHARE UPDATE EXCLUSIVE MODE NOWAIT")
    except psycopg.Error as error:
        if is_conflict(error):
            return False
        raise
    return True


def read_due(tx: Transaction, now: datetime, limit: int) -> dict[str, list[int]]:
    """The profiles whose instant has come, at most `limit`, the oldest instants first; by segment."""
    found: dict[str, list[int]] = {}
    rows = tx.execute(
        "SELECT key, profile_id FROM segments.due WHERE at <= %(now)s ORDER BY at LIMIT %(limit)s",
        {"now": now, "limit": limit},
    )
    for key, profile_id in rows:
        found.setdefault(key, []).append(profile_id)
    return {key: sorted(profile_ids) for key, profile_ids in found.items()}


def replace(tx: Transaction, key: str, profile_ids: Sequence[int], *, instants: Mapping[int, datetime]) -> None:
    """Put these instants in place of those of the profiles; a profile without one has none afterwards.

    The caller holds the lock of identity and consent, so that no instant of an erased profile is written.
    """
    tx.execute(
        "DELETE FROM segments.due WHERE key = %(key)s AND profile_id = ANY(%(profiles)s::bigint[])",
        {"key": key, "profiles": list(profile_ids)},
    )
    add(tx, key, instants)


def add(tx: Transaction, key: str, instants: Mapping[int, datetime]) -> None:
    """Add instants that were computed without the lock; where one is stored already, the earlier one stays.

    The caller holds the lock of identity and consent.
    """
    if not instants:
        return
    tx.execute(
        """
        INSERT INTO segments.due AS stored (profile_id, key, at)
        SELECT i.profile_id, s.key, i.at
        FROM unnest(%(profiles)s::bigint[], %(instants)s::timestamptz[]) AS i (profile_id, at)
        JOIN segments.segment AS s ON s.key = %(key)s AND s.ended_at IS NULL
        WHERE EXISTS (SELECT FROM consent.permitted AS p WHERE p.profile_id = i.profile_id)
        ON CONFLICT (profile_id, key) DO UPDATE SET at = least(stored.at, excluded.at)
        """,
        {"key": key, "profiles": list(instants), "instants": list(instants.values())},
    )


def unplanned(tx: Transaction, before: datetime) -> list[str]:
    """The segments whose instants are not stored up to `before`."""
    rows = tx.execute(
        "SELECT key FROM segments.segment "
        "WHERE ended_at IS NULL AND (planned_until IS NULL OR planned_until < %(before)s) ORDER BY key",
        {"before": before},
    )
    return [key for (key,) in rows]


def begin_plan(tx: Transaction, key: str) -> None:
    """Note that the instants of a segment are being computed; `request_plan` in the meantime undoes `end_plan`."""
    tx.execute("UPDATE segments.segment SET planned_until = '-infinity' WHERE key = %(key)s", {"key": key})


def end_plan(tx: Transaction, key: str, until: datetime) -> None:
    """Record that the instants of a segment are stored up to `until`."""
    tx.execute(
        "UPDATE segments.segment SET planned_until = %(until)s WHERE key = %(key)s AND planned_until = '-infinity'",
        {"key": key, "until": until},
    )


def request_plan(tx: Transaction, keys: Sequence[str] | None = None) -> None:
    """Have the instants of these segments computed again, or of all, because of what nothing else follows."""
    tx.execute(
        "UPDATE segments.segment SET planned_until = NULL "
        "WHERE planned_until IS NOT NULL AND (%(keys)s::text[] IS NULL OR key = ANY(%(keys)s::text[]))",
        {"keys": None if keys is None else list(keys)},
    )
