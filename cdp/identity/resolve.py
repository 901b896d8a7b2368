"""Who is who, as a pure sequential model: the five steps of identity.md over a world in memory.

A `World` holds some groups (profiles by the sequence number that bore them) and takes steps one at a
time: `propose` says what a step would do, `accept` does it. A weak identifier that turns out to be
shared changes the past as well; `run` therefore starts again with that knowledge until nothing new
is learned, so that batches, retries and replays all end in the same partition.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from cdp.identity.model import LinkRefusal, ResolutionStep, Rule
from cdp.policy.identifiers import Identifiers, OnConflict


@dataclass(slots=True)
class Group:
    """A profile in the making: its identifiers with the instant of their link, and how often it merged."""

    origin: int
    members: dict[int, datetime]
    merges: int = 0
    is_quarantined: bool = False
    is_solo: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a step would do: which groups become one, which identifiers join, and what is refused.

    `lands_on` is the surviving group's birth, or None when the step would bear a new group.
    `shared` names identifiers that this step proves to be shared.
    """

    step: ResolutionStep
    target: int | None
    absorbed: tuple[int, ...]
    joining: tuple[int, ...]
    base: int
    bridges: Mapping[int, int]
    refusals: tuple[LinkRefusal, ...]
    shared: frozenset[int]
    is_quarantined: bool
    is_solo: bool
    depends_on_time: bool


class Rules:
    """The identifier policy, laid out for resolution."""

    def __init__(self, policy: Identifiers) -> None:
        self.policy = policy
        self.unique = policy.unique_types
        self.links = {key: each.merges for key, each in policy.types.items()}
        self.count = {key: each.limit.count for key, each in policy.types.items()}
        self.window = {
            key: None if each.limit.within_days is None else timedelta(days=each.limit.within_days)
            for key, each in policy.types.items()
        }
        self.can_be_shared = {
            key
            for key, each in policy.types.items()
            if not each.unique and each.merges and each.on_conflict is OnConflict.SHARED
        }

    def priority(self, type_: str) -> int:
        """The strength of a type, 1 first; unknown types come last and link nothing."""
        known = self.policy.types.get(type_)
        return 1_000_000 if known is None else known.priority


@dataclass(slots=True)
class World:
    """The groups under consideration, and the rules they live by.

    `landing` maps settled anchors to the group they land on, `landed` those of accepted steps, settled or not, and
    `became` absorbed groups to their survivor.
    """

    rules: Rules
    types: dict[int, str]
    shared: set[int] = field(default_factory=set)
    never: dict[int, set[int]] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)
    owner: dict[int, int] = field(default_factory=dict)
    placement: dict[int, int] = field(default_factory=dict)
    accepted_placement: dict[int, int] = field(default_factory=dict)
    merged_into: dict[int, int] = field(default_factory=dict)

    def add(self, group: Group) -> None:
        """Bring in a group as it stands in the store."""
        self.groups[group.origin] = group
        for identifier in group.members:
            self.owner[identifier] = group.origin

    def links(self, identifier: int) -> bool:
        """Whether an identifier may link people at all, now."""
        return identifier not in self.shared and self.rules.links.get(self.types[identifier], False)

    def propose(self, step: ResolutionStep) -> Proposal:
        """Judge one step without taking it. The members must be known to `types`, strongest first."""
        linking = [member for member in step.members if self.links(member)]
        if not linking:
            return self._propose_solo(step)
        return _Union(self, step, linking).propose()

    def accept(self, proposal: Proposal) -> Group:
        """Take a step; the proposal must be the newest one of this world."""
        step = proposal.step
        if proposal.target is None:
            group = Group(step.sequence, {}, is_solo=proposal.is_solo)
            self.groups[step.sequence] = group
        else:
            group = self.groups[proposal.target]
        for origin in proposal.absorbed:
            other = self.groups.pop(origin)
            group.members.update(other.members)
            group.merges += other.merges + 1
            group.is_quarantined |= other.is_quarantined
            self.merged_into[origin] = group.origin
            for identifier in other.members:
                self.owner[identifier] = group.origin
        for identifier in proposal.joining:
            group.members[identifier] = step.at
            self.owner[identifier] = group.origin
        group.is_quarantined |= proposal.is_quarantined
        self.accepted_placement[step.anchor_id] = group.origin
        if not proposal.depends_on_time:
            self.placement[step.anchor_id] = group.origin
        return group

    def current(self, origin: int) -> int:
        """The group that a group has become by merging."""
        while origin in self.merged_into:
            origin = self.merged_into[origin]
        return origin

    def _propose_solo(self, step: ResolutionStep) -> Proposal:
        strongest = step.members[0]
        origin = self.owner.get(strongest)
        refusals = tuple(
            LinkRefusal(other, strongest, Rule.SHARED if other in self.shared else Rule.NO_LINKS, self.types[other])
            for other in step.members[1:]
        )
        return Proposal(
            step=step,
            target=origin,
            absorbed=(),
            joining=() if origin is not None else (strongest,),
            base=strongest,
            bridges={},
            refusals=refusals,
            shared=frozenset(),
            is_quarantined=False,
            is_solo=True,
            depends_on_time=False,
        )


