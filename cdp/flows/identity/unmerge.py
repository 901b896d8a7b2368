"""Journeys that change who is who: unmerge, its undo, and a rebuild of the map under new rules.

All three replay recorded steps and write the map that the replay gives, so what they leave behind is
what a world without the link, or with the other rules, would hold.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from cdp.audit.store import facts as fact_store
from cdp.consent.store import projection as projection_store
from cdp.flows.consent.verdicts import apply_mapping_change
from cdp.flows.consent.withdrawal import clear_of
from cdp.flows.context import Context
from cdp.flows.identity.lookup import ProfileView, show
from cdp.flows.identity.names import both
from cdp.flows.identity.simulate import groups_of
from cdp.flows.ingest.write import write_partition
from cdp.flows.segments import memberships
from cdp.identity.model import EvidenceRow, Identifier, Rule
from cdp.identity.partition import partition_of
from cdp.identity.resolve import Rules, Run, replay
from cdp.identity.store import closure as closure_store
from cdp.identity.store import evidence as evidence_store
from cdp.identity.store import generation as generation_store
from cdp.identity.store import identifiers as identifier_store
from cdp.identity.store import mapping as mapping_store
from cdp.identity.store import profiles as profile_store
from cdp.identity.store import separations as separation_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import new_id
from cdp.policy.model import Policy


@dataclass(frozen=True, slots=True)
class Unmerged:
    """What an unmerge or its undo does, or would do: who the two were before, the two sides, and what else changes.

    A side is None when its identifier belongs to nobody: no message named it without naming the other. `erased_events`
    were stored by a consent that does not cover them any more.
    """

    is_dry_run: bool
    before: tuple[ProfileView, ...]
    keep: ProfileView | None
    sever: ProfileView | None
    other_profiles: int
    erased_events: int


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to: steps replayed, profiles before, those of them whose identifiers changed, and profiles now."""

    steps: int
    before: int
    changed: int
    profiles: int


class Redone(NamedTuple):
    """A replay that was written: the living profiles concerned, the run, the profile of each birth, what it found shared.

    `before` are the owners of the identifiers concerned until then.
    """

    touched: set[int]
    run: Run
    profile_of: Mapping[int, int]
    shared: frozenset[int]
    before: Mapping[int, int]


def unmerge(
    context: Context, keep: Identifier, sever: Identifier, *, dry_run: bool, actor: str = "privacy"
) -> Unmerged:
    """Make it so that two identifiers were never linked, and keep them apart from now on.

    Afterwards everything equals a world in which no message had joined them. With `dry_run` it is done and
    taken back, and the answer says what each side would hold. Faults: `unknown_profile`, `not_merged` (409).
    """

    def part(tx: Transaction, one: int, other: int) -> None:
        owners = profile_store.owners_of(tx, [one, other])
        if one == other or owners.get(one) is None or owners.get(one) != owners.get(other):
            raise Fault(
                "not_merged",
                "These identifiers are not one person",
                "They belong to different profiles already. `cdp profile explain` tells what keeps them apart.",
                status=409,
            )
        separation_store.put_apart(tx, [(one, other)], context.clock.now())

    return _Change(context, "unmerge", part, actor, dry_run).make(keep, sever)


def remerge(
    context: Context, keep: Identifier, severed: Identifier, *, dry_run: bool, actor: str = "privacy"
) -> Unmerged:
    """Take an unmerge back: the recorded messages may join the two again. Faults: `unknown_profile`, `not_kept_apart`."""

    def join(tx: Transaction, one: int, other: int) -> None:
        if not separation_store.let_together(tx, one, other):
            raise Fault(
                "not_kept_apart",
                "Nothing keeps these identifiers apart",
                "There is no unmerge of these two identifiers to take back.",
                status=409,
            )

    return _Change(context, "allow_again", join, actor, dry_run).make(keep, severed)


def rebuild(context: Context, *, actor: str = "operator") -> Rebuilt:
    """Apply the policy in force to the whole recorded sequence, in one transaction.

    The result equals a fresh ingest of the recorded steps; a profile whose identifiers stay together keeps its id.
    """
    with context.database.transaction() as tx:
        generation = generation_store.lock_exclusive(tx)
        recorded = closure_store.recorded(tx)
        before = mapping_store.owners(tx)
        groups = groups_of(before)
        run = _replay(tx, context.policy, recorded)
        touched = _write(tx, context, run, closure=recorded, now=context.clock.now(), before=before).touched
        generation_store.advance(tx, next_sequence=generation.next_sequence, changed=True)
        after = groups_of(mapping_store.owners(tx))
        changed = {profile_id for profile_id, held in groups.items() if after.get(profile_id) != held}
        fact = {
            "kind": "identity.rebuilt",
            "actor": actor,
            "profiles": len(changed),
            "policy": context.policy.fingerprint,
        }
        fact_store.append(tx, fact, context.clock.now())
        return Rebuilt(len(recorded.steps), len(groups), len(changed), len(touched))


