"""Steps that follow every change of identity or consent: verdicts in force, projections and computed traits."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from cdp.behavior.ages import UNKNOWN_AGE
from cdp.behavior.store.ages import ages_of
from cdp.behavior.store.buckets import delete_buckets, recompute_buckets
from cdp.behavior.store.events import uncovered
from cdp.behavior.store.traits import traits_of
from cdp.behavior.traits import TraitPlan, compile_traits
from cdp.consent.decide import decide
from cdp.consent.ledger import shortened
from cdp.consent.model import WITHOUT_CLEARING, Record, Verdict, VerdictFacts
from cdp.consent.store import records as record_store
from cdp.consent.store import verdicts as verdict_store
from cdp.consent.store.projection import bits_of
from cdp.consent.store.verdicts import VerdictChanges
from cdp.identity.store import anchors as anchor_store
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import profiles as profile_store
from cdp.kit.db import Transaction
from cdp.policy.model import Policy
from cdp.segments.store import marks as mark_store
from cdp.sources.store import sources as source_store


def current_verdicts(
    tx: Transaction,
    policy: Policy,
    profile_ids: Collection[int],
    *,
    now: datetime,
    validities: Mapping[str, int | None] | None = None,
    purposes: Collection[str] | None = None,
) -> dict[int, dict[str, Verdict]]:
    """The verdict of each profile for each purpose, or for these, computed from the ledger.

    `validities` are those of a policy that is not in force yet, where they differ, in days by purpose.
    """
    records = deciding_records(tx, profile_ids)
    if validities:
        records = {
            profile_id: [shortened(record, validities.get(record.purpose), now) for record in own]
            for profile_id, own in records.items()
        }
    facts = facts_of(tx, policy, profile_ids, now=now)
    # Profiles that were seen with one shared identifier, and have no records of their own, are decided once for all.
    decided: dict[tuple[tuple[tuple[int, bool], ...], VerdictFacts], dict[str, Verdict]] = {}
    rules = {key: rule for key, rule in policy.purposes.items() if purposes is None or key in purposes}
    verdicts = {}
    for profile_id in profile_ids:
        own = records[profile_id]
        same = (tuple([(record.record_id, record.is_shared) for record in own]), facts[profile_id])
        if same not in decided:
            decided[same] = {key: decide(own, rule, facts[profile_id], now=now) for key, rule in rules.items()}
        verdicts[profile_id] = decided[same]
    return verdicts


def deciding_records(tx: Transaction, profile_ids: Collection[int]) -> dict[int, list[Record]]:
    """The acts that determine the verdicts of each profile, with `is_shared` set."""
    deciding = consent_subject_store.deciding_identifiers(tx, profile_ids)
    by_identifier: dict[int, list[Record]] = {}
    identifier_ids = {identifier_id for identifiers in deciding.values() for identifier_id in identifiers}
    shared: dict[int, list[Record]] = {}
    for record in record_store.records_of(tx, identifier_ids):
        by_identifier.setdefault(record.identifier_id, []).append(record)
        shared.setdefault(record.identifier_id, []).append(replace(record, is_shared=True))
    return {
        profile_id: [
            record
            for identifier_id, is_shared in identifiers.items()
            for record in (shared if is_shared else by_identifier).get(identifier_id, ())
        ]
        for profile_id, identifiers in deciding.items()
    }


def facts_of(
    tx: Transaction, policy: Policy, profile_ids: Collection[int], *, now: datetime
) -> dict[int, VerdictFacts]:
    """What determines the verdicts of these profiles in addition to their records."""
    by_source = {int(entry.source.source_id): entry.source.jurisdiction for entry in source_store.sources(tx)}
    sources = anchor_store.sources_of(tx, profile_ids)
    unique = {
        link.profile_id
        for link in profile_store.links_of(tx, profile_ids)
        if link.type in policy.identifiers.unique_types
    }
    quarantined = {profile.profile_id for profile in profile_store.profiles(tx, profile_ids) if profile.is_quarantined}
    ages = ages_of(tx, list(profile_ids)) if asks_for_age(policy) else {}
    months = policy.ask_again_after_months
    return {
        profile_id: VerdictFacts(
            jurisdictions=frozenset(by_source[id_] for id_ in sources.get(profile_id, ()) if id_ in by_source),
            has_unique_identifier=profile_id in unique,
            age=ages.get(profile_id, UNKNOWN_AGE).vouched_years(now),
            claimed_age=ages.get(profile_id, UNKNOWN_AGE).claimed_years(now),
            is_quarantined=profile_id in quarantined,
            ask_again_after_months=months,
        )
        for profile_id in profile_ids
    }


def asks_for_age(policy: Policy) -> bool:
    """Whether any purpose has a minimum age."""
    return any(purpose.minimum_age is not None for purpose in policy.purposes.values())


def refresh_verdicts(
    tx: Transaction,
    policy: Policy,
    *,
    profile_ids: Collection[int],
    now: datetime,
    retired: Mapping[int, int] | None = None,
    validities: Mapping[str, int | None] | None = None,
    purposes: Collection[str] | None = None,
) -> VerdictChanges:
    """Recompute the verdicts of these profiles and put everything that follows in force, with set-based statements.

    `retired` maps merged profiles to the surviving ones, which must be among `profile_ids`; `validities` and `purposes`
    as for `current_verdicts`.
    """
    verdicts = current_verdicts(tx, policy, profile_ids, now=now, validities=validities, purposes=purposes)
    outcome = verdict_store.put_verdicts(tx, verdicts, now=now, retired=retired)
    changed = outcome.ended | outcome.begun
    permitted = {(profile_id, purpose) for profile_id, purpose in changed if _is_allowed(verdicts, profile_id, purpose)}
    update_derived_data(tx, policy, permitted, now=now)
    delete_derived_data(tx, policy, changed - permitted)
    mark_store.mark(
        tx, ((profile_id, None) for profile_id in {*(retired or ()), *(profile_id for profile_id, _ in changed)})
    )
    return outcome


def _is_allowed(verdicts: Mapping[int, Mapping[str, Verdict]], profile_id: int, purpose: str) -> bool:
    verdict = verdicts.get(profile_id, {}).get(purpose)
    return verdict is not None and verdict.allowed


def apply_mapping_change(
    tx: Transaction,
    policy: Policy,
    *,
    profile_ids: Collection[int],
    now: datetime,
    retired: Mapping[int, int],
) -> None:
    """Recompute everything derived from the mapping after anchors moved between these profiles.

    Data that was permitted by the consent of a person now in another profile is no longer permitted; the worker clears it.
    """
    verdicts = current_verdicts(tx, policy, profile_ids, now=now)
    outcome = verdict_store.put_verdicts(tx, verdicts, now=now, retired=retired)
    add_uncovered(tx, verdicts, now=now)
    everything = {(profile_id, purpose) for profile_id in profile_ids for purpose in policy.purposes}
    update_derived_data(tx, policy, everything | outcome.ended | outcome.begun, now=now)
    mark_store.mark(tx, ((profile_id, None) for profile_id in {*profile_ids, *retired}))


def add_uncovered(tx: Transaction, verdicts: Mapping[int, Mapping[str, Verdict]], *, now: datetime) -> None:
    """Record for clearing what is stored for a purpose that does not permit it.

    What a restriction or a quarantine refuses stays stored until that ends.
    """
    found = uncovered(tx, list(verdicts), bits_of(tx))
    verdict_store.add_withdrawals(
        tx,
        {
            (profile_id, purpose)
            for profile_id, purpose in found
            if purpose not in verdicts[profile_id] or verdicts[profile_id][purpose].reason not in WITHOUT_CLEARING
        },
        now,
    )


def project_traits(
    tx: Transaction, policy: Policy, masks: Mapping[str, int], *, profile_ids: Collection[int], now: datetime
) -> None:
    """Update the plain traits in the projections to the current stated values."""
    expired_at = now - timedelta(days=policy.retention.traits.keep_for_days)
    allowed = {
        key: frozenset(name for name, plan in policy.events.traits.items() if purpose.allows(plan.category))
        for key, purpose in policy.purposes.items()
    }
    stated = traits_of(tx, list(profile_ids), {key: masks[key] for key in allowed}, expired_at=expired_at)
    verdict_store.put_traits(
        tx,
        {
            (profile_id, purpose): {name: value for name, value in traits.items() if name in allowed[purpose]}
            for (profile_id, purpose), traits in stated.items()
        },
    )


def update_derived_data(
    tx: Transaction, policy: Policy, changed: Collection[tuple[int, str]], *, now: datetime
) -> None:
    """Update projections and computed traits of each (profile, purpose) that began, ended or moved."""
    if not changed:
        return
    masks = bits_of(tx)
    project_traits(tx, policy, masks, profile_ids={profile_id for profile_id, _ in changed}, now=now)
    _recompute(tx, compile_traits(policy, masks), changed, now=now)


def delete_derived_data(tx: Transaction, policy: Policy, ended: Collection[tuple[int, str]]) -> None:
    """Delete the computed traits of each (profile, purpose) that is not permitted any more; its projection row is gone already.

    Computing them again would find nothing to count, and takes longer than all else that a withdrawal does.
    """
    if not ended:
        return
    by_purpose: dict[str, set[int]] = {}
    for profile_id, purpose in ended:
        by_purpose.setdefault(purpose, set()).add(profile_id)
    anchors = consent_subject_store.anchors_of(tx, {profile_id for profile_id, _ in ended})
    for purpose, profile_ids in by_purpose.items():
        traits = [key for key, trait in policy.traits.items() if trait.purpose == purpose]
        delete_buckets(tx, [anchor for profile_id in profile_ids for anchor in anchors.get(profile_id, ())], traits)


def _recompute(tx: Transaction, plan: TraitPlan, pairs: Iterable[tuple[int, str]], *, now: datetime) -> None:
    """Recompute the computed traits of these purposes, which depend on the start of the permission."""
    purposes = {purpose for _, purpose in pairs}
    anchors = consent_subject_store.anchors_of(tx, {profile_id for profile_id, _ in pairs})
    recompute_buckets(
        tx,
        plan,
        [anchor_id for anchor_ids in anchors.values() for anchor_id in anchor_ids],
        now=now,
        traits=[trait.key for trait in plan.by_key.values() if trait.purpose in purposes],
    )
