"""A random population for segments: a policy with a field of every kind, and random histories under it.

Histories are plain values for the interpreter, and `load` puts the very same ones into PostgreSQL.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from cdp.behavior.retention import month_of
from cdp.behavior.store.buckets import recompute_buckets
from cdp.behavior.store.landmarks import current_landmarks
from cdp.behavior.store.partitions import ensure_partitions
from cdp.behavior.traits import compile_traits
from cdp.consent.store import projection as projection_store
from cdp.kit.db import Database, Transaction
from cdp.policy.model import Keep, Policy, PropertyPlan, PropertyType
from cdp.query.language.catalogue import Catalogue, Definition
from cdp.query.language.parse import parse
from cdp.query.language.rejection import Rejection
from cdp.query.reference.history import EventRecord, PermittedSpan, Profile, StatedValue
from tests.support.policies import changed, combining, shipped

NOW = datetime(2026, 6, 1, 12, 34, 56, tzinfo=UTC)
PURPOSE = "email_marketing"
OTHER = "analytics"
ORDER, VIEW, TRIAL = "Order Completed", "Product Viewed", "Trial"
LINES = "lines"
REFUND, CANCEL = TAKING_BACK = "Order Refunded", "Order Cancelled"
ORDERS = ("1001", "1002", "1003", "1004")
COUNTRIES = ("DE", "FR", "GB")
CATEGORIES = ("shoes", "sho", "hats")
CHANNELS = ("email", "web", "app")
CURRENCIES = ("EUR", "GBP", "USD", "CHF")
RATES = {"GBP": {"2025-01-01": 1.16, "2026-05-20": 1.25}, "USD": {"2026-04-01": 0.9}}
"""Of the pound from before the histories begin, of the dollar from within them, of the franc never."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEHAVIOR = "user.behavior.purchase_history"


def policy() -> Policy:
    """The shipped policy with an event of every property type, computed traits of every kind, and purposes to combine."""
    plan = {
        "flag": {"type": "boolean", "keep": "plain"},
        "due": {"type": "instant", "keep": "plain"},
        "score": {"type": "number", "keep": "plain"},
        "channel": {"type": "string", "keep": "plain", "vocabulary": "channel"},
        "secret": {"type": "string", "keep": "sealed"},
        "lines": {
            "type": "list",
            "keep": "plain",
            "fields": {
                "gift": {"type": "boolean", "keep": "plain"},
                "ready": {"type": "instant", "keep": "plain"},
                "amount": {"type": "number", "keep": "plain"},
                "channel": {"type": "string", "keep": "plain", "vocabulary": "channel"},
                "secret": {"type": "string", "keep": "sealed"},
            },
        },
    }
    trial = {"retention_class": "system", "category": "user.behavior", "properties": plan}
    with_rates = changed(combining(shipped(), PURPOSE, OTHER), "currencies.yaml", rates=RATES)
    with_event = changed(with_rates, "events.yaml", events={TRIAL: trial})
    base = {"purpose": PURPOSE, "category": _BEHAVIOR}
    return changed(
        with_event,
        "traits.yaml",
        traits={
            "trials": {**base, "kind": "count", "event": TRIAL, "where": {"flag": [True], "channel": ["web", "app"]}},
            "scores": {**base, "kind": "sum", "event": TRIAL, "property": "score", "within_days": 30},
            "fading_trials": {**base, "kind": "count", "event": TRIAL, "half_life_days": 5},
            "fading_scores": {**base, "kind": "sum", "event": TRIAL, "property": "score", "half_life_days": 3},
            "lines": {
                **base,
                "kind": "sum",
                "event": TRIAL,
                "property": "lines.amount",
                "where": {"lines.channel": ["web"]},
            },
            "gifts": {
                **base,
                "kind": "count",
                "event": TRIAL,
                "where": {"lines.gift": [True], "lines.amount": [1, 2.5]},
            },
            "last_trial_at": {**base, "kind": "last", "event": TRIAL},
            "last_flag": {**base, "kind": "last", "event": TRIAL, "property": "flag"},
            "last_due": {**base, "kind": "last", "event": TRIAL, "property": "due"},
            "last_score": {**base, "kind": "last", "event": TRIAL, "property": "score"},
            "last_channel": {**base, "kind": "last", "event": TRIAL, "property": "channel"},
        },
    )


