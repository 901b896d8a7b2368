"""Use cases of subject requests: received, verified, carried out or ended otherwise, with deadlines and receipts.

No answer reveals whether a person is known: a request of an unknown person looks and ends like any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.identifiers import find_identifiers, read_identifier
from cdp.flows.reads import Reading, log_read
from cdp.flows.rights.erase import RequestResult, erase, preview
from cdp.flows.rights.export import export_archive
from cdp.flows.rights.person import (
    NAMED_IDENTIFIER_COLUMN,
    find_person,
    named_identifier_row,
    named_identifiers,
    suppression_pseudonyms_of,
    unknown_request,
    values_of,
)
from cdp.flows.rights.receipts import receipt_of_entry
from cdp.flows.snapshot import at_one_instant
from cdp.identity.model import Identifier
from cdp.identity.store import generation as generation_store
from cdp.kit.canonical import instant_text
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import new_id
from cdp.policy.jurisdictions import Regime, Right
from cdp.policy.model import Policy
from cdp.rights import lifecycle
from cdp.rights.archive import Archive
from cdp.rights.lifecycle import StepRefusal
from cdp.rights.model import ENDED, Denial, NamedIdentifier, Request, RequestId, Status, StepCount
from cdp.rights.receipt import event_fact, fulfillment
from cdp.rights.store import legal_holds as legal_hold_store
from cdp.rights.store import requests as request_store
from cdp.rights.store import steps as step_store
from cdp.rights.store import suppressions as suppression_store
from cdp.vault.vault import Item

IDENTIFIERS_MAX: Final = 20
DOWNLOAD_DAYS: Final = 14
"""How long the archive of an access request can be downloaded after the request is answered."""

_EXPORTS = frozenset({Right.ACCESS, Right.PORTABILITY})
_EXECUTABLE = _EXPORTS | {Right.ERASURE}
_LISTED_MAX = 500


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request as the privacy team sees it: the identifiers it names, its steps, and identifiers to be reviewed."""

    request: Request
    identifiers: tuple[NamedIdentifier, ...]
    steps: tuple[StepCount, ...]
    waiting: tuple[NamedIdentifier, ...]


def open_request(
    context: Context, *, kind: str, regime: str, identifiers: Sequence[tuple[str, str]], now: datetime
) -> Request:
    """Record a request and set its deadlines.

    Faults: `unknown_right`, `unknown_regime`, `right_not_in_regime`, `invalid_identifier`, `too_many_identifiers`.
    """
    rules = _regime(context.policy, regime)
    right = _right(rules, kind)
    named = _normalized(context.policy, identifiers)
    request = lifecycle.received(
        RequestId(new_id()), right, rules, received_at=now, time_zone=context.policy.jurisdictions.time_zone
    )
    with context.database.transaction() as tx:
        keys = context.vault.subject_keys.create(tx, [request.request_id])
        items = [
            Item(request.request_id, named_identifier_row(request.request_id, position), identifier.value.encode())
            for position, identifier in enumerate(named)
        ]
        sealed = context.vault.seal_many(keys, NAMED_IDENTIFIER_COLUMN, items)
        request_store.add_request(tx, request)
        request_store.add_identifiers(
            tx,
            request.request_id,
            [(identifier.type, envelope) for identifier, envelope in zip(named, sealed, strict=True)],
        )
        fact_store.append(tx, event_fact(request, "request.received"), now)
    return request


def verify(context: Context, request_id: int, now: datetime) -> Request:
    """Mark the requester as verified. For an erasure, no message about the person is stored from then on.

    Faults: `unknown_request`, `request_not_next`.
    """
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        request = _accepted(lifecycle.verify(_locked_request(tx, request_id), now))
        if request.kind is Right.ERASURE:
            person = find_person(tx, context, request)
            suppression_store.add_pending_suppressions(
                tx, request_id, suppression_pseudonyms_of(tx, context, person), now=now
            )
            generation_store.advance(tx, changed=True)
        request_store.update_request(tx, request)
        fact_store.append(tx, event_fact(request, "request.verified"), now)
    return request


