"""Steps that the use cases of subject requests share: reading, moving and ending a request, and its regime."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.rights.person import Person, unknown_request
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.wording import counted
from cdp.policy.jurisdictions import Regime, Right
from cdp.policy.model import Policy
from cdp.rights import lifecycle
from cdp.rights.lifecycle import StepRefusal
from cdp.rights.model import Request, Status
from cdp.rights.receipt import fulfillment
from cdp.rights.store import requests as request_store
from cdp.rights.store import reviews as review_store
from cdp.rights.store import suppressions as suppression_store

REFUSALS: Final = {
    StepRefusal.NOT_NEXT: (
        "The request does not allow this step",
        "`cdp request show` displays its status.",
    ),
    StepRefusal.NOT_DUE: (
        "The request is not due yet",
        "A request expires after its deadline, and no sooner than 14 days after the requester was asked who they are.",
    ),
    StepRefusal.NOT_ASKED: (
        "The requester was not asked",
        "Only a request whose requester did not answer a question expires.",
    ),
    StepRefusal.ALREADY_EXTENDED: ("The request was already extended", "A deadline can be extended once."),
    StepRefusal.TOO_LATE: ("The deadline has passed", "An extension must be communicated before the first deadline."),
    StepRefusal.NO_EXTENSION: ("No extension is possible", "The regime allows none for this kind of request."),
    StepRefusal.STARTED: (
        "The erasure is in progress",
        "Data was already deleted, so the request cannot be denied: complete it.",
    ),
    StepRefusal.NOT_WEIGHED: (
        "No interests can override this request",
        "Only an objection to legitimate interests can be, if it was opened to be weighed; none to direct marketing (Art. 21).",
    ),
}


def locked_request(tx: Transaction, request_id: int) -> Request:
    """A request, locked until the transaction ends. Raises the fault `unknown_request`."""
    request = request_store.lock_request(tx, request_id)
    if request is None:
        raise unknown_request()
    return request


def read_request(tx: Transaction, request_id: int) -> Request:
    """A request, for reading. Raises the fault `unknown_request`."""
    request = request_store.read_request(tx, request_id)
    if request is None:
        raise unknown_request()
    return request


def accepted(outcome: Request | StepRefusal) -> Request:
    """The request after a step. Raises the fault `request_` with the value of the refusal where the step is refused."""
    if isinstance(outcome, Request):
        return outcome
    title, detail = REFUSALS[outcome]
    raise Fault(f"request_{outcome.value}", title, detail, status=409)


def started(request: Request, now: datetime) -> Request:
    """The request in progress. Raises the fault `request_not_next` unless it is verified or needs no verification."""
    outcome = lifecycle.start(request, now)
    if isinstance(outcome, Request):
        return outcome
    raise Fault(
        "request_not_next",
        "The request cannot be carried out",
        "Only a verified request can be carried out; `cdp request show` displays its status.",
        status=409,
    )


def fulfilled(
    tx: Transaction, context: Context, request: Request, *, details: Mapping[str, Any], now: datetime
) -> Request:
    """Close a request in progress as fulfilled, with the fact that becomes its receipt, and shred what it named."""
    done = accepted(lifecycle.fulfill(request, now))
    done = replace(done, entry_id=fact_store.append(tx, fulfillment(done, None, details), now))
    shred_named(tx, context, done)
    return done


def ended(tx: Transaction, context: Context, request: Request, *, fact: Mapping[str, Any], now: datetime) -> None:
    """Store a request that ended without being fulfilled, and shred what it named."""
    shred_named(tx, context, request)
    fact_store.append(tx, dict(fact), now)


def shred_named(tx: Transaction, context: Context, request: Request) -> None:
    """Store a closed request; delete its identifiers, values and pending suppression, and shred its key."""
    request_store.update_request(tx, request)
    lifted = suppression_store.end_pending_suppressions(tx, request.request_id)
    if lifted and request.status is not Status.FULFILLED:
        named = {"actor": "system", "count": lifted, "request": request.outward_id}
        fact_store.append(tx, {"kind": "suppression.lifted", **named}, request.closed_at or request.received_at)
    request_store.delete_identifiers(tx, request.request_id)
    review_store.delete_decisions(tx, request.request_id)
    context.vault.subject_keys.shred_requests(tx, [request.request_id])


def check_informed(*, is_informed: bool) -> None:
    """Raise the fault `not_informed` unless the person was informed before a restriction ends (GDPR Art. 18(3))."""
    if not is_informed:
        raise Fault(
            "not_informed",
            "The person must be informed first",
            "Inform the person that the restriction ends (GDPR Art. 18(3)), then confirm that with `--informed` or `is_informed`.",
            status=422,
        )


def check_reviewed(person: Person) -> None:
    """Raise the fault `request_waits` while identifiers wait for a reviewer, and `nothing_reached` if none is the person's.

    Then the rows that name the identifiers of the request were all attributed to other people.
    """
    if person.reach.waiting:
        raise Fault(
            "request_waits",
            "The request waits for a review",
            f"{counted(len(person.reach.waiting), 'identifier')} may belong to the same person: `cdp request show` lists them, and "
            "`cdp request review` records whether they do.",
            status=409,
        )
    if not person.is_nothing_held and person.reach.is_empty:
        raise Fault(
            "nothing_reached",
            "Nothing is the person's",
            "The review attributed everything that names these identifiers to other people. Deny the request "
            "(others_rights), or review it again.",
            status=409,
        )


def regime_of(policy: Policy, key: str) -> Regime:
    """The rules of a regime. Raises the fault `unknown_regime`."""
    found = policy.jurisdictions.regimes.get(key)
    if found is None:
        known = ", ".join(policy.jurisdictions.regimes)
        raise Fault("unknown_regime", "Unknown regime", f"policies/jurisdictions.yaml declares: {known}.")
    return found


def record_keeping(policy: Policy, request: Request) -> str:
    """The law under which a request is kept, by its regime; that of any regime if the policy no longer declares it."""
    found = policy.jurisdictions.regimes.get(request.regime)
    return Regime.model_fields["record_keeping"].default if found is None else found.record_keeping


def right_of(rules: Regime, kind: str) -> Right:
    """A kind of request that the regime grants. Faults: `unknown_right`, `right_not_in_regime`."""
    name = kind.strip().lower().replace("-", "_")
    if name not in set(Right):
        raise Fault("unknown_right", "Unknown kind of request", f"Give one of {', '.join(Right)}.")
    if Right(name) not in rules.rights:
        known = ", ".join(right.value for right in rules.rights)
        raise Fault("right_not_in_regime", "The regime does not grant this right", f"{rules.key} grants: {known}.")
    return Right(name)
