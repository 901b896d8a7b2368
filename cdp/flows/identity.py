"""Journeys that ask who is who: explain two identifiers, and simulate changed rules. They write nothing but the log."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cdp.access import store as access_store
from cdp.audit import store as audit_store
from cdp.flows.house import House
from cdp.flows.ingest_write import MESSAGE_PLACE
from cdp.flows.instant import at_one_instant
from cdp.flows.people import find_identifiers, open_identifiers, unknown_profile
from cdp.identity import store, store_edges, store_map
from cdp.identity.explain import path_between, refusals_between
from cdp.identity.model import Identifier
from cdp.identity.partition import Difference, difference
from cdp.identity.resolve import Rules, replay
from cdp.identity.store_counts import map_counts
from cdp.kit.db import Transaction
from cdp.kit.ids import encode_id
from cdp.policy.model import Policy
from cdp.vault.strongroom import Item

_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Named:
    """An identifier as people read it; `value` is None once its key is shredded."""

    type: str
    value: str | None


@dataclass(frozen=True, slots=True)
class TableRow:
    """The row of a link table: its number, the source, and the import of the file; None where it came without a file."""

    source: str
    import_job: str | None
    row: int


@dataclass(frozen=True, slots=True)
class ExplainedLink:
    """One link of a path: the message or the row that made it, when, and under which policy."""

    one: Named
    other: Named
    rule: str
    message_id: str | None
    at: datetime
    policy: str
    row: TableRow | None


@dataclass(frozen=True, slots=True)
class ExplainedRefusal:
    """Why two identifiers were not joined."""

    one: Named
    other: Named
    rule: str
    detail: str
    message_id: str | None
    at: datetime
    policy: str
    row: TableRow | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether two identifiers are one person, by which path of links, or what keeps them apart."""

    is_same_profile: bool
    path: tuple[ExplainedLink, ...]
    refusals: tuple[ExplainedRefusal, ...]


@dataclass(frozen=True, slots=True)
class Simulated:
    """What changed rules would do to the map as it is stored, if the recorded links were made again under them.

    `merged` are profiles to be that hold identifiers of several, `split` profiles of today that come apart.
    `refused` counts by rule the identifiers that messages would leave out then, each message for itself.
    """

    steps: int
    profiles_now: int
    profiles_then: int
    merged: int
    split: int
    quarantined_now: int
    quarantined: int
    shared_now: int
    shared_then: int
    refused: Mapping[str, int]
    examples: tuple[Mapping[str, object], ...]


def explain(house: House, one: Identifier, other: Identifier, *, actor: str = "privacy") -> Explanation:
    """Why two identifiers are one person, or why not. Raises the fault `unknown_profile` when either is unknown.

    It opens identifiers, so it is logged as a reading.
    """

    def read(tx: Transaction) -> Explanation:
        first, second = both(tx, house, one, other)
        closure = store_map.closure(tx, [first, second], non_linking=non_linking(house.policy))
        run = replay(
            Rules(house.policy.identifiers),
            closure.types,
            closure.steps,
            shared=closure.shared,
            never=store.never_pairs(tx, list(closure.types)),
        )
        path = path_between(run, first, second)
        kept = () if path is not None else refusals_between(run, first, second)
        messages = _Messages(tx, house, [edge.sequence for edge in path or ()] + [each.sequence for each in kept])
        names = _names(
            tx,
            house,
            [each for edge in path or () for each in (edge.one, edge.other)]
            + [each for one_kept in kept for each in (one_kept.refusal.identifier, one_kept.refusal.other)],
        )
        audit_store.append(
            tx, {"kind": "data.read", "actor": actor, "read": "explain", "count": len(names)}, house.clock.now()
        )
        return Explanation(
            is_same_profile=path is not None,
            path=tuple(
                ExplainedLink(names[edge.one], names[edge.other], edge.rule.value, *messages.of(edge.sequence))
                for edge in path or ()
            ),
            refusals=tuple(
                ExplainedRefusal(
                    names[each.refusal.identifier],
                    names[each.refusal.other],
                    each.refusal.rule.value,
                    each.refusal.detail,
                    *messages.of(each.sequence),
                )
                for each in kept
            ),
        )

    return at_one_instant(house.database, read)


