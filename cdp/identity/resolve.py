"""Identity resolution as a pure sequential model: five steps over a world in memory.

The steps are described in docs/explanation/identity.md, "The five steps of resolution".

A `World` holds some groups (profiles, by the sequence number of their origin) and processes one step at
a time: `propose` returns what a step would do, `accept` applies it (`cdp.identity.run` applies many).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cdp.identity.knowledge import Fact, FactKind
from cdp.identity.model import Evidence, LinkRefusal, ResolutionStep, Rule
from cdp.identity.rules import Rules


@dataclass(slots=True)
class Group:
    """A profile under resolution: its identifiers with the instants of their links, and the groups merged into it.

    `origin` is the sequence number of the step that created it, `anchors` how many anchors belong to it. A solo group was
    created by a step without linking identifiers.
    """

    origin: int
    members: dict[int, datetime]
    merges: int = 0
    anchors: int = 0
    is_quarantined: bool = False
    is_solo: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a step would do: which groups merge, which identifiers join, and which are refused.

    `target` is the origin of the surviving group, None if the step would create a group; `absorbed` are the origins
    of the groups merged into it. `base` is the strongest linking identifier, and `bridges` maps the origin of each
    group to the member that connects it. `facts` are what this step proves about identifiers, and what therefore must
    be known before it is applied. The outcome `depends_on_time` if a limit with a window refused something.
    """

    step: ResolutionStep
    target: int | None
    absorbed: tuple[int, ...]
    joining: tuple[int, ...]
    base: int
    bridges: Mapping[int, int]
    refusals: tuple[LinkRefusal, ...]
    facts: frozenset[Fact]
    is_quarantined: bool
    is_solo: bool
    depends_on_time: bool


