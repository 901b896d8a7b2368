"""Judging a part of a link table: which rows count, what hangs together, and for what its people may be processed.

Of strangers only their types decide, so groups of equal types are judged once. Where the store knows somebody, their
profiles, their records and what keeps them apart are asked for, set by set.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cdp.accounting.model import State
from cdp.consent.decide import decide
from cdp.consent.model import Act, Authority, Facts, Record, RecordId, Verdict
from cdp.consent.signals.model import hash_of
from cdp.consent.store import records as record_store
from cdp.flows.consent.verdicts import deciding_records, facts_of
from cdp.flows.context import Context
from cdp.flows.identity.link_table.identifiers import LinkTableSnapshot
from cdp.flows.identity.link_table.rows import Part
from cdp.flows.ingest.judge import KEPT
from cdp.identity.components import Component, components, is_plain
from cdp.identity.resolve import Rules
from cdp.identity.store import link_tables as link_table_store
from cdp.identity.store import profiles as profile_store
from cdp.identity.store import separations as separation_store
from cdp.kit.db import Transaction
from cdp.kit.ids import new_id
from cdp.sources.model import Source, SourceKind

Verdicts = Mapping[str, Verdict]


@dataclass(frozen=True, slots=True)
class EdgeGroup:
    """What hangs together in a part, known people included: its members, the places of its edges in order.

    `owners` are the profiles that it touches, the oldest first. `noes` were kept by pseudonym alone; the ledger takes
    them in with their identifiers.
    """

    members: Sequence[int]
    edges: Sequence[int]
    owners: Sequence[int]
    verdicts: Verdicts
    is_plain: bool
    noes: Sequence[Record] = ()


@dataclass(slots=True)
class Judged:
    """The groups to be taken, and what became of every row of the part."""

    groups: list[EdgeGroup] = field(default_factory=list)
    states: Counter[tuple[State, str]] = field(default_factory=Counter)

    def count(self, part: Part, places: Iterable[int], state: State, *, reason: str = "", again: State | None) -> None:
        """Count edges; their repetitions end in the state `again`, or in the same one."""
        edges = repeats = 0
        for place in places:
            edges += 1
            repeats += part.repeats[place]
        for ended, why, number in (
            (state, reason, edges),
            (again or state, "" if again else reason, repeats),
        ):
            if number:
                self.states[ended, why] += number


def judge_unknown(context: Context, source: Source, part: Part, *, now: datetime) -> Judged:
    """Judge a part of which the store knows nobody."""
    judged = Judged()
    rules = Rules(context.policy.identifiers)
    types = [each.type for each in part.identifiers]
    told: dict[tuple[int, tuple[str, ...]], tuple[Verdicts, bool, bool]] = {}
    refused: list[int] = []
    for group in part.groups:
        members, edges = group
        kinds = tuple([types[member] for member in members])
        found = told.get((len(edges), kinds))
        if found is None:
            verdicts = _decided(context, source, (), facts=_facts(context, source, kinds), now=now)
            allowed = any(verdict.allowed for verdict in verdicts.values())
            found = told[len(edges), kinds] = verdicts, allowed, is_plain(kinds, len(edges), (), merges=0, rules=rules)
        verdicts, allowed, plain = found
        if allowed:
            judged.groups.append(EdgeGroup(members, edges, (), verdicts, plain))
        else:
            refused.extend(edges)
    judged.count(part, refused, State.NOT_PERMITTED, reason="no_grant", again=None)
    stored = (place for group in judged.groups for place in group.edges)
    judged.count(part, stored, State.STORED, again=State.DUPLICATE)
    return judged


def judge_known(
    tx: Transaction,
    context: Context,
    source: Source,
    *,
    part: Part,
    ids: Sequence[int],
    sight: LinkTableSnapshot,
    now: datetime,
) -> Judged:
    """Judge a part of which the store knows somebody; `ids` are those of its identifiers, new ones included."""
    judged = Judged()
    places = _that_count(tx, part, ids, sight=sight, judged=judged)
    known = sight.known
    bonds: dict[int, int] = {}
    joined = [(bonds.setdefault(each.profile_id, at), at) for at, each in known.items() if each.profile_id is not None]
    found = components(
        len(part.identifiers), [part.ones[at] for at in places], [part.others[at] for at in places], bonds=joined
    )
    people = _People(tx, context, source, part=part, ids=ids, sight=sight, found=found, now=now)
    for component in found:
        owners = people.owners_of(component)
        verdicts = people.verdicts_of(component, owners)
        edges = [places[at] for at in component.edges]
        if any(verdict.allowed for verdict in verdicts.values()):
            judged.groups.append(
                EdgeGroup(
                    component.members,
                    edges,
                    owners,
                    verdicts,
                    people.is_plain(component, owners),
                    people.noes_of(component),
                )
            )
            judged.count(part, edges, State.STORED, again=State.DUPLICATE)
        else:
            judged.count(part, edges, State.NOT_PERMITTED, reason="no_grant", again=None)
    return judged


def _that_count(
    tx: Transaction, part: Part, ids: Sequence[int], *, sight: LinkTableSnapshot, judged: Judged
) -> list[int]:
    """The edges that teach something: none of a suppressed identifier, and none that was recorded before.

    A recorded one was judged then, and judging it again changes nothing.
    """
    places: Sequence[int] = range(len(part.ones))
    if sight.suppressed:
        hidden = [at for at in places if part.ones[at] in sight.suppressed or part.others[at] in sight.suppressed]
        judged.count(part, hidden, State.SUPPRESSED, reason="link", again=None)
        places = sorted(set(places).difference(hidden))
    asked = {
        (ids[part.ones[at]], ids[part.others[at]]): at
        for at in places
        if part.ones[at] in sight.known and part.others[at] in sight.known
    }
    recorded = {asked[pair] for pair in link_table_store.recorded_pairs(tx, list(asked))} if asked else set()
    judged.count(part, recorded, State.DUPLICATE, again=None)
    return [at for at in places if at not in recorded]


def _facts(context: Context, source: Source, types: Iterable[str]) -> Facts:
    """What decides about strangers beside their records."""
    return Facts(
        jurisdictions=frozenset({source.jurisdiction}),
        has_unique_identifier=not context.policy.identifiers.unique_types.isdisjoint(types),
        age=None,
        is_quarantined=False,
    )


def _decided(context: Context, source: Source, told: Iterable[Record], *, facts: Facts, now: datetime) -> Verdicts:
    records = tuple(told)
    return {
        key: decide(records, purpose, facts, now=now)
        for key, purpose in context.policy.purposes.items()
        if source.kind is SourceKind.SERVER or not purpose.needs_unique_identifier
    }


class _People:
    """What the store holds about the people of a part."""

    def __init__(
        self,
        tx: Transaction,
        context: Context,
        source: Source,
        *,
        part: Part,
        ids: Sequence[int],
        sight: LinkTableSnapshot,
        found: Sequence[Component],
        now: datetime,
    ) -> None:
        self.context = context
        self.source = source
        self.part = part
        self.ids = ids
        self.known = sight.known
        self.now = now
        self.rules = Rules(context.policy.identifiers)
        touched = {owner for component in found for at in component.members if (owner := self._owner(at)) is not None}
        self.profiles = {each.profile_id: each for each in profile_store.profiles(tx, touched)} if touched else {}
        self.held: dict[int, dict[int, str]] = {}
        for link in profile_store.links_of(tx, touched) if touched else ():
            self.held.setdefault(link.profile_id, {})[link.identifier_id] = link.type
        identifiers = [each.identifier_id for each in self.known.values()]
        self.apart = separation_store.never_pairs(
            tx, [*identifiers, *(each for held in self.held.values() for each in held)]
        )
        self.facts = facts_of(tx, context.policy, touched) if touched else {}
        self.records = deciding_records(tx, touched) if touched else {}
        self.own: dict[int, list[Record]] = {}
        for record in record_store.records_of(tx, identifiers):
            self.own.setdefault(record.identifier_id, []).append(record)
        self.noes = {at: self._kept(at, purposes) for at, purposes in sight.noes.items() if ids[at]}
        for at, noes in self.noes.items():
            self.own.setdefault(ids[at], []).extend(noes)

    def _kept(self, at: int, purposes: Iterable[str]) -> list[Record]:
        """Noes of which only pseudonym and purpose are left, unless the ledger has them; taken at their strongest."""
        told = {each.purpose for each in self.own.get(self.ids[at], ()) if each.act.is_refusal}
        return [
            Record(
                record_id=RecordId(new_id()),
                identifier_id=self.ids[at],
                purpose=purpose,
                act=Act.REFUSE,
                authority=Authority.AUTHENTICATED,
                jurisdiction=self.source.jurisdiction,
                occurred_at=self.now,
                recorded_at=self.now,
                policy_fingerprint=bytes.fromhex(self.context.policy.fingerprint),
                source_id=int(self.source.source_id),
                signal=KEPT,
                signal_hash=hash_of(purpose),
                rule=KEPT,
            )
            for purpose in sorted(self.context.policy.purposes.keys() & set(purposes) - told)
        ]

    def noes_of(self, component: Component) -> list[Record]:
        """The kept noes about the members of a component."""
        return [each for at in component.members for each in self.noes.get(at, ())]

    def _owner(self, at: int) -> int | None:
        known = self.known.get(at)
        return None if known is None else known.profile_id

    def owners_of(self, component: Component) -> list[int]:
        """The profiles that a component touches, the oldest first."""
        owners = {owner for at in component.members if (owner := self._owner(at)) is not None}
        return sorted(owners, key=lambda each: self.profiles[each].origin)

    def verdicts_of(self, component: Component, owners: Sequence[int]) -> Verdicts:
        """What a component may be processed for, were it one person."""
        mine = _facts(self.context, self.source, (self.part.identifiers[at].type for at in component.members))
        theirs = [self.facts[owner] for owner in owners]
        facts = Facts(
            jurisdictions=mine.jurisdictions.union(*(each.jurisdictions for each in theirs)),
            has_unique_identifier=mine.has_unique_identifier or any(each.has_unique_identifier for each in theirs),
            age=min((each.age for each in theirs if each.age is not None), default=None),
            is_quarantined=any(each.is_quarantined for each in theirs),
        )
        told = {each.record_id: each for owner in owners for each in self.records[owner]}
        told |= {each.record_id: each for at in component.members for each in self.own.get(self.ids[at], ())}
        return _decided(self.context, self.source, told.values(), facts=facts, now=self.now)

    def is_plain(self, component: Component, owners: Sequence[int]) -> bool:
        """Whether no rule can break while a component becomes one person."""
        for at in component.members:
            known = self.known.get(at)
            if known is not None and (known.is_shared or known.identifier_id in self.apart):
                return False
        if any(each in self.apart for owner in owners for each in self.held.get(owner, ())):
            return False
        mine = {self.ids[at] for at in component.members}
        owned = [
            {each: type_ for each, type_ in self.held.get(owner, {}).items() if each not in mine} for owner in owners
        ]
        merges = sum(self.profiles[owner].merges for owner in owners)
        types = (self.part.identifiers[at].type for at in component.members)
        return is_plain(types, len(component.edges), owned, merges=merges, rules=self.rules)
