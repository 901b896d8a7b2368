"""Connected components of a link table, and which of them every rule lets be one person at once. Pure.

Where no rule can break, the order of the edges does not matter, so a component becomes one profile
without being stepped through; everything else is left to the sequential rules of `resolve`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cdp.identity.resolve import Rules


@dataclass(frozen=True, slots=True)
class Component:
    """Some identifiers (as dense numbers) joined by edges; `first_edge` is the position of the earliest one."""

    members: tuple[int, ...]
    first_edge: int
    edges: int


def components(nodes: int, edges: Sequence[tuple[int, int]]) -> list[Component]:
    """The connected components of nodes 0..nodes-1 that any edge touches, ordered by their first edge.

    Union by size with path halving: near-linear in the number of edges.
    """
    parent = list(range(nodes))
    size = [1] * nodes
    for one, other in edges:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        while parent[other] != other:
            parent[other] = parent[parent[other]]
            other = parent[other]
        if one != other:
            if size[one] < size[other]:
                one, other = other, one
            parent[other] = one
            size[one] += size[other]
    return _gathered(parent, edges)


def _gathered(parent: list[int], edges: Sequence[tuple[int, int]]) -> list[Component]:
    first: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    count: Counter[int] = Counter()
    touched = bytearray(len(parent))
    for position, edge in enumerate(edges):
        root = edge[0]
        while parent[root] != root:
            parent[root] = parent[parent[root]]
            root = parent[root]
        first.setdefault(root, position)
        count[root] += 1
        for node in edge:
            if not touched[node]:
                touched[node] = 1
                members.setdefault(root, []).append(node)
    return [Component(tuple(members[root]), position, count[root]) for root, position in first.items()]


def is_plain(
    component: Component, types: Sequence[str], owned: Iterable[Mapping[int, str]], merges: int, rules: Rules
) -> bool:
    """Whether no rule can break while the component becomes one person, in whatever order.

    `types` are the types of the nodes; `owned` gives, per existing profile that the component touches, its
    identifiers (any keys) with their types; `merges` is how often those profiles merged before. Cautious:
    a window counts as none, and every edge counts as a merge.
    """
    bounds = rules.policy.bounds
    held = list(owned)
    counts = Counter(types[node] for node in component.members)
    for each in held:
        counts.update(each.values())
    if (
        counts.total() > bounds.identifiers_per_profile
        or merges + component.edges + len(held) > bounds.merges_per_profile
    ):
        return False
    return all(
        rules.links.get(type_, False) and number <= (1 if type_ in rules.unique else rules.count.get(type_, 0))
        for type_, number in counts.items()
    )
