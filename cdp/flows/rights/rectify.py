"""Rectification (GDPR Art. 16, CCPA section 1798.106): the corrected values of traits, which no later statement overrides.

A corrected value takes the place of every statement of its trait, of whichever purposes, and is of the same purposes. Where
none of the person's traits may be stored for any purpose, there is nothing to correct. Recipients are to be notified
(Art. 19): their notices name the traits, whose values are read when a notice is sent.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from cdp.behavior.ages import AGE, BIRTHDAY, AgeAuthority, stated_age, years_at
from cdp.behavior.classify import json_bytes
from cdp.behavior.model import EventId, Plain, StatedTrait, Term, Terms
from cdp.behavior.rules import compile_plan
from cdp.behavior.store import batch as behavior_store
from cdp.behavior.store import traits as trait_store
from cdp.behavior.store.terms import intern_terms
from cdp.consent.store import verdicts as verdict_store
from cdp.consent.store.projection import bits_of
from cdp.destinations.model import RecipientNotice
from cdp.destinations.store import outbox as outbox_store
from cdp.flows.consent.verdicts import project_traits, refresh_verdicts
from cdp.flows.context import Context
from cdp.flows.rights.corrections import named_values
from cdp.flows.rights.person import Person, find_person
from cdp.flows.rights.request_steps import fulfilled, locked_request, started
from cdp.flows.rights.results import RequestResult
from cdp.identity.store import generation as generation_store
from cdp.identity.store import reach as reach_store
from cdp.kit.db import Transaction
from cdp.kit.ids import random_bytes
from cdp.rights.model import CorrectedTrait, Status
from cdp.segments.store import marks as mark_store
from cdp.vault.vault import Item


def rectify(context: Context, request_id: int) -> RequestResult:
    """Correct the traits of a verified person. Running a fulfilled request again changes nothing.

    Faults: `unknown_request`, `request_not_next`.
    """
    with context.database.transaction() as tx:
        acted_at = generation_store.lock_exclusive(tx).now
        request = locked_request(tx, request_id)
        if request.status is Status.FULFILLED:
            return RequestResult(request, (), 0)
        request = started(request, acted_at)
        person = find_person(tx, context, request)
        values = _with_age(context, named_values(tx, context, request_id), acted_at)
        corrected = _correct(tx, context, person, values=values, now=acted_at)
        notified = outbox_store.notify(
            tx,
            reach_store.profiles_of(tx, sorted(person.reach.anchors), ()) if corrected else (),
            RecipientNotice.RECTIFICATION,
            body={"request": request.outward_id, "traits": sorted(value.name for value in values)},
            now=acted_at,
        )
        details = {
            "traits": corrected,
            "is_nothing_held": person.is_nothing_held,
            "recipients": list(notified.recipients),
            "recipients_notified": 0,
        }
        request = fulfilled(tx, context, request, details=details, now=acted_at)
    return RequestResult(request, (), 0, person.is_nothing_held)


def _correct(
    tx: Transaction, context: Context, person: Person, *, values: Sequence[CorrectedTrait], now: datetime
) -> int:
    """Replace every statement of these traits by the corrected value; returns how many traits were corrected."""
    anchors = sorted(person.reach.anchors)
    profiles = reach_store.profiles_of(tx, anchors, ())
    stored = trait_store.bits_by_anchor(tx, anchors, [value.name for value in values])
    bits = _purpose_bits(tx, context, values, stored=stored, profiles=profiles)
    targets = [
        (anchor_id, value)
        for value in values
        if bits[value.name]
        for anchor_id in [held for held in anchors if (held, value.name) in stored] or anchors[-1:]
    ]
    if not targets:
        return 0
    plain, terms = _plain_values(tx, context, values)
    sealed = _sealed(tx, context, [(anchor_id, value) for anchor_id, value in targets if plain[value.name] is None])
    rows = [
        StatedTrait(
            anchor_id,
            value.name,
            now,
            now,
            EventId(random_bytes(16)),
            bits[value.name],
            plain=plain[value.name],
            sealed=sealed.get((anchor_id, value.name)),
            is_rectified=True,
        )
        for anchor_id, value in targets
    ]
    trait_store.replace_traits(tx, anchors, rows, ids=terms.ids)
    project_traits(tx, context.policy, bits_of(tx), profile_ids=profiles, now=now)
    refresh_verdicts(tx, context.policy, profile_ids=profiles, now=now)  # an age may have been corrected
    mark_store.mark(tx, ((profile_id, None) for profile_id in profiles))
    generation_store.advance(tx, changed=True)
    return len({row.name for row in rows})


def _with_age(context: Context, values: Sequence[CorrectedTrait], now: datetime) -> Sequence[CorrectedTrait]:
    """The values, with the age that follows from a corrected date of birth: minimum ages are compared with it."""
    by_name = {value.name: value.value for value in values}
    if BIRTHDAY not in by_name or AGE in by_name or AGE not in context.policy.events.traits:
        return values
    stated = stated_age(
        None,
        by_name[BIRTHDAY],
        authority=AgeAuthority.RECTIFIED,
        occurred_at=now,
        received_at=now,
        event_id=EventId(random_bytes(16)),
    )
    return values if stated is None else [*values, CorrectedTrait(AGE, years_at(stated.counts_from, now))]


def _purpose_bits(
    tx: Transaction,
    context: Context,
    values: Sequence[CorrectedTrait],
    *,
    stored: Mapping[tuple[int, str], int],
    profiles: Collection[int],
) -> dict[str, int]:
    """The purposes of each corrected trait: those of its statements, and those that permit the person and the category."""
    masks, plans = bits_of(tx), context.policy.events.traits
    permitted = {key for purposes in verdict_store.permitted_of(tx, profiles).values() for key in purposes}
    bits = {value.name: 0 for value in values}
    for (_, name), known in stored.items():
        bits[name] |= known
    for name in bits:
        for key, rule in context.policy.purposes.items():
            bits[name] |= masks[key] if key in permitted and rule.allows(plans[name].category) else 0
    return bits


def _plain_values(
    tx: Transaction, context: Context, values: Sequence[CorrectedTrait]
) -> tuple[dict[str, Plain | None], Terms]:
    """The plain form of each value, None where the plan seals it or a vocabulary is full; and the ids of the terms."""
    plan = compile_plan(context.policy.events)
    plain: dict[str, Plain | None] = {}
    for value in values:
        convert = plan.traits[value.name].convert
        plain[value.name] = None if convert is None else convert(value.value)
    terms = intern_terms(tx, {value for value in plain.values() if isinstance(value, Term)}, plan)
    return {name: None if value in terms.refused else value for name, value in plain.items()}, terms


def _sealed(
    tx: Transaction, context: Context, targets: Sequence[tuple[int, CorrectedTrait]]
) -> dict[tuple[int, str], bytes]:
    """The sealed values, by anchor and trait."""
    keys = context.vault.subject_keys.keys_for(tx, {anchor_id for anchor_id, _ in targets})
    items = [
        Item(anchor_id, behavior_store.trait_row(anchor_id, value.name), json_bytes(value.value))
        for anchor_id, value in targets
    ]
    envelopes = context.vault.seal_many(keys, behavior_store.TRAIT, items)
    return {(anchor_id, value.name): envelope for (anchor_id, value), envelope in zip(targets, envelopes, strict=True)}
