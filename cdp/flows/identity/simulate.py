"""Simulate changed identity rules against the stored map. Writes nothing but the log."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.identity.partition import PartitionDifference, difference, groups_of
from cdp.identity.resolve import Rules, replay
from cdp.identity.store import closure as closure_store
from cdp.identity.store import mapping as mapping_store
from cdp.identity.store import separations as separation_store
from cdp.identity.store.counts import map_counts
from cdp.kit.ids import encode_id
from cdp.policy.model import Policy

_EXAMPLES = 10


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


def simulate(context: Context, changed: Policy, *, actor: str = "admin") -> Simulated:
    """Replay the recorded links under other identifier rules and compare with the map as it is stored.

    It reads in a transaction that can only read, and is logged in another.

    Normalizers and blocked values work before the keyed hash and are not replayed: they count for messages to come.
    """
    with context.database.transaction(read_only=True) as tx:
        recorded = closure_store.recorded(tx)
        home = mapping_store.owners(tx)
        counts = map_counts(tx)
        never = separation_store.never_pairs(tx, list(recorded.types))
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
    with context.database.transaction() as tx:
        fact = {"kind": "identity.simulated", "actor": actor, "profiles": simulated.profiles_then}
        fact_store.append(tx, fact | {"policy": changed.fingerprint}, context.clock.now())
    return simulated


def non_linking(policy: Policy) -> list[str]:
    """The types that never link anybody."""
    return [each.key for each in policy.identifiers.types.values() if not each.merges]


def _examples(
    found: PartitionDifference, home: Mapping[int, int], recorded: closure_store.Closure
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