def extend(context: Context, request_id: int, now: datetime) -> Request:
    """Extend the deadline as the regime allows: once, before it has passed.

    Faults: `unknown_request`, and `request_` with the value of a `StepRefusal`.
    """
    with context.database.transaction() as tx:
        request = _locked_request(tx, request_id)
        rules = _regime(context.policy, request.regime)
        request = _accepted(lifecycle.extend(request, rules, now, time_zone=context.policy.jurisdictions.time_zone))
        request_store.update_request(tx, request)
        fact = event_fact(request, "request.extended") | {"due_at": instant_text(request.due_at)}
        fact_store.append(tx, fact, now)
    return request


def deny(context: Context, request_id: int, reason: str, *, now: datetime) -> Request:
    """Deny a request for a reason, which the subject must receive together with the authority for complaints.

    Faults: `unknown_denial`, `unknown_request`, `request_not_next`, `request_started`.
    """
    if reason not in set(Denial):
        raise Fault(
            "unknown_denial",
            "Unknown reason for a denial",
            f"Give one of {', '.join(sorted(Denial))}.",
        )
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        request = _accepted(lifecycle.deny(_locked_request(tx, request_id), Denial(reason), now))
        _end(tx, context, request, fact=event_fact(request, "request.denied") | {"reason": reason}, now=now)
    return request


def withdraw(context: Context, request_id: int, now: datetime) -> Request:
    """Withdraw a request at the subject's wish; its pending suppression ends. Faults: `unknown_request`, `request_not_next`."""
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        request = _accepted(lifecycle.withdraw(_locked_request(tx, request_id), now))
        _end(tx, context, request, fact=event_fact(request, "request.withdrawn"), now=now)
    return request


def run(context: Context, request_id: int, now: datetime, *, dry_run: bool = False) -> RequestResult:
    """Carry out a verified request, or preview it.

    An erasure is executed in chunks; an access request is answered, and its archive can be downloaded for 14 days.
    Running a fulfilled request again changes nothing. Raises the fault `right_not_executable` for the kinds that are
    recorded with their deadlines but cannot be carried out yet.
    """
    with context.database.transaction(read_only=True) as tx:
        request = _read_request(tx, request_id)
    if request.kind not in _EXECUTABLE:
        raise Fault(
            "right_not_executable",
            "This kind of request cannot be carried out yet",
            f"A request of kind {request.kind.value} is recorded with its deadline, but this version can neither carry it "
            "out nor close it as fulfilled. Deny it, withdraw it, or leave it open.",
            status=409,
        )
    if request.kind is Right.ERASURE:
        return preview(context, request_id, now) if dry_run else erase(context, request_id, now)
    if dry_run or request.status is Status.FULFILLED:
        return RequestResult(request, (), request.waiting)
    return _answer(context, request_id, now)


def export(
    context: Context, request_id: int, now: datetime, *, actor: str = "operator", token: int | None = None
) -> Archive:
    """The archive of an access request: all data of the person and no data of others. Each download is logged.

    Faults: `unknown_request`, `not_an_export`, `request_not_verified`, `export_over`.
    """

    def read(tx: Transaction) -> Archive:
        request = _locked_request(tx, request_id)
        if request.kind not in _EXPORTS:
            raise Fault(
                "not_an_export",
                "There is nothing to export",
                "Only access and portability requests have an archive.",
                status=409,
            )
        if request.verified_at is None:
            raise Fault(
                "request_not_verified", "The request is not verified", "Verify the requester first.", status=409
            )
        if request.status not in (Status.VERIFIED, Status.IN_PROGRESS, Status.FULFILLED) or _is_download_over(
            request, now
        ):
            raise Fault(
                "export_over",
                "The archive is no longer available",
                "The download period is over: open a new request.",
                status=410,
            )
        archive = export_archive(tx, context, request, now=now)
        scope = find_person(tx, context, request).export_scope(request_id)
        log_read(
            tx,
            context,
            Reading(actor, token, "export", named={"request": request.outward_id}),
            count=1,
            now=now,
            profiles=scope.profiles,
            identifiers=scope.identifiers,
        )
        return archive

    return at_one_instant(context.database, read)


