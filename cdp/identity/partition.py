"""What a finished run says about the map, and how two partitions differ. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cdp.identity.resolve import Run


@dataclass(frozen=True, slots=True)
class Partition:
    """A map to be written: owners (identifier to profile and instant), anchors, living and retired profiles."""

    owners: Mapping[int, tuple[int, datetime]]
    canonical: Mapping[int, int]
    alive: frozenset[int]
    retired: Mapping[int, int]
    quarantined: frozenset[int]


def partition_of(run: Run, profile_of: Mapping[int, int]) -> Partition:
    """The map that a run gives, once every birth of a living group has a profile id in `profile_of`."""
    world = run.world

    def profile_at(born: int) -> int:
        return profile_of[world.current(born)]

    retired = {
        profile_of[proposal.step.sequence]: profile_at(world.accepted_placement[proposal.step.anchor_id])
        for proposal in run.accepted
        if proposal.step.sequence in profile_of and proposal.step.sequence not in world.groups
    }
    retired.update(
        {
            profile_of[born]: profile_at(born)
            for born in world.merged_into
            if born in profile_of and born not in world.groups
        }
    )
    return Partition(
        owners={
            each: (profile_of[group.origin], linked_at)
            for group in world.groups.values()
            for each, linked_at in group.members.items()
        },
        canonical={anchor: profile_at(born) for anchor, born in world.accepted_placement.items() if anchor > 0},
        alive=frozenset(profile_of[born] for born in world.groups),
        retired=retired,
        quarantined=frozenset(profile_of[born] for born, group in world.groups.items() if group.is_quarantined),
    )


@dataclass(frozen=True, slots=True)
class PartitionDifference:
    """How the partition of some identifiers would change: counts of profiles, and the groups behind them.

    `merged` lists new groups that hold identifiers of several old ones, `split` old groups whose
    identifiers come apart.
    """

    merged: tuple[frozenset[int], ...]
    split: tuple[frozenset[int], ...]
    quarantined: tuple[frozenset[int], ...]


def difference(before: Iterable[frozenset[int]], after: Run) -> PartitionDifference:
    """Compare groups of identifiers as they are with those of a run."""
    old = list(before)
    home = {each: at for at, group in enumerate(old) for each in group}
    new_home = {each: group.origin for group in after.world.groups.values() for each in group.members}
    groups = {born: frozenset(group.members) for born, group in after.world.groups.items()}
    return PartitionDifference(
        merged=tuple(group for group in groups.values() if len({home[each] for each in group if each in home}) > 1),
        split=tuple(group for group in old if len({new_home.get(each, -each) for each in group}) > 1),
        quarantined=tuple(groups[born] for born, group in after.world.groups.items() if group.is_quarantined),
    )


def groups_of(home: Mapping[int, int]) -> dict[int, frozenset[int]]:
    """The identifiers of each profile, from the profile of each identifier."""
    groups: dict[int, set[int]] = {}
    for identifier, profile_id in home.items():
        groups.setdefault(profile_id, set()).add(identifier)
    return {profile_id: frozenset(each) for profile_id, each in groups.items()}