@dataclass(slots=True)
class World:
    """The groups under resolution, by their origin, and the rules that apply to them.

    `types` has every identifier that steps name, `never` the pairs that are kept apart, `owner` the group of each
    identifier. `placement` maps settled anchors to the origin of their group, `accepted_placement` those of accepted
    steps, settled or not, and `merged_into` absorbed groups to their survivor; both may name a group that has been
    absorbed since: see `current`.

    `authority` is the highest authority that named an identifier of the person level, and of another one the authority
    below which no word links it; `proved` is when a person proved to have an identifier. `ties` is the highest authority
    that tied an identifier to another one, `untraced` those of which it is not known, because their group was stored.
    `heard` is the authority with which placed anchors were stated, and `counted` are the anchors that the groups count.
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
    authority: dict[int, int] = field(default_factory=dict)
    proved: Mapping[int, datetime] = field(default_factory=dict)
    ties: dict[int, int] = field(default_factory=dict)
    untraced: set[int] = field(default_factory=set)
    heard: dict[int, int] = field(default_factory=dict)
    counted: set[int] = field(default_factory=set)

    def add(self, group: Group) -> None:
        """Add a group as stored."""
        self.groups[group.origin] = group
        for identifier in group.members:
            self.owner[identifier] = group.origin

    def authority_of(self, step: ResolutionStep, identifier: int) -> int:
        """The authority of a step's word about an identifier."""
        if step.authority == Evidence.BROWSER and identifier in self.proved and step.at <= self.proved[identifier]:
            return Evidence.PROVED
        return step.authority

    def is_left_out(self, identifier: int, step: ResolutionStep) -> bool:
        """Whether a step says nothing about an identifier, because words of a higher authority do."""
        known = self.authority.get(identifier)
        if not known or known <= step.authority:
            return False
        type_ = self.types[identifier]
        if type_ not in self.rules.bound_by_authority:
            return False
        return known > self.authority_of(step, identifier)

    def links(self, identifier: int, step: ResolutionStep) -> bool:
        """Whether an identifier may link profiles at all by a word of this step."""
        return (
            identifier not in self.shared
            and self.rules.links.get(self.types[identifier], False)
            and not self.is_left_out(identifier, step)
        )

    def is_raised_by(self, step: ResolutionStep) -> bool:
        """Whether the anchor of a step was stated with a lower authority only."""
        return bool(self.heard) and self.heard.get(step.anchor_id, step.authority) < step.authority

    def raised_by(self, step: ResolutionStep) -> frozenset[Fact]:
        """The guarded identifiers that only lower words named until this step, and its anchor if that holds for it."""
        facts = {
            Fact(FactKind.AUTHORITY, member, level)
            for member in step.members
            if self.types[member] in self.rules.guarded
            and (known := self.authority.get(member)) is not None
            and known < (level := self.authority_of(step, member))
        }
        if self.is_raised_by(step):
            before = step._replace(authority=Evidence(self.heard[step.anchor_id]))
            first = step.members[0]
            is_tying = len(step.members) > 1 or self.types[first] in self.rules.guarded
            if is_tying or self.is_left_out(first, before):
                facts.add(Fact(FactKind.ANCHOR, step.anchor_id, step.authority))
        return frozenset(facts)

    def name(self, step: ResolutionStep) -> None:
        """Note with which authority a step that is applied names its identifiers."""
        for member in step.members:
            if self.types[member] in self.rules.person_level:
                level = self.authority_of(step, member)
                if self.authority.get(member, -1) < level:
                    self.authority[member] = level

    def is_known_to_others(self, identifiers: Iterable[int]) -> bool:
        """Whether a source other than a browser named any of these identifiers of the person level."""
        return any(
            self.authority.get(identifier, 0) >= Evidence.IMPORT and self.types[identifier] in self.rules.person_level
            for identifier in identifiers
        )

    def propose(self, step: ResolutionStep) -> Proposal:
        """Evaluate a step without applying it. Its members, strongest first, must be in `types`."""
        linking = [member for member in step.members if self.links(member, step)]
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
            group.anchors += other.anchors
            group.is_quarantined |= other.is_quarantined
            self.merged_into[origin] = group.origin
            for identifier in other.members:
                self.owner[identifier] = group.origin
        for identifier in proposal.joining:
            group.members[identifier] = step.at
            self.owner[identifier] = group.origin
        group.is_quarantined |= proposal.is_quarantined
        if step.anchor_id >= 0 and step.anchor_id not in self.counted:
            self.counted.add(step.anchor_id)
            group.anchors += 1
        self.name(step)
        if len(step.members) > 1 and not proposal.is_solo:
            refused = {refusal.identifier for refusal in proposal.refusals}
            for member in step.members:
                if member not in refused:
                    self.ties[member] = max(step.authority, self.ties.get(member, 0))
        self.accepted_placement[step.anchor_id] = group.origin
        if not proposal.depends_on_time:
            self.placement[step.anchor_id] = group.origin
        return group

    def exceeds_anchors(self, step: ResolutionStep, origins: Iterable[int]) -> bool:
        """Whether a step adds an anchor to the union of these groups, which then has more of them than the bound.

        Rows of link tables, whose anchor ids are negative, do not count.
        """
        if step.anchor_id < 0 or step.anchor_id in self.counted:
            return False
        return sum(self.groups[origin].anchors for origin in origins) >= self.rules.policy.bounds.anchors_per_profile

    def current(self, origin: int) -> int:
        """The origin of the group that a group is part of after merges: its own or that of the survivor."""
        while origin in self.merged_into:
            origin = self.merged_into[origin]
        return origin

    def _propose_solo(self, step: ResolutionStep) -> Proposal:
        """The step belongs to its strongest member alone; if it says nothing about any, to a group without members.

        An import that names only what a server names ties it to nothing else, so it is about whom the server names.
        """
        named = [member for member in step.members if not self.is_left_out(member, step)]
        if not named and step.authority >= Evidence.IMPORT:
            named = list(step.members)
        strongest = named[0] if named else step.members[0]
        origin = self.owner.get(strongest) if named else None
        refusals = [
            LinkRefusal(other, strongest, self.why_not(other, step), self.types[other])
            for other in step.members
            if other != strongest or not named
        ]
        is_beyond = origin is not None and self.exceeds_anchors(step, (origin,))
        if is_beyond:
            refusals.append(LinkRefusal(step.members[-1], strongest, Rule.BOUND, "anchors_per_profile"))
        return Proposal(
            step=step,
            target=origin,
            absorbed=(),
            joining=() if origin is not None or not named else (strongest,),
            base=strongest,
            bridges={},
            refusals=tuple(refusals),
            facts=frozenset(),
            is_quarantined=is_beyond,
            is_solo=True,
            depends_on_time=False,
        )

    def why_not(self, member: int, step: ResolutionStep) -> Rule:
        """Why a member of a step does not link."""
        if self.is_left_out(member, step):
            return Rule.AUTHORITY
        return Rule.SHARED if member in self.shared else Rule.NO_LINKS


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
        self.facts: set[Fact] = set()
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
            if not self.world.links(member, self.step):
                rule = self.world.why_not(member, self.step)
                self.refusals.append(LinkRefusal(member, base, rule, self.world.types[member]))
        if self.world.exceeds_anchors(self.step, self.origins):
            self.is_quarantined = True
            self.refusals.append(LinkRefusal(self.step.members[-1], base, Rule.BOUND, "anchors_per_profile"))
        survivor = min(self.origins) if self.origins else None
        return Proposal(
            step=self.step,
            target=survivor,
            absorbed=tuple(origin for origin in self.origins if origin != survivor),
            joining=tuple(self.joining),
            base=base,
            bridges=self.bridges,
            refusals=tuple(self.refusals),
            facts=frozenset(self.facts),
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
        """Of several types that differ, one that the step itself names decides: only its own words prove anything."""
        types = self.world.types
        differing = []
        for type_ in self.world.rules.unique_in_order:
            present = [member for member in self.members if types[member] == type_]
            if present and any(types[member] == type_ and member not in self.members for member in candidate):
                differing.append((Rule.UNIQUE, type_, present[0]))
        if len(differing) > 1:
            named = {types[member] for member in self.linking}
            differing.sort(key=lambda broken: broken[1] not in named)
        return differing[0] if differing else None

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
        for type_ in rules.in_order_of_limits({types[member] for member in candidate}):
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
        if self.world.exceeds_anchors(self.step, (*self.origins, origin)):
            return Rule.BOUND, "anchors_per_profile", self.linking[0]
        merges = sum(groups[joined].merges for joined in self.origins) + groups[origin].merges + len(self.origins)
        if merges > bounds.merges_per_profile:
            self.is_quarantined = True
            return Rule.BOUND, "merges_per_profile", self.linking[0]
        return None

    def _refuse(self, member: int, rule: Rule, detail: str, *, other: int) -> None:
        types = self.world.types
        if rule is Rule.UNIQUE and any(types[linking] == detail for linking in self.linking):
            rule = self._conflict(member)
            detail = detail if rule is Rule.UNIQUE else types[member]
        self.refusals.append(LinkRefusal(member, other, rule, detail))

    def _conflict(self, member: int) -> Rule:
        """Decide by authority about a weak identifier that the message names with another unique id than its own.

        Words of equal authority prove it to be shared; a lower word is left out, and a higher one takes it.
        """
        world, step, type_ = self.world, self.step, self.world.types[member]
        can_be_shared = type_ in world.rules.can_be_shared
        authority = world.authority_of(step, member)
        if type_ in world.rules.guarded:
            tied_by = authority  # whatever links a guarded identifier has the highest authority that names it
        elif member in world.untraced:
            if can_be_shared or authority > Evidence.BROWSER:
                self.facts.add(Fact(FactKind.TRACED, member))
            return Rule.UNIQUE
        else:
            tied_by = world.ties.get(member, authority)
        if authority < tied_by:
            return Rule.AUTHORITY
        if authority > tied_by:
            self.facts.add(Fact(FactKind.TAKEN, member, authority))
        elif can_be_shared and not self._is_stale(member):
            self.facts.add(Fact(FactKind.SHARED, member))
        elif can_be_shared:
            return Rule.STALE
        return Rule.UNIQUE

    def _is_stale(self, member: int) -> bool:
        """Whether the message happened before its guarded identifier came to the profile that owns it."""
        world, step = self.world, self.step
        if world.types[member] not in world.rules.guarded or step.authority == Evidence.BROWSER:
            return False
        return (step.occurred_at or step.at) < world.groups[world.owner[member]].members[member]
