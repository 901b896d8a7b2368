"""SQL that counts what a change of policy would do to events and stated traits; nothing is changed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from cdp.behavior.store.definitions import Filing
from cdp.kit.db import Transaction


class LostPurpose(NamedTuple):
    """A purpose that a profile loses, for data from before an instant; `mask` is the bit of the purpose."""

    profile_id: int
    purpose: str
    mask: int
    before: datetime


@dataclass(frozen=True, slots=True)
class LostData:
    """What profiles lose: rows that stay for other purposes by purpose, and rows that no purpose keeps.

    `deleted_events` are by retention class.
    """

    excluded_events: Mapping[str, int]
    excluded_traits: Mapping[str, int]
    deleted_events: Mapping[str, int]
    deleted_traits: int


_LOST = """
    WITH lost AS (
        SELECT * FROM unnest(%(profiles)s::bigint[], %(purposes)s::text[], %(masks)s::bigint[], %(before)s::timestamptz[])
            AS l (profile_id, purpose, mask, before)
    ), stored AS (  -- each row once for every purpose that it loses
        SELECT {scope} AS scope, l.purpose, s.bits, l.mask, {row_key} AS row_key
        FROM lost AS l
        JOIN identity.canonical AS c USING (profile_id)
        JOIN {table} AS s USING (anchor_id)
        WHERE s.bits & l.mask <> 0 AND s.occurred_at < l.before
    ), outcome AS (
        SELECT scope, row_key, bits, bit_or(mask) AS mask, array_agg(purpose) AS purposes FROM stored GROUP BY 1, 2, 3
    )
    SELECT 'delete', scope, count(*) FROM outcome WHERE bits & ~mask = 0 GROUP BY scope
    UNION ALL
    SELECT 'exclude', purpose, count(*) FROM outcome, unnest(purposes) AS purpose WHERE bits & ~mask <> 0 GROUP BY purpose
"""
_LOST_EVENTS = _LOST.format(scope="s.retention_class", row_key="s.event_id::text", table="behavior.event")
_LOST_TRAITS = _LOST.format(scope="''", row_key="s.anchor_id || '/' || s.name || '/' || s.bits", table="behavior.trait")


def lost_data(tx: Transaction, lost: Sequence[LostPurpose]) -> LostData:
    """The rows that lose purposes."""
    if not lost:
        return LostData({}, {}, {}, 0)
    params = {
        "profiles": [pair.profile_id for pair in lost],
        "purposes": [pair.purpose for pair in lost],
        "masks": [pair.mask for pair in lost],
        "before": [pair.before for pair in lost],
    }
    events = tx.execute(_LOST_EVENTS, params)
    traits = tx.execute(_LOST_TRAITS, params)
    return LostData(
        {scope: count for verb, scope, count in events if verb == "exclude"},
        {scope: count for verb, scope, count in traits if verb == "exclude"},
        {scope: count for verb, scope, count in events if verb == "delete"},
        sum(count for verb, _, count in traits if verb == "delete"),
    )


@dataclass(frozen=True, slots=True)
class EventsBetween:
    """Events stored in a class that belong in `belongs_in`, and occurred in (after, until]."""

    stored_in: str
    belongs_in: str
    after: datetime
    until: datetime


class FiledEvents(NamedTuple):
    """How many events, and how many of them each purpose uses."""

    number: int
    by_purpose: Mapping[str, int]


def events_filed(
    tx: Transaction, between: EventsBetween, filing: Filing, *, masks: Mapping[str, int], without: Collection[int] = ()
) -> FiledEvents:
    """Count events by the class of their name, `without` those of some anchors; `masks` are the bits of the purposes."""
    rows = tx.execute(
        """
        WITH found AS MATERIALIZED (
            SELECT bits FROM behavior.event
            WHERE retention_class = %(stored_in)s AND occurred_at > %(after)s AND occurred_at <= %(until)s
              AND (name_id = ANY(%(named)s::int[]) OR %(with_unplanned)s AND name_id <> ALL(%(planned)s::int[]))
              AND anchor_id <> ALL(%(without)s::bigint[])
        )
        SELECT NULL, count(*) FROM found
        UNION ALL
        SELECT purpose, count(*) FROM unnest(%(purposes)s::text[], %(masks)s::bigint[]) AS p (purpose, mask)
        JOIN found ON found.bits & p.mask <> 0 GROUP BY purpose
        """,
        {
            "stored_in": between.stored_in,
            "after": between.after,
            "until": between.until,
            "named": [name_id for name_id, key in filing.classes.items() if key == between.belongs_in],
            "with_unplanned": between.belongs_in == filing.unknown_class,
            "planned": list(filing.classes),
            "without": list(without),
            "purposes": list(masks),
            "masks": list(masks.values()),
        },
    )
    by_purpose = {purpose: number for purpose, number in rows if purpose is not None}
    return FiledEvents(sum(number for purpose, number in rows if purpose is None), by_purpose)


def events_named(tx: Transaction, names: Sequence[str], mask: int) -> int:
    """The events of these planned names that are stored for a purpose."""
    rows = tx.execute(
        """
        SELECT count(*) FROM behavior.event AS e JOIN behavior.term AS n ON n.term_id = e.name_id
        WHERE n.vocabulary = 'event' AND n.term = ANY(%(names)s::text[]) AND e.bits & %(mask)s::bigint <> 0
        """,
        {"names": list(names), "mask": mask},
    )
    return int(rows[0][0])


def traits_named(tx: Transaction, names: Sequence[str], mask: int) -> int:
    """The stated traits of these names that are stored for a purpose."""
    rows = tx.execute(
        "SELECT count(*) FROM behavior.trait WHERE name = ANY(%(names)s::text[]) AND bits & %(mask)s::bigint <> 0",
        {"names": list(names), "mask": mask},
    )
    return int(rows[0][0])


def profiles_with_buckets(tx: Transaction, trait: str) -> int:
    """The profiles that have a value of a computed trait."""
    rows = tx.execute(
        "SELECT count(DISTINCT c.profile_id) FROM behavior.bucket AS b JOIN identity.canonical AS c USING (anchor_id) "
        "WHERE b.trait = %(trait)s",
        {"trait": trait},
    )
    return int(rows[0][0])
