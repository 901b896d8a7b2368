"""The journey of a link table: many pairs of identifiers, resolved at once.

Where no rule can break, whole connected components become profiles set by set; the others go through
the sequential rules. Both end where stepping through the rows one by one would end. A row that was taken
before, in this table or an earlier one, is not taken again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cdp.access.model import Source, SourceKind, State
from cdp.access.store_accounting import add_accounting, hour_of
from cdp.audit import store as audit_store
from cdp.consent import store as consent_store
from cdp.consent.decide import decide
from cdp.consent.model import Facts, Record, Verdict
from cdp.flows.house import House
from cdp.flows.people import IDENTIFIER_PLACE
from cdp.flows.unmerge import replay_around
from cdp.flows.verdicts import deciding_records, facts_of, put_in_force, settle_map
from cdp.identity import store, store_edges, store_map
from cdp.identity.components import Component, components, is_plain
from cdp.identity.model import Identifier
from cdp.identity.normalise import Normaliser
from cdp.identity.resolve import Rules
from cdp.kit.db import Transaction
from cdp.kit.ids import new_ids
from cdp.rights import store as rights_store
from cdp.vault.pseudonym import GRAPH, SUPPRESSION
from cdp.vault.strongroom import Item

Row = tuple[str, object, str, object]
"""Type and value of one identifier, type and value of the other."""
Progress = Callable[[str, int, int], None]
"""Called with the work under way, how much of it is done, and how much there is (0: not known)."""

ROWS_NAMED_MAX = 20
"""How many row numbers are kept for each reason."""

NO_IDENTIFIER = "no_identifier"
SELF_LINK = "self_link"

_CHUNK = 50_000
Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Linked:
    """What a link table came to.

    `states` counts its rows, `reasons` those that were not taken, `rows` gives the first numbers of what could not
    be read; `plain` and `bounded` count components, by the road that they took.
    """

    states: Mapping[str, int]
    reasons: Mapping[str, int]
    rows: Mapping[str, Sequence[int]]
    identifiers: int
    profiles: int
    plain: int
    bounded: int


@dataclass(slots=True)
class Table:
    """The rows as dense numbers, and what the store knows of them; `repeats` are rows that came before in it."""

    identifiers: list[Identifier] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    repeats: list[Edge] = field(default_factory=list)
    named: dict[str, list[int]] = field(default_factory=dict)
    states: Counter[tuple[State, str]] = field(default_factory=Counter)
    types: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    pseudonyms: list[bytes] = field(default_factory=list)
    known: dict[int, store.KnownIdentifier] = field(default_factory=dict)
    is_apart: set[int] = field(default_factory=set)
    profiles: dict[int, store.KnownProfile] = field(default_factory=dict)
    held: dict[int, dict[int, str]] = field(default_factory=dict)

    def refuse(self, position: int, reason: str) -> None:
        """Count a row that is no link."""
        self.states[State.INVALID, reason] += 1
        named = self.named.setdefault(f"{State.INVALID.value}: {reason}", [])
        if len(named) < ROWS_NAMED_MAX:
            named.append(position)

    def by_state(self) -> dict[str, int]:
        """How many rows ended in each state."""
        counts: dict[str, int] = {}
        for (state, _), number in self.states.items():
            counts[state.value] = counts.get(state.value, 0) + number
        return counts


def import_links(
    house: House,
    source: Source,
    rows: Iterable[Row | str],
    *,
    actor: str = "operator",
    progress: Progress | None = None,
) -> Linked:
    """Take a whole link table in one transaction: all of it is recorded and resolved, or nothing.

    A row that is a text is one that could not be read, and the text is the reason. A row whose people no purpose
    permits is counted and not stored, like a message; a row that was taken before is a duplicate.
    """
    tell = progress or (lambda _what, _done, _total: None)
    table = read_rows(Normaliser(house.policy.identifiers), rows)
    tell("reading", 1, 1)
    with house.database.transaction() as tx:
        generation = store.lock_exclusive(tx)
        now = house.clock.now()
        _suppress(tx, house, table, now)
        _look_up(tx, house, table, tell)
        rules = Rules(house.policy.identifiers)
        found = components(len(table.identifiers), table.edges)
        tell("joining", len(found), len(found))
        verdicts = _verdicts(tx, house, source, table, found, now)
        taken = [
            each for each, verdict in zip(found, verdicts, strict=True) if any(v.allowed for v in verdict.values())
        ]
        _count_rows(tx, table, source, taken, now)
        _name(tx, house, table, taken, now, tell)
        tell("recording", 0, len(table.edges))
        _record(tx, house, table, source, taken, generation.next_sequence, now)
        tell("recording", len(table.edges), len(table.edges))
        by_component = dict(zip((each.first_edge for each in found), verdicts, strict=True))
        plain = [each for each in taken if _is_plain(table, each, rules)]
        profiles = _make_profiles(tx, house, table, plain, by_component, generation.next_sequence, now, tell)
        is_done = {each.first_edge for each in plain}
        bounded = [each for each in taken if each.first_edge not in is_done]
        if bounded:
            tell("by the rules", 0, len(bounded))
            start = [table.ids[node] for each in bounded for node in each.members]
            profiles += len(replay_around(tx, house, start, now))
        store.advance(tx, next_sequence=generation.next_sequence + len(table.edges), changed=bool(taken))
        states = table.by_state()
        audit_store.append(tx, {"kind": "ingest.batch", "actor": actor, "states": states}, now)
        return Linked(
            states,
            {f"{state.value}: {reason}": count for (state, reason), count in table.states.items() if reason},
            table.named,
            sum(len(each.members) for each in taken),
            profiles,
            len(plain),
            len(bounded),
        )


def read_rows(normaliser: Normaliser, rows: Iterable[Row | str]) -> Table:
    """Normalize every row; one with a side that is no identifier, or with two equal sides, is invalid."""
    table = Table()
    numbers: dict[Identifier, int] = {}
    seen: set[Edge] = set()
    for position, row in enumerate(rows, 1):
        if isinstance(row, str):
            table.refuse(position, row)
            continue
        first, second = normaliser.read(row[0], row[1]), normaliser.read(row[2], row[3])
        if not isinstance(first, Identifier) or not isinstance(second, Identifier):
            table.refuse(position, NO_IDENTIFIER)
        elif first == second:
            table.refuse(position, SELF_LINK)
        else:
            edge = (numbers.setdefault(first, len(numbers)), numbers.setdefault(second, len(numbers)))
            (table.repeats if edge in seen else table.edges).append(edge)
            seen.add(edge)
    table.identifiers = list(numbers)
    table.types = [each.type for each in numbers]
    return table


def _suppress(tx: Transaction, house: House, table: Table, now: datetime) -> None:
    """A row that names a suppressed identifier teaches nothing."""
    hidden = house.vault.pseudonyms(SUPPRESSION, table.identifiers)
    refused: set[int] = set()
    for start in range(0, len(hidden), _CHUNK):
        chunk = hidden[start : start + _CHUNK]
        suppressed = rights_store.suppressed(tx, chunk, now)
        refused.update(start + at for at, each in enumerate(chunk) if each in suppressed)
    if refused:
        before = len(table.edges) + len(table.repeats)
        table.edges = [edge for edge in table.edges if refused.isdisjoint(edge)]
        table.repeats = [edge for edge in table.repeats if refused.isdisjoint(edge)]
        table.states[State.SUPPRESSED, "link"] += before - len(table.edges) - len(table.repeats)


def _look_up(tx: Transaction, house: House, table: Table, tell: Progress) -> None:
    vault = house.vault
    vault.refresh(tx)
    table.pseudonyms = vault.pseudonyms(GRAPH, table.identifiers)
    for version in vault.versions(GRAPH):
        named = vault.pseudonyms(GRAPH, table.identifiers, version=version)
        for start in range(0, len(named), _CHUNK):
            chunk = named[start : start + _CHUNK]
            known = store.identifiers_by_pseudonym(tx, chunk)
            table.known.update({start + at: known[each] for at, each in enumerate(chunk) if each in known})
            tell("looking up", start + len(chunk), len(named))
    fresh = iter(new_ids(len(table.identifiers)))
    table.ids = [
        table.known[at].identifier_id if at in table.known else next(fresh) for at in range(len(table.identifiers))
    ]
    _drop_recorded(tx, house, table)
    owners = {each.profile_id for each in table.known.values() if each.profile_id is not None}
    table.profiles = {each.profile_id: each for each in store.profiles(tx, owners)}
    for link in store.links_of(tx, owners):
        table.held.setdefault(link.profile_id, {})[link.identifier_id] = link.type
    everybody = [each.identifier_id for each in table.known.values()]
    everybody += [each for held in table.held.values() for each in held]
    table.is_apart = set(store.never_pairs(tx, everybody)) if everybody else set()


def _drop_recorded(tx: Transaction, house: House, table: Table) -> None:
    """A row that an earlier table had is a duplicate: it was judged then, and judging it again changes nothing."""
    strength = _strength(house, table)
    known = table.known
    asked = [edge for edge in table.edges if edge[0] in known and edge[1] in known]
    for start in range(0, len(asked), _CHUNK):
        chunk = {_as_ids(table, strength, edge): edge for edge in asked[start : start + _CHUNK]}
        recorded = {chunk[pair] for pair in store_edges.recorded(tx, list(chunk))}
        if recorded:
            table.states[State.DUPLICATE, ""] += len(recorded)
            table.states[State.DUPLICATE, ""] += sum(1 for edge in table.repeats if edge in recorded)
            table.edges = [edge for edge in table.edges if edge not in recorded]
            table.repeats = [edge for edge in table.repeats if edge not in recorded]


def _strength(house: House, table: Table) -> list[int]:
    rules = Rules(house.policy.identifiers)
    by_type = {type_: rules.priority(type_) for type_ in set(table.types)}
    return [by_type[type_] for type_ in table.types]


def _as_ids(table: Table, strength: Sequence[int], edge: Edge) -> Edge:
    """The edge as it is recorded: the stronger identifier first."""
    one, other = edge
    ids = table.ids
    return (ids[one], ids[other]) if strength[one] <= strength[other] else (ids[other], ids[one])


def _owners(table: Table, component: Component) -> set[int]:
    if not table.known:
        return set()
    known = (table.known.get(node) for node in component.members)
    return {each.profile_id for each in known if each is not None and each.profile_id is not None}


def _is_plain(table: Table, component: Component, rules: Rules) -> bool:
    owners = _owners(table, component)
    for node in component.members:
        known = table.known.get(node)
        if known is not None and (known.is_shared or known.identifier_id in table.is_apart):
            return False
    if any(each in table.is_apart for owner in owners for each in table.held[owner]):
        return False
    mine = {table.ids[node] for node in component.members}
    owned = [{each: type_ for each, type_ in table.held[owner].items() if each not in mine} for owner in owners]
    merges = sum(table.profiles[owner].merges for owner in owners)
    return is_plain(component, table.types, owned, merges, rules)


def _verdicts(
    tx: Transaction, house: House, source: Source, table: Table, found: Sequence[Component], now: datetime
) -> list[Mapping[str, Verdict]]:
    """What each component may be processed for, were it one person; strangers with equal facts are decided once."""
    unique = house.policy.identifiers.unique_types
    owners = {owner for component in found for owner in _owners(table, component)}
    facts = facts_of(tx, house.policy, owners) if owners else {}
    records = deciding_records(tx, owners) if owners else {}
    own: dict[int, list[Record]] = {}
    for record in consent_store.records_of(tx, [each.identifier_id for each in table.known.values()]):
        own.setdefault(record.identifier_id, []).append(record)
    strangers: dict[Facts, Mapping[str, Verdict]] = {}
    verdicts: list[Mapping[str, Verdict]] = []
    for component in found:
        theirs = _owners(table, component)
        mine = Facts(
            jurisdictions=frozenset({source.jurisdiction}).union(*(facts[each].jurisdictions for each in theirs)),
            has_unique_identifier=any(table.types[node] in unique for node in component.members)
            or any(facts[each].has_unique_identifier for each in theirs),
            age=min((facts[each].age or 0 for each in theirs if facts[each].age is not None), default=None),
            is_quarantined=any(facts[each].is_quarantined for each in theirs),
        )
        told = {each.record_id: each for owner in theirs for each in records[owner]}
        told |= {each.record_id: each for node in component.members for each in own.get(table.ids[node], ())}
        verdict = None if told else strangers.get(mine)
        if verdict is None:
            verdict = {
                key: decide(told.values(), purpose, mine, now)
                for key, purpose in house.policy.purposes.items()
                if source.kind is SourceKind.SERVER or not purpose.needs_unique_identifier
            }
            if not told:
                strangers[mine] = verdict
        verdicts.append(verdict)
    return verdicts


def _count_rows(
    tx: Transaction,
    table: Table,
    source: Source,
    taken: Sequence[Component],
    now: datetime,
) -> None:
    is_taken = _members(table, taken)
    stored = sum(each.edges for each in taken)
    doubled = sum(is_taken[one] for one, _ in table.repeats)
    for state, reason, number in (
        (State.STORED, "", stored),
        (State.DUPLICATE, "", doubled),
        (State.NOT_PERMITTED, "no_grant", len(table.edges) - stored + len(table.repeats) - doubled),
    ):
        if number:
            table.states[state, reason] += number
    counts = {(source.source_id, state, reason): number for (state, reason), number in table.states.items()}
    add_accounting(tx, hour_of(now), counts)


def _members(table: Table, taken: Sequence[Component]) -> bytearray:
    """1 for every identifier of these components."""
    marks = bytearray(len(table.identifiers))
    for component in taken:
        for node in component.members:
            marks[node] = 1
    return marks


def _name(
    tx: Transaction, house: House, table: Table, taken: Sequence[Component], now: datetime, tell: Progress
) -> None:
    """Keys and rows for the identifiers that are new."""
    fresh = [node for component in taken for node in component.members if node not in table.known]
    version = house.vault.versions(GRAPH)[-1]
    for start in range(0, len(fresh), _CHUNK):
        chunk = fresh[start : start + _CHUNK]
        keys = house.vault.new_subject_keys(tx, [table.ids[node] for node in chunk])
        items = [Item(table.ids[node], table.ids[node], table.identifiers[node].value.encode()) for node in chunk]
        sealed = house.vault.seal_many(keys, IDENTIFIER_PLACE, items)
        store.insert_identifiers(
            tx,
            [
                store.NewIdentifier(
                    table.ids[node], table.types[node], table.pseudonyms[node], version, envelope, now, now.date()
                )
                for node, envelope in zip(chunk, sealed, strict=True)
            ],
        )
        tell("naming", start + len(chunk), len(fresh))


def _record(
    tx: Transaction,
    house: House,
    table: Table,
    source: Source,
    taken: Sequence[Component],
    first_sequence: int,
    now: datetime,
) -> None:
    """The rows as steps of the recorded sequence, in their order."""
    kept = _members(table, taken)
    strength = _strength(house, table)
    source_id = int(source.source_id)
    store_edges.insert_edges(
        tx,
        (
            (first_sequence + position, *_as_ids(table, strength, edge), source_id, now)
            for position, edge in enumerate(table.edges)
            if kept[edge[0]]
        ),
    )


def _make_profiles(
    tx: Transaction,
    house: House,
    table: Table,
    plain: Sequence[Component],
    verdicts: Mapping[int, Mapping[str, Verdict]],
    first_sequence: int,
    now: datetime,
    tell: Progress,
) -> int:
    """Each plain component becomes one profile: the oldest that it touches, or a new one born by its first edge."""
    profile_ids = iter(new_ids(len(plain)))
    fresh: list[store_map.NewProfile] = []
    placed: list[store_map.Placed] = []
    retired: dict[int, int] = {}
    touched: set[int] = set()
    newborn: dict[int, Mapping[str, Verdict]] = {}
    for component in plain:
        owners = sorted(_owners(table, component), key=lambda each: table.profiles[each].born)
        profile_id = owners[0] if owners else next(profile_ids)
        if owners:
            touched.add(profile_id)
            retired.update(dict.fromkeys(owners[1:], profile_id))
        else:
            fresh.append(store_map.NewProfile(profile_id, first_sequence + component.first_edge, now))
            newborn[profile_id] = verdicts[component.first_edge]
        placed.extend(
            store_map.Placed(table.ids[node], profile_id, now)
            for node in component.members
            if (known := table.known.get(node)) is None or known.profile_id is None
        )
    store_map.insert_profiles(tx, fresh)
    store_map.merge_profiles(tx, retired)
    store_map.insert_links(tx, placed)
    tell("profiles", len(plain), len(plain))
    ids = list(newborn)
    for start in range(0, len(ids), _CHUNK):
        some = {profile_id: newborn[profile_id] for profile_id in ids[start : start + _CHUNK]}
        put_in_force(tx, house.vault, some, now, newborn=some.keys())
        tell("verdicts", start + len(some), len(ids))
    if touched:
        settle_map(tx, house.vault, house.policy, touched, now, retired=retired)
    return len(plain)
