"""The identity state from which a batch is resolved: stored groups and, where needed, the recorded steps of a closure."""

from collections.abc import Collection

from cdp.audit.store import facts as fact_store
from cdp.consent.store import records as record_store
from cdp.flows.ingest.consent_inputs import ConsentInputs, ReplayedAnchor
from cdp.flows.ingest.load import BatchState
from cdp.flows.ingest.load_consent import jurisdictions_by_source
from cdp.identity.knowledge import Knowledge
from cdp.identity.model import Evidence, EvidenceRow, Rule
from cdp.identity.resolve import Group, World
from cdp.identity.run import StartState
from cdp.identity.store import anchors as anchor_store
from cdp.identity.store import closure as closure_store
from cdp.identity.store import evidence as evidence_store
from cdp.identity.store import identifiers as identifier_store
from cdp.identity.store import replacing as replacing_store
from cdp.identity.store import separations as separation_store
from cdp.identity.store.generation import Lock
from cdp.kit.db import Transaction


def start_state(
    tx: Transaction, state: BatchState, inputs: ConsentInputs, *, knowledge: Knowledge, lock: Lock
) -> StartState:
    """The world before the batch; once something was learned, with the closure that depends on it replayed.

    Sharing alone needs one closure: it starts from every identifier of the batch, and serves all that is learned later.
    Where a higher authority takes something, only what depends on that is replayed, through shared identifiers too,
    which may turn out to be no longer shared; where that is too much, they stay shared for good.
    """
    if not knowledge.is_empty or state.closure is not None:
        _load_closure(tx, state, inputs, knowledge=knowledge, lock=lock)
    closure = state.closure
    steps = () if closure is None else closure.steps
    touched = frozenset[int]() if closure is None else closure.reached
    replayed = {step.anchor_id for step in steps}
    relearned = touched if state.is_closed_through_shared else frozenset[int]()
    person_level = state.plan.rules.person_level
    world = World(
        state.plan.rules,
        state.types,
        (state.shared - (relearned - state.apart)) | knowledge.shared,
        state.never,
        authority={
            identifier_id: authority
            for identifier_id, authority in state.authority.items()
            if identifier_id not in relearned or state.types[identifier_id] in person_level
        }
        | knowledge.authority,
        proved=state.proved,
        heard=state.heard | knowledge.anchors,
    )
    for profile_id, links in state.links.items():
        if any(link.identifier_id in touched for link in links):
            continue
        profile = state.profiles[profile_id]
        members = {link.identifier_id: link.linked_at for link in links}
        world.add(
            Group(profile.origin, members, profile.merges, profile.anchors, is_quarantined=profile.is_quarantined)
        )
        world.untraced.update(members.keys() - knowledge.traced)
    world.counted.update(anchor.anchor_id for anchor in state.anchors.values() if anchor.anchor_id not in replayed)
    for anchor in state.anchors.values():
        if anchor.is_settled and anchor.anchor_id not in replayed:
            world.placement[anchor.anchor_id] = state.origins[anchor.profile_id]
    return StartState(world, steps)


def _load_closure(
    tx: Transaction, state: BatchState, inputs: ConsentInputs, *, knowledge: Knowledge, lock: Lock
) -> None:
    """Load the recorded steps that depend on what was learned, unless those that are loaded suffice."""
    through_shared = state.is_closed_through_shared or knowledge.is_raised
    start = _start_of_raised(state, knowledge) if through_shared else _start_of_shared(tx, state, knowledge)
    start -= state.new_identifiers.keys()
    if state.closure is not None and start <= state.closure_of and through_shared == state.is_closed_through_shared:
        return
    if through_shared:
        closure = _closure_of_raised(tx, state, start, knowledge=knowledge, lock=lock)
        state.apart = replacing_store.set_apart(tx, closure.shared)
    else:
        rules = state.plan.rules
        closure = closure_store.closure(
            tx,
            list(start),
            closure_store.LinkingTypes(rules.non_linking, guarded=sorted(rules.bound_by_authority)),
            learned=[identifier_id for identifier_id in start if state.types[identifier_id] in rules.can_be_shared],
            owned_only=knowledge.shared | knowledge.traced,
        )
    state.closure, state.closure_of, state.is_closed_through_shared = closure, frozenset(start), through_shared
    state.types.update(closure.types)
    state.shared.update(closure.shared)
    state.authority = dict(closure.authority) | state.authority
    state.proved.update(closure.proved)
    state.profile_of.update(closure.profiles)
    state.origins.update({profile_id: origin for origin, profile_id in closure.profiles.items()})
    state.never.update(separation_store.never_pairs(tx, list(closure.types)))
    missing = closure.types.keys() - state.with_records
    inputs.records.extend(record_store.records_of(tx, missing))
    state.with_records |= missing
    inputs.replayed.update(_replayed_anchors(tx, closure))


