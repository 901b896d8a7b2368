"""SQL of stated ages: the statements that count, by anchor, authority and purpose bits."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

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
    for profile_id, *statement in rows:
        stated.setdefault(profile_id, []).append(_age(*statement))
    return {profile_id: ages_in(statements) for profile_id, statements in stated.items()}


class FormerAges(NamedTuple):
    """The statements that counted at an instant, and whether any that counted then was deleted since."""

    ages: Ages
    is_incomplete: bool


def ages_at(tx: Transaction, anchor_ids: Sequence[int], at: datetime) -> FormerAges:
    """The statements that counted for a profile with these anchors at an instant."""
    rows = tx.execute(
        """
        SELECT authority, is_birthday, counts_from, occurred_at, received_at, event_id
        FROM behavior.stated_age
        WHERE anchor_id = ANY(%(anchors)s::bigint[]) AND since <= %(at)s
        UNION ALL
        SELECT authority, is_birthday, counts_from, occurred_at, received_at, event_id
        FROM behavior.former_age
        WHERE anchor_id = ANY(%(anchors)s::bigint[]) AND since <= %(at)s AND until > %(at)s
        UNION ALL
        SELECT 'rectified', false,
               ((occurred_at AT TIME ZONE 'UTC')
                - make_interval(years => floor(greatest(-1, least(150, (plain #>> '{}')::numeric)))::int))::date,
               occurred_at, received_at, event_id
        FROM behavior.trait
        WHERE anchor_id = ANY(%(anchors)s::bigint[]) AND received_at <= %(at)s
          AND name = 'age' AND is_rectified AND jsonb_typeof(plain) = 'number'
        """,
        {"anchors": list(anchor_ids), "at": at},
    )
    statements = [_age(*row) for row in rows if row[0] is not None]
    return FormerAges(ages_in(statements), len(statements) < len(rows))


def _age(
    authority: str, is_birthday: bool, counts_from: date, occurred_at: datetime, received_at: datetime, event_id: UUID
) -> StatedAge:
    return StatedAge(
        AgeAuthority(authority), is_birthday, counts_from, occurred_at, received_at, EventId(event_id.bytes)
    )


def clear_age_bits(tx: Transaction, anchor_ids: Sequence[int], mask: int, *, before: datetime) -> int:
    """Clear a purpose from ages stated before an instant; returns how many lost their last purpose and were deleted.

    Former ages lose the purpose as well. Of an age without any purpose, only the period in which it counted is left.
    """
    affected = {"anchors": list(anchor_ids), "mask": mask, "before": before}
    tx.execute(
        """
        UPDATE behavior.former_age
        SET bits = bits & ~%(mask)s::bigint,
            authority = CASE WHEN bits & ~%(mask)s::bigint <> 0 THEN authority END,
            is_birthday = CASE WHEN bits & ~%(mask)s::bigint <> 0 THEN is_birthday END,
            counts_from = CASE WHEN bits & ~%(mask)s::bigint <> 0 THEN counts_from END,
            occurred_at = CASE WHEN bits & ~%(mask)s::bigint <> 0 THEN occurred_at END,
            received_at = CASE WHEN bits & ~%(mask)s::bigint <> 0 THEN received_at END,
            event_id = CASE WHEN bits & ~%(mask)s::bigint <> 0 THEN event_id END
        WHERE anchor_id = ANY(%(anchors)s::bigint[]) AND occurred_at < %(before)s AND bits & %(mask)s::bigint <> 0
        """,
        affected,
    )
    rows = tx.execute(
        """
        WITH present AS (
            SELECT coalesce(nullif(current_setting('cdp.instant', true), '')::timestamptz, statement_timestamp()) AS at
        ), cleared AS (
            DELETE FROM behavior.stated_age
            WHERE anchor_id = ANY(%(anchors)s::bigint[]) AND occurred_at < %(before)s AND bits & %(mask)s::bigint <> 0
            RETURNING anchor_id, authority, bits & ~%(mask)s::bigint AS bits, is_birthday, counts_from, occurred_at,
                      received_at, event_id, since
        ), kept AS (  -- an age that stays for other purposes
            INSERT INTO behavior.former_age (anchor_id, authority, bits, is_birthday, counts_from, occurred_at, received_at,
                                             event_id, since, until)
            SELECT cleared.*, present.at FROM cleared CROSS JOIN present
            WHERE cleared.bits <> 0 AND cleared.since < present.at
        ), deleted AS (  -- of an age that is deleted, the period
            INSERT INTO behavior.former_age (anchor_id, bits, since, until)
            SELECT cleared.anchor_id, 0, cleared.since, present.at FROM cleared CROSS JOIN present
            WHERE cleared.bits = 0 AND cleared.since < present.at
        )
        SELECT anchor_id, bits, authority, is_birthday, counts_from, occurred_at, received_at, event_id FROM cleared
        """,
        affected,
    )
    left = [(anchor_id, bits, _age(*statement)) for anchor_id, bits, *statement in rows if bits]
    merge_ages(tx, left)
    return len(rows) - len(left)


def delete_expired_ages(
    tx: Transaction, expired_at: datetime, rows_max: int, *, without: Collection[int] = ()
) -> list[int]:
    """Delete up to `rows_max` ages stated at or before an instant, and all former ones; returns the anchor of each.

    Those of the anchors in `without` stay. Of each other, the period in which it counted is left.
    """
    expired = {"expired_at": expired_at, "rows_max": rows_max, "without": list(without)}
    tx.execute(
        """
        UPDATE behavior.former_age
        SET bits = 0, authority = NULL, is_birthday = NULL, counts_from = NULL, occurred_at = NULL, received_at = NULL,
            event_id = NULL
        WHERE occurred_at <= %(expired_at)s AND anchor_id <> ALL(%(without)s::bigint[])
        """,
        expired,
    )
    rows = tx.execute(
        """
        WITH present AS (
            SELECT coalesce(nullif(current_setting('cdp.instant', true), '')::timestamptz, statement_timestamp()) AS at
        ), deleted AS (
            DELETE FROM behavior.stated_age WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM behavior.stated_age
                WHERE occurred_at <= %(expired_at)s AND anchor_id <> ALL(%(without)s::bigint[]) LIMIT %(rows_max)s
            ))
            RETURNING anchor_id, since
        ), periods AS (
            INSERT INTO behavior.former_age (anchor_id, bits, since, until)
            SELECT deleted.anchor_id, 0, deleted.since, present.at FROM deleted CROSS JOIN present
            WHERE deleted.since < present.at
        )
        SELECT anchor_id FROM deleted
        """,
        expired,
    )
    return [anchor_id for (anchor_id,) in rows]


def count_expired_ages(tx: Transaction, expired_at: datetime, *, without: Collection[int] = ()) -> int:
    """How many stated ages have expired, `without` those of some anchors."""
    rows = tx.execute(
        "SELECT count(*) FROM behavior.stated_age "
        "WHERE occurred_at <= %(expired_at)s AND anchor_id <> ALL(%(without)s::bigint[])",
        {"expired_at": expired_at, "without": list(without)},
    )
    return next(int(count) for (count,) in rows)
