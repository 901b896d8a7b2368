"""Steps of an objection that is weighed: the controller claims compelling grounds that override it (GDPR Art. 21(1)).

Until it is decided, each purpose is restricted for the person (Art. 18(1)(d)): nothing is stored or read for it, and what is
stored stays. Direct marketing is never weighed (Art. 21(3)): that part of an objection is in force at once.
"""

from collections.abc import Sequence
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.consent.model import Act, Authority, Record, RecordId
from cdp.destinations.model import RecipientNotice
from cdp.destinations.store import outbox as outbox_store
from cdp.flows.consent.acting import ensure_identifiers, record_acts
from cdp.flows.context import Context
from cdp.flows.rights.person import suppression_pseudonyms
from cdp.identity.model import Identifier
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import new_id
from cdp.policy.model import Policy
from cdp.rights.model import NamedIdentifier, Request
from cdp.rights.receipt import event_fact
from cdp.rights.refusable import jurisdiction_of, weighable_purposes


def purposes_to_weigh(policy: Policy, purposes: Sequence[str]) -> tuple[str, ...]:
    """The purposes of an objection that may be weighed, of those it names or of all.

    Faults: `unknown_purpose`, `never_weighed`, `nothing_to_weigh`.
    """
    weighable = weighable_purposes(policy)
    for key in purposes:
        if key not in policy.purposes:
            known = ", ".join(policy.purposes)
            raise Fault("unknown_purpose", "Unknown purpose", f"The policy declares {known}.", status=422)
        if key not in weighable:
            raise Fault(
                "never_weighed",
                "An objection to this purpose is not weighed",
                f"`{key}` is not based on legitimate interests, or is direct marketing, to which everybody may object without a "
                "condition (GDPR Art. 21(2) and (3)). Open the request without weighing it.",
                status=422,
            )
    if not weighable:
        raise Fault(
            "nothing_to_weigh",
            "No objection can be weighed",
            "No purpose of the policy is based on legitimate interests without being direct marketing.",
            status=422,
        )
    return tuple(dict.fromkeys(purposes)) or weighable


def begin_weighing(
    tx: Transaction, context: Context, request: Request, *, named: Sequence[NamedIdentifier], now: datetime
) -> None:
    """Restrict the purposes of a request that is weighed; recipients are to be notified. The caller holds the lock."""
    affected = _record_acts(tx, context, request, named=named, act=Act.RESTRICT, now=now)
    body = {"request": request.outward_id, "purposes": list(request.weighed)}
    outbox_store.notify(tx, affected, RecipientNotice.RESTRICTION, body=body, now=now)
    fact_store.append(tx, event_fact(request, "request.weighed") | {"purposes": list(request.weighed)}, now)


def end_weighing(
    tx: Transaction, context: Context, request: Request, *, named: Sequence[NamedIdentifier], now: datetime
) -> None:
    """End the restriction of these purposes, once the request is decided. The caller holds the lock."""
    affected = _record_acts(tx, context, request, named=named, act=Act.RELEASE, now=now)
    body = {"request": request.outward_id, "purposes": list(request.weighed)}
    outbox_store.notify(tx, affected, RecipientNotice.RESTRICTION_END, body=body, now=now)


def _record_acts(
    tx: Transaction, context: Context, request: Request, *, named: Sequence[NamedIdentifier], act: Act, now: datetime
) -> set[int]:
    ids = ensure_identifiers(tx, context, [Identifier(one.type, one.value) for one in named], now=now)
    records = [
        Record(
            record_id=RecordId(new_id()),
            identifier_id=identifier_id,
            purpose=purpose,
            act=act,
            authority=Authority.OPERATOR if request.verified_at is None else Authority.AUTHENTICATED,
            jurisdiction=jurisdiction_of(context.policy, request.regime),
            occurred_at=now,
            recorded_at=now,
            policy_fingerprint=bytes.fromhex(context.policy.fingerprint),
            rule="request.objection",
        )
        for identifier_id in ids.values()
        for purpose in request.weighed
    ]
    pseudonyms = dict(zip(named, suppression_pseudonyms(context, named), strict=True))
    by_id = {ids[Identifier(one.type, one.value)]: pseudonyms[one] for one in named}
    return record_acts(tx, context, records, pseudonyms=by_id, now=now, clears=act is Act.RELEASE)