def condition_of(text: str) -> Any:
    """The condition of a text that must be valid."""
    condition = parse(text)
    assert not isinstance(condition, Rejection), condition.pointed(text)
    return condition


def catalogue() -> Catalogue:
    """The catalogue with some segments to refer to, one of another purpose, one that refers on."""
    texts = {
        "buyers": (PURPOSE, f'did("{ORDER}", within 90 days)'),
        "visitors": (OTHER, f'count("{VIEW}") >= 2 or trait.country = "DE"'),
        "both": (PURPOSE, 'in segment "buyers" and not in segment "visitors"'),
    }
    definitions = {key: Definition(purpose, condition_of(text)) for key, (purpose, text) in texts.items()}
    return Catalogue(policy(), definitions)


@dataclass(frozen=True)
class Population:
    """Profiles as the interpreter sees them, with the anchors that their events lie on."""

    profiles: tuple[Profile, ...]
    anchors: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def random_population(seed: int, size: int) -> Population:
    """A random population; the same for the same seed."""
    rng = random.Random(seed)
    ids = [rng.randrange(1, 2**63) for _ in range(size)]
    profiles = tuple(_profile(rng, profile_id) for profile_id in ids)
    return Population(
        profiles, {profile_id: tuple(rng.randrange(1, 2**63) for _ in range(rng.randint(1, 3))) for profile_id in ids}
    )


def _profile(rng: random.Random, profile_id: int) -> Profile:
    permitted = {purpose: _permitted(rng) for purpose in (PURPOSE, OTHER) if rng.random() < 0.85}
    return Profile(
        profile_id,
        permitted,
        {purpose: _traits(rng) for purpose in permitted},
        tuple(_event(rng) for _ in range(rng.choice((0, 1, 2, 4, 8, 12)))),
        rng.randbytes(16),
    )


def _permitted(rng: random.Random) -> PermittedSpan:
    since = rng.choice((None, None, NOW - timedelta(days=300), NOW - timedelta(days=20), NOW, NOW + timedelta(days=1)))
    until = rng.choice((None, None, None, NOW + timedelta(days=5), NOW, NOW - timedelta(days=1)))
    return PermittedSpan(since, until if since is None or until is None or since < until else None)


def _traits(rng: random.Random) -> dict[str, StatedValue]:
    every: dict[str, StatedValue] = {
        "age": rng.choice((17, 18, 30, 30.5, 65)),
        "country": rng.choice(COUNTRIES),
        "vip": rng.random() < 0.5,
        "createdAt": _instant(rng, 400),
        "plan": rng.choice(("free", "gold", "gold plus")),
    }
    return {name: value for name, value in every.items() if rng.random() < 0.7}


def _instant(rng: random.Random, days: int) -> datetime:
    """Often a boundary: midnight in the policy's zone or in UTC, a whole number of days ago, now itself."""
    whole = NOW - timedelta(days=rng.randint(0, days))
    midnight = whole.replace(hour=0, minute=0, second=0)
    exact = rng.choice((whole, whole, midnight, midnight - timedelta(hours=1), midnight - timedelta(hours=2), NOW))
    return exact - timedelta(microseconds=1) if rng.random() < 0.1 else exact


