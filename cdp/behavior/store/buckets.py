"""SQL of computed traits: adding to buckets, and recomputing them from events."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from json import dumps
from typing import Any, Final

from cdp.behavior.model import EVENT_NAMES, Bucket, Landmark, Term
from cdp.behavior.store.landmarks import current_landmarks
from cdp.behavior.store.terms import find_terms, plain_text
from cdp.behavior.traits import NO_LANDMARK, CompiledTrait, TraitPlan
from cdp.kit.db import Transaction
from cdp.kit.pg_binary import arrays
from cdp.policy.model import TraitKind

_NO_TERM: Final = -1
"""Represents a term that was never stored: it equals no stored value."""


def merge_buckets(tx: Transaction, buckets: Sequence[Bucket], ids: Mapping[Term, int]) -> None:
    """Add the buckets of new events to the stored ones, in one statement."""
    rows = sorted(buckets, key=lambda bucket: (bucket.anchor_id, bucket.trait, bucket.day, bucket.generation))
    if not rows:
        return
    tx.execute(
        """
        INSERT INTO behavior.bucket AS stored
               (anchor_id, trait, day, generation, events, total, last_at, last_event_id, last_plain)
        SELECT anchor_id, trait, day, generation, events, total, last_at, last_event_id, last_plain::jsonb
        FROM unnest(%(anchors)s::bigint[], %(traits)s::text[], %(days)s::date[], %(generations)s::int[],
                    %(events)s::bigint[], %(totals)s::float8[], %(last_at)s::timestamptz[],
                    %(last_event_ids)s::uuid[], %(last_plain)s::text[])
             AS fresh(anchor_id, trait, day, generation, events, total, last_at, last_event_id, last_plain)
        ON CONFLICT (anchor_id, trait, day, generation) DO UPDATE SET
            events = stored.events + excluded.events,
            total = stored.total + excluded.total,
            last_at = greatest(stored.last_at, excluded.last_at),
            last_event_id = CASE
                WHEN (stored.last_at, stored.last_event_id) > (excluded.last_at, excluded.last_event_id)
                THEN stored.last_event_id ELSE excluded.last_event_id END,
            last_plain = CASE
                WHEN (stored.last_at, stored.last_event_id) > (excluded.last_at, excluded.last_event_id)
                THEN stored.last_plain ELSE excluded.last_plain END
        """,
        {
            "anchors": arrays.bigints([row.anchor_id for row in rows]),
            "traits": arrays.texts([row.trait for row in rows]),
            "days": arrays.days([row.day for row in rows]),
            "generations": arrays.integers([row.generation for row in rows]),
            "events": arrays.bigints([row.events for row in rows]),
            "totals": arrays.doubles([row.total for row in rows]),
            "last_at": arrays.instants([row.last_at for row in rows]),
            "last_event_ids": arrays.uuids([row.last_event_id for row in rows]),
            "last_plain": arrays.texts([plain_text(row.last_plain, ids) for row in rows]),
        },
    )


def recompute_buckets(
    tx: Transaction,
    plan: TraitPlan,
    anchor_ids: Sequence[int],
    *,
    now: datetime,
    traits: Collection[str] | None = None,
) -> None:
    """Recompute the buckets of these anchors from their events, for all traits or those named.

    An event counts if it carries the purpose's bit, its anchor's profile is permitted, and it did not occur before
    `permitted.since`. Call it in the transaction that changed any of these.
    """
    chosen = [trait for key, trait in plan.by_key.items() if traits is None or key in traits]
    if not chosen or not anchor_ids:
        return
    params = definition_params(tx, chosen, current_landmarks(tx, plan, now)) | {"anchors": list(anchor_ids)}
    tx.execute("DELETE FROM behavior.bucket WHERE anchor_id = ANY(%(anchors)s) AND trait = ANY(%(traits)s)", params)
    tx.execute(_RECOMPUTE, params)


def delete_buckets(tx: Transaction, anchor_ids: Collection[int], traits: Collection[str]) -> None:
    """Delete the buckets of these anchors for traits whose purpose is not permitted any more."""
    if anchor_ids and traits:
        tx.execute(
            "DELETE FROM behavior.bucket WHERE anchor_id = ANY(%(anchors)s) AND trait = ANY(%(traits)s)",
            {"anchors": list(anchor_ids), "traits": list(traits)},
        )


RECOMPUTED: Final = """
    WITH definition AS (
        SELECT * FROM unnest(
            %(traits)s::text[], %(names)s::int[], %(purposes)s::text[], %(masks)s::bigint[], %(fields)s::text[],
            %(lists)s::text[], %(sums)s::bool[], %(lasts)s::bool[], %(half_lives)s::float8[], %(landmarks)s::timestamptz[],
            %(generations)s::smallint[], %(conditions)s::text[], %(currencies)s::text[], %(counts_all)s::bool[],
            %(only)s::int[], %(unstated)s::int[]
        ) AS d(trait, name_id, purpose, mask, field, list, is_sum, is_last, half_life_days, landmark_at, generation, conditions,
               currency, counts_all, only_currency, unstated)
    ), rate AS (
        -- For each currency the instants from which a rate applies, and the rates, in this order.
        SELECT to_jsonb(currency) AS currency, array_agg(begins ORDER BY begins) AS begins,
               array_agg(rate ORDER BY begins) AS rates
        FROM unnest(%(rate_currencies)s::int[], %(rate_begins)s::timestamptz[], %(rates)s::float8[])
             AS r(currency, begins, rate)
        GROUP BY currency
    ), counted AS (
        -- The events that count for each trait, with the amount and the exponent of their weight.
        SELECT e.anchor_id, d.trait, (e.occurred_at AT TIME ZONE 'UTC')::date AS day, d.generation,
               e.occurred_at, e.event_id,
               CASE WHEN d.is_last THEN e.plain -> d.field END AS last_plain,
               CASE WHEN d.is_sum THEN found.amount WHEN d.half_life_days IS NOT NULL THEN 1 ELSE 0 END AS amount,
               extract(epoch FROM e.occurred_at - d.landmark_at)::float8 / 86400 / d.half_life_days AS exponent
        FROM definition d
        JOIN behavior.event e ON e.name_id = d.name_id AND e.bits & d.mask <> 0 {of_anchors}
        JOIN identity.canonical c ON c.anchor_id = e.anchor_id
        JOIN {permitted} p
          ON p.profile_id = c.profile_id AND p.purpose = d.purpose AND e.occurred_at >= p.since
        CROSS JOIN LATERAL (
            -- How often the event has the property, and its sum: once, or in each entry of a list that has it.
            SELECT count(*) AS times, sum(CASE WHEN d.is_sum AND jsonb_typeof(holder.plain -> d.field) = 'number'
                                                 THEN (holder.plain ->> d.field)::float8 * worth.factor END) AS amount
            FROM (
                SELECT e.plain WHERE d.list IS NULL
                UNION ALL
                SELECT entry FROM jsonb_array_elements(
                    CASE WHEN jsonb_typeof(e.plain -> d.list) = 'array' THEN e.plain -> d.list END
                ) AS entry
            ) AS holder (plain)
            CROSS JOIN LATERAL (
                SELECT coalesce(holder.plain -> d.currency, e.plain -> d.currency, to_jsonb(d.unstated)) AS currency
            ) AS stated
            CROSS JOIN LATERAL (
                SELECT CASE WHEN d.currency IS NULL THEN 1
                            WHEN d.counts_all
                            THEN (SELECT r.rates[width_bucket(e.occurred_at, r.begins)] FROM rate r
                                  WHERE r.currency = stated.currency)
                            WHEN stated.currency = to_jsonb(d.only_currency) THEN 1 END AS factor
            ) AS worth
            -- What was stored when the property had another type does not count.
            WHERE CASE WHEN d.is_sum THEN jsonb_typeof(holder.plain -> d.field) = 'number'
                       ELSE jsonb_typeof(holder.plain -> d.field) <> 'array' END
              AND worth.factor IS NOT NULL
        ) AS found
        WHERE (d.field IS NULL OR found.times > 0)
          AND NOT EXISTS (
              -- A condition on a list holds if it does for one of its entries.
              SELECT FROM jsonb_to_recordset(d.conditions::jsonb) AS condition(list text, field text, allowed jsonb)
              WHERE NOT CASE WHEN condition.list IS NULL
                             THEN coalesce(condition.allowed @> (e.plain -> condition.field), false)
                             ELSE EXISTS (
                                 SELECT FROM jsonb_array_elements(CASE WHEN jsonb_typeof(e.plain -> condition.list) = 'array'
                                                                       THEN e.plain -> condition.list END) AS entry
                                 WHERE condition.allowed @> (entry -> condition.field)
                             ) END
          )
    ), weighted AS (
        -- The same limits as `decay.power_of_two`.
        SELECT *, CASE WHEN exponent IS NULL THEN amount
                       WHEN exponent < -1000 THEN 0
                       ELSE amount * power(2::float8, exponent) END AS adds
        FROM counted
    )
    SELECT anchor_id, trait, day, generation, count(*) AS events, sum(adds) AS total, max(occurred_at) AS last_at,
           (array_agg(event_id ORDER BY occurred_at DESC, event_id DESC))[1] AS last_event_id,
           (array_agg(last_plain ORDER BY occurred_at DESC, event_id DESC))[1] AS last_plain
    FROM weighted
    GROUP BY anchor_id, trait, day, generation