def show(context: Context, request_id: int, *, actor: str = "operator", token: int | None = None) -> RequestView:
    """One request with the identifiers it names, its steps, and the identifiers to be reviewed.

    Identifiers are opened, so the read is recorded in the audit log. Raises the fault `unknown_request`.
    """

    def read(tx: Transaction) -> RequestView:
        request = _read_request(tx, request_id)
        done = tuple(step_store.steps(tx, request_id).values())
        reading = Reading(actor, token, "request", named={"request": request.outward_id})
        now = context.clock.now()
        if request.status in ENDED or request.verified_at is None:
            named = named_identifiers(tx, context, request_id)
            log_read(tx, context, reading, count=len(named), now=now, identifiers=_known(tx, context, named))
            return RequestView(request, named, done, ())
        person = find_person(tx, context, request)
        shown = {*_known(tx, context, person.named), *person.reach.waiting}
        log_read(tx, context, reading, count=len(person.named), now=now, identifiers=shown)
        return RequestView(request, person.named, done, tuple(values_of(tx, context, person.reach.waiting)))

    return at_one_instant(context.database, read)


def _known(tx: Transaction, context: Context, named: Sequence[NamedIdentifier]) -> set[int]:
    """The stored ones of the identifiers that a request names."""
    found = find_identifiers(tx, context.vault, [Identifier(identifier.type, identifier.value) for identifier in named])
    return {stored.identifier_id for stored in found.values()}


def listing(context: Context, status: str | None = None, limit: int = 100) -> list[Request]:
    """Requests by due date, of one status or of all. Raises the fault `unknown_status`."""
    if status is not None and status not in set(Status):
        raise Fault("unknown_status", "Unknown status", f"Give one of {', '.join(Status)}.")
    with context.database.transaction(read_only=True) as tx:
        return request_store.requests(tx, None if status is None else Status(status), min(max(limit, 1), _LISTED_MAX))


def receipt(context: Context, request_id: int) -> dict[str, Any]:
    """The receipt of a fulfilled request: a JSON object that `cdp audit verify` checks offline.

    Faults: `unknown_request`, `request_not_fulfilled`, and `receipt_not_ready` until the log has sequenced the entry.
    """
    with context.database.transaction(read_only=True) as tx:
        request = _read_request(tx, request_id)
        if request.status is not Status.FULFILLED or request.entry_id is None:
            raise Fault(
                "request_not_fulfilled",
                "There is no receipt",
                "A receipt is issued when the request is fulfilled.",
                status=409,
            )
        return receipt_of_entry(tx, context, request.entry_id)


def sweep_requests(context: Context, now: datetime) -> dict[str, int]:
    """Expire unverified requests, end legal holds, and shred the identifiers of requests closed 14 days ago.

    Returns the counts `expired`, `shredded` and `holds_ended`.
    """
    counts = {"expired": 0, "shredded": 0, "holds_ended": 0}
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        for received in request_store.requests(tx, Status.RECEIVED, _LISTED_MAX):
            ended = lifecycle.expire(received, now)
            if isinstance(ended, Request):
                _end(tx, context, ended, fact=event_fact(ended, "request.expired"), now=now)
                counts["expired"] += 1
        over = request_store.closed_with_identifiers(tx, now - timedelta(days=DOWNLOAD_DAYS), _LISTED_MAX)
        counts["shredded"] = context.vault.subject_keys.shred(tx, over)
        for request_id in over:
            request_store.delete_identifiers(tx, request_id)
        ended_holds = legal_hold_store.end_holds(tx, now.date(), _LISTED_MAX)
        counts["holds_ended"] = context.vault.subject_keys.shred(tx, ended_holds)
    return counts