def _event(rng: random.Random) -> EventRecord:
    name = rng.choice((ORDER, ORDER, REFUND, CANCEL, VIEW, TRIAL, TRIAL))
    purposes = frozenset(purpose for purpose in (PURPOSE, OTHER) if rng.random() < 0.85) or frozenset({OTHER})
    values: dict[str, StatedValue]
    if name == TRIAL:
        values = {
            "flag": rng.random() < 0.5,
            "due": _instant(rng, 60),
            "score": rng.choice((-2, 0, 1, 2.5, 10, 0.1)),
            "channel": rng.choice(CHANNELS),
        }
    elif name in TAKING_BACK:
        values = {
            "revenue": rng.choice((5, -5, 19.99, 300)),
            "tax": 1,
            "currency": rng.choice(CURRENCIES),
            "order_id": rng.choice(ORDERS),
        }
        values = {key: value for key, value in values.items() if key != "tax" or rng.random() < 0.2}
    else:
        values = {
            "revenue" if name == ORDER else "price": rng.choice((5, 19.99, 100, 250.5, -20)),
            "category": rng.choice(CATEGORIES),
            "currency": rng.choice(CURRENCIES),
        }
        if name == ORDER:
            values["order_id"] = rng.choice(ORDERS)
    properties = {key: value for key, value in values.items() if rng.random() < 0.8}
    at = _instant(rng, rng.choice((3, 40, 100, 400)))
    lists = {LINES: tuple(_line(rng) for _ in range(rng.choice((0, 1, 1, 2, 3))))}
    has_lists = name == TRIAL and rng.random() < 0.8
    return EventRecord(name, at, purposes, properties, str(UUID(int=rng.getrandbits(128))), lists if has_lists else {})


def _line(rng: random.Random) -> dict[str, StatedValue]:
    every: dict[str, StatedValue] = {
        "gift": rng.random() < 0.5,
        "ready": _instant(rng, 60),
        "amount": rng.choice((-2, 0, 1, 2.5, 10, 0.1)),
        "channel": rng.choice(CHANNELS),
    }
    return {name: value for name, value in every.items() if rng.random() < 0.7}


# --- into PostgreSQL ------------------------------------------------------------------------------


def load(database: Database, populations: Iterable[Population], catalogue_: Catalogue) -> Mapping[str, int]:
    """Put populations into an empty store; returns the masks of the purposes."""
    populations = list(populations)
    profiles = [profile for population in populations for profile in population.profiles]
    anchors = {profile_id: found for population in populations for profile_id, found in population.anchors.items()}
    of_policy = catalogue_.policy
    classes = {name: plan.retention_class for name, plan in of_policy.events.events.items()}
    needed = {(classes[event.name], month_of(event.occurred_at)) for profile in profiles for event in profile.events}
    ensure_partitions(database, needed)
    with database.transaction() as tx:
        masks = projection_store.prepare_purposes(tx, list(of_policy.purposes), NOW)
        terms = _intern(tx, profiles, of_policy)
        _copy_people(tx, profiles, anchors, terms, of_policy)
        _copy_events(tx, profiles, anchors, masks, terms, of_policy)
        plan = compile_traits(of_policy, masks)
        current_landmarks(tx, plan, NOW - timedelta(days=100))
        recompute_buckets(tx, plan, [anchor for found in anchors.values() for anchor in found], now=NOW)
        for table in ("consent.permitted", "behavior.event", "behavior.bucket", "identity.canonical"):
            tx.raw.execute(f"ANALYZE {table}")
    return masks


def _plans(policy_: Policy, name: str, properties: Mapping[str, StatedValue]) -> Mapping[str, PropertyPlan]:
    plan = policy_.events.events[name]
    return {key: plan.properties[key] for key in properties}


def _entry_plans(policy_: Policy, name: str, of: str) -> Mapping[str, PropertyPlan]:
    return policy_.events.events[name].properties[of].fields


def _intern(tx: Transaction, profiles: Sequence[Profile], policy_: Policy) -> Mapping[tuple[str, str], int]:
    wanted: set[tuple[str, str]] = set()
    for profile in profiles:
        for event in profile.events:
            wanted.add(("event", event.name))
            plans = _plans(policy_, event.name, event.properties)
            wanted |= {
                (plan.vocabulary or "", str(event.properties[key]))
                for key, plan in plans.items()
                if plan.type is PropertyType.STRING and plan.keep is Keep.PLAIN
            }
            wanted |= {
                (_entry_plans(policy_, event.name, of)[key].vocabulary or "", value)
                for of, entries in event.lists.items()
                for entry in entries
                for key, value in entry.items()
                if isinstance(value, str)
            }
        for traits in profile.traits.values():
            wanted |= {
                (policy_.events.traits[key].vocabulary or "", value)
                for key, value in traits.items()
                if isinstance(value, str)
            }
    rows = tx.execute(
        "INSERT INTO behavior.term (vocabulary, term) SELECT * FROM unnest(%(vocabularies)s::text[], %(terms)s::text[]) "
        "RETURNING vocabulary, term, term_id",
        {
            "vocabularies": [vocabulary for vocabulary, _ in sorted(wanted)],
            "terms": [text for _, text in sorted(wanted)],
        },
    )
    return {(vocabulary, text): number for vocabulary, text, number in rows}


