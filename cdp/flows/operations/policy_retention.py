"""Steps that count what expires, and what becomes readable again, by the periods of another policy."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final

from cdp.audit.store import sweep as fact_sweep_store
from cdp.behavior.retention import horizon
from cdp.behavior.store import impact as behavior_impact_store
from cdp.behavior.store import sweep as behavior_sweep_store
from cdp.behavior.store.definitions import filing_of
from cdp.behavior.store.impact import EventsBetween
from cdp.consent.store.projection import bits_of
from cdp.destinations.store import sweep as outbox_sweep_store
from cdp.flows.operations.policy_effects import Effect, Impact
from cdp.flows.operations.retention_restricted import restricted_anchors
from cdp.kit.db import Transaction
from cdp.policy.model import Policy
from cdp.rights.store import sweep as request_sweep_store
from cdp.segments.store import sweep as segment_sweep_store

_UNPLANNED: Final = ""
"""The name of no planned event."""

_EXPIRING: Final[Mapping[str, tuple[str, Callable[[Transaction, datetime], int]]]] = {
    "traits": (
        "stated traits",
        lambda tx, at: behavior_sweep_store.count_expired_traits(tx, at, without=restricted_anchors(tx)),
    ),
    "memberships": ("membership changes", segment_sweep_store.count_expired_changes),
    "deliveries": ("deliveries", outbox_sweep_store.count_expired_deliveries),
    "requests": ("requests", request_sweep_store.count_expired_requests),
    "audit_salts": ("salts of the audit log", fact_sweep_store.count_expired_facts),
}
"""Kinds of rows whose retention rule has one number, with the count of those that have expired."""


def retention_impacts(tx: Transaction, old: Policy, new: Policy, *, now: datetime) -> Iterator[Impact]:
    """Rows that expire by a shorter period, and events that a longer one makes readable again until they are swept.

    Events have the period of the class of their name: that of a class changes for all its names, and a name can be moved to
    another class. An event that expires counts once for the class that ends it, and once for each purpose that used it.
    """
    yield from _events(tx, old, new, now=now)
    for kind, (what, count) in _EXPIRING.items():
        days = [getattr(policy.retention, kind).keep_for_days for policy in (old, new)]
        if days[1] < days[0]:
            number = count(tx, horizon(now, days[1])) - count(tx, horizon(now, days[0]))
            yield Impact(Effect.DELETE, f"{what} past their retention", kind, number)


def _events(tx: Transaction, old: Policy, new: Policy, *, now: datetime) -> Iterator[Impact]:
    classes = {name: event.retention_class for name, event in new.events.events.items()}
    filing = filing_of(tx, classes, new.events.unknown_class)
    expiring: Counter[str] = Counter()
    losing: Counter[str] = Counter()
    again: Counter[str] = Counter()
    for present, future in _classes_before_and_after(old, new):
        was = horizon(now, old.retention.classes[present].keep_for_days)
        will_be = horizon(now, new.retention.classes[future].keep_for_days)
        if will_be > was:
            between = EventsBetween(present, future, after=was, until=will_be)
            found = behavior_impact_store.events_filed(
                tx, between, filing, masks=bits_of(tx), without=restricted_anchors(tx)
            )
            expiring[future] += found.number
            losing.update(found.by_purpose)
        elif will_be < was:
            between = EventsBetween(present, future, after=will_be, until=was)
            again[future] += behavior_impact_store.events_filed(tx, between, filing, masks={}).number
    for effect, what, numbers in (
        (Effect.DELETE, "events past their retention", expiring),
        (Effect.EXCLUDE, "events past their retention", losing),
        (Effect.REVEAL, "expired events not yet swept", again),
    ):
        for scope, number in sorted(numbers.items()):
            yield Impact(effect, what, scope, number)


def _classes_before_and_after(old: Policy, new: Policy) -> list[tuple[str, str]]:
    """The class of each event name under both policies, that of unplanned names included; each pair once."""
    names = {*old.events.events, *new.events.events, _UNPLANNED}
    return sorted({(old.events.class_of(name), new.events.class_of(name)) for name in names})
