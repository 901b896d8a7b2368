"""SQL of stated ages: the statements that count, by anchor, authority and purpose bits."""

from collections.abc import Sequence
from datetime import datetime

from cdp.behavior.ages import AgeAuthority, Ages, StatedAge, ages_in
from cdp.behavior.model import EventId
from cdp.kit.db import Transaction
from cdp.kit.pg_binary import arrays

PlacedAge = tuple[int, int, StatedAge]
"""A statement with its anchor and its purpose bits."""


def merge_ages(tx: Transaction, ages: Sequence[PlacedAge]) -> None:
    """Keep, for each anchor, authority and bits, the statement that counts: see `StatedAge.order`."""
    counting: dict[tuple[int, str, int], StatedAge] = {}
    for anchor_id, bits, age in ages:
        place = (anchor_id, age.authority.value, bits)
        known = counting.get(place)
        if known is None or age.order > known.order:
            counting[place] = age
    if not counting:
        return
    rows = sorted(counting.items())
    tx.execute(
        """
        INSERT INTO behavior.stated_age AS known
               (anchor_id, authority, bits, is_birthday, counts_from, occurred_at, received_at, event_id)
        SELECT * FROM unnest(%(anchors)s::bigint[], %(authorities)s::text[], %(bits)s::bigint[], %(birthdays)s::bool[],
                             %(from)s::date[], %(occurred)s::timestamptz[], %(received)s::timestamptz[],
                             %(events)s::uuid[])
        ON CONFLICT (anchor_id, authority, bits) DO UPDATE SET
            is_birthday = excluded.is_birthday, counts_from = excluded.counts_from, occurred_at = excluded.occurred_at,
            received_at = excluded.received_at, event_id = excluded.event_id
        WHERE CASE WHEN known.authority = 'device'
            THEN (excluded.counts_from, excluded.occurred_at, excluded.received_at, excluded.event_id)
               > (known.counts_from, known.occurred_at, known.received_at, known.event_id)
            ELSE (excluded.is_birthday, excluded.occurred_at, excluded.received_at, excluded.event_id)
               > (known.is_birthday, known.occurred_at, known.received_at, known.event_id)
            END
        """,
        {
            "anchors": arrays.bigints([anchor_id for (anchor_id, _, _), _ in rows]),
            "authorities": arrays.texts([authority for (_, authority, _), _ in rows]),
            "bits": arrays.bigints([bits for (_, _, bits), _ in rows]),
            "birthdays": arrays.booleans([age.is_birthday for _, age in rows]),
            "from": arrays.days([age.counts_from for _, age in rows]),
            "occurred": arrays.instants([age.occurred_at for _, age in rows]),
            "received": arrays.instants([age.received_at for _, age in rows]),
            "events": arrays.uuids([age.event_id for _, age in rows]),
        },
    )


def ages_of(tx: Transaction, profile_ids: Sequence[int]) -> dict[int, Ages]:
    """The statements that count for each profile; profiles without any are absent."""
    rows = tx.execute(
        """
        SELECT c.profile_id, a.authority, a.is_birthday, a.counts_from, a.occurred_at, a.received_at, a.event_id
        FROM identity.canonical AS c
        JOIN behavior.stated_age AS a USING (anchor_id)
        WHERE c.profile_id = ANY(%(profiles)s::bigint[])
        UNION ALL
        -- A corrected age is a stated trait that was rectified.
        SELECT c.profile_id, 'rectified', false,
               ((t.occurred_at AT TIME ZONE 'UTC')
                - make_interval(years => floor(greatest(-1, least(150, (t.plain #>> '{}')::numeric)))::int))::date,
               t.occurred_at, t.received_at, t.event_id
        FROM identity.canonical AS c
        JOIN behavior.trait AS t USING (anchor_id)
        WHERE c.profile_id = ANY(%(profiles)s::bigint[])
          AND t.name = 'age' AND t.is_rectified AND jsonb_typeof(t.plain) = 'number'
        """,
        {"profiles": list(profile_ids)},
    )
    stated: dict[int, list[StatedAge]] = {}
    for profile_id, authority, is_birthday, counts_from, occurred_at, received_at, event_id in rows:
        age = StatedAge(
            AgeAuthority(authority), is_birthday, counts_from, occurred_at, received_at, EventId(event_id.bytes)
        )
        stated.setdefault(profile_id, []).append(age)
    return {profile_id: ages_in(statements) for profile_id, statements in stated.items()}


def clear_age_bits(tx: Transaction, anchor_ids: Sequence[int], mask: int, *, before: datetime) -> int:
    """Clear a purpose from ages stated before an instant; returns how many lost their last purpose and were deleted."""
    rows = tx.execute(
        """
        WITH cleared AS (
            DELETE FROM behavior.stated_age
            WHERE anchor_id = ANY(%(anchors)s::bigint[]) AND occurred_at < %(before)s AND bits & %(mask)s::bigint <> 0
            RETURNING anchor_id, authority, bits & ~%(mask)s::bigint, is_birthday, counts_from, occurred_at, received_at,
                      event_id
        )
        SELECT * FROM cleared
        """,
        {"anchors": list(anchor_ids), "mask": mask, "before": before},
    )
    left = [
        (
            anchor_id,
            bits,
            StatedAge(
                AgeAuthority(authority), is_birthday, counts_from, occurred_at, received_at, EventId(event_id.bytes)
            ),
        )
        for anchor_id, authority, bits, is_birthday, counts_from, occurred_at, received_at, event_id in rows
        if bits
    ]
    merge_ages(tx, left)
    return len(rows) - len(left)


def delete_expired_ages(tx: Transaction, expired_at: datetime, rows_max: int) -> list[int]:
    """Delete up to `rows_max` ages stated at or before an instant; returns the anchor of each."""
    rows = tx.execute(
        """
        DELETE FROM behavior.stated_age WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM behavior.stated_age WHERE occurred_at <= %(expired_at)s LIMIT %(rows_max)s
        )) RETURNING anchor_id
        """,
        {"expired_at": expired_at, "rows_max": rows_max},
    )
    return [anchor_id for (anchor_id,) in rows]


def count_expired_ages(tx: Transaction, expired_at: datetime) -> int:
    """How many stated ages have expired."""
    rows = tx.execute(
        "SELECT count(*) FROM behavior.stated_age WHERE occurred_at <= %(expired_at)s", {"expired_at": expired_at}
    )
    return next(int(count) for (count,) in rows)
