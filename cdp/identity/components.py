"""Connected components of a link table, and which of them cannot break any rule. Pure.

Where no rule can break, the order of the edges does not matter, so that a component becomes one profile at once;
all other components go through the sequential rules of `resolve`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cdp.identity.rules import Rules


class Component(NamedTuple):
    """Nodes joined by edges: the nodes in the order in which the edges name them, and the positions of the edges."""

    members: Sequence[int]
    edges: Sequence[int]


def components(
    nodes: int, ones: Sequence[int], others: Sequence[int], *, joined: Iterable[tuple[int, int]] = ()
) -> list[Component]:
    """The connected components of the nodes 0 to `nodes` - 1 that have an edge, ordered by their first edge.

    Edge i joins `ones[i]` and `others[i]`; pairs of nodes that are `joined` belong together without an edge. Union by
    index with path halving.
    """
    parent = list(range(nodes))
    for one, other in joined:
        _unite(parent, one, other)
    for one, other in zip(
        ones, others, strict=True
    ):  # `_unite`, inlined: this loop dominates the cost of a large table
        while parent[one] != one:
            parent[one] = one = parent[parent[one]]
        while parent[other] != other:
            parent[other] = other = parent[parent[other]]
        if one < other:
            parent[other] = one
        elif other < one:
            parent[one] = other
    for node, above in enumerate(parent):  # a parent has a smaller number, so its root is already known
        parent[node] = parent[above]
    return _collect(parent, ones, others)


def _unite(parent: list[int], one: int, other: int) -> None:
    while parent[one] != one:
        parent[one] = one = parent[parent[one]]
    while parent[other] != other:
        parent[other] = other = parent[parent[other]]
    parent[max(one, other)] = min(one, other)


def _collect(roots: Sequence[int], ones: Sequence[int], others: Sequence[int]) -> list[Component]:
    members: dict[int, list[int]] = {}
    edges: dict[int, list[int]] = {}
    is_new = bytearray(b"\1") * len(roots)
    for position, one in enumerate(ones):
        root = roots[one]
        nodes = members.get(root)
        if nodes is None:
            nodes = members[root] = []
            edges[root] = []
        edges[root].append(position)
        if is_new[one]:
            is_new[one] = 0
            nodes.append(one)
        other = others[position]
        if is_new[other]:
            is_new[other] = 0
            nodes.append(other)
    return [Component(nodes, edges[root]) for root, nodes in members.items()]


def is_plain(
    types: Iterable[str], edges: int, owned: Sequence[Mapping[int, str]], *, merges: int, rules: Rules
) -> bool:
    """Whether no rule can break while a component becomes one profile, whatever the order of its edges.

    `types` are the types of its members and `edges` the number of its edges. `owned` has, per existing profile that
    owns a member, its other identifiers (as any keys) with their types; `merges` counts the earlier merges of those
    profiles. The answer is conservative: time windows are ignored, and every edge counts as a merge.
    """
    bounds = rules.policy.bounds
    counts = Counter(types)
    for identifiers in owned:
        counts.update(identifiers.values())
    if counts.total() > bounds.identifiers_per_profile or merges + edges + len(owned) > bounds.merges_per_profile:
        return False
    return all(
        rules.links.get(type_, False) and number <= (1 if type_ in rules.unique else rules.count.get(type_, 0))
        for type_, number in counts.items()
    )
