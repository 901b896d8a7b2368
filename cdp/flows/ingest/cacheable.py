"""Which profiles of a batch the process may cache. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from cdp.accounting.model import State
from cdp.consent.in_effect import GrantsInEffect, grants_in_effect
from cdp.consent.store.verdicts import has_stored_row
from cdp.flows.identifiers import evidence_of
from cdp.flows.ingest.consent_inputs import ConsentInputs
from cdp.flows.ingest.consent_state import ConsentState
from cdp.flows.ingest.load import BatchState
from cdp.flows.ingest.profile_cache import CacheEntry
from cdp.flows.ingest.stages import DecidedMessage, IdentifiedMessage
from cdp.identity.model import Identifier
from cdp.identity.resolve import World
from cdp.identity.run import Run
from cdp.identity.store.anchors import StoredAnchor
from cdp.identity.store.profiles import StoredProfile


def cacheable(
    state: BatchState,
    inputs: ConsentInputs,
    run: Run,
    *,
    consent: ConsentState,
    decided: Sequence[DecidedMessage],
) -> list[CacheEntry]:
    """Profiles of settled anchors: those that the batch only read, and those that it created.

    To be called when all is written and no closure was replayed. Those of which the batch changed a verdict are dropped by the
    cache.
    """
    entries: dict[tuple[Identifier, ...], CacheEntry] = {}
    for message in decided:
        identified = message.identified
        identifiers = message.read.identifiers
        if identified.screened.cached is None and identifiers not in entries and _is_unambiguous(identified):
            if identified.needs_evaluation and not identified.is_acting_only:
                entry = _created(state, run, consent, message=message)
            else:
                entry = _unchanged(state, inputs, identified, world=run.world)
            if entry is not None:
                entries[identifiers] = replace(entry, grants=_grants(state, consent, identified.members))
    return list(entries.values())


def _is_unambiguous(message: IdentifiedMessage) -> bool:
    """Whether neither a suppression nor another name of the message affects whose it is."""
    screened = message.screened
    if screened.has_other_names or len(screened.hashed) != len(message.read.identifiers):
        return False
    return not any(hashed.has_kept_acts or hashed.was_suppressed for hashed in screened.hashed)


def _unchanged(
    state: BatchState, inputs: ConsentInputs, message: IdentifiedMessage, *, world: World
) -> CacheEntry | None:
    anchor = state.anchors[message.digest]
    profile = state.profiles[anchor.profile_id]
    verdicts = inputs.in_force.get(profile.origin, inputs.stored.get(profile.origin))
    if verdicts is None:
        return None
    return CacheEntry(message, anchor, profile, verdicts, world.is_known_to_others(message.members))


def _grants(state: BatchState, consent: ConsentState, members: Sequence[int]) -> dict[int, GrantsInEffect]:
    """The grants in effect of the members of an anchor; empty unless the batch read or made all records of each."""
    if any(member not in state.with_records and member not in state.new_identifiers for member in members):
        return {}
    return {member: grants_in_effect(consent.ledger.of(member)) for member in members}


def _created(state: BatchState, run: Run, consent: ConsentState, *, message: DecidedMessage) -> CacheEntry | None:
    """A new profile to which the messages of this anchor belong, whatever happens over time."""
    identified = message.identified
    origin = run.world.placement.get(identified.anchor_id)
    if message.outcome.state is not State.STORED or identified.digest in state.anchors or origin is None:
        return None
    origin = run.world.current(origin)
    is_new = origin in consent.groups and state.profile_of[origin] not in state.profiles
    if not is_new or run.world.groups[origin].is_quarantined:
        return None
    profile_id = state.profile_of[origin]
    sent_by = message.read.message.source
    source = int(sent_by.source_id)
    verdicts = {key: verdict for key, verdict in consent.groups[origin].verdicts.items() if has_stored_row(verdict)}
    anchor = StoredAnchor(identified.anchor_id, profile_id, True, frozenset({source}), evidence_of(sent_by))
    profile = StoredProfile(profile_id, origin, 0, False, run.world.groups[origin].anchors)
    return CacheEntry(identified, anchor, profile, verdicts, run.world.is_known_to_others(identified.members))
