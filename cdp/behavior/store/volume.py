"""SQL that returns how many events profiles have, without reading sealed data."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cdp.kit.db import Transaction


class EventVolume(NamedTuple):
    """How many events are stored, and the instants of the first and the last."""

    events: int
    first_at: datetime | None
    last_at: datetime | None


def spans_of(tx: Transaction, profile_ids: Sequence[int]) -> dict[int, EventVolume]:
    """The span of each profile's stored events; (0, None, None) where there are none."""
    rows = tx.execute(
        """
        SELECT requested.profile_id, count(e.event_id)::int, min(e.occurred_at), max(e.occurred_at)
        FROM unnest(%(profiles)s::bigint[]) AS requested (profile_id)
        LEFT JOIN identity.canonical AS c USING (profile_id)
        LEFT JOIN behavior.event AS e USING (anchor_id)
        GROUP BY requested.profile_id
        """,
        {"profiles": list(profile_ids)},
    )
    return {profile_id: EventVolume(*volume) for profile_id, *volume in rows}
