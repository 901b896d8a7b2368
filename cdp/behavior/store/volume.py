"""SQL that returns how many events profiles have, and their ages in force, without reading sealed data."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cdp.behavior.model import EventId
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


AGE = "age"
"""The stated trait with a person's age in whole years, which the policy's minimum ages are compared with."""


class StatedAge(NamedTuple):
    """An age in years with the rank of its statement: of several, the highest is in force."""

    is_rectified: bool
    occurred_at: datetime
    received_at: datetime
    event_id: EventId
    years: int


def ages_of(tx: Transaction, profile_ids: Sequence[int]) -> dict[int, StatedAge]:
    """The age in force for each profile; profiles without a stated age in plain form are absent."""
    rows = tx.execute(
        """
        SELECT DISTINCT ON (c.profile_id)
               c.profile_id, t.is_rectified, t.occurred_at, t.received_at, t.event_id,
               floor(greatest(-1, least(1000, (t.plain #>> '{}')::numeric)))::int
        FROM identity.canonical AS c
        JOIN behavior.trait AS t USING (anchor_id)
        WHERE c.profile_id = ANY(%(profiles)s::bigint[]) AND t.name = %(age)s AND jsonb_typeof(t.plain) = 'number'
        ORDER BY c.profile_id, t.is_rectified DESC, t.occurred_at DESC, t.received_at DESC, t.event_id DESC
        """,
        {"profiles": list(profile_ids), "age": AGE},
    )
    return {
        profile_id: StatedAge(is_rectified, occurred_at, received_at, EventId(event_id.bytes), years)
        for profile_id, is_rectified, occurred_at, received_at, event_id, years in rows
    }