"""
_INSERTED: Final = """
    INSERT INTO behavior.bucket (anchor_id, trait, day, generation, events, total, last_at, last_event_id, last_plain)
    {recomputed}
"""
_RECOMPUTE: Final = _INSERTED.format(
    recomputed=RECOMPUTED.format(permitted="consent.permitted", of_anchors="AND e.anchor_id = ANY(%(anchors)s)")
)


def definition_params(
    tx: Transaction, traits: Sequence[CompiledTrait], current: Mapping[str, Landmark]
) -> dict[str, Any]:
    """The traits as arrays, their strings as term ids."""
    wanted = {Term(EVENT_NAMES, trait.event) for trait in traits}
    wanted |= {term for trait in traits for term in (*_condition_terms(trait), *_currency_terms(trait))}
    ids = find_terms(tx, wanted)
    return {
        "traits": [trait.key for trait in traits],
        "names": [ids.get(Term(EVENT_NAMES, trait.event), _NO_TERM) for trait in traits],
        "purposes": [trait.purpose for trait in traits],
        "masks": [trait.mask for trait in traits],
        "fields": [_place(trait, trait.field)[1] for trait in traits],
        "lists": [_place(trait, trait.field)[0] for trait in traits],
        "sums": [trait.kind is TraitKind.SUM for trait in traits],
        "lasts": [trait.kind is TraitKind.LAST and trait.field is not None for trait in traits],
        "half_lives": [trait.half_life_days for trait in traits],
        "landmarks": [current[trait.key].at if trait.half_life_days else None for trait in traits],
        "generations": [current[trait.key].generation if trait.half_life_days else NO_LANDMARK for trait in traits],
        "conditions": [_conditions(trait, ids) for trait in traits],
        **_money_params(traits, ids),
    }


def _money_params(traits: Sequence[CompiledTrait], ids: Mapping[Term, int]) -> dict[str, Any]:
    """How each trait adds up money, and the rates by currency.

    A code that no message named has no term: the id `_NO_TERM` stands for the currency of amounts without one.
    """
    adding = {trait.money.vocabulary: trait for trait in traits if trait.money is not None}
    steps = [
        (currency, begins, float(rate))
        for trait in adding.values()
        for code, dated in (trait.money.rates.steps.items() if trait.money is not None else ())
        if (currency := _currency_id(trait, code, ids)) is not None
        for begins, rate in zip(*dated, strict=True)
    ]
    return {
        "currencies": [None if trait.money is None else trait.money.currency for trait in traits],
        "counts_all": [trait.money is None or trait.money.only is None for trait in traits],
        "only": [trait.money and _currency_id(trait, trait.money.only, ids) for trait in traits],
        "unstated": [trait.money and _currency_id(trait, trait.money.rates.unstated, ids) for trait in traits],
        "rate_currencies": [currency for currency, _, _ in steps],
        "rate_begins": [begins for _, begins, _ in steps],
        "rates": [rate for _, _, rate in steps],
    }


def _currency_id(trait: CompiledTrait, code: str | None, ids: Mapping[Term, int]) -> int | None:
    if trait.money is None or code is None:
        return None
    return ids.get(_currency_term(trait, code), _NO_TERM if code == trait.money.rates.unstated else None)


def _currency_term(trait: CompiledTrait, code: str) -> Term:
    assert trait.money is not None
    return Term(trait.money.vocabulary, code)


def _currency_terms(trait: CompiledTrait) -> list[Term]:
    if trait.money is None:
        return []
    codes = {*trait.money.rates.steps, trait.money.rates.unstated, trait.money.only}
    return [_currency_term(trait, code) for code in codes if code is not None]


def _condition_terms(trait: CompiledTrait) -> list[Term]:
    return [
        Term(trait.vocabularies[name], str(allowed))
        for name, values in trait.where.items()
        if name in trait.vocabularies
        for _, allowed in values
    ]


def _place(trait: CompiledTrait, name: str | None) -> tuple[str | None, str | None]:
    """The list and the field of a name; the list is None for a property of the event itself."""
    return trait.lists.get(name or "", (None, name))


def _conditions(trait: CompiledTrait, ids: Mapping[Term, int]) -> str:
    """`where` as JSON: the place and the stored forms that are allowed, for each name."""
    conditions = []
    for name, values in trait.where.items():
        of_list, field = _place(trait, name)
        vocabulary = trait.vocabularies.get(name)
        allowed = [
            one if vocabulary is None else ids.get(Term(vocabulary, str(one)), _NO_TERM)
            for _, one in sorted(values, key=repr)
        ]
        conditions.append({"list": of_list, "field": field, "allowed": allowed})
    return dumps(conditions)
