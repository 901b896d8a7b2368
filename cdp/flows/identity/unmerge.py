"""Journeys that change who is who: unmerge, its undo, and a rebuild of the map under new rules.

All three replay recorded steps and write the map that the replay gives, so what they leave behind is
what a world without the link, or with the other rules, would hold.
"""

from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import dataclass

from cdp.audit.store import facts as fact_store
from cdp.consent.store import projection as projection_store
from cdp.flows.consent.clearing import clear_withdrawn_of
from cdp.flows.context import Context
from cdp.flows.identity.mapping_replay import replay_around, replay_closure, write_run
from cdp.flows.identity.names import identifier_pair
from cdp.flows.identity.profile_view import ProfileView, view_profile
from cdp.flows.segments import memberships
from cdp.identity.model import EvidenceRow, Identifier, Rule
from cdp.identity.partition import groups_of
from cdp.identity.store import closure as closure_store
from cdp.identity.store import evidence as evidence_store
from cdp.identity.store import generation as generation_store
from cdp.identity.store import mapping as mapping_store
from cdp.identity.store import profiles as profile_store
from cdp.identity.store import separations as separation_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault


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
        separation_store.separate(tx, [(one, other)], context.clock.now())

    return _Change(context, "unmerge", part, actor, dry_run).make(keep, sever)


def remerge(
    context: Context, keep: Identifier, severed: Identifier, *, dry_run: bool, actor: str = "privacy"
) -> Unmerged:
    """Take an unmerge back: the recorded messages may join the two again. Faults: `unknown_profile`, `not_kept_apart`."""

    def join(tx: Transaction, one: int, other: int) -> None:
        if not separation_store.allow_together(tx, one, other):
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
        run = replay_closure(tx, context.policy, recorded)
        touched = write_run(tx, context, run, closure=recorded, now=context.clock.now(), before=before).touched
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
            pair = identifier_pair(tx, self.context, keep, other=sever)
            before = tuple(
                view_profile(tx, self.context, each) for each in sorted(set(profile_store.owners_of(tx, pair).values()))
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
        cleared = clear_withdrawn_of(tx, self.context.vault, self.context.policy, profile_ids=changed, now=now)
        memberships.follow_profiles(tx, self.context, changed, now=now)
        owners = profile_store.owners_of(tx, pair)
        sides = [owners.get(each) for each in pair]
        return Unmerged(
            is_dry_run=self.is_dry_run,
            before=before,
            keep=None if sides[0] is None else view_profile(tx, self.context, sides[0]),
            sever=None if sides[1] is None else view_profile(tx, self.context, sides[1]),
            other_profiles=len(mapping_store.owning(tx, changed) - set(sides)),
            erased_events=cleared.events_deleted,
        )
