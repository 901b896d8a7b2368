"""The identity state from which a batch is resolved: stored groups and, where needed, the recorded steps of a closure."""

from collections.abc import Collection

from cdp.consent.store import records as record_store
from cdp.flows.ingest.consent_inputs import ConsentInputs, ReplayedAnchor
from cdp.flows.ingest.load import BatchState
from cdp.flows.ingest.load_consent import jurisdictions_by_source
from cdp.identity.model import ResolutionStep
from cdp.identity.resolve import Group, StartState, World
from cdp.identity.store import anchors as anchor_store
from cdp.identity.store import closure as closure_store
from cdp.identity.store import identifiers as identifier_store
from cdp.identity.store import separations as separation_store
from cdp.kit.db import Transaction


def start_state(tx: Transaction, state: BatchState, inputs: ConsentInputs, *, learned: frozenset[int]) -> StartState:
    """The world before the batch; once an identifier is learned to be shared, with the closure around it replayed.

    The closure is loaded for the first identifier learned and serves all later ones: it starts from every identifier
    of the batch.
    """
    touched: Collection[int] = ()
    steps: tuple[ResolutionStep, ...] = ()
    if learned or state.closure is not None:
        if state.closure is None:
            state.closure = _load_closure(tx, state, learned)
            inputs.records.extend(record_store.records_of(tx, state.closure.types.keys() - state.with_records))
            inputs.replayed.update(_replayed_anchors(tx, state.closure))
        steps = state.closure.steps
        touched = {member for step in steps for member in step.members}
    replayed = {step.anchor_id for step in steps}
    world = World(state.plan.rules, state.types, state.shared | learned, state.never)
    for profile_id, links in state.links.items():
        if any(link.identifier_id in touched for link in links):
            continue
        profile = state.profiles[profile_id]
        members = {link.identifier_id: link.linked_at for link in links}
        world.add(Group(profile.origin, members, profile.merges, profile.is_quarantined))
    for anchor in state.anchors.values():
        if anchor.is_settled and anchor.anchor_id not in replayed:
            world.placement[anchor.anchor_id] = state.origins[anchor.profile_id]
    return StartState(world, steps)


def _load_closure(tx: Transaction, state: BatchState, learned: frozenset[int]) -> closure_store.Closure:
    """The recorded steps around every identifier of the batch, wide enough for any weak one of them to become shared."""
    rules = state.plan.rules
    start = {link.identifier_id for links in state.links.values() for link in links}
    start.update(
        identifier_id for identifier_id in (*state.ids.values(), *learned) if identifier_id not in state.new_identifiers
    )
    _load_cached_members(tx, state)
    start.update(member for cached in state.cached.values() for member in cached.members)
    start -= state.shared
    closure = closure_store.closure(
        tx,
        list(start),
        learned=[identifier_id for identifier_id in start if state.types[identifier_id] in rules.can_be_shared],
        non_linking=[type_ for type_, links in rules.links.items() if not links],
    )
    state.types.update(closure.types)
    state.shared.update(closure.shared)
    state.profile_of.update(closure.profiles)
    state.origins.update({profile_id: origin for origin, profile_id in closure.profiles.items()})
    state.never.update(separation_store.never_pairs(tx, list(closure.types)))
    return closure


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
