"""Use case: what a policy would exclude, delete, reveal or permit, in numbers, before it is applied.

It computes what applying it would compute, in one read-only transaction, so that all numbers are of one instant.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from cdp.audit.store import sweep as fact_sweep_store
from cdp.behavior.retention import horizon
from cdp.behavior.store import impact as behavior_impact_store
from cdp.behavior.store import sweep as behavior_sweep_store
from cdp.behavior.store.impact import LostPurpose
from cdp.consent.model import Verdict
from cdp.consent.store import verdicts as verdict_store
from cdp.consent.store.projection import bits_of
from cdp.destinations.store import impact as delivery_impact_store
from cdp.destinations.store import sweep as outbox_sweep_store
from cdp.flows.consent.verdicts import current_verdicts
from cdp.flows.context import Context
from cdp.flows.operations.policy_activation import validities_changed_by
from cdp.flows.operations.retention_restricted import restricted_anchors
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.kit.db import Transaction
from cdp.kit.ids import encode_id
from cdp.policy.model import Policy
from cdp.rights.store import sweep as request_sweep_store
from cdp.segments.store import impact as segment_impact_store
from cdp.segments.store import sweep as segment_sweep_store

_PROFILES_AT_ONCE: Final = 1_000
_EXAMPLES_MAX: Final = 3

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


class Effect(StrEnum):
    """What happens to something when the policy is applied."""

    EXCLUDE = "exclude"
    """It is no longer used for the purpose."""
    DELETE = "delete"
    """It is gone at once, or with the next sweep."""
    REVEAL = "reveal"
    """It becomes readable, though it was collected before."""
    PERMIT = "permit"
    """People become eligible, for data from the start of their permission on."""


@dataclass(frozen=True, slots=True)
class Impact:
    """One number: how many of what, of which purpose, class or segment (`scope`); ids of some profiles concerned."""

    effect: Effect
    what: str
    scope: str
    number: int
    examples: tuple[str, ...] = ()


def measure_impact(
    context: Context, policy: Policy, *, progress: Callable[[int, int], None] | None = None
) -> list[Impact]:
    """What applying a valid policy now would do. `progress` is called with the number of profiles decided so far, and 0 for how many there are."""
    now = context.clock.now()
    with context.database.transaction(read_only=True) as tx:
        found = _Verdicts(context.policy, policy, bits_of(tx), now, validities_changed_by(tx, policy))
        found.read(tx, progress)
        impacts = [
            *found.people(),
            *found.data(tx),
            *_coverage(tx, context.policy, policy, masks=bits_of(tx)),
            *_retention(tx, context.policy, policy, now=now),
            *_computed_traits(tx, context.policy, policy),
        ]
    return [impact for impact in impacts if impact.number]


def deletes(impacts: Sequence[Impact]) -> bool:
    """Whether anything is deleted, or anybody excluded, whose data is deleted in consequence."""
    return any(impact.effect in (Effect.DELETE, Effect.EXCLUDE) for impact in impacts)


@dataclass(slots=True)
class _Verdicts:
    """The profiles that lose or gain each purpose under the new policy."""

    old: Policy
    new: Policy
    masks: Mapping[str, int]
    now: datetime
    validities: Mapping[str, int | None]
    lost: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    shortened: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    ending: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    gained: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    pairs: list[LostPurpose] = field(default_factory=list)

    def read(self, tx: Transaction, progress: Callable[[int, int], None] | None) -> None:
        """Decide about every profile under the new policy, and compare with the verdicts in force."""
        after, total = 0, 0
        while profile_ids := consent_subject_store.next_profiles(tx, after, _PROFILES_AT_ONCE):
            stored = verdict_store.permitted_of(tx, profile_ids)
            for profile_id, verdicts in self._decided(tx, profile_ids).items():
                in_force = stored.get(profile_id, {})
                for purpose in in_force.keys() - verdicts.keys():
                    self._lose(profile_id, purpose)
                for purpose, verdict in verdicts.items():
                    before = in_force.get(purpose)
                    if before is None and verdict.allowed:
                        self.gained[purpose].append(profile_id)
                    elif before is not None and not verdict.allowed:
                        self._lose(profile_id, purpose)
                    elif before is not None and verdict.since is not None and verdict.since > before.since:
                        self.shortened[purpose].append(profile_id)
                        self.pairs.append(LostPurpose(profile_id, purpose, self.masks[purpose], verdict.since))
                    if before is not None and verdict.allowed and _ends_before(verdict.until, before.until):
                        self.ending[purpose].append(profile_id)
            after, total = profile_ids[-1], total + len(profile_ids)
            if progress is not None:
                progress(total, 0)

    def _decided(self, tx: Transaction, profile_ids: Sequence[int]) -> Mapping[int, Mapping[str, Verdict]]:
        return current_verdicts(tx, self.new, profile_ids, now=self.now, validities=self.validities)

    def _lose(self, profile_id: int, purpose: str) -> None:
        self.lost[purpose].append(profile_id)
        self.pairs.append(LostPurpose(profile_id, purpose, self.masks[purpose], self.now))

    def people(self) -> Iterator[Impact]:
        """How many people each purpose loses and gains."""
        for effect, what, by_purpose in (
            (Effect.EXCLUDE, "people", self.lost),
            (Effect.EXCLUDE, "people whose permission begins later", self.shortened),
            (Effect.EXCLUDE, "people whose permission ends earlier", self.ending),
            (Effect.PERMIT, "people", self.gained),
        ):
            for purpose, profile_ids in sorted(by_purpose.items()):
                examples = tuple(encode_id("prf", profile_id) for profile_id in profile_ids[:_EXAMPLES_MAX])
                yield Impact(effect, what, purpose, len(profile_ids), examples)

    def data(self, tx: Transaction) -> Iterator[Impact]:
        """What the people who lose a purpose lose with it."""
        rows = behavior_impact_store.lost_data(tx, self.pairs)
        for what, excluded in (("events", rows.excluded_events), ("stated traits", rows.excluded_traits)):
            for purpose, number in sorted(excluded.items()):
                yield Impact(Effect.EXCLUDE, what, purpose, number)
        for class_, number in sorted(rows.deleted_events.items()):
            yield Impact(Effect.DELETE, "events without another purpose", class_, number)
        yield Impact(Effect.DELETE, "stated traits without another purpose", "traits", rows.deleted_traits)
        for purpose, profile_ids in sorted(self.lost.items()):
            for key, number in sorted(segment_impact_store.memberships_lost(tx, profile_ids, purpose).items()):
                yield Impact(Effect.EXCLUDE, "memberships", key, number)
            recipients = [key for key, to in self.old.destinations.destinations.items() if to.purpose == purpose]
            waiting = delivery_impact_store.deliveries_waiting(tx, profile_ids, recipients)
            for key, number in sorted(waiting.items()):
                yield Impact(Effect.EXCLUDE, "deliveries that wait", key, number)


def _ends_before(until: datetime | None, before: datetime | None) -> bool:
    return until is not None and (before is None or until < before)


def _coverage(tx: Transaction, old: Policy, new: Policy, *, masks: Mapping[str, int]) -> Iterator[Impact]:
    """Stored events and traits that a purpose no longer includes, or newly does."""
    for key in old.purposes.keys() & new.purposes.keys() & masks.keys():
        events_left = _covered_events(old, key) - _covered_events(new, key)
        if events_left:
            number = behavior_impact_store.events_named(tx, sorted(events_left), masks[key])
            yield Impact(Effect.EXCLUDE, "events no longer covered", key, number)
        before, after = _allowed_traits(old, key), _allowed_traits(new, key)
        for effect, names in ((Effect.EXCLUDE, before - after), (Effect.REVEAL, after - before)):
            if names:
                number = behavior_impact_store.traits_named(tx, sorted(names), masks[key])
                yield Impact(effect, "stated traits by their category", key, number)


def _covered_events(policy: Policy, key: str) -> set[str]:
    purpose = policy.purposes[key]
    return {
        name
        for name in policy.events.events
        if purpose.covers(name) and purpose.allows(policy.events.category_of(name))
    }


def _allowed_traits(policy: Policy, key: str) -> set[str]:
    purpose = policy.purposes[key]
    return {name for name, plan in policy.events.traits.items() if purpose.allows(plan.category)}


def _retention(tx: Transaction, old: Policy, new: Policy, *, now: datetime) -> Iterator[Impact]:
    """Rows that expire by a shorter period, and events that a longer one makes readable again until they are swept."""
    for key, rule in new.retention.classes.items():
        before = old.retention.classes.get(key)
        if before is None or before.keep_for_days == rule.keep_for_days:
            continue
        was, will_be = horizon(now, before.keep_for_days), horizon(now, rule.keep_for_days)
        if will_be > was:
            expiring = behavior_impact_store.events_between(
                tx, key, after=was, until=will_be, without=restricted_anchors(tx)
            )
            yield Impact(Effect.DELETE, "events past their retention", key, expiring)
        else:
            again = behavior_impact_store.events_between(tx, key, after=will_be, until=was)
            yield Impact(Effect.REVEAL, "expired events not yet swept", key, again)
    for kind, (what, count) in _EXPIRING.items():
        days = [getattr(policy.retention, kind).keep_for_days for policy in (old, new)]
        if days[1] < days[0]:
            number = count(tx, horizon(now, days[1])) - count(tx, horizon(now, days[0]))
            yield Impact(Effect.DELETE, f"{what} past their retention", kind, number)


def _computed_traits(tx: Transaction, old: Policy, new: Policy) -> Iterator[Impact]:
    """Values of computed traits that end."""
    for key in sorted(old.traits.keys() - new.traits.keys()):
        yield Impact(
            Effect.DELETE, "values of a computed trait", key, behavior_impact_store.profiles_with_buckets(tx, key)
        )
