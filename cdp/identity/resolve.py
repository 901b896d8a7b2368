"""Identity resolution as a pure sequential model: five steps over a world in memory.

The steps are described in docs/explanation/identity.md, "The five steps of resolution".

A `World` holds some groups (profiles, by the sequence number of their origin) and processes one step at
a time: `propose` returns what a step would do, `accept` applies it. An identifier that turns out to be
shared changes the outcome of earlier steps as well; `run` therefore starts over with that knowledge until
nothing new is learned, so that batches, retries and replays all end in the same partition.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from cdp.identity.model import LinkRefusal, ResolutionStep, Rule
from cdp.policy.identifiers import Identifiers, OnConflict


@dataclass(slots=True)
class Group:
    """A profile under resolution: its identifiers with the instants of their links, and the groups merged into it.

    `origin` is the sequence number of the step that created it. A solo group was created by a step without linking
    identifiers.
    """

    origin: int
    members: dict[int, datetime]
    merges: int = 0
    is_quarantined: bool = False
    is_solo: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a step would do: which groups merge, which identifiers join, and which are refused.

    `target` is the origin of the surviving group, None if the step would create a group; `absorbed` are the origins
    of the groups merged into it. `base` is the strongest linking identifier, and `bridges` maps the origin of each
    group to the member that connects it. `shared` are identifiers that this step proves to be shared. The outcome
    `depends_on_time` if a limit with a window refused something.
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
    """The identifier policy, compiled for resolution: per type whether it links, its limit and its window."""

    def __init__(self, policy: Identifiers) -> None:
        self.policy = policy
        self.unique = policy.unique_types
        self.links = {key: type_.merges for key, type_ in policy.types.items()}
        self.count = {key: type_.limit.count for key, type_ in policy.types.items()}
        self.window = {
            key: None if type_.limit.within_days is None else timedelta(days=type_.limit.within_days)
            for key, type_ in policy.types.items()
        }
        self.can_be_shared = {
            key
            for key, type_ in policy.types.items()
            if not type_.unique and type_.merges and type_.on_conflict is OnConflict.SHARED
        }

    @property
    def non_linking(self) -> list[str]:
        """The types that never link profiles."""
        return [key for key, links in self.links.items() if not links]

    def priority(self, type_: str) -> int:
        """The priority of a type, 1 is the strongest; unknown types come last and link nothing."""
        found = self.policy.types.get(type_)
        return 1_000_000 if found is None else found.priority


@dataclass(slots=True)
class World:
    """The groups under resolution, by their origin, and the rules that apply to them.

    `types` has every identifier that steps name, `never` the pairs that are kept apart, `owner` the group of each
    identifier. `placement` maps settled anchors to the origin of their group, `accepted_placement` those of accepted
    steps, settled or not, and `merged_into` absorbed groups to their survivor; both may name a group that has been
    absorbed since: see `current`.
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
        """Add a group as stored."""
        self.groups[group.origin] = group
        for identifier in group.members:
            self.owner[identifier] = group.origin

    def links(self, identifier: int) -> bool:
        """Whether an identifier may link profiles at all."""
        return identifier not in self.shared and self.rules.links.get(self.types[identifier], False)

    def propose(self, step: ResolutionStep) -> Proposal:
        """Evaluate a step without applying it. Its members, strongest first, must be in `types`."""
        linking = [member for member in step.members if self.links(member)]
        if not linking:
            return self._propose_solo(step)
        return _Union(self, step, linking).propose()

    def accept(self, proposal: Proposal) -> Group:
        """Apply a step and return its group; nothing may have been accepted since the proposal was made."""
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
        """The origin of the group that a group is part of after merges: its own or that of the survivor."""
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
    """The union that a step builds: the strongest identifier, then each next one that does not break a rule."""

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
        self._include(base)
        for member in self.linking[1:]:
            if member in self.members:
                continue
            broken = self._breaks(member)
            if broken is None:
                self._include(member)
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

    def _include(self, member: int) -> None:
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
        """The first rule that including `member` would break, as (rule, type or bound, conflicting identifier)."""
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
            present = [member for member in self.members if types[member] == type_]
            if present and any(types[member] == type_ and member not in self.members for member in candidate):
                return Rule.UNIQUE, type_, present[0]
        return None

    def _breaks_never(self, candidate: Mapping[int, datetime]) -> tuple[Rule, str, int] | None:
        if not self.world.never:
            return None
        for member in candidate:
            for separated in self.world.never.get(member, ()):
                if separated in self.members:
                    return Rule.NEVER, self.world.types[member], separated
        return None

    def _breaks_limit(self, candidate: Mapping[int, datetime]) -> tuple[Rule, str, int] | None:
        types = self.world.types
        rules = self.world.rules
        for type_ in {types[member] for member in candidate}:
            window = rules.window.get(type_)
            since = None if window is None else self.step.at - window
            counted = {
                member
                for members in (self.members, candidate)
                for member, linked_at in members.items()
                if types[member] == type_ and (since is None or linked_at >= since)
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
        merges = sum(groups[joined].merges for joined in self.origins) + groups[origin].merges + len(self.origins)
        if merges > bounds.merges_per_profile:
            self.is_quarantined = True
            return Rule.BOUND, "merges_per_profile", self.linking[0]
        return None

    def _refuse(self, member: int, rule: Rule, detail: str, *, other: int) -> None:
        self.refusals.append(LinkRefusal(member, other, rule, detail))
        if rule is not Rule.UNIQUE or self.world.types[member] not in self.world.rules.can_be_shared:
            return
        if any(self.world.types[linking] == detail for linking in self.linking):
            self.shared.add(member)


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
    """A finished run: its world, every accepted proposal including those of recorded steps, and the identifiers that
    were learned to be shared.
    """

    world: World
    accepted: list[Proposal]
    learned: frozenset[int]


class TooManyRestarts(Exception):
    """A run started over too often, because many identifiers turned out to be shared."""


def run(
    start: Callable[[frozenset[int]], StartState],
    steps: Sequence[ResolutionStep],
    judge: Judge | None = None,
    *,
    restarts_max: int = 1_000_000,
) -> Run:
    """Apply recorded steps, then new ones in order; start over whenever a step proves an identifier to be shared.

    `start` is called with the identifiers learned so far and must return a new world each time. New steps whose
    anchor has a placement in the world are settled: the rules are not applied to them again.
    Steps before the one that proves an identifier to be shared stay as they were decided, as if each had been
    processed alone. A step that is refused once what it proves is known proves nothing: the run starts over with that
    step refused.

    The run terminates, because each restart learns at least one more identifier or decides about one more step. Raises
    `TooManyRestarts` after `restarts_max` restarts: each one processes all steps again, so many discoveries are cheaper
    in smaller batches.
    """
    learned: dict[int, ResolutionStep] = {}
    decided = 0
    for _ in range(restarts_max + 1):
        world, recorded = start(frozenset(learned))
        if judge is not None:
            judge.begin(world, decided)
        accepted: list[Proposal] = []
        proving = _apply_recorded(world, recorded, accepted)
        if proving is None:
            proven_by = {step.sequence for step in learned.values()}
            proving, refused = _apply_new(world, steps, judge, accepted=accepted, proven_by=proven_by)
            if refused is not None:
                decided = refused.sequence
                earlier = {step.sequence for step in steps if step.sequence < decided}
                learned = {identifier: step for identifier, step in learned.items() if step.sequence in earlier}
                continue
            if proving is None:
                return Run(world, accepted, frozenset(learned))
            decided = proving.step.sequence - 1
        learned |= dict.fromkeys(proving.shared, proving.step)
    raise TooManyRestarts


def _apply_recorded(world: World, steps: Sequence[ResolutionStep], accepted: list[Proposal]) -> Proposal | None:
    """Apply all steps; or stop at the first that proves an identifier to be shared and return its proposal."""
    for step in steps:
        proposal = world.propose(step)
        if proposal.shared:
            return proposal
        world.accept(proposal)
        accepted.append(proposal)
    return None


def _apply_new(
    world: World,
    steps: Sequence[ResolutionStep],
    judge: Judge | None,
    *,
    accepted: list[Proposal],
    proven_by: Collection[int],
) -> tuple[Proposal | None, ResolutionStep | None]:
    """Apply all steps; or stop, at the first that proves an identifier to be shared and return its proposal, or at one
    that is refused although an identifier is treated as shared because of it (in `proven_by`) and return that step.
    """
    for step in steps:
        placed = world.placement.get(step.anchor_id)
        if placed is not None:
            if judge is not None:
                judge.judge(world, step, None, origin=world.current(placed))
            continue
        proposal = world.propose(step)
        origin = step.sequence if proposal.target is None else proposal.target
        if judge is not None and not judge.judge(world, step, proposal, origin=origin):
            if step.sequence in proven_by:
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
    """Apply recorded steps to an empty world under these rules; `shared` identifiers are shared from the start."""
    initially_shared = frozenset(shared)

    def start(learned: frozenset[int]) -> StartState:
        return StartState(World(rules, types, set(initially_shared | learned), dict(never or {})), steps)

    return run(start, ())
