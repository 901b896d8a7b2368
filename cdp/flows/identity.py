"""Journeys that ask who is who: explain two identifiers, and simulate changed rules. They write nothing but the log."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cdp.access import store_policy
from cdp.audit import store as audit_store
from cdp.flows.house import House
from cdp.flows.ingest_write import MESSAGE_PLACE
from cdp.flows.people import find_identifiers, open_identifiers, unknown_profile
from cdp.identity import store, store_edges, store_map
from cdp.identity.explain import path_between, refusals_between
from cdp.identity.model import Identifier
from cdp.identity.partition import Difference, difference
from cdp.identity.resolve import Rules, Run, replay
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
class ExplainedLink:
    """One link of a path: the message that made it, when, and under which policy."""

    one: Named
    other: Named
    rule: str
    message_id: str | None
    at: datetime
    policy: str


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


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether two identifiers are one person, by which path of links, or what keeps them apart."""

    is_same_profile: bool
    path: tuple[ExplainedLink, ...]
    refusals: tuple[ExplainedRefusal, ...]


@dataclass(frozen=True, slots=True)
class Simulated:
    """What changed rules would do to the recorded links."""

    steps: int
    profiles_now: int
    profiles_then: int
    merged: int
    split: int
    quarantined: int
    examples: tuple[Mapping[str, object], ...]


def explain(house: House, one: Identifier, other: Identifier, *, actor: str = "privacy") -> Explanation:
    """Why two identifiers are one person, or why not. Raises the fault `unknown_profile` when either is unknown.

    It opens identifiers, so it is logged as a reading.
    """
    with house.database.transaction() as tx:
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


def simulate(house: House, changed: Policy, *, actor: str = "admin") -> Simulated:
    """Replay the recorded links under other identifier rules, in a transaction that can only read; log it in another.

    Normalizers and blocked values work before the keyed hash and are not replayed: they count for messages to come.
    """
    with house.database.transaction(read_only=True) as tx:
        recorded = store_map.recorded(tx)
        never = store.never_pairs(tx, list(recorded.types))
        now = replay(Rules(house.policy.identifiers), recorded.types, recorded.steps, never=never)
        then = replay(Rules(changed.identifiers), recorded.types, recorded.steps, never=never)
        before = [frozenset(group.members) for group in now.world.groups.values()]
        found = difference(before, then)
        simulated = Simulated(
            steps=len(recorded.steps),
            profiles_now=len(now.world.groups),
            profiles_then=len(then.world.groups),
            merged=len(found.merged),
            split=len(found.split),
            quarantined=len(found.quarantined),
            examples=tuple(_examples(found, now, recorded)),
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


def _examples(found: Difference, now: Run, recorded: store_map.Closure) -> Iterable[Mapping[str, object]]:
    home = {each: group.born for group in now.world.groups.values() for each in group.members}
    for kind, groups in (("merged", found.merged), ("split", found.split), ("quarantined", found.quarantined)):
        for group in groups[:_EXAMPLES]:
            profiles = sorted({recorded.profiles[home[each]] for each in group if each in home})
            yield {
                "change": kind,
                "profiles": [encode_id("prf", each) for each in profiles],
                "identifiers": dict(Counter(recorded.types[each] for each in group)),
            }


def _names(tx: Transaction, house: House, identifier_ids: Sequence[int]) -> dict[int, Named]:
    opened = open_identifiers(tx, house.vault, set(identifier_ids))
    return {each.identifier_id: Named(each.type, each.value) for each in opened.values()}


class _Messages:
    """The messages behind some recorded steps, with their ids opened."""

    def __init__(self, tx: Transaction, house: House, sequences: Sequence[int]) -> None:
        self._rows = store.resolutions(tx, set(sequences))
        rows = list(self._rows.values())
        keys = house.vault.keys_for(tx, [row.anchor_id for row in rows])
        opened = house.vault.open_many(
            keys, MESSAGE_PLACE, [Item(row.anchor_id, row.sequence, row.message_sealed) for row in rows]
        )
        self._ids = {row.sequence: value for row, value in zip(rows, opened, strict=True)}
        self._edges = store_edges.edges_of(tx, set(sequences) - self._rows.keys())
        self._policies = store_policy.policies(tx) if self._edges else []

    def of(self, sequence: int) -> tuple[str | None, datetime, str]:
        """Message id, instant and policy fingerprint of one step; a row of a link table has no message."""
        if sequence in self._edges:
            _, at = self._edges[sequence]
            return (
                None,
                at,
                next((each.fingerprint.hex() for each in reversed(self._policies) if each.applied_at <= at), ""),
            )
        row = self._rows[sequence]
        message_id = self._ids[sequence]
        return (
            None if message_id is None else message_id.decode("utf-8", "replace"),
            row.received_at,
            row.policy_fingerprint.hex(),
        )