def _answer(context: Context, request_id: int, now: datetime) -> RequestResult:
    with context.database.transaction() as tx:
        request = _accepted(lifecycle.start(_locked_request(tx, request_id), now))
        request = _accepted(lifecycle.fulfill(request, now))
        entry_id = fact_store.append(tx, fulfillment(request, None), now)
        request = replace(request, entry_id=entry_id)
        request_store.update_request(tx, request)
    return RequestResult(request, (), request.waiting)


def _end(tx: Transaction, context: Context, request: Request, *, fact: dict[str, Any], now: datetime) -> None:
    """End a request that is not fulfilled: delete its identifiers and its pending suppression, and shred its key."""
    request_store.update_request(tx, request)
    lifted = suppression_store.end_pending_suppressions(tx, request.request_id)
    if lifted:
        named = {"actor": "system", "count": lifted, "request": request.outward_id}
        fact_store.append(tx, {"kind": "suppression.lifted", **named}, now)
    request_store.delete_identifiers(tx, request.request_id)
    context.vault.subject_keys.shred(tx, [request.request_id])
    fact_store.append(tx, fact, now)


def _is_download_over(request: Request, now: datetime) -> bool:
    return request.closed_at is not None and now > request.closed_at + timedelta(days=DOWNLOAD_DAYS)


def _locked_request(tx: Transaction, request_id: int) -> Request:
    request = request_store.lock_request(tx, request_id)
    if request is None:
        raise unknown_request()
    return request


def _read_request(tx: Transaction, request_id: int) -> Request:
    request = request_store.read_request(tx, request_id)
    if request is None:
        raise unknown_request()
    return request


def _regime(policy: Policy, key: str) -> Regime:
    found = policy.jurisdictions.regimes.get(key)
    if found is None:
        known = ", ".join(policy.jurisdictions.regimes)
        raise Fault("unknown_regime", "Unknown regime", f"policies/jurisdictions.yaml declares: {known}.")
    return found


def _right(rules: Regime, kind: str) -> Right:
    name = kind.strip().lower().replace("-", "_")
    if name not in set(Right):
        raise Fault("unknown_right", "Unknown kind of request", f"Give one of {', '.join(Right)}.")
    if Right(name) not in rules.rights:
        known = ", ".join(right.value for right in rules.rights)
        raise Fault("right_not_in_regime", "The regime does not grant this right", f"{rules.key} grants: {known}.")
    return Right(name)


def _normalized(policy: Policy, identifiers: Sequence[tuple[str, str]]) -> list[NamedIdentifier]:
    """The identifiers, normalized like those of messages, without duplicates."""
    if not 0 < len(identifiers) <= IDENTIFIERS_MAX:
        raise Fault(
            "too_many_identifiers" if identifiers else "no_identifier",
            "A request names one to twenty identifiers",
            "State each as a type declared in policies/identifiers.yaml and a value.",
        )
    normalized = (read_identifier(policy, type_, value) for type_, value in identifiers)
    return list(dict.fromkeys(NamedIdentifier(identifier.type, identifier.value) for identifier in normalized))


def _accepted(outcome: Request | StepRefusal) -> Request:
    if isinstance(outcome, Request):
        return outcome
    title, detail = REFUSALS[outcome]
    raise Fault(f"request_{outcome.value}", title, detail, status=409)


REFUSALS: Final = {
    StepRefusal.NOT_NEXT: (
        "The request does not allow this step",
        "`cdp request show` displays its status.",
    ),
    StepRefusal.NOT_DUE: ("The request is not due yet", "Only a request whose deadline has passed unverified expires."),
    StepRefusal.ALREADY_EXTENDED: ("The request was already extended", "A deadline can be extended once."),
    StepRefusal.TOO_LATE: ("The deadline has passed", "An extension must be communicated before the first deadline."),
    StepRefusal.NO_EXTENSION: ("No extension is possible", "The regime allows none for this kind of request."),
    StepRefusal.STARTED: (
        "The erasure is in progress",
        "Data was already deleted, so the request cannot be denied: complete it.",
    ),
}
