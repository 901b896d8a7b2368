"""Replay recorded steps and write the mapping that they produce: steps of unmerge, rebuild and link tables."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from cdp.flows.consent.verdicts import apply_mapping_change
from cdp.flows.context import Context
from cdp.flows.ingest.write import write_partition
from cdp.identity.partition import partition_of
from cdp.identity.resolve import Rules, Run, replay
from cdp.identity.store import closure as closure_store
from cdp.identity.store import identifiers as identifier_store
from cdp.identity.store import mapping as mapping_store
from cdp.identity.store import separations as separation_store
from cdp.kit.db import Transaction
from cdp.kit.ids import new_id
from cdp.policy.model import Policy


class WrittenReplay(NamedTuple):
    """A replay that was written: the living profiles concerned, the run, the profile of each birth, what it found shared.

    `before` are the owners of the identifiers concerned until then.
    """

    touched: set[int]
    run: Run
    profile_of: Mapping[int, int]
    shared: frozenset[int]
    before: Mapping[int, int]


def replay_around(tx: Transaction, context: Context, identifier_ids: Sequence[int], *, now: datetime) -> WrittenReplay:
    """Make the map of everything that hangs together with these identifiers what its recorded steps give.

    The caller holds the exclusive lock and advances the generation.
    """
    closure = closure_store.closure(tx, identifier_ids, through_shared=True)
    run = replay_closure(tx, context.policy, closure)
    return write_run(tx, context, run, closure=closure, now=now, before=mapping_store.owners(tx, list(closure.types)))


def replay_closure(tx: Transaction, policy: Policy, closure: closure_store.Closure) -> Run:
    """From nothing, sharing included: what is shared now may have become so through the link in question."""
    never = separation_store.never_pairs(tx, list(closure.types))
    return replay(Rules(policy.identifiers), closure.types, closure.steps, never=never)


def write_run(
    tx: Transaction,
    context: Context,
    run: Run,
    *,
    closure: closure_store.Closure,
    now: datetime,
    before: Mapping[int, int],
) -> WrittenReplay:
    """Write the map of a replay and everything that follows from it."""
    profile_of = _name_profiles(run, closure, before)
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
    mapping_store.end_quarantine(tx, list(partition.living - partition.quarantined))
    apply_mapping_change(
        tx, context.vault, context.policy, profile_ids=partition.living, now=now, retired=partition.retired
    )
    return WrittenReplay(set(partition.living), run, profile_of, frozenset(run.world.shared - closure.shared), before)


def _name_profiles(run: Run, closure: closure_store.Closure, before: Mapping[int, int]) -> dict[int, int]:
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
