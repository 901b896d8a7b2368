"""Writing consent: records, verdicts, and what is derived from verdicts."""

from collections.abc import Mapping, Sequence

from cdp.consent.ledger import Ledger
from cdp.consent.model import WITHOUT_CLEARING
from cdp.consent.store import verdicts as verdict_store
from cdp.flows.consent.followers import put_in_force
from cdp.flows.consent.recording import append_acts
from cdp.flows.consent.verdicts import (
    apply_mapping_change,
    project_traits,
    update_derived_data,
)
from cdp.flows.ingest.batch_result import BatchResult
from cdp.flows.ingest.consent_inputs import Verdicts
from cdp.flows.ingest.stages import DecidedMessage
from cdp.identity.partition import partition_of
from cdp.identity.store.mapping import NewProfile
from cdp.rights.replay_file import OptOut


def write_consent(
    result: BatchResult, stored: Sequence[DecidedMessage], new_profiles: Sequence[NewProfile]
) -> set[tuple[int, str]]:
    """Write records and verdicts; gives the (profile, purpose) pairs that projections and traits must follow."""
    tx, consent, state, world = result.tx, result.consent, result.state, result.run.world
    append_acts(tx, consent.ledger.added, consent.ledger.repeated, actor="source", now=result.now)
    if state.closure is not None:
        return set()
    verdicts = {state.profile_of[origin]: consent.final_verdicts(world, origin) for origin in consent.changed}
    retired = {
        state.profile_of[origin]: result.profile_at(origin)
        for origin in world.merged_into
        if origin in state.profile_of
    }
    if not verdicts and not retired:
        return set()
    new_ids = {profile.profile_id for profile in new_profiles}
    changes = verdict_store.put_verdicts(tx, verdicts, now=result.now, retired=retired, new_profiles=new_ids)
    overtaken = _overtaken(result, stored, verdicts)
    verdict_store.add_withdrawals(tx, overtaken, result.now)
    return overtaken.union(pair for pair in changes.ended | changes.begun if pair[0] not in new_ids)


def update_followers(result: BatchResult, stored: Sequence[DecidedMessage], changed: set[tuple[int, str]]) -> set[int]:
    """Update everything derived, now that events and traits are written.

    Gives the profiles beside those of the batch whose verdicts were computed again or changed.
    """
    tx, policy, state, now = result.tx, result.plan.policy, result.state, result.now
    if state.closure is not None:
        partition = partition_of(result.run, state.profile_of)
        apply_mapping_change(tx, policy, profile_ids=partition.current, now=now, retired=partition.retired)
    else:
        update_derived_data(tx, policy, changed, now=now)
    ledger = result.consent.ledger
    acts = {record.record_id: record for record in (*ledger.added, *ledger.repeated)}
    own = {state.profile_of[origin] for origin in result.consent.changed}
    others = put_in_force(tx, policy, acts.values(), now=now, but=own)
    stating = {result.profile_of(message) for message in stored if message.read.classified.plain_traits}
    if stating:
        project_traits(tx, policy, result.cache.masks, profile_ids=stating, now=now)
    return others


def opt_outs_of(ledger: Ledger, decided: Sequence[DecidedMessage]) -> list[OptOut]:
    """The opt-outs and restrictions that a batch added or repeated, as the replay file keeps them.

    A repetition is a line with its own instant: without it, a grant from before it that arrives after a restore would prevail.
    """
    added = [record for record in ledger.added if record.act.is_refusal or record.act.is_of_restriction]
    stated = [(record, record.occurred_at) for record in added]
    stated += [(record, record.repeated_at) for record in ledger.repeated if record.repeated_at is not None]
    if not stated:
        return []
    pseudonyms = {
        member: hashed.suppression_pseudonym
        for message in decided
        if message.identified.screened.cached is None
        for member, hashed in zip(message.identified.members, message.identified.screened.hashed, strict=True)
    }
    return [
        OptOut(
            identifier_id=record.identifier_id,
            pseudonym=pseudonyms[record.identifier_id],
            purpose=record.purpose,
            act=record.act.value,
            authority=record.authority.value,
            jurisdiction=record.jurisdiction,
            occurred_at=at,
            signal=record.signal or "",
        )
        for record, at in stated
    ]


def _overtaken(
    result: BatchResult, stored: Sequence[DecidedMessage], verdicts: Mapping[int, Verdicts]
) -> set[tuple[int, str]]:
    """The pairs for which a message of this batch was stored by a permission that a later message withdrew."""
    masks = result.cache.masks
    return {
        (profile_id, purpose)
        for message in stored
        if (profile_id := result.profile_of(message)) in verdicts
        for purpose, verdict in verdicts[profile_id].items()
        if message.bits & masks[purpose]
        and verdict.reason not in WITHOUT_CLEARING
        and (verdict.since is None or message.read.message.occurred_at < verdict.since)
    }
