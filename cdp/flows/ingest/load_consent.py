"""Loading what the decisions of a batch need to know about consent, set by set."""

from collections.abc import Collection, Mapping, Sequence

from cdp.behavior.store.ages import ages_of
from cdp.consent.model import Reason, Verdict
from cdp.consent.store import records as record_store
from cdp.consent.store import verdicts as verdict_store
from cdp.flows.consent.verdicts import asks_for_age
from cdp.flows.ingest.consent_inputs import ConsentInputs, Verdicts
from cdp.flows.ingest.load import BatchState
from cdp.flows.ingest.stages import IdentifiedMessage
from cdp.identity.store import anchors as anchor_store
from cdp.kit.db import Transaction
from cdp.sources.store import sources as source_store


def load_consent_inputs(
    tx: Transaction, state: BatchState, messages: Sequence[IdentifiedMessage], *, bits: Mapping[str, int]
) -> ConsentInputs:
    """Records and sources of the groups that could change, and the verdicts in force of every other profile.

    Notes in `state` whose records were read.
    """
    changeable = list(state.links)
    seen = anchor_store.unowned_identifiers_of(tx, changeable) if changeable else {}
    wanted = {member for message in messages if message.needs_evaluation for member in message.members}
    wanted -= state.new_identifiers.keys()
    wanted.update(link.identifier_id for links in state.links.values() for link in links)
    wanted.update(identifier_id for identifier_ids in seen.values() for identifier_id in identifier_ids)
    state.with_records = frozenset(wanted)
    jurisdictions = _jurisdictions(tx, changeable)
    ages = ages_of(tx, changeable) if changeable and asks_for_age(state.plan.policy) else {}
    cached = {entry.profile.profile_id: entry.verdicts for entry in state.cached.values()}
    verdicts = cached | _verdicts_in_force(
        tx, [profile_id for profile_id in state.profiles if profile_id not in cached]
    )
    return ConsentInputs(
        records=record_store.records_of(tx, list(wanted)),
        seen={state.origins[profile_id]: frozenset(identifier_ids) for profile_id, identifier_ids in seen.items()},
        jurisdictions={state.origins[profile_id]: names for profile_id, names in jurisdictions.items()},
        ages={state.origins[profile_id]: age for profile_id, age in ages.items()},
        quarantined=frozenset(profile.origin for profile in state.profiles.values() if profile.is_quarantined),
        in_force={state.origins[key]: found for key, found in verdicts.items() if key not in state.links},
        stored={state.origins[key]: found for key, found in verdicts.items() if key in state.links},
        bits=bits,
    )


def jurisdictions_by_source(tx: Transaction) -> dict[int, str]:
    """The jurisdiction of every source."""
    return {int(entry.source.source_id): entry.source.jurisdiction for entry in source_store.sources(tx)}


def _verdicts_in_force(tx: Transaction, profile_ids: Collection[int]) -> dict[int, Verdicts]:
    """The verdicts in force of these profiles; a purpose without a row is one without a recorded statement."""
    permitted = verdict_store.permitted_of(tx, profile_ids)
    refused = verdict_store.refused_of(tx, profile_ids)
    return {
        profile_id: {
            purpose: Verdict(True, Reason.GRANTED, verdict.since, verdict.until)
            for purpose, verdict in permitted.get(profile_id, {}).items()
        }
        | {purpose: Verdict(False, reason) for purpose, reason in refused.get(profile_id, {}).items()}
        for profile_id in profile_ids
    }


def _jurisdictions(tx: Transaction, profile_ids: Collection[int]) -> dict[int, frozenset[str]]:
    if not profile_ids:
        return {}
    by_source = jurisdictions_by_source(tx)
    return {
        profile_id: frozenset(by_source[source_id] for source_id in source_ids if source_id in by_source)
        for profile_id, source_ids in anchor_store.sources_of(tx, profile_ids).items()
    }
