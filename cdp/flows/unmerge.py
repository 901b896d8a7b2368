"""Journeys that change who is who: unmerge, its undo, and a rebuild of the map under new rules.

All three replay recorded steps and write the map that the replay gives, so what they leave behind is
what a world without the link, or with the other rules, would hold.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from cdp.audit import store as audit_store
from cdp.flows.house import House
from cdp.flows.identity import both
from cdp.flows.ingest_write import write_partition
from cdp.flows.lookup import Shown, show
from cdp.flows.verdicts import settle_map
from cdp.identity import store, store_map
from cdp.identity.model import EvidenceRow, Identifier, Rule
from cdp.identity.partition import partition_of
from cdp.identity.resolve import Rules, Run, replay
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import new_id
from cdp.policy.model import Policy


@dataclass(frozen=True, slots=True)
class Unmerged:
    """What an unmerge does, or would do: the two sides, and how many further profiles change with them.

    A side is None when its identifier belongs to nobody: no message named it without naming the other.
    """

    is_dry_run: bool
    keep: Shown | None
    sever: Shown | None
    other_profiles: int


class Redone(NamedTuple):
    """A replay that was written: the living profiles concerned, the run, the profile of each birth, what it found shared."""

    touched: set[int]
    run: Run
    profile_of: Mapping[int, int]
    shared: frozenset[int]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to: steps replayed, profiles whose identifiers changed, and profiles now."""

    steps: int
    changed: int
    profiles: int


def unmerge(house: House, keep: Identifier, sever: Identifier, *, dry_run: bool, actor: str = "privacy") -> Unmerged:
    """Make it so that two identifiers were never linked, and keep them apart from now on.

    Afterwards everything equals a world in which no message had joined them. With `dry_run` it is done and
    taken back, and the answer says what each side would hold. Faults: `unknown_profile`, `not_merged` (409).
    """
    with house.database.transaction() as tx:
        store.lock_exclusive(tx)
        one, other = both(tx, house, keep, sever)
        owners = store.owners_of(tx, [one, other])
        if one == other or owners.get(one) is None or owners.get(one) != owners.get(other):
            raise Fault(
                "not_merged",
                "These identifiers are not one person",
                "They belong to different profiles already. `cdp profile explain` tells what keeps them apart.",
                status=409,
            )
        with tx.trial() if dry_run else nullcontext():
            store.put_apart(tx, [(one, other)], house.clock.now())
            return _replayed(tx, house, one, other, kind="unmerge", actor=actor, dry_run=dry_run)


def remerge(house: House, keep: Identifier, severed: Identifier, *, dry_run: bool, actor: str = "privacy") -> Unmerged:
    """Take an unmerge back: the recorded messages may join the two again. Faults: `unknown_profile`, `not_kept_apart`."""
    with house.database.transaction() as tx:
        store.lock_exclusive(tx)
        one, other = both(tx, house, keep, severed)
        with tx.trial() if dry_run else nullcontext():
            if not store.let_together(tx, one, other):
                raise Fault(
                    "not_kept_apart",
                    "Nothing keeps these identifiers apart",
                    "There is no unmerge of these two identifiers to take back.",
                    status=409,
                )
            return _replayed(tx, house, one, other, kind="allow_again", actor=actor, dry_run=dry_run)


def rebuild(house: House, *, actor: str = "operator") -> Rebuilt:
    """Apply the policy in force to the whole recorded sequence, in one transaction.

    The result equals a fresh ingest of the recorded steps; a profile whose identifiers stay together keeps its id.
    """
    with house.database.transaction() as tx:
        generation = store.lock_exclusive(tx)
        recorded = store_map.recorded(tx)
        before = store_map.owners(tx)
        run = _replay(tx, house.policy, recorded)
        touched = _write(tx, house, run, recorded, house.clock.now(), before=before).touched
        store.advance(tx, next_sequence=generation.next_sequence, changed=True)
        after = store_map.owners(tx)
        changed = {before[each] for each in before if after.get(each) != before[each]}
        fact = {
            "kind": "identity.rebuilt",
            "actor": actor,
            "profiles": len(changed),
            "policy": house.policy.fingerprint,
        }
        audit_store.append(tx, fact, house.clock.now())
        return Rebuilt(len(recorded.steps), len(changed), len(touched))


def _replayed(tx: Transaction, house: House, one: int, other: int, *, kind: str, actor: str, dry_run: bool) -> Unmerged:
    now = house.clock.now()
    generation = store.generation(tx)
    touched = replay_around(tx, house, [one, other], now).touched
    owners = store.owners_of(tx, [one, other])
    here, there = owners.get(one), owners.get(other)
    held = here or there
    assert held is not None
    store.insert_evidence(
        tx,
        [
            EvidenceRow(generation.next_sequence, each, Rule.NEVER, one, other, held, there, now)
            for each in ((kind, "never") if kind == "unmerge" else (kind,))
        ],
        bytes.fromhex(house.policy.fingerprint),
    )
    store.advance(tx, next_sequence=generation.next_sequence + 1, changed=True)
    audit_store.append(
        tx,
        {"kind": "identity.unmerged", "actor": actor, "profiles": len(touched), "rule": kind, "is_dry_run": dry_run},
        now,
    )
    return Unmerged(
        is_dry_run=dry_run,
        keep=None if here is None else show(tx, house, here),
        sever=None if there is None else show(tx, house, there),
        other_profiles=len(touched - {here, there}),
    )


def replay_around(tx: Transaction, house: House, identifier_ids: Sequence[int], now: datetime) -> Redone:
    """Make the map of everything that hangs together with these identifiers what its recorded steps give.

    The caller holds the exclusive lock and advances the generation.
    """
    closure = store_map.closure(tx, identifier_ids, through_shared=True)
    run = _replay(tx, house.policy, closure)
    return _write(tx, house, run, closure, now, before=store_map.owners(tx, list(closure.types)))


def _replay(tx: Transaction, policy: Policy, closure: store_map.Closure) -> Run:
    """From nothing, sharing included: what is shared now may have become so through the link in question."""
    never = store.never_pairs(tx, list(closure.types))
    return replay(Rules(policy.identifiers), closure.types, closure.steps, never=never)


def _write(
    tx: Transaction,
    house: House,
    run: Run,
    closure: store_map.Closure,
    now: datetime,
    *,
    before: Mapping[int, int],
) -> Redone:
    """Write the map of a replay and everything that follows from it."""
    profile_of = _named(run, closure, before)
    fresh = [
        store_map.NewProfile(profile_of[born], born, now) for born in run.world.groups if born not in closure.profiles
    ]
    fresh = [each for each in fresh if each.profile_id not in closure.profiles.values()]
    store_map.insert_profiles(tx, fresh)
    partition = partition_of(run, profile_of)
    write_partition(tx, partition, members=list(closure.types))
    store.mark_shared(tx, list(run.world.shared - closure.shared))
    store.mark_shared(tx, list(closure.shared - run.world.shared), is_shared=False)
    store_map.quarantine(tx, list(partition.quarantined))
    store_map.release(tx, list(partition.alive - partition.quarantined))
    settle_map(tx, house.vault, house.policy, partition.alive, now, retired=partition.retired)
    return Redone(set(partition.alive), run, profile_of, frozenset(run.world.shared - closure.shared))


def _named(run: Run, closure: store_map.Closure, before: Mapping[int, int]) -> dict[int, int]:
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
