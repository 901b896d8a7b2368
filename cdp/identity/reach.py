"""How far a request reaches: from the identifiers that were verified to everything that is that person's. Pure.

rights.md, Erasure 0: the verified identifiers and what server sources linked to them. What only browser sources
assert, and profiles that may hold several people, wait for a reviewer; a shared identifier reaches only its own
profile.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Owned:
    """An identifier of the surroundings: the profile that owns it, and whether several people carry it."""

    type: str
    profile_id: int | None
    is_shared: bool


@dataclass(frozen=True, slots=True)
class Held:
    """An anchor of the surroundings, or an edge of a link table: its profile today, its members, and whether a server
    source asserted it.
    """

    profile_id: int
    members: frozenset[int]
    is_vouched: bool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All identifiers, anchors and table edges of the profiles that own the verified identifiers.

    `crowded` profiles hold, or may hold, several people. `lonely` identifiers are in no other anchor than those given,
    no profile but those given has anything to do with them, and no refusal was recorded for them.
    """

    identifiers: Mapping[int, Owned]
    anchors: Mapping[int, Held]
    crowded: frozenset[int] = frozenset()
    lonely: frozenset[int] = frozenset()
    edges: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True)
class Reach:
    """What a request is about, what is left over with it, and what waits for a reviewer.

    `profiles` are those of which nothing remains, `left_over` those that go on without the person. `shared` are verified
    identifiers that several people carry. `orphans` are
    identifiers that were not reached but that nobody else carries, and of which nothing else is known.
    `crowded` profiles may hold several people.
    """

    identifiers: frozenset[int]
    anchors: frozenset[int]
    profiles: frozenset[int]
    left_over: frozenset[int]
    shared: frozenset[int] = field(default=frozenset())
    orphans: frozenset[int] = field(default=frozenset())
    waiting: frozenset[int] = field(default=frozenset())
    crowded: frozenset[int] = field(default=frozenset())


def reach(verified: Collection[int], around: Surroundings) -> Reach:
    """The reach of the verified identifiers within their surroundings.

    One person's identifiers are never followed through a shared one, nor into another profile: a link that the rules
    refused is no link.
    """
    known = {one for one in verified if one in around.identifiers}
    seeds = {one for one in known if not around.identifiers[one].is_shared}
    shared = known - seeds
    identifiers = _expand(seeds, around)
    homes = {around.identifiers[one].profile_id for one in shared}
    anchors = {
        anchor_id
        for anchor_id, held in around.anchors.items()
        if held.profile_id in homes or _is_theirs(held, identifiers, around)
    }
    orphans = _orphans(identifiers, anchors, around)
    remaining = _remaining(identifiers | orphans, anchors, around)
    touched = {around.anchors[one].profile_id for one in anchors} | {
        owner for one in identifiers | orphans if (owner := around.identifiers[one].profile_id) is not None
    }
    waiting = {
        one
        for one, owned in around.identifiers.items()
        if owned.profile_id in touched and not owned.is_shared and one not in identifiers and one not in orphans
    }
    return Reach(
        identifiers=frozenset(identifiers),
        anchors=frozenset(anchors),
        profiles=frozenset(touched - remaining),
        left_over=frozenset(touched & remaining),
        shared=frozenset(shared),
        orphans=frozenset(orphans),
        waiting=frozenset(waiting),
        crowded=frozenset(touched & around.crowded),
    )


def _expand(seeds: AbstractSet[int], around: Surroundings) -> set[int]:
    """The identifiers that vouched anchors connect with the seeds, profile by profile."""
    by_member: dict[int, list[Held]] = {}
    for held in (*around.anchors.values(), *around.edges):
        if held.is_vouched and held.profile_id not in around.crowded:
            for member in held.members:
                by_member.setdefault(member, []).append(held)
    found, waiting = set(seeds), list(seeds)
    while waiting:
        one = waiting.pop()
        home = around.identifiers[one].profile_id
        for held in by_member.get(one, ()):
            if held.profile_id != home:
                continue
            for other in held.members - found:
                owned = around.identifiers.get(other)
                if owned is not None and not owned.is_shared and owned.profile_id == home:
                    found.add(other)
                    waiting.append(other)
    return found


def _is_theirs(held: Held, identifiers: AbstractSet[int], around: Surroundings) -> bool:
    """Whether an anchor is the person's: it names them, in the profile that is theirs.

    In a crowded profile it must name nobody else.
    """
    naming = {one for one in held.members & identifiers if around.identifiers[one].profile_id == held.profile_id}
    if not naming or held.profile_id not in around.crowded:
        return bool(naming)
    others = held.members - identifiers
    return all(one not in around.identifiers or around.identifiers[one].is_shared for one in others)


def _orphans(identifiers: AbstractSet[int], anchors: AbstractSet[int], around: Surroundings) -> set[int]:
    """Members of the person's anchors that no other anchor holds: without the person nobody ever named them."""
    carried = {member for one in anchors for member in around.anchors[one].members} - identifiers
    kept = {member for anchor_id, held in around.anchors.items() if anchor_id not in anchors for member in held.members}
    return carried & around.lonely - kept


def _remaining(identifiers: AbstractSet[int], anchors: AbstractSet[int], around: Surroundings) -> set[int]:
    """Profiles that still hold an anchor or own an identifier."""
    by_anchor = {held.profile_id for anchor_id, held in around.anchors.items() if anchor_id not in anchors}
    by_link = {
        owned.profile_id
        for one, owned in around.identifiers.items()
        if one not in identifiers and owned.profile_id is not None
    }
    return by_anchor | by_link
