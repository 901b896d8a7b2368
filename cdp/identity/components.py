"""Connected components of a link table, and which of them every rule lets be one person at once. Pure.

Where no rule can break, the order of the edges does not matter, so a component becomes one profile
without being stepped through; everything else is left to the sequential rules of `resolve`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cdp.identity.resolve import Rules


class Component(NamedTuple):
    """Some nodes joined by edges: the nodes as they are met along the edges, and the positions of the edges in order."""

    members: Sequence[int]
    edges: Sequence[int]


def components(
    nodes: int, ones: Sequence[int], others: Sequence[int], *, bonds: Iterable[tuple[int, int]] = ()
) -> list[Component]:
    """The connected components of nodes 0..nodes-1 that any edge touches, ordered by their first edge.

    An edge joins `ones[i]` and `others[i]`; `bonds` join nodes beside the edges. Union by index with path halving.
    """
    parent = list(range(nodes))
    for one, other in bonds:
        _unite(parent, one, other)
    for one, other in zip(ones, others, strict=True):  # `_unite`, written out: this loop is what a large table costs
        while parent[one] != one:
            parent[one] = one = parent[parent[one]]
        while parent[other] != other:
            parent[other] = other = parent[parent[other]]
        if one < other:
            parent[other] = one
        elif other < one:
            parent[one] = other
    for node, above in enumerate(parent):  # whoever is above has a smaller number, so its own root is known by now
        parent[node] = parent[above]
    return _gathered(parent, ones, others)


def _unite(parent: list[int], one: int, other: int) -> None:
    while parent[one] != one:
        parent[one] = one = parent[parent[one]]
    while parent[other] != other:
        parent[other] = other = parent[parent[other]]
    parent[max(one, other)] = min(one, other)


def _gathered(root: Sequence[int], ones: Sequence[int], others: Sequence[int]) -> list[Component]:
    members: dict[int, list[int]] = {}
    edges: dict[int, list[int]] = {}
    is_fresh = bytearray(b"\1") * len(root)
    for position, one in enumerate(ones):
        at = root[one]
        mine = members.get(at)
        if mine is None:
            mine = members[at] = []
            edges[at] = []
        edges[at].append(position)
        if is_fresh[one]:
            is_fresh[one] = 0
            mine.append(one)
        other = others[position]
        if is_fresh[other]:
            is_fresh[other] = 0
            mine.append(other)
    return [Component(mine, edges[at]) for at, mine in members.items()]


def is_plain(
    types: Iterable[str], edges: int, owned: Sequence[Mapping[int, str]], *, merges: int, rules: Rules
) -> bool:
    """Whether no rule can break while a component becomes one person, in whatever order.

    `types` are the types of its members and `edges` the number of its edges; `owned` gives, per existing profile that
    it touches, the identifiers (any keys) beside the members with their types; `merges` is how often those profiles
    merged before. Cautious: a window counts as none, and every edge counts as a merge.
    """
    bounds = rules.policy.bounds
    counts = Counter(types)
    for each in owned:
        counts.update(each.values())
    if counts.total() > bounds.identifiers_per_profile or merges + edges + len(owned) > bounds.merges_per_profile:
        return False
    return all(
        rules.links.get(type_, False) and number <= (1 if type_ in rules.unique else rules.count.get(type_, 0))
        for type_, number in counts.items()
    )
