"""The consistency check: computed traits of a sample of profiles, from buckets and recomputed from their events."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from cdp.behavior.model import Discrepancy, EventId, Occurred
from cdp.behavior.store.computed import computed_of
from cdp.behavior.store.events import term_ids, with_texts
from cdp.behavior.store.terms import texts_of
from cdp.behavior.traits import CompiledTrait, TraitPlan, agree, gross, recompute
from cdp.kit.db import Transaction


def sampled_profiles(tx: Transaction, from_profile: int, profiles_max: int) -> list[int]:
    """The next profiles at or after a random id: ids are random, so consecutive ones are a fair sample."""
    rows = tx.execute(
        "SELECT DISTINCT profile_id FROM identity.canonical WHERE profile_id >= %(from_profile)s "
        "ORDER BY profile_id LIMIT %(profiles_max)s",
        {"from_profile": from_profile, "profiles_max": profiles_max},
    )
    return [profile_id for (profile_id,) in rows]


def check_computed(tx: Transaction, plan: TraitPlan, profile_ids: Sequence[int], *, now: datetime) -> list[Discrepancy]:
    """The computed traits of these profiles that differ from their full recomputation; there should be none."""
    stored = computed_of(tx, plan, profile_ids, now=now)
    occurred = _occurred(tx, plan, profile_ids, now=now)
    found = []
    for profile_id, values in stored.items():
        for key, trait in plan.by_key.items():
            events = occurred.get((profile_id, trait.purpose), ())
            recomputed = recompute(trait, events, now)
            if not agree(values[key], recomputed, gross(trait, events, now)):
                found.append(Discrepancy(profile_id, key, values[key], recomputed))
    return found


def _occurred(
    tx: Transaction, plan: TraitPlan, profile_ids: Sequence[int], *, now: datetime
) -> Mapping[tuple[int, str], list[Occurred]]:
    """The events of each profile that may count for each purpose permitted now."""
    purposes = {trait.purpose: trait.mask for trait in plan.by_key.values()}
    rows = tx.execute(
        """
        SELECT c.profile_id, m.purpose, e.anchor_id, e.event_id, e.occurred_at, e.bits, n.term, e.plain
        FROM unnest(%(purposes)s::text[], %(masks)s::bigint[]) AS m(purpose, mask)
        JOIN consent.permitted p ON p.purpose = m.purpose AND p.profile_id = ANY(%(profiles)s)
             AND p.since <= %(now)s AND (p.until IS NULL OR p.until > %(now)s)
        JOIN identity.canonical c ON c.profile_id = p.profile_id
        JOIN behavior.event e ON e.anchor_id = c.anchor_id AND e.occurred_at >= p.since AND e.bits & m.mask <> 0
        JOIN behavior.term n ON n.term_id = e.name_id
        """,
        {
            "purposes": list(purposes),
            "masks": list(purposes.values()),
            "profiles": list(profile_ids),
            "now": now,
        },
    )
    vocabularies = _vocabularies(plan.by_key.values())
    numbers = {number for *_, name, plain in rows for number in term_ids(plain, vocabularies[name])}
    texts = texts_of(tx, numbers) if numbers else {}
    found: dict[tuple[int, str], list[Occurred]] = defaultdict(list)
    for profile_id, purpose, anchor_id, event_id, occurred_at, bits, name, plain in rows:
        event = Occurred(
            anchor_id, EventId(event_id.bytes), occurred_at, bits, name, with_texts(plain, vocabularies[name], texts)
        )
        found[profile_id, purpose].append(event)
    return found


def _vocabularies(traits: Iterable[CompiledTrait]) -> Mapping[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for trait in traits:
        found[trait.event].update(trait.vocabularies)
    return found