class _Union:
    """The union that one step builds: the strongest identifier first, each next one only if no rule breaks."""

    def __init__(self, world: World, step: ResolutionStep, linking: list[int]) -> None:
        self.world = world
        self.step = step
        self.linking = linking
        self.origins: list[int] = []
        self.joining: list[int] = []
        self.bridges: dict[int, int] = {}
        self.members: dict[int, datetime] = {}
        self.refusals: list[LinkRefusal] = []
        self.shared: set[int] = set()
        self.is_quarantined = False
        self.depends_on_time = False

    def propose(self) -> Proposal:
        base = self.linking[0]
        self._take(base)
        for member in self.linking[1:]:
            if member in self.members:
                continue
            broken = self._breaks(member)
            if broken is None:
                self._take(member)
            else:
                rule, detail, other = broken
                self._refuse(member, rule, detail, other=other)
        for member in self.step.members:
            if not self.world.links(member):
                rule = Rule.SHARED if member in self.world.shared else Rule.NO_LINKS
                self.refusals.append(LinkRefusal(member, base, rule, self.world.types[member]))
        survivor = min(self.origins) if self.origins else None
        return Proposal(
            step=self.step,
            target=survivor,
            absorbed=tuple(origin for origin in self.origins if origin != survivor),
            joining=tuple(self.joining),
            base=base,
            bridges=self.bridges,
            refusals=tuple(self.refusals),
            shared=frozenset(self.shared),
            is_quarantined=self.is_quarantined,
            is_solo=False,
            depends_on_time=self.depends_on_time,
        )

    def _take(self, member: int) -> None:
        origin = self.world.owner.get(member)
        if origin is None:
            self.joining.append(member)
            self.members[member] = self.step.at
            return
        self.origins.append(origin)
        self.bridges[origin] = member
        self.members.update(self.world.groups[origin].members)

    def _candidate(self, member: int) -> Mapping[int, datetime]:
        origin = self.world.owner.get(member)
        return {member: self.step.at} if origin is None else self.world.groups[origin].members

    def _breaks(self, member: int) -> tuple[Rule, str, int] | None:
        """The first rule that joining `member` would break: (rule, type, the identifier it collides with)."""
        candidate = self._candidate(member)
        return (
            self._breaks_unique(candidate)
            or self._breaks_never(candidate)
            or self._breaks_limit(candidate)
            or self._breaks_bound(member, candidate)
        )

    def _breaks_unique(self, candidate: Mapping[int, datetime]) -> tuple[Rule, str, int] | None:
        types = self.world.types
        for type_ in self.world.rules.unique:
            mine = [each for each in self.members if types[each] == type_]
            if mine and any(types[each] == type_ and each not in self.members for each in candidate):
                return Rule.UNIQUE, type_, mine[0]
        return None

    def _breaks_never(self, candidate: Mapping[int, datetime]) -> tuple[Rule, str, int] | None:
        if not self.world.never:
            return None
        for each in candidate:
            for apart in self.world.never.get(each, ()):
                if apart in self.members:
                    return Rule.NEVER, self.world.types[each], apart
        return None

    def _breaks_limit(self, candidate: Mapping[int, datetime]) -> tuple[Rule, str, int] | None:
        types = self.world.types
        rules = self.world.rules
        for type_ in {types[each] for each in candidate}:
            window = rules.window.get(type_)
            since = None if window is None else self.step.at - window
            counted = {
                each
                for source in (self.members, candidate)
                for each, linked_at in source.items()
                if types[each] == type_ and (since is None or linked_at >= since)
            }
            if len(counted) > rules.count.get(type_, 0):
                self.depends_on_time |= since is not None
                return Rule.LIMIT, type_, self.linking[0]
        return None

    def _breaks_bound(self, member: int, candidate: Mapping[int, datetime]) -> tuple[Rule, str, int] | None:
        bounds = self.world.rules.policy.bounds
        groups = self.world.groups
        if len(self.members) + len(candidate) > bounds.identifiers_per_profile:
            self.is_quarantined = True
            return Rule.BOUND, "identifiers_per_profile", self.linking[0]
        origin = self.world.owner.get(member)
        if origin is None or not self.origins:
            return None
        merges = sum(groups[each].merges for each in self.origins) + groups[origin].merges + len(self.origins)
        if merges > bounds.merges_per_profile:
            self.is_quarantined = True
            return Rule.BOUND, "merges_per_profile", self.linking[0]
        return None

    def _refuse(self, member: int, rule: Rule, detail: str, *, other: int) -> None:
        self.refusals.append(LinkRefusal(member, other, rule, detail))
        if rule is not Rule.UNIQUE or self.world.types[member] not in self.world.rules.can_be_shared:
            return
        if any(self.world.types[each] == detail for each in self.linking):
            self.shared.add(member)