def simulate(house: House, changed: Policy, *, actor: str = "admin") -> Simulated:
    """Replay the recorded links under other identifier rules and compare with the map as it is stored.

    It reads in a transaction that can only read, and is logged in another.

    Normalizers and blocked values work before the keyed hash and are not replayed: they count for messages to come.
    """
    with house.database.transaction(read_only=True) as tx:
        recorded = store_map.recorded(tx)
        home = store_map.owners(tx)
        counts = map_counts(tx)
        never = store.never_pairs(tx, list(recorded.types))
    then = replay(Rules(changed.identifiers), recorded.types, recorded.steps, never=never)
    before = groups_of(home)
    found = difference(before.values(), then)
    simulated = Simulated(
        steps=len(recorded.steps),
        profiles_now=len(before),
        profiles_then=len(then.world.groups),
        merged=len(found.merged),
        split=len(found.split),
        quarantined_now=counts.quarantined,
        quarantined=len(found.quarantined),
        shared_now=counts.shared,
        shared_then=len(then.world.shared),
        refused=Counter(refusal.rule.value for each in then.accepted for refusal in each.refusals),
        examples=tuple(_examples(found, home, recorded)),
    )
    with house.database.transaction() as tx:
        fact = {"kind": "identity.simulated", "actor": actor, "profiles": simulated.profiles_then}
        audit_store.append(tx, fact | {"policy": changed.fingerprint}, house.clock.now())
    return simulated


def both(tx: Transaction, house: House, one: Identifier, other: Identifier) -> tuple[int, int]:
    """The ids of two identifiers. Raises the fault `unknown_profile` when either is unknown."""
    known = find_identifiers(tx, house.vault, [one, other])
    if one not in known or other not in known:
        raise unknown_profile()
    return known[one].identifier_id, known[other].identifier_id


def non_linking(policy: Policy) -> list[str]:
    """The types that never link anybody."""
    return [each.key for each in policy.identifiers.types.values() if not each.merges]


def groups_of(home: Mapping[int, int]) -> dict[int, frozenset[int]]:
    """The identifiers of each profile, from the profile of each identifier."""
    groups: dict[int, set[int]] = {}
    for identifier, profile_id in home.items():
        groups.setdefault(profile_id, set()).add(identifier)
    return {profile_id: frozenset(each) for profile_id, each in groups.items()}


def _examples(
    found: Difference, home: Mapping[int, int], recorded: store_map.Closure
) -> Iterable[Mapping[str, object]]:
    """Some groups of each kind, the largest first: the profiles of today behind them, and what they hold, by type."""
    for kind, groups in (("merged", found.merged), ("split", found.split), ("quarantined", found.quarantined)):
        for group in sorted(groups, key=len, reverse=True)[:_EXAMPLES]:
            profiles = sorted({home[each] for each in group if each in home})
            yield {
                "change": kind,
                "profiles": [encode_id("prf", each) for each in profiles],
                "identifiers": dict(Counter(recorded.types[each] for each in group)),
            }


def _names(tx: Transaction, house: House, identifier_ids: Sequence[int]) -> dict[int, Named]:
    opened = open_identifiers(tx, house.vault, set(identifier_ids))
    return {each.identifier_id: Named(each.type, each.value) for each in opened.values()}


class _Messages:
    """The messages and the rows of link tables behind some recorded steps, with their ids opened."""

    def __init__(self, tx: Transaction, house: House, sequences: Sequence[int]) -> None:
        self._rows = store.resolutions(tx, set(sequences))
        rows = list(self._rows.values())
        keys = house.vault.keys_for(tx, [row.anchor_id for row in rows])
        opened = house.vault.open_many(
            keys, MESSAGE_PLACE, [Item(row.anchor_id, row.sequence, row.message_sealed) for row in rows]
        )
        self._ids = {row.sequence: value for row, value in zip(rows, opened, strict=True)}
        self._edges = store_edges.edges_of(tx, set(sequences) - self._rows.keys())
        self._sources = (
            {int(each.source.source_id): each.source.name for each in access_store.sources(tx)} if self._edges else {}
        )

    def of(self, sequence: int) -> tuple[str | None, datetime, str, TableRow | None]:
        """Message id, instant, policy fingerprint and row of one step: it came by a message or by a link table."""
        edge = self._edges.get(sequence)
        if edge is not None:
            row = TableRow(
                self._sources.get(edge.source_id, ""),
                None if edge.import_job_id is None else encode_id("imp", edge.import_job_id),
                edge.row,
            )
            return None, edge.received_at, (edge.policy_fingerprint or b"").hex(), row
        step = self._rows[sequence]
        message_id = self._ids[sequence]
        return (
            None if message_id is None else message_id.decode("utf-8", "replace"),
            step.received_at,
            step.policy_fingerprint.hex(),
            None,
        )
