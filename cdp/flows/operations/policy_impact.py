"""Use case: what a policy would exclude, delete, reveal or permit, in numbers, before it is applied.

It computes what applying it would compute, in one read-only transaction, so that all numbers are of one instant.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cdp.behavior.retention import horizon
from cdp.behavior.store import impact as behavior_impact_store
from cdp.behavior.store.impact import LostPurpose
from cdp.behavior.store.traits import PlannedSince, planned_traits_of
from cdp.consent.model import Verdict
from cdp.consent.store import verdicts as verdict_store
from cdp.consent.store.planned import PlannedProjection
from cdp.consent.store.projection import bits_of
from cdp.consent.store.verdicts import PermittedVerdict
from cdp.destinations.store import impact as delivery_impact_store
from cdp.flows.consent.verdicts import current_verdicts
from cdp.flows.context import Context
from cdp.flows.operations.policy_activation import validities_changed_by
from cdp.flows.operations.policy_effects import Effect, Impact, examples_of
from cdp.flows.operations.policy_retention import retention_impacts
from cdp.flows.operations.policy_segments import segment_impacts
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.kit.db import Transaction
from cdp.policy.model import Policy

_PROFILES_AT_ONCE: Final = 1_000
_READ: Final = "people read by a role"
_DELETING: Final = frozenset({Effect.DELETE, Effect.EXCLUDE, Effect.SHORTEN, Effect.UNKNOWN})


def measure_impact(
    context: Context, policy: Policy, *, progress: Callable[[int, int], None] | None = None
) -> list[Impact]:
    """What applying a valid policy now would do.

    `progress` is called with the number of profiles decided so far, and 0 for how many there are. Raises the fault
    `segment_in_use`.
    """
    now = context.clock.now()
    with context.database.transaction(read_only=True) as tx:
        found = _Verdicts(context.policy, policy, bits_of(tx), now, validities_changed_by(tx, policy))
        found.read(tx, progress)
        impacts = [
            *found.people(),
            *found.readers(),
            *found.data(tx),
            *_coverage(tx, context.policy, policy, masks=bits_of(tx)),
            *retention_impacts(tx, context.policy, policy, now=now),
            *_computed_traits(tx, context.policy, policy),
            *_destinations(tx, context.policy, policy),
            *segment_impacts(tx, context.policy, policy, projections=found.projections, now=now),
        ]
    return [impact for impact in impacts if impact.number]


def deletes(impacts: Sequence[Impact]) -> bool:
    """Whether anything is deleted, or a permission ended or shortened, so that data is deleted in consequence."""
    return any(impact.effect in _DELETING for impact in impacts)


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
    projections: list[PlannedProjection] = field(default_factory=list)
    permitted: Counter[str] = field(default_factory=Counter)
    permitted_then: Counter[str] = field(default_factory=Counter)

    def read(self, tx: Transaction, progress: Callable[[int, int], None] | None) -> None:
        """Decide about every profile under the new policy, and compare with the verdicts in force."""
        after, total = 0, 0
        while profile_ids := consent_subject_store.next_profiles(tx, after, _PROFILES_AT_ONCE):
            stored = verdict_store.permitted_of(tx, profile_ids)
            decided = self._decided(tx, profile_ids)
            for profile_id, verdicts in decided.items():
                self._compare(profile_id, stored.get(profile_id, {}), verdicts)
                self.permitted.update(stored.get(profile_id, {}).keys())
                self.permitted_then.update(purpose for purpose, verdict in verdicts.items() if verdict.allowed)
            self._plan(tx, decided, stored)
            after, total = profile_ids[-1], total + len(profile_ids)
            if progress is not None:
                progress(total, 0)

    def _compare(
        self, profile_id: int, in_force: Mapping[str, PermittedVerdict], verdicts: Mapping[str, Verdict]
    ) -> None:
        for purpose in in_force.keys() - verdicts.keys():
            self._lose(profile_id, purpose)
        for purpose, verdict in verdicts.items():
            before = in_force.get(purpose)
            if before is None and verdict.allowed:
                self.gained[purpose].append(profile_id)
            elif before is not None and not verdict.allowed:
                self._lose(profile_id, purpose)
            elif before is not None and verdict.since is not None:
                if verdict.since > before.since:
                    self.shortened[purpose].append(profile_id)
                    self.pairs.append(LostPurpose(profile_id, purpose, self.masks[purpose], verdict.since))
                if _ends_before(verdict.until, before.until):
                    self.ending[purpose].append(profile_id)

    def _plan(
        self,
        tx: Transaction,
        decided: Mapping[int, Mapping[str, Verdict]],
        stored: Mapping[int, Mapping[str, PermittedVerdict]],
    ) -> None:
        """Note the permissions that would be stored otherwise, with the stated traits that their purposes would read."""
        allowed = {key: _allowed_traits(self.new, key) for key in self.new.purposes}
        changed = {
            (profile_id, purpose): verdict
            for profile_id, verdicts in decided.items()
            for purpose, verdict in verdicts.items()
            if verdict.allowed and self._is_changed(verdict, stored.get(profile_id, {}).get(purpose), purpose)
        }
        expired_at = horizon(self.now, self.new.retention.traits.keep_for_days)
        stated = planned_traits_of(
            tx,
            [
                PlannedSince(profile_id, purpose, self.masks.get(purpose, 0), verdict.since)
                for (profile_id, purpose), verdict in changed.items()
                if verdict.since is not None
            ],
            expired_at=expired_at,
        )
        for (profile_id, purpose), verdict in changed.items():
            traits = {name: value for name, value in stated[profile_id, purpose].items() if name in allowed[purpose]}
            self.projections.append(PlannedProjection(profile_id, purpose, verdict.since, verdict.until, traits))

    def _is_changed(self, verdict: Verdict, before: PermittedVerdict | None, purpose: str) -> bool:
        if before is None or (before.since, before.until) != (verdict.since, verdict.until):
            return True
        return _allowed_traits(self.old, purpose) != _allowed_traits(self.new, purpose)

    def _decided(self, tx: Transaction, profile_ids: Sequence[int]) -> Mapping[int, Mapping[str, Verdict]]:
        return current_verdicts(tx, self.new, profile_ids, now=self.now, validities=self.validities)

    def _lose(self, profile_id: int, purpose: str) -> None:
        self.lost[purpose].append(profile_id)
        self.projections.append(PlannedProjection(profile_id, purpose, None, None, {}))
        self.pairs.append(LostPurpose(profile_id, purpose, self.masks[purpose], self.now))

    def people(self) -> Iterator[Impact]:
        """How many people each purpose loses and gains."""
        for effect, what, by_purpose in (
            (Effect.EXCLUDE, "people", self.lost),
            (Effect.SHORTEN, "people whose permission begins later", self.shortened),
            (Effect.SHORTEN, "people whose permission ends earlier", self.ending),
            (Effect.PERMIT, "people", self.gained),
        ):
            for purpose, profile_ids in sorted(by_purpose.items()):
                yield Impact(effect, what, purpose, len(profile_ids), examples_of(profile_ids))

    def readers(self) -> Iterator[Impact]:
        """How many people each reader role begins or ceases to read, for purposes that both policies have."""
        for role in sorted({*self.old.readers.names, *self.new.readers.names}):
            for key in sorted(self.old.purposes.keys() & self.new.purposes.keys()):
                was_read = self.old.readers.role(role).reads(self.old.purposes[key])
                is_read = self.new.readers.role(role).reads(self.new.purposes[key])
                if is_read and not was_read:
                    yield Impact(Effect.REVEAL, _READ, role, self.permitted_then[key], purpose=key)
                elif was_read and not is_read:
                    yield Impact(Effect.EXCLUDE, _READ, role, self.permitted[key], purpose=key)

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
            kept = self.new.destinations.destinations.keys()
            recipients = [
                key for key, to in self.old.destinations.destinations.items() if to.purpose == purpose and key in kept
            ]
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


def _computed_traits(tx: Transaction, old: Policy, new: Policy) -> Iterator[Impact]:
    """Values of computed traits that end."""
    for key in sorted(old.traits.keys() - new.traits.keys()):
        yield Impact(
            Effect.DELETE, "values of a computed trait", key, behavior_impact_store.profiles_with_buckets(tx, key)
        )


def _destinations(tx: Transaction, old: Policy, new: Policy) -> Iterator[Impact]:
    """What waits for destinations that end."""
    for key in sorted(old.destinations.destinations.keys() - new.destinations.destinations.keys()):
        number = delivery_impact_store.all_waiting(tx, key)
        yield Impact(Effect.EXCLUDE, "deliveries that wait for a destination that ends", key, number)
