"""How far a subject request reaches: from the verified identifiers to everything that belongs to that person. Pure.

docs/explanation/rights.md, "How far a request reaches": the verified identifiers and what server sources linked to them. What only browser sources
assert, profiles that may hold several people, and anyone else whom a message names together with a verified identifier
wait for a reviewer; a shared identifier reaches only its own profile.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OwnedIdentifier:
    """An identifier of the neighborhood: its type, the profile that owns it if any, and whether it is shared."""

    type: str
    profile_id: int | None
    is_shared: bool


@dataclass(frozen=True, slots=True)
class MemberSet:
    """An anchor, or an edge of a link table: its current profile, its members, and whether a server source asserted
    it.
    """

    profile_id: int
    members: frozenset[int]
    is_server_asserted: bool


@dataclass(frozen=True, slots=True)
class Neighborhood:
    """All identifiers, anchors and edges of the profiles that own the verified identifiers, by their ids.

    `ambiguous` profiles hold, or may hold, several people. `unreferenced` identifiers occur in no anchor and no edge
    beyond these anchors, have no profile with anchors beyond these profiles, and have no recorded refusal. `naming` are the
    anchors of other profiles that carry a verified identifier. `apart` are pairs that staff separated.
    """

    identifiers: Mapping[int, OwnedIdentifier]
    anchors: Mapping[int, MemberSet]
    ambiguous: frozenset[int] = frozenset()
    unreferenced: frozenset[int] = frozenset()
    edges: tuple[MemberSet, ...] = ()
    naming: tuple[MemberSet, ...] = ()
    apart: frozenset[frozenset[int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Reach:
    """The identifiers and anchors that a request is about, the profiles that it concerns, and what needs a review.

    `profiles` are empty once identifiers, orphans and anchors are erased; `continuing` profiles remain, without the
    person. `shared` are verified identifiers that several people use. `orphans` are identifiers that were not
    reached but that only the person's anchors name. `waiting` identifiers need a reviewer. `ambiguous` profiles may
    hold several people.
    """

    identifiers: frozenset[int]
    anchors: frozenset[int]
    profiles: frozenset[int]
    continuing: frozenset[int]
    shared: frozenset[int] = field(default=frozenset())
    orphans: frozenset[int] = field(default=frozenset())
    waiting: frozenset[int] = field(default=frozenset())
    ambiguous: frozenset[int] = field(default=frozenset())

    @property
    def is_empty(self) -> bool:
        """Whether nothing is the person's."""
        return not (self.identifiers or self.anchors or self.orphans)


def reach(verified: Collection[int], neighborhood: Neighborhood, excluded: AbstractSet[int] = frozenset()) -> Reach:
    """The reach of the verified identifiers within their neighborhood; unknown identifiers reach nothing.

    `excluded` are identifiers that a reviewer attributed to other people: they do not wait.

    A person's identifiers are never followed through a shared one, nor into another profile: a link that the rules
    refused does not count as a link.
    """
    stored = {identifier for identifier in verified if identifier in neighborhood.identifiers}
    named = {member for carrier in (*neighborhood.anchors.values(), *neighborhood.naming) for member in carrier.members}
    seeds = {identifier for identifier in stored if not neighborhood.identifiers[identifier].is_shared}
    left_alone = (stored - seeds) & neighborhood.unreferenced - named  # shared once, and carried by no message any more
    shared = stored - seeds - left_alone
    identifiers = _expand(seeds, neighborhood) | left_alone
    profiles_of_shared = {neighborhood.identifiers[identifier].profile_id for identifier in shared}
    anchors = {
        anchor_id
        for anchor_id, anchor in neighborhood.anchors.items()
        if anchor.profile_id in profiles_of_shared or _belongs_to(anchor, identifiers, neighborhood)
    }
    orphans = _orphans(identifiers, anchors, neighborhood)
    remaining = _remaining(identifiers | orphans, anchors, neighborhood)
    touched = {neighborhood.anchors[anchor_id].profile_id for anchor_id in anchors} | {
        profile_id
        for identifier in identifiers | orphans
        if (profile_id := neighborhood.identifiers[identifier].profile_id) is not None
    }
    waiting = {
        identifier
        for identifier, owned in neighborhood.identifiers.items()
        if owned.profile_id in touched
        and not owned.is_shared
        and identifier not in identifiers
        and identifier not in orphans
    }
    waiting |= _named_with(stored, neighborhood) - identifiers - orphans
    return Reach(
        identifiers=frozenset(identifiers),
        anchors=frozenset(anchors),
        profiles=frozenset(touched - remaining),
        continuing=frozenset(touched & remaining),
        shared=frozenset(shared),
        orphans=frozenset(orphans),
        waiting=frozenset(waiting - excluded),
        ambiguous=frozenset(touched & neighborhood.ambiguous),
    )


