"""Steps of objections, opt-outs and requests to limit: the acts in the ledger, in force when the request is answered."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cdp.consent.model import Act, Authority, Record, RecordId
from cdp.flows.consent.acting import ensure_identifiers, record_acts
from cdp.flows.context import Context
from cdp.flows.rights.person import suppression_pseudonyms
from cdp.flows.rights.request_steps import fulfilled, regime_of, started
from cdp.identity.model import Identifier
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import new_id
from cdp.policy.jurisdictions import Right
from cdp.rights.model import NamedIdentifier, Request
from cdp.rights.refusable import jurisdiction_of, purposes_refused_by
from cdp.rights.replay_file import OptOut
from cdp.rights.store import replay_position as replay_store
from cdp.rights.store import suppressions as suppression_store

ACTS: Final = {Right.OBJECTION: Act.OBJECT, Right.OPT_OUT: Act.REFUSE, Right.LIMIT: Act.REFUSE}
"""The act that a request of each kind records."""


def refuse_purposes(
    tx: Transaction,
    context: Context,
    request: Request,
    *,
    named: Sequence[NamedIdentifier],
    purposes: Sequence[str],
    now: datetime,
) -> Request:
    """Record the acts of a request for the purposes that it names, or all that its kind refuses, and close it.

    Faults: `unknown_purpose`, `not_refusable`.
    """
    refused = record_refusals(tx, context, request, named=named, purposes=purposes, now=now)
    details = {"purposes": list(refused), "identifiers": len(named)}
    return fulfilled(tx, context, started(request, now), details=details, now=now)


def record_refusals(
    tx: Transaction,
    context: Context,
    request: Request,
    *,
    named: Sequence[NamedIdentifier],
    purposes: Sequence[str],
    now: datetime,
) -> tuple[str, ...]:
    """Record the acts of a request for the purposes that it names, or all that its kind refuses; returns the purposes.

    `now` is the instant that the exclusive lock gave. An act about one identifier decides about the whole profile that it
    belongs to. For a suppressed identifier, for which nothing is processed, the refusals are kept by pseudonym, so that they
    hold if the suppression is lifted. Faults: `unknown_purpose`, `not_refusable`.
    """
    regime = regime_of(context.policy, request.regime)
    refused = _checked(context, purposes) or purposes_refused_by(request.kind, context.policy, regime)
    pseudonyms = dict(zip(named, suppression_pseudonyms(context, named), strict=True))
    suppressed = suppression_store.suppressed(tx, list(pseudonyms.values()), now)
    acting = [identifier for identifier in named if pseudonyms[identifier] not in suppressed]
    ids = ensure_identifiers(
        tx, context, [Identifier(identifier.type, identifier.value) for identifier in acting], now=now
    )
    records = [
        _record(context, request, identifier_id, purpose=purpose, now=now)
        for identifier_id in ids.values()
        for purpose in refused
    ]
    by_id = {ids[Identifier(named_.type, named_.value)]: pseudonyms[named_] for named_ in acting}
    record_acts(tx, context, records, pseudonyms=by_id, now=now)
    orders = [(digest, key) for digest in suppressed for key in refused]
    _keep_by_pseudonym(tx, context, request, orders=orders, now=now)
    return refused


def _checked(context: Context, purposes: Sequence[str]) -> tuple[str, ...]:
    for key in purposes:
        rule = context.policy.purposes.get(key)
        if rule is None:
            known = ", ".join(context.policy.purposes)
            raise Fault("unknown_purpose", "Unknown purpose", f"The policy declares {known}.", status=422)
        if rule.needs_unique_identifier:
            raise Fault(
                "not_refusable",
                "No act can change this purpose",
                f"`{rule.key}` is based on {rule.legal_basis.value} and can be neither granted nor refused. "
                "Acts change purposes on consent or legitimate interests.",
                status=422,
            )
    return tuple(dict.fromkeys(purposes))


def _record(context: Context, request: Request, identifier_id: int, *, purpose: str, now: datetime) -> Record:
    return Record(
        record_id=RecordId(new_id()),
        identifier_id=identifier_id,
        purpose=purpose,
        act=ACTS[request.kind],
        authority=Authority.OPERATOR if request.verified_at is None else Authority.AUTHENTICATED,
        jurisdiction=jurisdiction_of(context.policy, request.regime),
        occurred_at=min(request.received_at, now),
        recorded_at=now,
        policy_fingerprint=bytes.fromhex(context.policy.fingerprint),
        rule=f"request.{request.kind.value}",
    )


def _keep_by_pseudonym(
    tx: Transaction, context: Context, request: Request, *, orders: Sequence[tuple[bytes, str]], now: datetime
) -> None:
    if orders:
        suppression_store.suppress_purposes(tx, orders, now)
        act, jurisdiction = ACTS[request.kind].value, jurisdiction_of(context.policy, request.regime)
        lines = [
            OptOut(0, pseudonym, purpose, act, Authority.OPERATOR.value, jurisdiction, request.received_at)
            for pseudonym, purpose in orders
        ]
        replay_store.append(tx, context.replay, lines, now=now)
