"""Restriction of processing (GDPR Art. 18): its start by a request, and its end.

A restriction is an act in the ledger about every purpose. While it is in force every verdict refuses, so that no message is
stored and nobody reads the data; what is stored stays stored.
"""

from collections.abc import Sequence
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.consent.decide import restrictions_in_force
from cdp.consent.model import EVERY_PURPOSE, Act, Authority, Record, RecordId
from cdp.consent.store import records as record_store
from cdp.destinations.model import RecipientNotice
from cdp.destinations.store import outbox as outbox_store
from cdp.flows.consent.acting import ensure_identifiers, record_acts
from cdp.flows.context import Context
from cdp.flows.identifiers import read_identifier
from cdp.flows.rights.person import (
    Person,
    find_person,
    find_person_of,
    suppression_pseudonyms,
    values_by_id,
    values_of,
)
from cdp.flows.rights.request_steps import check_informed, fulfilled, locked_request, started
from cdp.flows.rights.results import RequestResult
from cdp.identity.model import Identifier
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import new_id
from cdp.policy.jurisdictions import UNKNOWN
from cdp.rights.model import NamedIdentifier, Status
from cdp.rights.refusable import jurisdiction_of
from cdp.rights.store import suppressions as suppression_store


def restrict(context: Context, request_id: int) -> RequestResult:
    """Restrict the processing of a verified person's data, whatever identifiers they are known by.

    Running a fulfilled request again changes nothing. Faults: `unknown_request`, `request_not_next`.
    """
    with context.database.transaction() as tx:
        acted_at = generation_store.lock_exclusive(tx).now
        request = locked_request(tx, request_id)
        if request.status is Status.FULFILLED:
            return RequestResult(request, (), 0)
        request = started(request, acted_at)
        person = find_person(tx, context, request)
        named = [*person.named, *values_of(tx, context, person.reach.identifiers)]
        affected = _record_acts(tx, context, named, act=Act.RESTRICT, regime=request.regime, now=acted_at)
        notified = outbox_store.notify(
            tx, affected, RecipientNotice.RESTRICTION, body={"request": request.outward_id}, now=acted_at
        )
        details = {
            "identifiers": len(set(named)),
            "is_nothing_held": person.is_nothing_held,
            "recipients": list(notified.recipients),
            "recipients_notified": 0,
        }
        request = fulfilled(tx, context, request, details=details, now=acted_at)
    return RequestResult(request, (), 0, person.is_nothing_held)


def release(context: Context, identifiers: Sequence[tuple[str, str]], *, is_informed: bool, now: datetime) -> int:
    """End the restriction of the person whom these verified identifiers name; returns how many identifiers it concerned.

    The person must be informed before (GDPR Art. 18(3)). What was stored before the restriction is processed again where a
    purpose still permits it, and cleared where none does. Faults: `invalid_identifier`, `not_informed`, `not_restricted`.
    """
    named = [read_identifier(context.policy, type_, value) for type_, value in identifiers]
    check_informed(is_informed=is_informed)
    with context.database.transaction() as tx:
        acted_at = generation_store.lock_exclusive(tx).now
        person = find_person_of(tx, context, tuple(NamedIdentifier(one.type, one.value) for one in named))
        restricted = _restricted(tx, context, person, now=acted_at)
        if not restricted:
            raise Fault(
                "not_restricted",
                "No restriction is in force",
                "Nothing that these identifiers name is restricted.",
                status=409,
            )
        affected = _record_acts(tx, context, restricted, act=Act.RELEASE, regime="", now=acted_at)
        notified = outbox_store.notify(tx, affected, RecipientNotice.RESTRICTION_END, body={}, now=acted_at)
        fact = {
            "kind": "restriction.ended",
            "actor": "privacy",
            "count": len(restricted),
            "is_informed": True,
            "recipients": list(notified.recipients),
        }
        fact_store.append(tx, fact, now)
    return len(restricted)


def _restricted(tx: Transaction, context: Context, person: Person, *, now: datetime) -> list[NamedIdentifier]:
    """The identifiers whose processing is restricted, those included that a restored backup does not have."""
    known = {**values_by_id(tx, context, person.reach.identifiers), **person.known}
    acts = (record for record in record_store.records_of(tx, known) if record.purpose == EVERY_PURPOSE)
    by_record = [known[record.identifier_id] for record in restrictions_in_force(acts, now)]
    hidden = dict(zip(suppression_pseudonyms(context, person.named), person.named, strict=True))
    by_pseudonym = suppression_store.restricted(tx, hidden.keys(), purpose=EVERY_PURPOSE)
    return list(dict.fromkeys([*by_record, *(hidden[pseudonym] for pseudonym in sorted(by_pseudonym))]))


def _record_acts(
    tx: Transaction,
    context: Context,
    named: Sequence[NamedIdentifier],
    *,
    act: Act,
    regime: str,
    now: datetime,
) -> set[int]:
    """Record an act of each identifier about every purpose; returns the profiles concerned."""
    distinct = list(dict.fromkeys(named))
    ids = ensure_identifiers(tx, context, [Identifier(one.type, one.value) for one in distinct], now=now)
    pseudonyms = suppression_pseudonyms(context, distinct)
    records = [
        Record(
            record_id=RecordId(new_id()),
            identifier_id=ids[Identifier(one.type, one.value)],
            purpose=EVERY_PURPOSE,
            act=act,
            authority=Authority.AUTHENTICATED,
            jurisdiction=jurisdiction_of(context.policy, regime) if regime else UNKNOWN,
            occurred_at=now,
            recorded_at=now,
            policy_fingerprint=bytes.fromhex(context.policy.fingerprint),
            rule="request.restriction",
        )
        for one in distinct
    ]
    by_id = {record.identifier_id: pseudonym for record, pseudonym in zip(records, pseudonyms, strict=True)}
    return record_acts(tx, context, records, pseudonyms=by_id, now=now, clears=act is Act.RELEASE)
