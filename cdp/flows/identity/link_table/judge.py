"""Judge a part of a link table: which rows are new, which groups they form, and what each group is permitted for.

If nothing is stored about the identifiers, only their types matter, and groups of the same types are judged once.
Otherwise profiles, consent records and separated pairs are loaded set by set.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cdp.accounting.model import State
from cdp.consent.decide import decide
from cdp.consent.model import Record, RecordId, Verdict, VerdictFacts
from cdp.consent.store import records as record_store
from cdp.flows.consent.verdicts import deciding_records, facts_of
from cdp.flows.context import Context
from cdp.flows.identifiers import evidence_of
from cdp.flows.identity.link_table.identifiers import LinkTableSnapshot
from cdp.flows.identity.link_table.rows import Part
from cdp.flows.ingest.signals import kept_acts
from cdp.identity.components import Component, components, is_plain
from cdp.identity.model import Rule
from cdp.identity.rules import Rules
from cdp.identity.store import link_tables as link_table_store
from cdp.identity.store import profiles as profile_store
from cdp.identity.store import separations as separation_store
from cdp.identity.store.identifiers import StoredIdentifier
from cdp.kit.db import Transaction
from cdp.kit.ids import new_id
from cdp.rights.store.suppressions import SuppressionState
from cdp.sources.model import Source, SourceKind

Verdicts = Mapping[str, Verdict]


@dataclass(frozen=True, slots=True)
class EdgeGroup:
    """A connected group of a part, also through stored profiles: positions of its members, and of its edges in order.

    `owners` are the profiles that own a member, the oldest first. `kept` are acts that were kept under a pseudonym only, and are
    to be recorded in the ledger with their identifiers.
    """

    members: Sequence[int]
    edges: Sequence[int]
    owners: Sequence[int]
    verdicts: Verdicts
    is_plain: bool
    kept: Sequence[Record] = ()


@dataclass(slots=True)
class Judged:
    """The groups to be stored, and how many rows of the part end in which state and for which reason."""

    groups: list[EdgeGroup] = field(default_factory=list)
    states: Counter[tuple[State, str]] = field(default_factory=Counter)

    def count(
        self, part: Part, positions: Iterable[int], state: State, *, reason: str = "", again: State | None
    ) -> None:
        """Count edges in a state; repeated rows count in the state `again` without a reason, or else in the same state."""
        edges = repeats = 0
        for position in positions:
            edges += 1
            repeats += part.repeats[position]
        for final_state, final_reason, number in (
            (state, reason, edges),
            (again or state, "" if again else reason, repeats),
        ):
            if number:
                self.states[final_state, final_reason] += number

    def count_refused(self, refused: Mapping[Rule, int]) -> None:
        """Count rows of groups to be stored that a rule refused, after all, by that rule."""
        for rule, rows in refused.items():
            self.states[State.REFUSED, rule.value] += rows
            self.states[State.STORED, ""] -= rows
        self.states = +self.states


def judge_unknown(context: Context, source: Source, part: Part, *, now: datetime) -> Judged:
    """Judge a part of which no identifier is stored or suppressed."""
    judged = Judged()
    rules = Rules(context.policy.identifiers)
    types = [identifier.type for identifier in part.identifiers]
    judged_before: dict[tuple[int, tuple[str, ...]], tuple[Verdicts, bool, bool]] = {}
    refused: list[int] = []
    for group in part.groups:
        members, edges = group
        kinds = tuple([types[member] for member in members])
        found = judged_before.get((len(edges), kinds))
        if found is None:
            verdicts = _verdicts(context, source, (), facts=_facts(context, source, kinds), now=now)
            allowed = any(verdict.allowed for verdict in verdicts.values())
            found = judged_before[len(edges), kinds] = (
                verdicts,
                allowed,
                is_plain(kinds, len(edges), (), merges=0, rules=rules),
            )
        verdicts, allowed, plain = found
        if allowed:
            judged.groups.append(EdgeGroup(members, edges, (), verdicts, plain))
        else:
            refused.extend(edges)
    judged.count(part, refused, State.NOT_PERMITTED, reason="no_grant", again=None)
    stored = (position for group in judged.groups for position in group.edges)
    judged.count(part, stored, State.STORED, again=State.DUPLICATE)
    return judged


def judge_known(
    tx: Transaction,
    context: Context,
    source: Source,
    *,
    part: Part,
    ids: Sequence[int],
    snapshot: LinkTableSnapshot,
    now: datetime,
) -> Judged:
    """Judge a part of which some identifiers are stored or suppressed; `ids` are the ids of all, 0 if suppressed."""
    judged = Judged()
    positions = _new_edges(tx, part, ids, snapshot=snapshot, judged=judged)
    stored = snapshot.stored
    first_of: dict[int, int] = {}
    joined = [
        (first_of.setdefault(identifier.profile_id, at), at)
        for at, identifier in stored.items()
        if identifier.profile_id is not None
    ]
    found = components(
        len(part.identifiers), [part.ones[at] for at in positions], [part.others[at] for at in positions], joined=joined
    )
    profiles = _StoredProfiles(tx, context, source, part=part, ids=ids, snapshot=snapshot, found=found, now=now)
    for component in found:
        owners = profiles.owners_of(component)
        verdicts = profiles.verdicts_of(component, owners)
        edges = [positions[at] for at in component.edges]
        if any(verdict.allowed for verdict in verdicts.values()):
            judged.groups.append(
                EdgeGroup(
                    component.members,
                    edges,
                    owners,
                    verdicts,
                    profiles.is_plain(component, owners),
                    profiles.kept_of(component),
                )
            )
            judged.count(part, edges, State.STORED, again=State.DUPLICATE)
        else:
            judged.count(part, edges, State.NOT_PERMITTED, reason="no_grant", again=None)
    return judged


def _new_edges(
    tx: Transaction, part: Part, ids: Sequence[int], *, snapshot: LinkTableSnapshot, judged: Judged
) -> list[int]:
    """The positions of the edges to be judged; those of suppressed identifiers and recorded ones are only counted.

    A recorded edge was judged when it was recorded, and judging it again would change nothing.
    """
    positions: Sequence[int] = range(len(part.ones))
    if snapshot.suppressed:
        suppressed = [
            at for at in positions if part.ones[at] in snapshot.suppressed or part.others[at] in snapshot.suppressed
        ]
        judged.count(part, suppressed, State.SUPPRESSED, reason="link", again=None)
        positions = sorted(set(positions).difference(suppressed))
    candidates = {
        (ids[part.ones[at]], ids[part.others[at]]): at
        for at in positions
        if part.ones[at] in snapshot.stored and part.others[at] in snapshot.stored
    }
    recorded = (
        {candidates[pair] for pair in link_table_store.recorded_pairs(tx, list(candidates))} if candidates else set()
    )
    judged.count(part, recorded, State.DUPLICATE, again=None)
    return [at for at in positions if at not in recorded]


def _facts(context: Context, source: Source, types: Iterable[str]) -> VerdictFacts:
    """The facts that the verdicts of new identifiers depend on, besides records."""
    return VerdictFacts(
        jurisdictions=frozenset({source.jurisdiction}),
        has_unique_identifier=not context.policy.identifiers.unique_types.isdisjoint(types),
        ask_again_after_months=context.policy.ask_again_after_months,
    )


def _verdicts(
    context: Context, source: Source, records: Iterable[Record], *, facts: VerdictFacts, now: datetime
) -> Verdicts:
    acts = tuple(records)
    return {
        key: decide(acts, purpose, facts, now=now)
        for key, purpose in context.policy.purposes.items()
        if source.kind is SourceKind.SERVER or not purpose.needs_unique_identifier
    }


class _StoredProfiles:
    """What is stored about the identifiers of a part and the profiles that own them."""

    def __init__(
        self,
        tx: Transaction,
        context: Context,
        source: Source,
        *,
        part: Part,
        ids: Sequence[int],
        snapshot: LinkTableSnapshot,
        found: Sequence[Component],
        now: datetime,
    ) -> None:
        self.context = context
        self.source = source
        self.part = part
        self.ids = ids
        self.stored = snapshot.stored
        self.now = now
        self.rules = Rules(context.policy.identifiers)
        self.authority = evidence_of(source)
        touched = {owner for component in found for at in component.members if (owner := self._owner(at)) is not None}
        profiles = profile_store.profiles(tx, touched) if touched else ()
        self.profiles = {profile.profile_id: profile for profile in profiles}
        self.owned_by: dict[int, dict[int, str]] = {}
        for link in profile_store.links_of(tx, touched) if touched else ():
            self.owned_by.setdefault(link.profile_id, {})[link.identifier_id] = link.type
        identifiers = [identifier.identifier_id for identifier in self.stored.values()]
        self.separated = separation_store.never_pairs(
            tx, [*identifiers, *(identifier for owned in self.owned_by.values() for identifier in owned)]
        )
        self.facts = facts_of(tx, context.policy, touched, now=now) if touched else {}
        self.records = deciding_records(tx, touched) if touched else {}
        self.records_by_identifier: dict[int, list[Record]] = {}
        for record in record_store.records_of(tx, identifiers):
            self.records_by_identifier.setdefault(record.identifier_id, []).append(record)
        self.kept = {at: self._kept(at, state) for at, state in snapshot.kept.items() if ids[at]}
        for at, acts in self.kept.items():
            self.records_by_identifier.setdefault(ids[at], []).extend(acts)

    def _kept(self, at: int, state: SuppressionState) -> list[Record]:
        """Records of what was kept of an identifier by pseudonym alone, with the strongest authority.

        What the ledger says already is left out.
        """
        known = self.context.policy.purposes.keys()
        acts = kept_acts(
            self.records_by_identifier.get(self.ids[at], ()),
            refused=(state.purposes - state.restricted) & known,
            restricted=state.restricted & known,
            released=state.released & known,
            now=self.now,
        )
        return [
            Record(
                record_id=RecordId(new_id()),
                identifier_id=self.ids[at],
                purpose=act.purpose,
                act=act.act,
                authority=act.authority,
                jurisdiction=self.source.jurisdiction,
                occurred_at=self.now,
                recorded_at=self.now,
                policy_fingerprint=bytes.fromhex(self.context.policy.fingerprint),
                source_id=int(self.source.source_id),
                signal=act.signal,
                signal_hash=act.signal_hash,
                rule=act.rule,
            )
            for act in sorted(acts, key=lambda act: (act.purpose, act.act))
        ]

    def _is_contested(self, identifier: StoredIdentifier) -> bool:
        """Whether words of another authority than that of the table tied an identifier, or may have."""
        if identifier.type in self.rules.guarded:
            return identifier.authority != self.authority
        return identifier.type not in self.rules.unique and identifier.authority > self.authority

    def kept_of(self, component: Component) -> list[Record]:
        """The acts about members of a component that are to be recorded in the ledger."""
        return [record for at in component.members for record in self.kept.get(at, ())]

    def _owner(self, at: int) -> int | None:
        identifier = self.stored.get(at)
        return None if identifier is None else identifier.profile_id

    def owners_of(self, component: Component) -> list[int]:
        """The profiles that own a member of a component, the oldest first."""
        owners = {owner for at in component.members if (owner := self._owner(at)) is not None}
        return sorted(owners, key=lambda owner: self.profiles[owner].origin)

    def verdicts_of(self, component: Component, owners: Sequence[int]) -> Verdicts:
        """The verdicts of a component if it becomes one profile."""
        new = _facts(self.context, self.source, (self.part.identifiers[at].type for at in component.members))
        current = [self.facts[owner] for owner in owners]
        facts = VerdictFacts(
            jurisdictions=new.jurisdictions.union(*(facts.jurisdictions for facts in current)),
            has_unique_identifier=new.has_unique_identifier or any(facts.has_unique_identifier for facts in current),
            age=min((facts.age for facts in current if facts.age is not None), default=None),
            claimed_age=min((facts.claimed_age for facts in current if facts.claimed_age is not None), default=None),
            is_quarantined=any(facts.is_quarantined for facts in current),
            ask_again_after_months=new.ask_again_after_months,
        )
        records = {record.record_id: record for owner in owners for record in self.records[owner]}
        records |= {
            record.record_id: record
            for at in component.members
            for record in self.records_by_identifier.get(self.ids[at], ())
        }
        return _verdicts(self.context, self.source, records.values(), facts=facts, now=self.now)

    def is_plain(self, component: Component, owners: Sequence[int]) -> bool:
        """Whether no rule can break while a component becomes one profile."""
        for at in component.members:
            identifier = self.stored.get(at)
            if identifier is None:
                continue
            if identifier.is_shared or identifier.identifier_id in self.separated or self._is_contested(identifier):
                return False
        if any(owned in self.separated for owner in owners for owned in self.owned_by.get(owner, ())):
            return False
        members = {self.ids[at] for at in component.members}
        others = [
            {owned: type_ for owned, type_ in self.owned_by.get(owner, {}).items() if owned not in members}
            for owner in owners
        ]
        merges = sum(self.profiles[owner].merges for owner in owners)
        types = (self.part.identifiers[at].type for at in component.members)
        return is_plain(types, len(component.edges), others, merges=merges, rules=self.rules)
