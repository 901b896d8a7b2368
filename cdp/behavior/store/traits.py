"""SQL of stated traits: the latest statement by purpose bits, and which one is in force for a purpose."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from cdp.behavior.model import EventId, StatedTrait, Term
from cdp.behavior.store.terms import plain_text, texts_of
from cdp.kit.db import Transaction
from cdp.kit.pg_binary import arrays

InForce = dict[tuple[int, str], dict[str, Any]]
"""Plain traits by (profile, purpose) and name; terms as their ids, as they lie in consent.permitted.traits."""


def merge_traits(tx: Transaction, traits: Sequence[StatedTrait], ids: Mapping[Term, int]) -> None:
    """Keep, for each anchor, name and bits, the latest statement; a rectified one yields only to a rectified one."""
    latest: dict[tuple[int, str, int], StatedTrait] = {}
    for trait in traits:
        place = (trait.anchor_id, trait.name, trait.bits)
        known = latest.get(place)
        if known is None or _rank(trait) > _rank(known):
            latest[place] = trait
    if not latest:
        return
    rows = [latest[place] for place in sorted(latest)]
    tx.execute(
        """
        INSERT INTO behavior.trait AS known
               (anchor_id, name, bits, occurred_at, received_at, event_id, plain, sealed, is_rectified)
        SELECT anchor_id, name, bits, occurred_at, received_at, event_id, plain::jsonb, sealed, is_rectified
        FROM unnest(%(anchors)s::bigint[], %(names)s::text[], %(bits)s::bigint[], %(occurred)s::timestamptz[],
                    %(received)s::timestamptz[], %(events)s::uuid[], %(plain)s::text[], %(sealed)s::bytea[],
                    %(rectified)s::bool[])
             AS given(anchor_id, name, bits, occurred_at, received_at, event_id, plain, sealed, is_rectified)
        ON CONFLICT (anchor_id, name, bits) DO UPDATE SET
            occurred_at = excluded.occurred_at, received_at = excluded.received_at, event_id = excluded.event_id,
            plain = excluded.plain, sealed = excluded.sealed, is_rectified = excluded.is_rectified
        WHERE (excluded.is_rectified, excluded.occurred_at, excluded.received_at, excluded.event_id)
            > (known.is_rectified, known.occurred_at, known.received_at, known.event_id)
        """,
        {
            "anchors": arrays.bigints([row.anchor_id for row in rows]),
            "names": arrays.texts([row.name for row in rows]),
            "bits": arrays.bigints([row.bits for row in rows]),
            "occurred": arrays.instants([row.occurred_at for row in rows]),
            "received": arrays.instants([row.received_at for row in rows]),
            "events": arrays.uuids([row.event_id for row in rows]),
            "plain": arrays.texts([plain_text(row.plain, ids) for row in rows]),
            "sealed": arrays.blobs([row.sealed for row in rows]),
            "rectified": arrays.booleans([row.is_rectified for row in rows]),
        },
    )


def bits_by_anchor(tx: Transaction, anchor_ids: Collection[int], names: Collection[str]) -> dict[tuple[int, str], int]:
    """The purposes of all statements of these traits, by anchor and name; absent where there is none."""
    rows = tx.execute(
        "SELECT anchor_id, name, bit_or(bits) FROM behavior.trait "
        "WHERE anchor_id = ANY(%(anchors)s::bigint[]) AND name = ANY(%(names)s::text[]) GROUP BY anchor_id, name",
        {"anchors": list(anchor_ids), "names": list(names)},
    )
    return {(anchor_id, name): bits for anchor_id, name, bits in rows}


def replace_traits(
    tx: Transaction, anchor_ids: Collection[int], traits: Sequence[StatedTrait], *, ids: Mapping[Term, int]
) -> None:
    """Put these statements in the place of every statement of the same traits on these anchors.

    A corrected age that is corrected again is kept as a former age.
    """
    tx.execute(
        """
        WITH deleted AS (
            DELETE FROM behavior.trait
            WHERE anchor_id = ANY(%(anchors)s::bigint[]) AND name = ANY(%(names)s::text[])
            RETURNING anchor_id, name, bits, occurred_at, received_at, event_id, plain, is_rectified
        )
        INSERT INTO behavior.former_age
               (anchor_id, authority, bits, is_birthday, counts_from, occurred_at, received_at, event_id, since, until)
        SELECT anchor_id, 'rectified', bits, false,
               ((occurred_at AT TIME ZONE 'UTC')
                - make_interval(years => floor(greatest(-1, least(150, (plain #>> '{}')::numeric)))::int))::date,
               occurred_at, received_at, event_id, received_at,
               coalesce(nullif(current_setting('cdp.instant', true), '')::timestamptz, statement_timestamp())
        FROM deleted
        WHERE name = 'age' AND is_rectified AND jsonb_typeof(plain) = 'number'
        """,
        {"anchors": list(anchor_ids), "names": sorted({trait.name for trait in traits})},
    )
    merge_traits(tx, traits, ids)


def traits_of(
    tx: Transaction, profile_ids: Sequence[int], masks: Mapping[str, int], *, expired_at: datetime
) -> InForce:
    """The plain stated traits in force of each permitted (profile, purpose), empty where there are none.

    Of the statements that carry the purpose's bit, occurred since it was permitted and after `expired_at`, a rectified
    one wins, then the latest (occurred_at, received_at, event_id). A winner that is sealed, or was taken back, hides older
    plain ones. Where a
    purpose has a statement of a trait that was rectified for other purposes, it has the rectified value.
    """
    rows = tx.execute(
        _OF_STORED,
        {
            "purposes": list(masks),
            "masks": list(masks.values()),
            "profiles": list(profile_ids),
            "expired_at": expired_at,
        },
    )
    return {(profile_id, purpose): traits for profile_id, purpose, traits in rows}


class PlannedSince(NamedTuple):
    """The instant from which a profile would be permitted for a purpose with this mask."""

    profile_id: int
    purpose: str
    mask: int
    since: datetime


def planned_traits_of(tx: Transaction, permitted: Sequence[PlannedSince], *, expired_at: datetime) -> InForce:
    """As `traits_of`, for permissions that are not in force."""
    if not permitted:
        return {}
    rows = tx.execute(
        _OF_PLANNED,
        {
            "profiles": [pair.profile_id for pair in permitted],
            "purposes": [pair.purpose for pair in permitted],
            "masks": [pair.mask for pair in permitted],
            "since": [pair.since for pair in permitted],
            "expired_at": expired_at,
        },
    )
    return {(profile_id, purpose): traits for profile_id, purpose, traits in rows}


_IN_FORCE: Final = """
    WITH permitted AS (
        {permitted}
    ), in_force AS (
        -- Of several statements, the one in force.
        SELECT DISTINCT ON (a.profile_id, a.purpose, t.name) a.profile_id, a.purpose, t.name, t.plain
        FROM permitted a
        JOIN identity.canonical c ON c.profile_id = a.profile_id
        JOIN behavior.trait t ON t.anchor_id = c.anchor_id AND t.bits & a.mask <> 0
            AND t.occurred_at >= a.since AND t.occurred_at > %(expired_at)s
        ORDER BY a.profile_id, a.purpose, t.name,
                 t.is_rectified DESC, t.occurred_at DESC, t.received_at DESC, t.event_id DESC
    ), rectified AS (
        -- The corrected value of each trait, whichever purposes it was corrected for.
        SELECT DISTINCT ON (c.profile_id, t.name) c.profile_id, t.name, t.plain
        FROM identity.canonical c
        JOIN behavior.trait t ON t.anchor_id = c.anchor_id AND t.is_rectified AND t.occurred_at > %(expired_at)s
        WHERE c.profile_id = ANY(%(profiles)s)
        ORDER BY c.profile_id, t.name, t.occurred_at DESC, t.received_at DESC, t.event_id DESC
    ), shown AS (
        SELECT w.profile_id, w.purpose, w.name, CASE WHEN r.name IS NULL THEN w.plain ELSE r.plain END AS plain
        FROM in_force w LEFT JOIN rectified r USING (profile_id, name)
    )
    SELECT a.profile_id, a.purpose,
           coalesce(jsonb_object_agg(w.name, w.plain) FILTER (WHERE w.plain IS NOT NULL AND w.plain <> 'null'), '{{}}')
    FROM permitted a LEFT JOIN shown w USING (profile_id, purpose)
    GROUP BY a.profile_id, a.purpose
"""
_OF_STORED: Final = _IN_FORCE.format(
    permitted="""
        -- Each requested profile and purpose that is permitted.
        SELECT p.profile_id, p.purpose, p.since, m.mask
        FROM unnest(%(purposes)s::text[], %(masks)s::bigint[]) AS m(purpose, mask)
        JOIN consent.permitted p ON p.purpose = m.purpose AND p.profile_id = ANY(%(profiles)s)
    """
)
_OF_PLANNED: Final = _IN_FORCE.format(
    permitted="""
        SELECT profile_id, purpose, since, mask
        FROM unnest(%(profiles)s::bigint[], %(purposes)s::text[], %(since)s::timestamptz[], %(masks)s::bigint[])
            AS p(profile_id, purpose, since, mask)
    """
)


def stated_of(tx: Transaction, anchor_ids: Sequence[int], vocabularies: Mapping[str, str]) -> list[StatedTrait]:
    """Every stated trait of these anchors, sealed ones unopened, for the person's export.

    `vocabularies` names those of the planned traits that hold terms.
    """
    rows = tx.execute(
        """
        SELECT anchor_id, name, occurred_at, received_at, event_id, bits, plain, sealed, is_rectified
        FROM behavior.trait WHERE anchor_id = ANY(%(anchors)s)
        ORDER BY name, occurred_at, received_at, event_id
        """,
        {"anchors": list(anchor_ids)},
    )
    numbers = {plain for _, name, *_, plain, _, _ in rows if name in vocabularies and type(plain) is int}
    texts = texts_of(tx, numbers) if numbers else {}
    return [
        StatedTrait(
            anchor_id=anchor_id,
            name=name,
            occurred_at=occurred_at,
            received_at=received_at,
            event_id=EventId(event_id.bytes),
            bits=bits,
            plain=texts.get(plain, plain) if name in vocabularies else plain,
            sealed=None if sealed is None else bytes(sealed),
            is_rectified=is_rectified,
        )
        for anchor_id, name, occurred_at, received_at, event_id, bits, plain, sealed, is_rectified in rows
    ]


def clear_trait_bits(tx: Transaction, anchor_ids: Sequence[int], mask: int, *, before: datetime) -> int:
    """Clear a purpose from traits stated before an instant; returns how many were deleted.

    A stated trait left without any purpose is deleted; of two that now have the same bits, the one in force stays. Of a
    corrected age that is deleted, the period in which it counted is left.
    """
    params = {"anchors": list(anchor_ids), "mask": mask, "before": before}
    deleted = tx.execute(
        """
        WITH after AS (
            -- The bits that each statement has left.
            SELECT anchor_id, name, bits,
                   CASE WHEN occurred_at < %(before)s THEN bits & ~%(mask)s::bigint ELSE bits END AS left_bits,
                   is_rectified, occurred_at, received_at, event_id
            FROM behavior.trait WHERE anchor_id = ANY(%(anchors)s)
        ), ranked AS (
            -- Among statements left with the same bits, the one in force comes first.
            SELECT anchor_id, name, bits, left_bits, row_number() OVER (
                PARTITION BY anchor_id, name, left_bits
                ORDER BY is_rectified DESC, occurred_at DESC, received_at DESC, event_id DESC
            ) AS place
            FROM after
        ), deleted AS (
            DELETE FROM behavior.trait t USING ranked r
            WHERE (t.anchor_id, t.name, t.bits) = (r.anchor_id, r.name, r.bits) AND (r.left_bits = 0 OR r.place > 1)
            RETURNING t.anchor_id, t.name, t.is_rectified, t.received_at, r.left_bits
        ), periods AS (
            INSERT INTO behavior.former_age (anchor_id, bits, since, until)
            SELECT anchor_id, 0, received_at, present.at
            FROM deleted CROSS JOIN (
                SELECT coalesce(nullif(current_setting('cdp.instant', true), '')::timestamptz, statement_timestamp()) AS at
            ) AS present
            WHERE name = 'age' AND is_rectified AND left_bits = 0 AND received_at < present.at
        ) SELECT count(*) FROM deleted
        """,
        params,
    )
    tx.execute(
        "UPDATE behavior.trait SET bits = bits & ~%(mask)s::bigint "
        "WHERE anchor_id = ANY(%(anchors)s) AND occurred_at < %(before)s AND bits & %(mask)s::bigint <> 0",
        params,
    )
    return next(int(count) for (count,) in deleted)


def _rank(trait: StatedTrait) -> tuple[object, ...]:
    return (trait.is_rectified, trait.occurred_at, trait.received_at, trait.event_id)
