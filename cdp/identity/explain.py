"""Why two identifiers are one person, or why they are not: read off a replay of their recorded steps. Pure."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cdp.identity.model import LinkRefusal, Rule
from cdp.identity.resolve import Proposal, Run


class Edge(NamedTuple):
    """A link between two identifiers, made by the recorded step `sequence`."""

    one: int
    other: int
    rule: Rule
    sequence: int


class RecordedRefusal(NamedTuple):
    """A refusal and the recorded step that met it."""

    refusal: LinkRefusal
    sequence: int


def path_between(run: Run, start: int, goal: int) -> tuple[Edge, ...] | None:
    """The shortest chain of links from one identifier to the other, None when there is none."""
    neighbors: dict[int, list[Edge]] = {}
    for edge in _edges(run.accepted):
        neighbors.setdefault(edge.one, []).append(edge)
        neighbors.setdefault(edge.other, []).append(Edge(edge.other, edge.one, edge.rule, edge.sequence))
    came_by: dict[int, Edge | None] = {start: None}
    waiting = deque([start])
    while waiting and goal not in came_by:
        here = waiting.popleft()
        for edge in neighbors.get(here, ()):
            if edge.other not in came_by:
                came_by[edge.other] = edge
                waiting.append(edge.other)
    if goal not in came_by:
        return None
    path: list[Edge] = []
    at = came_by[goal]
    while at is not None:
        path.append(at)
        at = came_by[at.one]
    return tuple(reversed(path))


def refusals_between(run: Run, one: int, other: int) -> tuple[RecordedRefusal, ...]:
    """The refusals that keep two identifiers apart, oldest first."""
    return tuple(kept for kept in _refusals(run.accepted) if _separates(run, kept.refusal, one, other=other))


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
    """Where an identifier belongs: its group, or itself where it has none because it is shared."""
    born = run.world.owner.get(identifier)
    if born is None or identifier in run.world.shared:
        return ("identifier", identifier)
    return ("group", born)
