"""Why two identifiers belong to one profile, or why not, derived from a replay of their recorded steps. Pure."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cdp.identity.model import LinkRefusal, Rule
from cdp.identity.resolve import Proposal
from cdp.identity.run import Run


class Edge(NamedTuple):
    """A link between two identifiers, made by the recorded step `sequence`."""

    one: int
    other: int
    rule: Rule
    sequence: int


class RecordedRefusal(NamedTuple):
    """A refusal and the sequence number of the recorded step that caused it."""

    refusal: LinkRefusal
    sequence: int


def path_between(run: Run, start: int, goal: int) -> tuple[Edge, ...] | None:
    """The shortest path of links from `start` to `goal`; None if there is none."""
    neighbors: dict[int, list[Edge]] = {}
    for edge in _edges(run.accepted):
        neighbors.setdefault(edge.one, []).append(edge)
        neighbors.setdefault(edge.other, []).append(Edge(edge.other, edge.one, edge.rule, edge.sequence))
    reached_by: dict[int, Edge | None] = {start: None}
    queue = deque([start])
    while queue and goal not in reached_by:
        identifier = queue.popleft()
        for edge in neighbors.get(identifier, ()):
            if edge.other not in reached_by:
                reached_by[edge.other] = edge
                queue.append(edge.other)
    if goal not in reached_by:
        return None
    path: list[Edge] = []
    step = reached_by[goal]
    while step is not None:
        path.append(step)
        step = reached_by[step.one]
    return tuple(reversed(path))


def refusals_between(run: Run, one: int, other: int) -> tuple[RecordedRefusal, ...]:
    """The refusals that keep two identifiers apart, oldest first."""
    return tuple(
        recorded for recorded in _refusals(run.accepted) if _separates(run, recorded.refusal, one, other=other)
    )


def _edges(proposals: Sequence[Proposal]) -> Iterator[Edge]:
    for proposal in proposals:
        refused = {refusal.identifier for refusal in proposal.refusals}
        rule = Rule.LINK_TABLE if proposal.step.anchor_id < 0 else Rule.SAME_MESSAGE
        for member in proposal.step.members:
            if member != proposal.base and member not in refused:
                yield Edge(proposal.base, member, rule, proposal.step.sequence)


def _refusals(proposals: Sequence[Proposal]) -> Iterator[RecordedRefusal]:
    for proposal in proposals:
        for refusal in proposal.refusals:
            yield RecordedRefusal(refusal, proposal.step.sequence)


def _separates(run: Run, refusal: LinkRefusal, one: int, *, other: int) -> bool:
    sides = {_side(run, one), _side(run, other)}
    return {_side(run, refusal.identifier), _side(run, refusal.other)} == sides or {
        refusal.identifier,
        refusal.other,
    } == {one, other}


def _side(run: Run, identifier: int) -> tuple[str, int]:
    """The side of a refusal that an identifier is on: its group, or itself if it has none or is shared."""
    origin = run.world.owner.get(identifier)
    if origin is None or identifier in run.world.shared:
        return ("identifier", identifier)
    return ("group", origin)