@dataclass(frozen=True, slots=True)
class _Change:
    """An unmerge or its undo on its way: what is to become of the pair, and then of everything that follows from it."""

    context: Context
    kind: str
    decide: Callable[[Transaction, int, int], None]
    actor: str
    is_dry_run: bool

    def make(self, keep: Identifier, sever: Identifier) -> Unmerged:
        """Do it. What a consent covers no more is erased once the change is on disk, so that no older reader keeps it."""
        with self.context.database.transaction() as tx:
            generation_store.lock_exclusive(tx)
            pair = both(tx, self.context, keep, other=sever)
            before = tuple(
                show(tx, self.context, each) for each in sorted(set(profile_store.owners_of(tx, pair).values()))
            )
            with tx.dry_run() if self.is_dry_run else nullcontext():
                self.decide(tx, *pair)
                changed = self._replay(tx, pair)
                if self.is_dry_run:
                    return self._told(tx, pair, before, changed=changed)
        with self.context.database.transaction() as tx:
            generation_store.lock_exclusive(tx)
            projection_store.end_older_readers(tx)
            return self._told(tx, pair, before, changed=changed)

    def _replay(self, tx: Transaction, pair: tuple[int, int]) -> set[int]:
        """Write the map that the recorded steps give now; gives the profiles that hold something else than before."""
        now = self.context.clock.now()
        generation = generation_store.generation(tx)
        redone = replay_around(tx, self.context, pair, now=now)
        owners = profile_store.owners_of(tx, pair)
        here, there = owners.get(pair[0]), owners.get(pair[1])
        held = here or there
        assert held is not None
        evidence_store.insert_evidence(
            tx,
            [
                EvidenceRow(generation.next_sequence, each, Rule.NEVER, *pair, held, there, now)
                for each in ((self.kind, "never") if self.kind == "unmerge" else (self.kind,))
            ],
            bytes.fromhex(self.context.policy.fingerprint),
        )
        generation_store.advance(tx, next_sequence=generation.next_sequence + 1, changed=True)
        fact = {"kind": "identity.unmerged", "actor": self.actor, "profiles": len(redone.touched), "rule": self.kind}
        fact_store.append(tx, fact | {"is_dry_run": self.is_dry_run}, now)
        was, now_is = groups_of(redone.before), groups_of(mapping_store.owners(tx, list(redone.run.world.types)))
        return {each for each in was.keys() | now_is.keys() if was.get(each) != now_is.get(each)}

    def _told(
        self, tx: Transaction, pair: tuple[int, int], before: tuple[ProfileView, ...], *, changed: Collection[int]
    ) -> Unmerged:
        now = self.context.clock.now()
        cleared = clear_of(tx, self.context.vault, self.context.policy, profile_ids=changed, now=now)
        memberships.follow_profiles(tx, self.context, changed, now=now)
        owners = profile_store.owners_of(tx, pair)
        sides = [owners.get(each) for each in pair]
        return Unmerged(
            is_dry_run=self.is_dry_run,
            before=before,
            keep=None if sides[0] is None else show(tx, self.context, sides[0]),
            sever=None if sides[1] is None else show(tx, self.context, sides[1]),
            other_profiles=len(mapping_store.owning(tx, changed) - set(sides)),
            erased_events=cleared.events_deleted,
        )


def replay_around(tx: Transaction, context: Context, identifier_ids: Sequence[int], *, now: datetime) -> Redone:
    """Make the map of everything that hangs together with these identifiers what its recorded steps give.

    The caller holds the exclusive lock and advances the generation.
    """
    closure = closure_store.closure(tx, identifier_ids, through_shared=True)
    run = _replay(tx, context.policy, closure)
    return _write(tx, context, run, closure=closure, now=now, before=mapping_store.owners(tx, list(closure.types)))


def _replay(tx: Transaction, policy: Policy, closure: closure_store.Closure) -> Run:
    """From nothing, sharing included: what is shared now may have become so through the link in question."""
    never = separation_store.never_pairs(tx, list(closure.types))
    return replay(Rules(policy.identifiers), closure.types, closure.steps, never=never)


def _write(
    tx: Transaction,
    context: Context,
    run: Run,
    *,
    closure: closure_store.Closure,
    now: datetime,
    before: Mapping[int, int],
) -> Redone:
    """Write the map of a replay and everything that follows from it."""
    profile_of = _named(run, closure, before)
    fresh = [
        mapping_store.NewProfile(profile_of[born], born, now)
        for born in run.world.groups
        if born not in closure.profiles
    ]
    fresh = [each for each in fresh if each.profile_id not in closure.profiles.values()]
    mapping_store.insert_profiles(tx, fresh)
    partition = partition_of(run, profile_of)
    write_partition(tx, partition, members=list(closure.types))
    identifier_store.mark_shared(tx, list(run.world.shared - closure.shared))
    identifier_store.mark_shared(tx, list(closure.shared - run.world.shared), is_shared=False)
    mapping_store.quarantine(tx, list(partition.quarantined))
    mapping_store.release(tx, list(partition.alive - partition.quarantined))
    apply_mapping_change(
        tx, context.vault, context.policy, profile_ids=partition.alive, now=now, retired=partition.retired
    )
    return Redone(set(partition.alive), run, profile_of, frozenset(run.world.shared - closure.shared), before)


def _named(run: Run, closure: closure_store.Closure, before: Mapping[int, int]) -> dict[int, int]:
    """A profile id for every birth: the one it had; where a group is exactly an old profile, that profile's; else new.

    A profile that does not change keeps its id even where the new rules bear it at another step.
    """
    profile_of = dict(closure.profiles)
    old: dict[int, set[int]] = {}
    for identifier, profile_id in before.items():
        old.setdefault(profile_id, set()).add(identifier)
    by_members = {frozenset(members): profile_id for profile_id, members in old.items()}
    taken = {profile_of[born] for born in run.world.groups if born in profile_of}
    for born, group in run.world.groups.items():
        same = by_members.get(frozenset(group.members))
        if born not in profile_of:
            profile_of[born] = same if same is not None and same not in taken else new_id()
            taken.add(profile_of[born])
    return profile_of