def _closure_of_raised(
    tx: Transaction, state: BatchState, start: Collection[int], *, knowledge: Knowledge, lock: Lock
) -> closure_store.Closure:
    """The closure through shared identifiers; where it is too wide, those that make it so stay shared for good."""
    rules = state.plan.rules
    guarded = rules.guarded - {state.types[identifier_id] for identifier_id in knowledge.authority}
    bound: int | None = rules.policy.bounds.identifiers_per_replay
    while True:
        try:
            return closure_store.closure(
                tx,
                list(start),
                closure_store.LinkingTypes(rules.non_linking, sorted(guarded), sorted(rules.takeable)),
                through_shared=True,
                reached_max=bound,
                decided=_decided_authority(tx, state, knowledge),
            )
        except closure_store.TooWide as wide:
            crowded = replacing_store.not_set_apart(tx, wide.reached - knowledge.identifiers)
        if not crowded:
            bound = None
            continue
        policy = state.plan.policy.fingerprint
        rows = [
            EvidenceRow(lock.next_sequence, "shared", Rule.CROWDED, identifier_id, None, 0, None, lock.now)
            for identifier_id in sorted(crowded)
        ]
        evidence_store.insert_evidence(tx, rows, bytes.fromhex(policy))
        fact = {"kind": "identity.crowded", "actor": "system", "count": len(rows), "policy": policy}
        fact_store.append(tx, fact, lock.now)


def _decided_authority(tx: Transaction, state: BatchState, knowledge: Knowledge) -> list[closure_store.Decided]:
    """Of an identifier that a higher authority takes, lower words that never linked it, or not since it became shared."""
    raised = {
        identifier_id: level
        for identifier_id, level in knowledge.authority.items()
        if level >= Evidence.IMPORT and identifier_id in state.authority
    }
    since = evidence_store.shared_since(tx, sorted(state.shared & raised.keys()))
    return [
        closure_store.Decided(identifier_id, level, since[identifier_id])
        if identifier_id in since
        else closure_store.Decided(identifier_id, state.authority[identifier_id], -1)
        for identifier_id, level in raised.items()
    ]


def _start_of_raised(state: BatchState, knowledge: Knowledge) -> set[int]:
    """The identifiers that facts are about, and the members of anchors that a higher authority stated."""
    members = {member for anchor_id in knowledge.anchors for member in state.members.get(anchor_id, ())}
    earlier = state.closure_of if state.is_closed_through_shared else ()
    return {*knowledge.identifiers, *members, *earlier}


def _start_of_shared(tx: Transaction, state: BatchState, knowledge: Knowledge) -> set[int]:
    """Every identifier of the batch, so that the closure is wide enough for any weak one of them to become shared."""
    if state.closure is not None:
        return set(state.closure_of)
    start = {link.identifier_id for links in state.links.values() for link in links}
    start.update((*state.ids.values(), *knowledge.identifiers))
    _load_cached_members(tx, state)
    start.update(member for cached in state.cached.values() for member in cached.members)
    return start - state.shared


def _load_cached_members(tx: Transaction, state: BatchState) -> None:
    """The types of the identifiers of cached profiles, which only a closure needs."""
    members = {member for cached in state.cached.values() for member in cached.members}
    for identifier in identifier_store.sealed_of(tx, members) if members else ():
        state.types[identifier.identifier_id] = identifier.type
        if identifier.is_shared:
            state.shared.add(identifier.identifier_id)


def _replayed_anchors(tx: Transaction, closure: closure_store.Closure) -> dict[int, ReplayedAnchor]:
    """The anchors of a closure, and its edges under the negative of their sequence."""
    jurisdictions = jurisdictions_by_source(tx)
    sources = anchor_store.sources_of_steps(tx, {step.anchor_id for step in closure.steps})
    return {
        step.anchor_id: ReplayedAnchor(
            frozenset(step.members),
            frozenset(
                jurisdictions[source_id] for source_id in sources.get(step.anchor_id, ()) if source_id in jurisdictions
            ),
        )
        for step in closure.steps
    }
