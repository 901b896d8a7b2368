"""The journey of a link table: many pairs of identifiers, resolved at once.

Where no rule can break, whole connected components become profiles set by set; the others go through
the sequential rules. Both end where stepping through the rows one by one would end.
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

_CHUNK = 50_000


@dataclass(frozen=True, slots=True)
class Linked:
    """What a link table came to. `states` counts its rows; `plain` and `bounded` its components."""

    states: Mapping[str, int]
    identifiers: int
    profiles: int
    plain: int
    bounded: int


@dataclass(slots=True)
class _Table:
    """The rows as dense numbers, and what the store knows of them."""

    identifiers: list[Identifier] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    states: Counter[tuple[State, str]] = field(default_factory=Counter)
    types: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    pseudonyms: list[bytes] = field(default_factory=list)
    known: dict[int, store.KnownIdentifier] = field(default_factory=dict)
    is_apart: set[int] = field(default_factory=set)
    profiles: dict[int, store.KnownProfile] = field(default_factory=dict)
    held: dict[int, dict[int, str]] = field(default_factory=dict)


def import_links(
    house: House, source: Source, rows: Iterable[Row], *, actor: str = "operator", progress: Progress | None = None
) -> Linked:
    """Take a whole link table in one transaction: all of it is recorded and resolved, or nothing.

    A row whose people no purpose permits is counted and not stored, like a message.
    """
    tell = progress or (lambda _what, _done, _total: None)
    table = _read(house, rows, tell)
    with house.database.transaction() as tx:
        generation = store.lock_exclusive(tx)
        now = house.clock.now()
        _suppress(tx, house, table, now)
        _look_up(tx, house, table, tell)
        rules = Rules(house.policy.identifiers)
        found = components(len(table.identifiers), table.edges)
        tell("components", len(found), len(found))
        verdicts = _verdicts(tx, house, source, table, found, now)
        taken = [
            each for each, verdict in zip(found, verdicts, strict=True) if any(v.allowed for v in verdict.values())
        ]
        _account(tx, table, source, found, taken, now)
        _name(tx, house, table, taken, now, tell)
        _record(tx, table, source, taken, generation.next_sequence, rules, now)
        by_component = dict(zip((each.first_edge for each in found), verdicts, strict=True))
        plain = [each for each in taken if _is_plain(table, each, rules)]
        profiles = _make_profiles(tx, house, table, plain, by_component, generation.next_sequence, now)
        is_done = {each.first_edge for each in plain}
        bounded = [each for each in taken if each.first_edge not in is_done]
        if bounded:
            start = [table.ids[node] for each in bounded for node in each.members]
            profiles += len(replay_around(tx, house, start, now))
        store.advance(tx, next_sequence=generation.next_sequence + len(table.edges), changed=True)
        states = {
            state.value: sum(n for (each, _), n in table.states.items() if each is state) for state, _ in table.states
        }
        audit_store.append(tx, {"kind": "ingest.batch", "actor": actor, "states": states}, now)
        return Linked(states, sum(len(each.members) for each in taken), profiles, len(plain), len(bounded))


def _read(house: House, rows: Iterable[Row], tell: Progress) -> _Table:
    """Normalize every row; a row with a side that is no identifier, or with two equal sides, is invalid."""
    normaliser = Normaliser(house.policy.identifiers)
    table = _Table()
    numbers: dict[Identifier, int] = {}
    for position, (one_type, one, other_type, other) in enumerate(rows):
        first, second = normaliser.read(one_type, one), normaliser.read(other_type, other)
        if not isinstance(first, Identifier) or not isinstance(second, Identifier):
            table.states[State.INVALID, "no_identifier"] += 1
        elif first == second:
            table.states[State.INVALID, "self_link"] += 1
        else:
            table.edges.append((numbers.setdefault(first, len(numbers)), numbers.setdefault(second, len(numbers))))
        if position % _CHUNK == 0:
            tell("rows", position, 0)
    table.identifiers = list(numbers)
    table.types = [each.type for each in numbers]
    return table


def _suppress(tx: Transaction, house: House, table: _Table, now: datetime) -> None:
    """A row that names a suppressed identifier teaches nothing."""
    hidden = house.vault.pseudonyms(SUPPRESSION, table.identifiers)
    refused: set[int] = set()
    for start in range(0, len(hidden), _CHUNK):
        chunk = hidden[start : start + _CHUNK]
        suppressed = rights_store.suppressed(tx, chunk, now)
        refused.update(start + at for at, each in enumerate(chunk) if each in suppressed)
    if refused:
        kept = [edge for edge in table.edges if not refused.intersection(edge)]
        table.states[State.SUPPRESSED, "link"] += len(table.edges) - len(kept)
        table.edges = kept


def _look_up(tx: Transaction, house: House, table: _Table, tell: Progress) -> None:
    vault = house.vault
    vault.refresh(tx)
    table.pseudonyms = vault.pseudonyms(GRAPH, table.identifiers)
    for version in vault.versions(GRAPH):
        named = vault.pseudonyms(GRAPH, table.identifiers, version=version)
        for start in range(0, len(named), _CHUNK):
            chunk = named[start : start + _CHUNK]
            known = store.identifiers_by_pseudonym(tx, chunk)
            table.known.update({start + at: known[each] for at, each in enumerate(chunk) if each in known})
            tell("identifiers", start + len(chunk), len(named))
    fresh = iter(new_ids(len(table.identifiers)))
    table.ids = [
        table.known[at].identifier_id if at in table.known else next(fresh) for at in range(len(table.identifiers))
    ]
    owners = {each.profile_id for each in table.known.values() if each.profile_id is not None}
    table.profiles = {each.profile_id: each for each in store.profiles(tx, owners)}
    for link in store.links_of(tx, owners):
        table.held.setdefault(link.profile_id, {})[link.identifier_id] = link.type
    everybody = [each.identifier_id for each in table.known.values()]
    everybody += [each for held in table.held.values() for each in held]
    table.is_apart = set(store.never_pairs(tx, everybody)) if everybody else set()


def _owners(table: _Table, component: Component) -> set[int]:
    known = (table.known.get(node) for node in component.members)
    return {each.profile_id for each in known if each is not None and each.profile_id is not None}


def _is_plain(table: _Table, component: Component, rules: Rules) -> bool:
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
    tx: Transaction, house: House, source: Source, table: _Table, found: Sequence[Component], now: datetime
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


def _account(
    tx: Transaction,
    table: _Table,
    source: Source,
    found: Sequence[Component],
    taken: Sequence[Component],
    now: datetime,
) -> None:
    stored = sum(each.edges for each in taken)
    refused = sum(each.edges for each in found) - stored
    if stored:
        table.states[State.STORED, ""] += stored
    if refused:
        table.states[State.NOT_PERMITTED, "no_grant"] += refused
    counts = {(source.source_id, state, reason): number for (state, reason), number in table.states.items()}
    add_accounting(tx, hour_of(now), counts)


def _name(
    tx: Transaction, house: House, table: _Table, taken: Sequence[Component], now: datetime, tell: Progress
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
        tell("named", start + len(chunk), len(fresh))


def _record(
    tx: Transaction,
    table: _Table,
    source: Source,
    taken: Sequence[Component],
    first_sequence: int,
    rules: Rules,
    now: datetime,
) -> None:
    """The rows as steps of the recorded sequence, in their order."""
    kept = bytearray(len(table.identifiers))
    for component in taken:
        for node in component.members:
            kept[node] = 1
    strength = {type_: rules.priority(type_) for type_ in set(table.types)}
    types, ids = table.types, table.ids
    store_edges.insert_edges(
        tx,
        [
            store_edges.NewEdge(
                first_sequence + position,
                *((ids[one], ids[other]) if strength[types[one]] <= strength[types[other]] else (ids[other], ids[one])),
                int(source.source_id),
                now,
            )
            for position, (one, other) in enumerate(table.edges)
            if kept[one]
        ],
    )


def _make_profiles(
    tx: Transaction,
    house: House,
    table: _Table,
    plain: Sequence[Component],
    verdicts: Mapping[int, Mapping[str, Verdict]],
    first_sequence: int,
    now: datetime,
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
    put_in_force(tx, house.vault, newborn, now)
    if touched:
        settle_map(tx, house.vault, house.policy, touched, now, retired=retired)
    return len(plain)