class Judge(Protocol):
    """Decides whether what a step would do may happen; called for every step of a batch, in order.

    `begin` is called at each (re)start, when everything judged before is void, but for the decisions about the steps
    up to `decided`: what a later step proves does not change what was decided before it.
    """

    def begin(self, world: World, decided: int) -> None: ...

    def judge(self, world: World, step: ResolutionStep, proposal: Proposal | None, *, origin: int) -> bool:
        """`proposal` is None where the step's anchor is settled and lands on the known group `origin`;
        otherwise `origin` is where the proposal would land."""
        ...


class StartState(NamedTuple):
    """What a world starts from: the groups as stored, and recorded steps to take first."""

    world: World
    steps: Sequence[ResolutionStep]


@dataclass(slots=True)
class Run:
    """A finished run: its world, every accepted proposal (of recorded steps too), and what was learned to be shared."""

    world: World
    accepted: list[Proposal]
    learned: frozenset[int]


class TooManyRestarts(Exception):
    """Too many identifiers turned out to be shared for one run."""


def run(
    past: Callable[[frozenset[int]], StartState],
    steps: Sequence[ResolutionStep],
    judge: Judge | None = None,
    *,
    restarts_max: int = 1_000_000,
) -> Run:
    """Take recorded steps, then new ones in order; start again whenever a step proves an identifier to be shared.

    `past` is called with the identifiers learned so far and must give a fresh world each time. A new
    step's anchor that has a landing in the world is settled and not judged by the rules again.
    Steps before the one that proves it stay as they were decided, as if each had come alone. A step that is refused
    once what it proves is known proves nothing: all starts again with it refused.
    Ends, because each restart learns at least one identifier more or decides about one more step. Raises `Tangled`
    after `restarts_max` of them: every restart goes through all steps again, so many discoveries are cheaper in
    smaller batches.
    """
    learned: dict[int, ResolutionStep] = {}
    decided = 0
    for _ in range(restarts_max + 1):
        world, recorded = past(frozenset(learned))
        if judge is not None:
            judge.begin(world, decided)
        accepted: list[Proposal] = []
        found = _take_recorded(world, recorded, accepted)
        if found is None:
            teachers = {step.sequence for step in learned.values()}
            found, refused = _take_new(world, steps, judge, accepted=accepted, teachers=teachers)
            if refused is not None:
                decided = refused.sequence
                earlier = {step.sequence for step in steps if step.sequence < decided}
                learned = {each: step for each, step in learned.items() if step.sequence in earlier}
                continue
            if found is None:
                return Run(world, accepted, frozenset(learned))
            decided = found.step.sequence - 1
        learned |= dict.fromkeys(found.shared, found.step)
    raise TooManyRestarts


def _take_recorded(world: World, steps: Sequence[ResolutionStep], accepted: list[Proposal]) -> Proposal | None:
    """Take them all; or stop at the first that proves an identifier to be shared, and give that."""
    for step in steps:
        proposal = world.propose(step)
        if proposal.shared:
            return proposal
        world.accept(proposal)
        accepted.append(proposal)
    return None


def _take_new(
    world: World,
    steps: Sequence[ResolutionStep],
    judge: Judge | None,
    *,
    accepted: list[Proposal],
    teachers: Collection[int],
) -> tuple[Proposal | None, ResolutionStep | None]:
    """Take them all; or stop at the first that proves an identifier to be shared, or at a teacher that is refused."""
    for step in steps:
        known = world.placement.get(step.anchor_id)
        if known is not None:
            if judge is not None:
                judge.judge(world, step, None, origin=world.current(known))
            continue
        proposal = world.propose(step)
        origin = step.sequence if proposal.target is None else proposal.target
        if judge is not None and not judge.judge(world, step, proposal, origin=origin):
            if step.sequence in teachers:
                return None, step
            continue
        if proposal.shared:
            return proposal, None
        world.accept(proposal)
        accepted.append(proposal)
    return None, None


def replay(
    rules: Rules,
    types: dict[int, str],
    steps: Sequence[ResolutionStep],
    *,
    shared: Iterable[int] = (),
    never: Mapping[int, set[int]] | None = None,
) -> Run:
    """The world that recorded steps make from nothing, under these rules."""
    sticky = frozenset(shared)

    def past(learned: frozenset[int]) -> StartState:
        return StartState(World(rules, types, set(sticky | learned), dict(never or {})), steps)

    return run(past, ())
