"""Use cases of computed traits: applying changed definitions, and checking stored traits against recomputation."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cdp.behavior.model import Discrepancy
from cdp.behavior.store import consistency as consistency_store
from cdp.behavior.store import definitions as bucket_definition_store
from cdp.behavior.store import sweep as behavior_sweep_store
from cdp.behavior.store.buckets import recompute_buckets
from cdp.behavior.store.partitions import clear_partition_cache, ensure_partitions
from cdp.behavior.traits import TraitPlan, compile_traits
from cdp.consent.store.projection import bits_of
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Database
from cdp.policy.model import Policy

ANCHORS_MAX = 1_000
PROFILES_MAX = 200
_TRAIT = "trait "
_CLASS = "class "
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AppliedDefinitions:
    """The result of applying definitions: traits that were recomputed, and events moved to another retention class."""

    traits: tuple[str, ...]
    events_reclassified: int


def apply_definitions(
    database: Database, policy: Policy, now: datetime, *, anchors_max: int = ANCHORS_MAX
) -> AppliedDefinitions:
    """Compute new and changed traits from stored events, and move events to their retention classes of this policy.

    To be called once the policy is in force. Safe to repeat; after a kill, the next call completes it.
    """
    reclassified = _reclassify_events(database, policy)
    with database.transaction() as tx:
        plan = compile_traits(policy, bits_of(tx))
        definitions = _definitions(policy, plan)
        outdated = bucket_definition_store.outdated(tx, definitions)
        bucket_definition_store.delete_definitions_except(tx, definitions)
    if reclassified:
        outdated = set(definitions)
    if not outdated:
        return AppliedDefinitions((), reclassified)
    if any(subject.startswith(_CLASS) for subject in outdated):
        _extend_duplicate_window(database, policy)
    traits = tuple(sorted(subject.removeprefix(_TRAIT) for subject in outdated if subject.startswith(_TRAIT)))
    _recompute(database, plan, traits, now=now, anchors_max=anchors_max)
    with database.transaction() as tx:
        bucket_definition_store.remember_definitions(tx, definitions)
    return AppliedDefinitions(traits, reclassified)


def check_sample(
    database: Database, policy: Policy, now: datetime, *, from_profile: int, profiles_max: int = PROFILES_MAX
) -> list[Discrepancy]:
    """Compare the computed traits of a sample with their recomputation, and correct differences; there should be none.

    `from_profile` is a random id at which the sample starts. Returns the differences.
    """
    with database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        plan = compile_traits(policy, bits_of(tx))
        profiles = consistency_store.sampled_profiles(tx, from_profile, profiles_max)
        found = consistency_store.check_computed(tx, plan, profiles, now=now)
        if found:
            _log.error(
                "computed_traits_differ",
                extra={"count": len(found), "traits": sorted({discrepancy.trait for discrepancy in found})},
            )
            anchors = consent_subject_store.anchors_of(tx, {discrepancy.profile_id for discrepancy in found})
            recompute_buckets(
                tx, plan, [anchor_id for anchor_ids in anchors.values() for anchor_id in anchor_ids], now=now
            )
    return found


def _recompute(database: Database, plan: TraitPlan, traits: Sequence[str], *, now: datetime, anchors_max: int) -> None:
    """Recompute the buckets of these traits for all anchors, `anchors_max` per transaction."""
    after = 0
    while traits:
        with database.transaction() as tx:
            generation_store.lock_exclusive(tx)
            anchors = bucket_definition_store.anchors_after(tx, after, anchors_max)
            if not anchors:
                return
            recompute_buckets(tx, plan, anchors, now=now, traits=traits)
        after = anchors[-1]


def _reclassify_events(database: Database, policy: Policy) -> int:
    """Move events whose class was changed or removed by the policy, one transaction per month; returns how many."""
    classes = {name: event.retention_class for name, event in policy.events.events.items()}
    with database.transaction(read_only=True) as tx:
        filing = bucket_definition_store.filing_of(tx, classes, policy.events.unknown_class)
        wanted = {
            partition: bucket_definition_store.misfiled(tx, partition, filing)
            for partition in behavior_sweep_store.partitions(tx)
        }
    clear_partition_cache(database)  # a sweep of any process may have dropped months that are needed now
    ensure_partitions(database, {target for targets in wanted.values() for target in targets})
    moved = 0
    for partition, targets in wanted.items():
        if targets:
            with database.transaction() as tx:
                generation_store.lock_exclusive(tx)
                moved += bucket_definition_store.refile(tx, partition, filing)
    return moved


def _extend_duplicate_window(database: Database, policy: Policy) -> None:
    """Extend the period in which repeated messages are recognized where events are kept longer than before."""
    with database.transaction(read_only=True) as tx:
        partitions = behavior_sweep_store.partitions(tx)
    for partition in partitions:
        with database.transaction() as tx:
            keep_for_days = policy.retention.classes[partition.retention_class].keep_for_days
            bucket_definition_store.remember_longer(tx, partition, keep_for_days)


def _definitions(policy: Policy, plan: TraitPlan) -> dict[str, str]:
    """The definitions on which stored rows depend, by subject."""
    classes = {f"{_CLASS}{key}": str(rule.keep_for_days) for key, rule in policy.retention.classes.items()}
    return {f"{_TRAIT}{key}": trait.definition for key, trait in plan.by_key.items()} | classes
