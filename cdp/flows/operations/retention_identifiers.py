"""Steps of the sweep that end identifiers, and everything that only they held together.

They use the plan of an erasure: links, evidence, anchors, recorded steps, consent records and keys go the same way as
with a request. A refusal in force is not lost: it becomes a suppression of the identifier for its purpose, and an act of
the person's other identifiers, so that no verdict permits more afterwards.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from cdp.audit.store import facts as fact_store
from cdp.behavior.store import sweep as behavior_sweep_store
from cdp.consent.decide import decide
from cdp.consent.model import Act, Reason, Record, RecordId, VerdictFacts
from cdp.consent.store import records as record_store
from cdp.consent.store import sweep as consent_sweep_store
from cdp.flows.consent.recording import append_acts
from cdp.flows.consent.verdicts import refresh_verdicts
from cdp.flows.context import Context
from cdp.flows.rights.erasure_steps import erase_salts, log_suppressed, recompute_remaining
from cdp.flows.rights.legal_hold import held_classes, hold_events
from cdp.flows.rights.person import suppression_pseudonyms, values_by_id
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import generation as generation_store
from cdp.identity.store import reach as reach_store
from cdp.identity.store import sweep as identity_sweep_store
from cdp.kit.db import Transaction
from cdp.kit.ids import encode_id, new_ids
from cdp.policy.model import ConsentModel, Policy
from cdp.rights import execute
from cdp.rights.model import Scope, Verb
from cdp.rights.plan import erasure_plan
from cdp.rights.store import suppressions as suppression_store

CHUNK_IDENTIFIERS_MAX: Final = 1_000

_ROWS_MAX: Final = 10**12
_KEYS: Final = "vault.subject_key"
_REFUSING: Final = frozenset({Reason.REFUSED, Reason.WITHDRAWN, Reason.OBJECTED, Reason.OPTED_OUT, Reason.EXPIRED})


def end_identifiers(tx: Transaction, context: Context, identifier_ids: Collection[int], *, now: datetime) -> None:
    """Erase these identifiers, the anchors that hold nothing without them, and the profiles that are empty then."""
    gone = frozenset(identifier_ids)
    acted_at = generation_store.lock_exclusive(tx).now
    _keep_refusals(tx, context, gone, now=acted_at)
    named = identity_sweep_store.anchors_naming(tx, gone)
    with_rows = behavior_sweep_store.anchors_with_rows(tx, named)
    anchors = frozenset(
        anchor_id for anchor_id, names_another in named.items() if not names_another or anchor_id not in with_rows
    )
    owners = reach_store.profiles_of(tx, list(named), gone) | consent_subject_store.profiles_decided_by(tx, gone)
    _erase(tx, context, Scope(0, gone, anchors, frozenset()), now=now)
    empty = reach_store.empty_among(tx, owners)
    _erase(tx, context, Scope(0, frozenset(), frozenset(), empty | reach_store.retired_into(tx, empty)), now=now)
    recompute_remaining(tx, context, owners - empty, now=acted_at)
    generation_store.advance(tx, changed=True)


def end_profiles(tx: Transaction, context: Context, profile_ids: Collection[int], *, now: datetime) -> None:
    """Erase these profiles, which have neither an anchor nor an identifier."""
    generation_store.lock_exclusive(tx)
    _erase(tx, context, Scope(0, frozenset(), frozenset(), frozenset(profile_ids)), now=now)


def end_anchors(tx: Transaction, context: Context, anchor_ids: Collection[int], *, now: datetime) -> None:
    """Erase these anchors, which name no identifier any more, with what happened on them."""
    acted_at = generation_store.lock_exclusive(tx).now
    owners = reach_store.profiles_of(tx, anchor_ids, ())
    _erase(tx, context, Scope(0, frozenset(), frozenset(anchor_ids), frozenset()), now=now)
    empty = reach_store.empty_among(tx, owners)
    _erase(tx, context, Scope(0, frozenset(), frozenset(), empty | reach_store.retired_into(tx, empty)), now=now)
    recompute_remaining(tx, context, owners - empty, now=acted_at)
    generation_store.advance(tx, changed=True)


def end_records(tx: Transaction, context: Context, expired_at: datetime, *, rows_max: int) -> int:
    """Delete up to `rows_max` grants that ceased to be decisive at or before an instant; returns how many."""
    acted_at = generation_store.lock_exclusive(tx).now
    ended = consent_sweep_store.ended_records(tx, expired_at, rows_max, opt_in_only=opt_in_purposes(context.policy))
    if ended:
        identifier_ids = {record.identifier_id for record in ended}
        record_ids = {record.record_id for record in ended}
        fact_store.erase_salts(tx, [encode_id("con", record_id) for record_id in sorted(record_ids)])
        consent_sweep_store.delete_records(tx, record_ids)
        profiles = consent_subject_store.profiles_decided_by(tx, identifier_ids)
        if refresh_verdicts(tx, context.policy, profile_ids=profiles, now=acted_at).has_changes:
            generation_store.advance(tx, changed=True)
    return len(ended)


def opt_in_purposes(policy: Policy) -> frozenset[str]:
    """The purposes based on consent that require an opt-in in every jurisdiction."""
    return frozenset(
        key
        for key, rule in policy.purposes.items()
        if rule.model and all(model is ConsentModel.OPT_IN for model in rule.model.values())
    )


def opt_out_purposes(policy: Policy) -> frozenset[str]:
    """The purposes that can be refused and are permitted somewhere without any act of the person."""
    return frozenset(
        key
        for key, rule in policy.purposes.items()
        if not rule.needs_unique_identifier and key not in opt_in_purposes(policy)
    )


def _erase(tx: Transaction, context: Context, scope: Scope, *, now: datetime) -> None:
    """Erase a scope by the plan; what a law requires of its events is held first."""
    erase_salts(tx, scope)
    classes = held_classes(context)
    for step in erasure_plan():
        if step.table == _KEYS:
            context.vault.subject_keys.shred(tx, sorted(scope.subjects))
        elif step.verb is not Verb.KEEP:
            chunk = execute.next_chunk(tx, step, scope, size=0, rows_max=_ROWS_MAX)
            if step.table in execute.EVENT_TABLES and classes:
                hold_events(tx, context, execute.events_in(tx, chunk, scope, classes=classes), now=now)
            execute.erase_chunk(tx, chunk, scope)


def _keep_refusals(tx: Transaction, context: Context, gone: frozenset[int], *, now: datetime) -> None:
    """Move the refusals in force of these identifiers to suppressions, and to the other identifiers of their profiles."""
    records: dict[int, list[Record]] = {}
    for record in record_store.records_of(tx, gone):
        records.setdefault(record.identifier_id, []).append(record)
    refusals = {
        identifier_id: dict(_refusals_in_force(context.policy, acts, now)) for identifier_id, acts in records.items()
    }
    values = values_by_id(tx, context, [identifier_id for identifier_id, refused in refusals.items() if refused])
    pseudonyms = dict(zip(values, suppression_pseudonyms(context, list(values.values())), strict=True))
    orders = [
        (pseudonym, purpose) for identifier_id, pseudonym in pseudonyms.items() for purpose in refusals[identifier_id]
    ]
    if orders:
        log_suppressed(tx, suppression_store.suppress_purposes(tx, orders, now), now)
    append_acts(tx, _acts_of_others(tx, refusals, gone, now=now), actor="system", now=now)


def _refusals_in_force(policy: Policy, acts: list[Record], now: datetime) -> Iterator[tuple[str, Record]]:
    """Per purpose that the acts of one identifier refuse, the latest act that does; one that the policy no longer
    declares is refused by any refusal.
    """
    for purpose in {record.purpose for record in acts}:
        own = [record for record in acts if record.purpose == purpose]
        rule = policy.purposes.get(purpose)
        if rule is None:
            refusing = [record for record in own if record.act.is_refusal]
        else:
            verdict = decide(own, rule, VerdictFacts(), now=now)
            is_refused = verdict.reason in _REFUSING
            refusing = [record for record in own if record.record_id in verdict.by] if is_refused else []
        if refusing:
            yield purpose, max(refusing, key=lambda record: (record.authority.rank, record.last_at, record.record_id))


def _acts_of_others(
    tx: Transaction, refusals: Mapping[int, Mapping[str, Record]], gone: frozenset[int], *, now: datetime
) -> list[Record]:
    """The refusals as acts of the identifiers that remain, for every profile that they decide about."""
    refusing = {identifier_id for identifier_id, refused in refusals.items() if refused}
    profiles = consent_subject_store.profiles_decided_by(tx, refusing)
    found: dict[tuple[int, str], Record] = {}
    for deciding in consent_subject_store.deciding_identifiers(tx, profiles).values():
        remaining = [identifier_id for identifier_id, is_shared in deciding.items() if not is_shared]
        for identifier_id in deciding.keys() & refusing:
            for purpose, record in refusals[identifier_id].items():
                for other in remaining:
                    if other not in gone:
                        found[other, purpose] = _as_act_of(record, other)
    ids = new_ids(len(found))
    return [
        replace(record, record_id=RecordId(record_id), recorded_at=now)
        for record_id, record in zip(ids, found.values(), strict=True)
    ]


def _as_act_of(record: Record, identifier_id: int) -> Record:
    """The refusal, at the instant at which it was last stated; an expired grant acts like a withdrawal at its end."""
    is_grant = record.act is Act.GRANT
    return replace(
        record,
        identifier_id=identifier_id,
        act=Act.WITHDRAW if is_grant else record.act,
        occurred_at=record.until or record.last_at if is_grant else record.last_at,
        repeated_at=None,
        valid_until=None,
        shortened_to=None,
        is_two_step=False,
        is_undated=False,
        is_shared=False,
    )