def _stored(value: StatedValue, plan: PropertyPlan, terms: Mapping[tuple[str, str], int]) -> Any:
    if plan.keep is not Keep.PLAIN:
        return int(str(value)) * 10**12  # as large as a digest
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    return terms[plan.vocabulary or "", value] if isinstance(value, str) else value


def _copy_people(
    tx: Transaction,
    profiles: Sequence[Profile],
    anchors: Mapping[int, tuple[int, ...]],
    terms: Mapping[tuple[str, str], int],
    policy_: Policy,
) -> None:
    tx.copy(
        "identity.canonical",
        ("anchor_id", "profile_id"),
        ("int8", "int8"),
        rows=[(anchor, profile_id) for profile_id, found in anchors.items() for anchor in found],
    )
    for sequence, profile in enumerate(profiles, 1):
        tx.execute(
            "INSERT INTO identity.profile (profile_id, origin_sequence, created_at, salt) "
            "VALUES (%(id)s, %(at)s, %(now)s, %(salt)s)",
            {"id": profile.profile_id, "at": sequence, "now": NOW, "salt": profile.salt},
        )
        for purpose, permitted in profile.permitted.items():
            stated = profile.traits.get(purpose, {})
            traits = {key: _stored(value, policy_.events.traits[key], terms) for key, value in stated.items()}
            tx.execute(
                "INSERT INTO consent.permitted (profile_id, purpose, since, until, reader_pseudonym, traits) VALUES "
                "(%(profile)s, %(purpose)s, coalesce(%(since)s::timestamptz, '-infinity'), %(until)s, %(reader)s, %(traits)s)",
                {
                    "profile": profile.profile_id,
                    "purpose": purpose,
                    "since": permitted.since,
                    "until": permitted.until,
                    "reader": f"reader-{profile.profile_id:020d}",
                    "traits": Jsonb(traits),
                },
            )


def _copy_events(
    tx: Transaction,
    profiles: Sequence[Profile],
    anchors: Mapping[int, tuple[int, ...]],
    masks: Mapping[str, int],
    terms: Mapping[tuple[str, str], int],
    policy_: Policy,
) -> None:
    rows = []
    for profile in profiles:
        for at, event in enumerate(profile.events):
            plans = _plans(policy_, event.name, event.properties)
            plain = {
                key if plans[key].keep is Keep.PLAIN else f"#{key}": _stored(value, plans[key], terms)
                for key, value in event.properties.items()
            }
            if event.name in TAKING_BACK and not any(plan.currency for plan in plans.values()):
                plain["#in_full"] = True
            plain |= {
                key: [
                    {
                        field: _stored(value, _entry_plans(policy_, event.name, key)[field], terms)
                        for field, value in entry.items()
                    }
                    for entry in entries
                ]
                for key, entries in event.lists.items()
            }
            held = anchors[profile.profile_id]
            rows.append(
                (
                    held[at % len(held)],
                    event.occurred_at,
                    UUID(event.event_id),
                    policy_.events.class_of(event.name),
                    event.occurred_at,
                    1,
                    terms["event", event.name],
                    sum(masks[purpose] for purpose in event.purposes),
                    Jsonb(plain) if plain else None,
                    b"",
                )
            )
    columns = (
        "anchor_id", "occurred_at", "event_id", "retention_class", "received_at", "source_id", "name_id", "bits", "plain",
        "sealed",
    )  # fmt: skip
    types = ("int8", "timestamptz", "uuid", "text", "timestamptz", "int4", "int4", "int8", "jsonb", "bytea")
    tx.copy("behavior.event", columns, types, rows=rows)