def _named_with(verified: AbstractSet[int], neighborhood: Neighborhood) -> set[int]:
    """Whom anchors of other profiles name together with a verified identifier: the rules did not follow these links.

    Pairs that staff separated are decided. Shared identifiers name nobody.
    """
    return {
        member
        for carrier in neighborhood.naming
        for member in carrier.members - verified
        if member in neighborhood.identifiers
        and not neighborhood.identifiers[member].is_shared
        and not any(frozenset((member, other)) in neighborhood.apart for other in carrier.members & verified)
    }


def _expand(seeds: AbstractSet[int], neighborhood: Neighborhood) -> set[int]:
    """The identifiers that anchors and edges of server sources connect with the seeds, within each profile."""
    by_member: dict[int, list[MemberSet]] = {}
    for member_set in (*neighborhood.anchors.values(), *neighborhood.edges):
        if member_set.is_server_asserted and member_set.profile_id not in neighborhood.ambiguous:
            for member in member_set.members:
                by_member.setdefault(member, []).append(member_set)
    found, queue = set(seeds), list(seeds)
    while queue:
        identifier = queue.pop()
        profile_id = neighborhood.identifiers[identifier].profile_id
        for member_set in by_member.get(identifier, ()):
            if member_set.profile_id != profile_id:
                continue
            for other in member_set.members - found:
                owned = neighborhood.identifiers.get(other)
                if owned is not None and not owned.is_shared and owned.profile_id == profile_id:
                    found.add(other)
                    queue.append(other)
    return found


def _belongs_to(anchor: MemberSet, identifiers: AbstractSet[int], neighborhood: Neighborhood) -> bool:
    """Whether an anchor belongs to the person: it carries one of their identifiers and is in the profile that
    owns that identifier.

    In an ambiguous profile it must not carry an identifier of anyone else.
    """
    naming = {
        identifier
        for identifier in anchor.members & identifiers
        if neighborhood.identifiers[identifier].profile_id == anchor.profile_id
    }
    if not naming or anchor.profile_id not in neighborhood.ambiguous:
        return bool(naming)
    others = anchor.members - identifiers
    return all(
        identifier not in neighborhood.identifiers or neighborhood.identifiers[identifier].is_shared
        for identifier in others
    )


def _orphans(identifiers: AbstractSet[int], anchors: AbstractSet[int], neighborhood: Neighborhood) -> set[int]:
    """Members of the person's anchors that no other anchor names, so that nothing refers to them after an erasure."""
    named = {member for anchor_id in anchors for member in neighborhood.anchors[anchor_id].members} - identifiers
    kept = {
        member
        for anchor_id, anchor in neighborhood.anchors.items()
        if anchor_id not in anchors
        for member in anchor.members
    }
    return named & neighborhood.unreferenced - kept


def _remaining(identifiers: AbstractSet[int], anchors: AbstractSet[int], neighborhood: Neighborhood) -> set[int]:
    """Profiles that still have an anchor or own an identifier."""
    by_anchor = {anchor.profile_id for anchor_id, anchor in neighborhood.anchors.items() if anchor_id not in anchors}
    by_link = {
        owned.profile_id
        for identifier, owned in neighborhood.identifiers.items()
        if identifier not in identifiers and owned.profile_id is not None
    }
    return by_anchor | by_link
