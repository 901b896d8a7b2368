"""The mapping that a finished run produces, and how two partitions of identifiers differ. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cdp.identity.run import Run


@dataclass(frozen=True, slots=True)
class Partition:
    """A mapping to be written.

    `owners` maps identifiers to their profile and the instant of the link, `canonical` anchors to profiles, `retired`
    profiles to the one they are merged into. `current` profiles are not merged; `quarantined` are those beyond a bound.
    """

    owners: Mapping[int, tuple[int, datetime]]
    canonical: Mapping[int, int]
    current: frozenset[int]
    retired: Mapping[int, int]
    quarantined: frozenset[int]


def partition_of(run: Run, profile_of: Mapping[int, int]) -> Partition:
    """The mapping that a run produces; `profile_of` has a profile id for the origin of every remaining group."""
    world = run.world

    def current_profile(origin: int) -> int:
        return profile_of[world.current(origin)]

    retired = {
        profile_of[proposal.step.sequence]: current_profile(world.accepted_placement[proposal.step.anchor_id])
        for proposal in run.accepted
        if proposal.step.sequence in profile_of and proposal.step.sequence not in world.groups
    }
    retired.update(
        {
            profile_of[origin]: current_profile(origin)
            for origin in world.merged_into
            if origin in profile_of and origin not in world.groups
        }
    )
    return Partition(
        owners={
            identifier: (profile_of[group.origin], linked_at)
            for group in world.groups.values()
            for identifier, linked_at in group.members.items()
        },
        canonical={
            anchor: current_profile(origin) for anchor, origin in world.accepted_placement.items() if anchor > 0
        },
        current=frozenset(profile_of[origin] for origin in world.groups),
        retired=retired,
        quarantined=frozenset(profile_of[origin] for origin, group in world.groups.items() if group.is_quarantined),
    )


@dataclass(frozen=True, slots=True)
class PartitionDifference:
    """How the partition of some identifiers would change, as groups of identifiers.

    `merged` lists new groups with identifiers of several old groups, `split` old groups whose identifiers are
    separated, `quarantined` new groups beyond a bound.
    """

    merged: tuple[frozenset[int], ...]
    split: tuple[frozenset[int], ...]
    quarantined: tuple[frozenset[int], ...]


def difference(before: Iterable[frozenset[int]], after: Run) -> PartitionDifference:
    """Compare the current groups of identifiers with those of a run."""
    old = list(before)
    old_group_of = {identifier: at for at, group in enumerate(old) for identifier in group}
    new_origin_of = {identifier: group.origin for group in after.world.groups.values() for identifier in group.members}
    groups = {origin: frozenset(group.members) for origin, group in after.world.groups.items()}
    return PartitionDifference(
        merged=tuple(
            group
            for group in groups.values()
            if len({old_group_of[identifier] for identifier in group if identifier in old_group_of}) > 1
        ),
        # an identifier without a new group counts as one by itself; origins are positive
        split=tuple(
            group for group in old if len({new_origin_of.get(identifier, -identifier) for identifier in group}) > 1
        ),
        quarantined=tuple(groups[origin] for origin, group in after.world.groups.items() if group.is_quarantined),
    )


def groups_of(profile_of: Mapping[int, int]) -> dict[int, frozenset[int]]:
    """The identifiers of each profile, from the profile of each identifier."""
    groups: dict[int, set[int]] = {}
    for identifier, profile_id in profile_of.items():
        groups.setdefault(profile_id, set()).add(identifier)
    return {profile_id: frozenset(identifiers) for profile_id, identifiers in groups.items()}
