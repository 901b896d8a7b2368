"""Simulate changed identity rules on the recorded links. Writes nothing but the audit log."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.identity.mapping_replay import replay_closure
from cdp.identity.partition import PartitionDifference, difference, groups_of
from cdp.identity.rules import Rules
from cdp.identity.store import closure as closure_store
from cdp.identity.store import mapping as mapping_store
from cdp.identity.store.counts import map_counts
from cdp.kit.ids import encode_id
from cdp.policy.model import Policy

_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Simulated:
    """How the stored mapping would change if the recorded links were replayed under changed rules.

    `merged` counts new profiles that have identifiers of several current ones, `split` current profiles whose
    identifiers would be separated. `refused` counts, by rule, the links that would be refused, per recorded step.
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
    """Replay the recorded links under changed identifier rules and compare the result with the stored mapping.

    Reads in a read-only transaction, and records the simulation in the audit log in another one.

    Normalizers and blocked values apply before the keyed hash and are not replayed: they affect future messages only.
    """
    with context.database.transaction(read_only=True) as tx:
        recorded = closure_store.recorded(tx)
        profile_of = mapping_store.owners(tx)
        counts = map_counts(tx)
        run = replay_closure(tx, Rules(changed.identifiers), recorded)
    before = groups_of(profile_of)
    changes = difference(before.values(), run)
    simulated = Simulated(
        steps=len(recorded.steps),
        profiles_now=len(before),
        profiles_then=len(run.world.groups),
        merged=len(changes.merged),
        split=len(changes.split),
        quarantined_now=counts.quarantined,
        quarantined=len(changes.quarantined),
        shared_now=counts.shared,
        shared_then=len(run.world.shared),
        refused=Counter(refusal.rule.value for proposal in run.accepted for refusal in proposal.refusals),
        examples=tuple(_examples(changes, profile_of, recorded)),
    )
    with context.database.transaction() as tx:
        fact = {"kind": "identity.simulated", "actor": actor, "profiles": simulated.profiles_then}
        fact_store.append(tx, fact | {"policy": changed.fingerprint}, context.clock.now())
    return simulated


def _examples(
    changes: PartitionDifference, profile_of: Mapping[int, int], recorded: closure_store.Closure
) -> Iterable[Mapping[str, object]]:
    """Up to ten groups of each kind of change, largest first: current profiles, and numbers of identifiers by type."""
    for kind, groups in (("merged", changes.merged), ("split", changes.split), ("quarantined", changes.quarantined)):
        for group in sorted(groups, key=len, reverse=True)[:_EXAMPLES]:
            profiles = sorted({profile_of[identifier] for identifier in group if identifier in profile_of})
            yield {
                "change": kind,
                "profiles": [encode_id("prf", profile_id) for profile_id in profiles],
                "identifiers": dict(Counter(recorded.types[identifier] for identifier in group)),
            }
