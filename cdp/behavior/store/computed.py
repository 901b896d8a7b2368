"""SQL that reads computed traits, and moves old buckets to the newest landmark."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime

from cdp.behavior.decay import rescaled
from cdp.behavior.model import Bucket, EventId, Plain
from cdp.behavior.retention import first_counted_day
from cdp.behavior.store.buckets import merge_buckets
from cdp.behavior.store.landmarks import half_lives_of, landmarks_of
from cdp.behavior.store.terms import texts_of
from cdp.behavior.traits import TraitPlan, value
from cdp.kit.db import Transaction

Values = dict[int, dict[str, Plain | None]]
"""Computed traits by profile and key."""


def buckets_of(
    tx: Transaction, plan: TraitPlan, profile_ids: Sequence[int], *, now: datetime
) -> dict[int, list[Bucket]]:
    """The counted buckets of each profile, over all its anchors, of traits whose purpose is permitted now.

    `last_plain` holds term ids.
    """
    rows = tx.execute(
        """
        SELECT c.profile_id, b.anchor_id, b.trait, b.day, b.generation, b.events, b.total, b.last_at, b.last_event_id,
               b.last_plain
        FROM unnest(%(traits)s::text[], %(purposes)s::text[], %(days)s::date[]) AS d(trait, purpose, first_day)
        JOIN consent.permitted p ON p.purpose = d.purpose AND p.profile_id = ANY(%(profiles)s)
             AND p.since <= %(now)s AND (p.until IS NULL OR p.until > %(now)s)
        JOIN identity.canonical c ON c.profile_id = p.profile_id
        JOIN behavior.bucket b ON b.anchor_id = c.anchor_id AND b.trait = d.trait AND b.day >= d.first_day
        """,
        {
            "traits": list(plan.by_key),
            "purposes": [trait.purpose for trait in plan.by_key.values()],
            "days": [first_counted_day(now, trait.window_days) for trait in plan.by_key.values()],
            "profiles": list(profile_ids),
            "now": now,
        },
    )
    found: dict[int, list[Bucket]] = defaultdict(list)
    for profile_id, anchor_id, trait, day, generation, events, total, last_at, last_event_id, last_plain in rows:
        found[profile_id].append(
            Bucket(anchor_id, trait, day, generation, events, total, last_at, EventId(last_event_id.bytes), last_plain)
        )
    return dict(found)


def computed_of(tx: Transaction, plan: TraitPlan, profile_ids: Sequence[int], *, now: datetime) -> Values:
    """Every computed trait of these profiles now, terms as texts; without events count and sum are 0, last is None."""
    generations = landmarks_of(tx, half_lives_of(plan))
    buckets = buckets_of(tx, plan, profile_ids, now=now)
    values = {
        profile_id: {
            key: value(trait, buckets.get(profile_id, ()), generations.get(key, {}), now=now)
            for key, trait in plan.by_key.items()
        }
        for profile_id in profile_ids
    }
    return _with_terms(tx, plan, values)


def move_landmarks(tx: Transaction, plan: TraitPlan, rows_max: int) -> int:
    """Rescale up to `rows_max` buckets of older generations to the newest landmark; returns how many."""
    half_lives = half_lives_of(plan)
    generations = landmarks_of(tx, half_lives)
    newest = {key: max(found.items())[1] for key, found in generations.items()}
    rows = tx.execute(
        """
        WITH old AS (
            SELECT b.anchor_id, b.trait, b.day, b.generation
            FROM behavior.bucket b
            JOIN unnest(%(traits)s::text[], %(generations)s::smallint[]) AS n(trait, generation)
              ON b.trait = n.trait AND b.generation < n.generation
            LIMIT %(rows_max)s
        )
        DELETE FROM behavior.bucket b USING old
        WHERE (b.anchor_id, b.trait, b.day, b.generation) = (old.anchor_id, old.trait, old.day, old.generation)
        RETURNING b.anchor_id, b.trait, b.day, b.generation, b.events, b.total, b.last_at, b.last_event_id
        """,
        {
            "traits": list(newest),
            "generations": [landmark.generation for landmark in newest.values()],
            "rows_max": rows_max,
        },
    )
    moved: dict[tuple[int, str, date], Bucket] = {}
    for anchor_id, trait, day, generation, events, total, last_at, last_event_id in rows:
        old = generations[trait].get(generation)
        total_now = 0.0 if old is None else rescaled(total, old.at, newest[trait].at, half_life_days=half_lives[trait])
        bucket = Bucket(
            anchor_id,
            trait,
            day,
            newest[trait].generation,
            events,
            total_now,
            last_at,
            EventId(last_event_id.bytes),
            None,
        )
        present = moved.get((anchor_id, trait, day))
        moved[anchor_id, trait, day] = bucket if present is None else _added(present, bucket)
    merge_buckets(tx, list(moved.values()), {})
    return len(rows)


def _added(one: Bucket, other: Bucket) -> Bucket:
    """The sum of two buckets of a decaying trait with the same key and generation."""
    latest = max(one, other, key=lambda bucket: (bucket.last_at, bucket.last_event_id))
    return Bucket(
        one.anchor_id,
        one.trait,
        one.day,
        one.generation,
        one.events + other.events,
        one.total + other.total,
        latest.last_at,
        latest.last_event_id,
        latest.last_plain,
    )


def _with_terms(tx: Transaction, plan: TraitPlan, values: Values) -> Values:
    """The same values with the texts of terms."""
    named = {key for key, trait in plan.by_key.items() if trait.field is not None and trait.field in trait.vocabularies}
    numbers = {
        number
        for traits in values.values()
        for key, number in traits.items()
        if key in named and isinstance(number, int)
    }
    if not numbers:
        return values
    texts = texts_of(tx, numbers)
    return {
        profile_id: {
            key: texts.get(found, found) if key in named and isinstance(found, int) else found
            for key, found in computed.items()
        }
        for profile_id, computed in values.items()
    }
