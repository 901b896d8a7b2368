"""Step that puts acts in force for every profile that they decide about.

An act about a shared identifier decides about every profile ever seen with it, which can be thousands. Deciding each of them
from its records holds the lock, and thereby ingest, for as long; a refusal that comes last needs one statement for all.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cdp.consent.last_refusal import can_be_overridden_before, last_refusal
from cdp.consent.model import Record
from cdp.consent.store import last_refusals as refusal_store
from cdp.flows.consent.verdicts import delete_derived_data, refresh_verdicts
from cdp.identity.store import anchors as anchor_store
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import profiles as profile_store
from cdp.kit.db import Transaction
from cdp.policy.model import Policy
from cdp.segments.store import marks as mark_store
from cdp.sources.store import sources as source_store

_DECIDED_MAX: Final = 200
"""So many profiles are decided from their records; the fixed cost of the other way is that of some fifty."""


def put_in_force(
    tx: Transaction, policy: Policy, acts: Collection[Record], *, now: datetime, but: Collection[int] = ()
) -> set[int]:
    """Put recorded acts, or refusals that were repeated, in force for all profiles that they decide about, `but` some.

    Gives the profiles whose verdicts were computed again or changed.
    """
    decided_by = consent_subject_store.decided_by_each(tx, {act.identifier_id for act in acts})
    affected = {profile_id for profiles in decided_by.values() for profile_id in profiles}.difference(but)
    if len(affected) <= _DECIDED_MAX:
        if affected:
            refresh_verdicts(tx, policy, profile_ids=affected, now=now)
        return affected
    decided: set[int] = set()
    changed: set[int] = set()
    undecided: dict[str, set[int]] = {}
    for act in acts:
        profiles: set[int] = decided_by.get(act.identifier_id, set()).difference(but)
        if len(profiles) <= _DECIDED_MAX or act.act.is_of_restriction:
            decided |= profiles
            continue
        crowd = _Crowd(tx, policy, act, now)
        decided |= crowd.under_another_law(profiles)
        if act.act.is_refusal:
            ended, unclear = crowd.refuse(profiles - decided)
            changed |= ended
            undecided.setdefault(act.purpose, set()).update(unclear)
    if decided:
        refresh_verdicts(tx, policy, profile_ids=decided, now=now)
    for purpose, others in undecided.items():
        if others:
            refresh_verdicts(tx, policy, profile_ids=others, now=now, purposes={purpose})
    return decided.union(changed, *undecided.values())


@dataclass(frozen=True, slots=True)
class _Crowd:
    """An act and the many profiles that it decides about."""

    tx: Transaction
    policy: Policy
    act: Record
    now: datetime

    def under_another_law(self, profiles: Collection[int]) -> set[int]:
        """The profiles for which the act may bring a jurisdiction, and thereby another model of consent for any purpose."""
        act = self.act
        if not refusal_store.is_first_in_jurisdiction(self.tx, act):
            return set()
        same = [
            int(entry.source.source_id)
            for entry in source_store.sources(self.tx)
            if entry.source.jurisdiction == act.jurisdiction
        ]
        return anchor_store.without_source_of(self.tx, profiles, same)

    def refuse(self, profiles: Collection[int]) -> tuple[frozenset[int], frozenset[int]]:
        """Refuse for those that granted nothing later; gives whose permission ended, and who is to be decided."""
        tx, act, rule = self.tx, self.act, self.policy.purposes.get(self.act.purpose)
        if rule is None or rule.needs_unique_identifier:
            return frozenset(), frozenset()
        owner = profile_store.owners_among(tx, profiles)
        granting = refusal_store.granted_after(
            tx,
            owner.keys(),
            act.purpose,
            at=min(act.last_at, self.now),
            or_in_two_steps=can_be_overridden_before(act, rule),
        )
        later = {owner[identifier_id] for identifier_id in granting}
        ended, undecided = refusal_store.refuse_all(
            tx, set(profiles) - later, act.purpose, meaning=last_refusal(act, rule, now=self.now), now=self.now
        )
        delete_derived_data(tx, self.policy, {(profile_id, act.purpose) for profile_id in ended})
        mark_store.mark(tx, ((profile_id, None) for profile_id in ended))
        return ended, undecided | later
