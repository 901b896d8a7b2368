"""Runs of identity resolution: recorded steps and new ones applied in order. Pure.

An identifier that turns out to be shared, or that a higher authority names, changes the outcome of earlier steps as
well; `run` therefore starts over with that knowledge until nothing new is learned, so that batches, retries and replays
all end in the same partition.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from cdp.identity.knowledge import STATED, Fact, FactKind, Knowledge, knowledge_of
from cdp.identity.model import Evidence, ResolutionStep
from cdp.identity.resolve import Proposal, World
from cdp.identity.rules import Rules


class Judge(Protocol):
    """Decides whether a step may be applied; called for every new step of a run, in order.

    `begin` is called at each start and restart: all judgments become void except the decisions about the steps up to
    the sequence number `decided`, because what a later step proves does not change what was decided before it.
    """

    def begin(self, world: World, decided: int) -> None: ...

    def judge(self, world: World, step: ResolutionStep, proposal: Proposal | None, *, origin: int) -> bool:
        """Whether the step may be applied. `origin` is that of the group that the step belongs or would belong to.

        `proposal` is None if the step's anchor is settled, so that the rules are not applied to it again.
        """
        ...


class StartState(NamedTuple):
    """What a run starts from: a world with the stored groups, and recorded steps to apply first."""

    world: World
    steps: Sequence[ResolutionStep]


@dataclass(slots=True)
class Run:
    """A finished run: its world, every accepted proposal including those of recorded steps, what was learned, and from
    which steps.
    """

    world: World
    accepted: list[Proposal]
    learned: Mapping[Fact, ResolutionStep]

    @property
    def shared(self) -> frozenset[int]:
        """The identifiers that were learned to be shared."""
        return frozenset(fact.subject for fact in self.learned if fact.kind is FactKind.SHARED)


class TooManySteps(Exception):
    """A run applied too many steps, because it learned about many identifiers and started over each time."""


def run(
    start: Callable[[Knowledge], StartState],
    steps: Sequence[ResolutionStep],
    judge: Judge | None = None,
    *,
    steps_max: int | None = None,
) -> Run:
    """Apply recorded steps, then new ones in order; start over whenever a step proves something that others depend on.

    `start` is called with what was learned so far and must return a new world each time. New steps whose anchor has a
    placement in the world are settled: the rules are not applied to them again.
    Steps before the one that proves a fact stay as they were decided, as if each had been processed alone. A step that
    is refused once what it proves is known proves nothing: the run starts over with that step refused.

    The run terminates, because each restart learns at least one more fact or decides about one more step. Raises
    `TooManySteps` if a restart would exceed `steps_max`, counting every step each time that it is applied: many
    discoveries are cheaper in smaller batches.
    """
    learned: dict[Fact, ResolutionStep] = {}
    decided = applied = 0
    while True:
        knowledge = knowledge_of(learned)
        world, recorded = start(knowledge)
        if judge is not None:
            judge.begin(world, decided)
        if learned and steps_max is not None and applied + len(recorded) + len(steps) > steps_max:
            raise TooManySteps
        applied += len(recorded) + len(steps)
        accepted: list[Proposal] = []
        proven = _apply_recorded(world, recorded, accepted, anchors=knowledge.anchors)
        if proven is None:
            new = _NewSteps(world, judge, accepted, knowledge.anchors, decided)
            proven = new.apply(steps, proven_by={step.sequence for step in learned.values()})
            if proven is None:
                return Run(world, accepted, learned)
            if not proven.facts:
                decided = proven.step.sequence
                earlier = {step.sequence for step in steps if step.sequence < decided}
                learned = {fact: step for fact, step in learned.items() if step.sequence in earlier}
                continue
            decided = max(decided, proven.step.sequence - 1)
        if any(fact.kind in STATED for fact in proven.facts):
            learned = {fact: step for fact, step in learned.items() if fact.kind in STATED}
        learned |= dict.fromkeys(proven.facts, proven.step)


class _Proven(NamedTuple):
    """The facts that a step proves; none if the step is refused although it proved some that were learned."""

    step: ResolutionStep
    facts: frozenset[Fact]


def _with_authority(step: ResolutionStep, anchors: Mapping[int, int]) -> ResolutionStep:
    level = anchors.get(step.anchor_id, 0)
    return step._replace(authority=level) if level > step.authority else step


def _apply_recorded(
    world: World, steps: Sequence[ResolutionStep], accepted: list[Proposal], *, anchors: Mapping[int, int]
) -> _Proven | None:
    """Apply all steps; or stop at the first that proves a fact."""
    for recorded in steps:
        step = _with_authority(recorded, anchors) if anchors else recorded
        proposal = world.propose(step)
        if proposal.facts:
            return _Proven(step, proposal.facts)
        world.accept(proposal)
        accepted.append(proposal)
    return None


@dataclass(frozen=True, slots=True)
class _NewSteps:
    """Applies the new steps of a run; those up to `decided` were decided in an earlier pass."""

    world: World
    judge: Judge | None
    accepted: list[Proposal]
    anchors: Mapping[int, int]
    decided: int

    def apply(self, steps: Sequence[ResolutionStep], *, proven_by: Collection[int]) -> _Proven | None:
        """Apply all steps; or stop at the first that proves a fact, or at one that is refused although it proved some.

        What a step proves by its authority alone is known before the step is judged: a lower word decides nothing.
        """
        world, judge = self.world, self.judge
        for new in steps:
            step = _with_authority(new, self.anchors) if self.anchors else new
            placed = world.placement.get(step.anchor_id)
            if placed is None and step.anchor_id in world.heard:
                step = _with_authority(step, world.heard)
            is_raising = placed is None or world.is_raised_by(step)
            if is_raising and step.sequence > self.decided:
                facts = world.raised_by(step)
                if facts:
                    return _Proven(step, facts)
            proposal = world.propose(step) if placed is None else None
            origin = world.current(placed) if placed is not None else _origin_of(step, proposal)
            if judge is not None and not judge.judge(world, step, proposal, origin=origin):
                if step.sequence in proven_by:
                    return _Proven(step, frozenset())
                continue
            if proposal is None:
                if is_raising:
                    world.name(step)
                continue
            if proposal.facts:
                return _Proven(step, proposal.facts)
            world.accept(proposal)
            self.accepted.append(proposal)
            world.heard[step.anchor_id] = step.authority
        return None


def _origin_of(step: ResolutionStep, proposal: Proposal | None) -> int:
    """The origin of the group that a proposal would lead to."""
    return step.sequence if proposal is None or proposal.target is None else proposal.target


def replay(
    rules: Rules,
    types: dict[int, str],
    steps: Sequence[ResolutionStep],
    *,
    shared: Iterable[int] = (),
    never: Mapping[int, set[int]] | None = None,
    authority: Mapping[int, int] | None = None,
    proved: Mapping[int, datetime] | None = None,
) -> Run:
    """Apply recorded steps to an empty world under these rules; `shared` identifiers are shared from the start.

    `authority` is at least what these steps give to the identifiers of the person level.
    """
    proofs = proved or {}
    named = World(rules, types, authority=dict.fromkeys(proofs, int(Evidence.PROVED)), proved=proofs)
    for identifier, level in (authority or {}).items():
        named.authority[identifier] = max(level, named.authority.get(identifier, 0))
    for step in steps:
        named.name(step)
    initially_shared = frozenset(shared)

    def start(knowledge: Knowledge) -> StartState:
        world = World(
            rules,
            types,
            set(initially_shared | knowledge.shared),
            dict(never or {}),
            authority=named.authority | knowledge.authority,
            proved=named.proved,
        )
        return StartState(world, steps)

    return run(start, ())
