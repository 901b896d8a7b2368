"""Replay recorded steps and write the mapping that they produce: steps of unmerge, rebuild and link tables."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from cdp.flows.consent.verdicts import apply_mapping_change
from cdp.flows.context import Context
from cdp.flows.ingest.write_identity import quarantine_profiles, write_partition
from cdp.identity.partition import groups_of, partition_of
from cdp.identity.rules import Rules
from cdp.identity.run import Run, replay
from cdp.identity.store import closure as closure_store
from cdp.identity.store import identifiers as identifier_store
from cdp.identity.store import mapping as mapping_store
from cdp.identity.store import replacing as replacing_store
from cdp.identity.store import separations as separation_store
from cdp.kit.db import Transaction
from cdp.kit.ids import new_id


class WrittenReplay(NamedTuple):
    """A replay that was written.

    `touched` are the current profiles of its identifiers, `profile_of` the profile of each origin, `shared` the
    identifiers that became shared, and `before` the owners of its identifiers until then.
    """

    touched: set[int]
    run: Run
    profile_of: Mapping[int, int]
    shared: frozenset[int]
    before: Mapping[int, int]


def replay_around(tx: Transaction, context: Context, identifier_ids: Sequence[int], *, now: datetime) -> WrittenReplay:
    """Replay the closure of these identifiers and write the resulting mapping.

    The caller holds the exclusive lock and advances the generation.
    """
    rules = Rules(context.policy.identifiers)
    types = closure_store.LinkingTypes(guarded=sorted(rules.guarded), takeable=sorted(rules.takeable))
    closure = closure_store.closure(tx, identifier_ids, types, through_shared=True)
    run = replay_closure(tx, rules, closure)
    return write_run(tx, context, run, closure=closure, now=now, before=mapping_store.owners(tx, list(closure.types)))


def replay_closure(tx: Transaction, rules: Rules, closure: closure_store.Closure) -> Run:
    """Replay from an empty world, sharing included: an identifier may be shared now because of the link in question.

    The authority of an identifier of the person level stays, even if the message that it comes from has expired; what a
    reviewer declared to identify nobody stays shared, and so does what the steps only name.
    """
    return replay(
        rules,
        closure.types,
        closure.steps,
        shared=replacing_store.set_apart(tx, list(closure.types)) | closure.shared - closure.reached,
        never=separation_store.never_pairs(tx, list(closure.types)),
        authority={
            identifier_id: authority
            for identifier_id, authority in closure.authority.items()
            if closure.types[identifier_id] in rules.person_level
        },
        proved=closure.proved,
    )


def write_run(
    tx: Transaction,
    context: Context,
    run: Run,
    *,
    closure: closure_store.Closure,
    now: datetime,
    before: Mapping[int, int],
) -> WrittenReplay:
    """Write the mapping of a replay, and the verdicts and projections that depend on it."""
    profile_of = _name_profiles(run, closure, before)
    stored = set(closure.profiles.values())
    fresh = [
        mapping_store.NewProfile(profile_of[origin], origin, now)
        for origin in run.world.groups
        if origin not in closure.profiles and profile_of[origin] not in stored
    ]
    mapping_store.insert_profiles(tx, fresh)
    partition = partition_of(run, profile_of)
    write_partition(tx, partition, members=list(closure.reached))
    identifier_store.mark_shared(tx, list(run.world.shared - closure.shared))
    identifier_store.mark_shared(tx, list(closure.shared - run.world.shared), is_shared=False)
    identifier_store.set_authority(
        tx, {identifier_id: run.world.authority.get(identifier_id, 0) for identifier_id in closure.reached}
    )
    quarantine_profiles(tx, context.policy, partition.quarantined, now=now)
    mapping_store.end_quarantine(tx, list(partition.current - partition.quarantined))
    apply_mapping_change(tx, context.policy, profile_ids=partition.current, now=now, retired=partition.retired)
    return WrittenReplay(set(partition.current), run, profile_of, frozenset(run.world.shared - closure.shared), before)


def _name_profiles(run: Run, closure: closure_store.Closure, before: Mapping[int, int]) -> dict[int, int]:
    """A profile id for every origin: its stored one; that of an old profile with the same identifiers; or a new id.

    So a profile that does not change keeps its id even if its origin is another step under the new rules.
    """
    profile_of = dict(closure.profiles)
    profile_with = {identifiers: profile_id for profile_id, identifiers in groups_of(before).items()}
    used = {profile_of[origin] for origin in run.world.groups if origin in profile_of}
    for origin, group in run.world.groups.items():
        if origin not in profile_of:
            same = profile_with.get(frozenset(group.members))
            profile_of[origin] = same if same is not None and same not in used else new_id()
            used.add(profile_of[origin])
    return profile_of
