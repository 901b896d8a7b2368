"""Use cases of subject requests: received, verified, carried out or ended otherwise, with deadlines and receipts.

No answer to somebody who is not verified reveals whether a person is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.identifiers import find_identifiers, read_identifier
from cdp.flows.reads import Reading, log_read
from cdp.flows.rights.answer import DOWNLOAD_DAYS, export
from cdp.flows.rights.corrections import checked_values, named_values, store_values
from cdp.flows.rights.kinds import FLOWS
from cdp.flows.rights.pending import suppress_while_running
from cdp.flows.rights.person import (
    NAMED_IDENTIFIER_COLUMN,
    find_person,
    named_identifier_row,
    named_identifiers,
    suppression_pseudonyms_of,
    values_of,
)
from cdp.flows.rights.receipts import log_receipt, receipt_of_entry
from cdp.flows.rights.refusals import record_refusals, refuse_purposes
from cdp.flows.rights.refuse import refuse
from cdp.flows.rights.request_steps import (
    accepted,
    check_informed,
    ended,
    locked_request,
    read_request,
    regime_of,
    right_of,
    started,
)
from cdp.flows.rights.results import RequestResult
from cdp.flows.rights.weighing import begin_weighing, end_weighing, purposes_to_weigh
from cdp.flows.snapshot import at_one_instant
from cdp.identity.model import Identifier
from cdp.identity.store import generation as generation_store
from cdp.kit.canonical import instant_text
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import new_id
from cdp.policy.jurisdictions import Right
from cdp.policy.model import Policy
from cdp.rights import lifecycle
from cdp.rights.lifecycle import WITHOUT_VERIFICATION
from cdp.rights.model import (
    ENDED,
    CorrectedTrait,
    Denial,
    DenialNotice,
    ErasureMode,
    NamedIdentifier,
    Request,
    RequestId,
    Status,
    StepCount,
)
from cdp.rights.receipt import event_fact
from cdp.rights.refusable import purposes_refused_by
from cdp.rights.store import legal_holds as legal_hold_store
from cdp.rights.store import requests as request_store
from cdp.rights.store import steps as step_store
from cdp.vault.vault import Item

__all__ = [
    "IDENTIFIERS_MAX",
    "RequestDetails",
    "RequestView",
    "ask",
    "deny",
    "export",
    "extend",
    "listing",
    "open_request",
    "receipt",
    "run",
    "show",
    "sweep_requests",
    "verify",
    "withdraw",
]

IDENTIFIERS_MAX: Final = 20
_LISTED_MAX = 500

_DENIALS: Final[Mapping[Denial, str]] = {
    Denial.UNVERIFIED: "We could not verify that you are the person whom the request is about.",
    Denial.UNFOUNDED: "The request is manifestly unfounded.",
    Denial.EXCESSIVE: "The request is excessive, in particular because it repeats earlier ones.",
    Denial.EXEMPT: "The law exempts this data from the request.",
    Denial.OTHERS_RIGHTS: "Granting the request would infringe the rights of other people.",
    Denial.OVERRIDING_INTERESTS: "We have compelling legitimate grounds for this processing which override your interests, "
    "rights and freedoms, or which serve legal claims (GDPR Art. 21(1)). The restriction of the processing ends.",
}


@dataclass(frozen=True, slots=True)
class RequestDetails:
    """What a request asks for beyond its kind.

    `mode` is what an erasure includes: `erase_and_suppress`, `erase` or `suppress`. `purposes` are those that an objection,
    an opt-out or a request to limit is about; without any, all that its kind refuses. `values` are the right values of a
    rectification, by trait. `is_weighed`: of an objection, what it is to purposes on legitimate interests is weighed against
    compelling grounds.
    """

    mode: str | None = None
    purposes: Sequence[str] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    is_weighed: bool = False


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request as the privacy team sees it: what it names, its steps, identifiers to be reviewed, and its denial.

    `questions_to` is whom the person asks about it: the controller, None if the policy does not name one yet.
    """

    request: Request
    identifiers: tuple[NamedIdentifier, ...]
    steps: tuple[StepCount, ...]
    waiting: tuple[NamedIdentifier, ...]
    questions_to: str | None
    values: tuple[CorrectedTrait, ...] = ()
    denial: DenialNotice | None = None


def open_request(
    context: Context,
    *,
    kind: str,
    regime: str,
    identifiers: Sequence[tuple[str, str]],
    now: datetime,
    details: RequestDetails | None = None,
) -> Request:
    """Record a request and set its deadlines; an objection, an opt-out or a request to limit is fulfilled at once.

    Of an objection that is weighed, only what concerns direct marketing is; other purposes are restricted until it ends.

    Faults: `unknown_right`, `unknown_regime`, `right_not_in_regime`, `invalid_identifier`, `too_many_identifiers`,
    `detail_not_of_kind`, `unknown_mode`, and those of `checked_values`, `refuse_purposes` and `purposes_to_weigh`.
    """
    rules = regime_of(context.policy, regime)
    right = right_of(rules, kind)
    named = _normalized(context.policy, identifiers)
    given = _checked_details(right, details or RequestDetails())
    values = checked_values(context.policy, given.values) if right is Right.RECTIFICATION else ()
    with context.database.transaction() as tx:
        if right in WITHOUT_VERIFICATION:
            now = generation_store.lock_exclusive(tx).now
        request = lifecycle.received(
            RequestId(new_id()),
            right,
            rules,
            received_at=now,
            time_zone=context.policy.jurisdictions.time_zone,
            mode=None if given.mode is None else ErasureMode(given.mode),
            weighed=purposes_to_weigh(context.policy, given.purposes) if given.is_weighed else (),
        )
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
        store_values(tx, context, request.request_id, values=values)
        fact_store.append(tx, event_fact(request, "request.received"), now)
        if request.weighed:
            request = _weigh(tx, context, request, named=named, purposes=given.purposes, now=now)
        elif right in WITHOUT_VERIFICATION:
            request = refuse_purposes(tx, context, request, named=named, purposes=given.purposes, now=now)
    return request


def _weigh(
    tx: Transaction,
    context: Context,
    request: Request,
    *,
    named: Sequence[NamedIdentifier],
    purposes: Sequence[str],
    now: datetime,
) -> Request:
    """Restrict what is weighed; the rest of an objection that names no purposes, to direct marketing, is in force at once."""
    all_of_kind = purposes_refused_by(request.kind, context.policy, regime_of(context.policy, request.regime))
    at_once = () if purposes else tuple(key for key in all_of_kind if key not in request.weighed)
    if at_once:
        record_refusals(tx, context, request, named=named, purposes=at_once, now=now)
    request = started(request, now)
    request_store.update_request(tx, request)
    begin_weighing(tx, context, request, named=named, now=now)
    return request


def ask(context: Context, request_id: int, now: datetime) -> Request:
    """Mark that the requester was asked to prove who they are. Without an answer, the request expires after its deadline.

    Faults: `unknown_request`, `request_not_next`.
    """
    with context.database.transaction() as tx:
        request = accepted(lifecycle.ask(locked_request(tx, request_id), now))
        request_store.update_request(tx, request)
        fact_store.append(tx, event_fact(request, "request.asked"), now)
    return request


def verify(context: Context, request_id: int, now: datetime) -> Request:
    """Mark the requester as verified. For an erasure, no message about the person is stored from then on.

    Faults: `unknown_request`, `request_not_next`.
    """
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        request = accepted(lifecycle.verify(locked_request(tx, request_id), now))
        if request.kind is Right.ERASURE:
            person = find_person(tx, context, request)
            suppress_while_running(
                tx, context, request_id, pseudonyms=suppression_pseudonyms_of(tx, context, person), now=now
            )
        request_store.update_request(tx, request)
        fact_store.append(tx, event_fact(request, "request.verified"), now)
    return request


def extend(context: Context, request_id: int, now: datetime) -> Request:
    """Extend the deadline as the regime allows: once, before it has passed.

    Faults: `unknown_request`, and `request_` with the value of a `StepRefusal`.
    """
    with context.database.transaction() as tx:
        request = locked_request(tx, request_id)
        rules = regime_of(context.policy, request.regime)
        request = accepted(lifecycle.extend(request, rules, now, time_zone=context.policy.jurisdictions.time_zone))
        request_store.update_request(tx, request)
        fact = event_fact(request, "request.extended") | {"due_at": instant_text(request.due_at)}
        fact_store.append(tx, fact, now)
    return request


def deny(context: Context, request_id: int, reason: str, *, now: datetime, is_informed: bool = False) -> Request:
    """Deny a request for a reason. `show` has the notice for the subject, with the authority for complaints and the remedy.

    The denial of an objection that was weighed ends the restriction of its purposes, of which the person must be informed
    before (GDPR Art. 18(3)). Faults: `unknown_denial`, `unknown_request`, `request_not_next`, `request_started`,
    `request_not_weighed`, `not_informed`.
    """
    if reason not in set(Denial):
        raise Fault(
            "unknown_denial",
            "Unknown reason for a denial",
            f"Give one of {', '.join(sorted(Denial))}.",
        )
    with context.database.transaction() as tx:
        now = generation_store.lock_exclusive(tx).now
        request = accepted(lifecycle.deny(locked_request(tx, request_id), Denial(reason), now))
        if request.weighed:
            check_informed(is_informed=is_informed)
            end_weighing(tx, context, request, named=named_identifiers(tx, context, request_id), now=now)
        ended(tx, context, request, fact=event_fact(request, "request.denied") | {"reason": reason}, now=now)
    return request


def withdraw(context: Context, request_id: int, now: datetime) -> Request:
    """Withdraw a request at the subject's wish; its pending suppression ends. Faults: `unknown_request`, `request_not_next`."""
    with context.database.transaction() as tx:
        now = generation_store.lock_exclusive(tx).now
        request = accepted(lifecycle.withdraw(locked_request(tx, request_id), now))
        if request.weighed:
            end_weighing(tx, context, request, named=named_identifiers(tx, context, request_id), now=now)
        ended(tx, context, request, fact=event_fact(request, "request.withdrawn"), now=now)
    return request


def run(
    context: Context,
    request_id: int,
    now: datetime,
    *,
    dry_run: bool = False,
    actor: str = "operator",
    token: int | None = None,
) -> RequestResult:
    """Carry out a verified request, or preview it.

    Each kind has its flow (`cdp.flows.rights.kinds`). Running a fulfilled request again changes nothing. A preview shows
    what is held about the person, so it is recorded in the audit log as a read, at `now`; what is carried out happens at the
    instant of the database.
    """
    with context.database.transaction(read_only=True) as tx:
        request = read_request(tx, request_id)
        flow = FLOWS[request.kind]
    if not dry_run:
        return flow.run(context, request_id)
    found = flow.preview(context, request_id)
    with context.database.transaction() as tx:
        named = named_identifiers(tx, context, request_id)
        reading = Reading(actor, token, "request", question={"preview": True}, named={"request": request.outward_id})
        log_read(tx, context, reading, count=len(found.steps), now=now, identifiers=_known(tx, context, named))
    return found


def show(context: Context, request_id: int, *, actor: str = "operator", token: int | None = None) -> RequestView:
    """One request with the identifiers it names, its steps, and the identifiers to be reviewed.

    Identifiers are opened, so the read is recorded in the audit log. Raises the fault `unknown_request`.
    """

    def read(tx: Transaction) -> RequestView:
        request = read_request(tx, request_id)
        done = tuple(step_store.steps(tx, request_id).values())
        reading = Reading(actor, token, "request", named={"request": request.outward_id})
        now = context.clock.now()
        questions_to = context.policy.responsible.questions_to
        if request.status in ENDED or request.verified_at is None:
            named = named_identifiers(tx, context, request_id)
            log_read(tx, context, reading, count=len(named), now=now, identifiers=_known(tx, context, named))
            values = named_values(tx, context, request_id)
            return RequestView(request, named, done, (), questions_to, values, _denial(context.policy, request))
        person = find_person(tx, context, request)
        shown = {*person.known, *person.reach.waiting}
        log_read(tx, context, reading, count=len(person.named), now=now, identifiers=shown)
        waiting = tuple(values_of(tx, context, person.reach.waiting))
        values = named_values(tx, context, request_id)
        return RequestView(request, person.named, done, waiting, questions_to, values)

    return at_one_instant(context.database, read)


def _known(tx: Transaction, context: Context, named: Sequence[NamedIdentifier]) -> set[int]:
    """The stored ones of the identifiers that a request names."""
    found = find_identifiers(tx, context.vault, [Identifier(identifier.type, identifier.value) for identifier in named])
    return {stored.identifier_id for stored in found.values()}


def listing(
    context: Context, status: str | None = None, limit: int = 100, *, actor: str = "operator", token: int | None = None
) -> list[Request]:
    """Requests by due date, of one status or of all. Raises the fault `unknown_status`.

    The read is recorded in the audit log, about the people whose identifiers the requests still name.
    """
    if status is not None and status not in set(Status):
        raise Fault("unknown_status", "Unknown status", f"Give one of {', '.join(Status)}.")
    limit = min(max(limit, 1), _LISTED_MAX)

    def read(tx: Transaction) -> list[Request]:
        found = request_store.requests(tx, None if status is None else Status(status), limit)
        named = named_identifiers(tx, context, *(request.request_id for request in found))
        log_read(
            tx,
            context,
            Reading(actor, token, "request", question={"status": status, "limit": limit}),
            count=len(found),
            now=context.clock.now(),
            identifiers=_known(tx, context, named),
        )
        return found

    return at_one_instant(context.database, read)


def receipt(context: Context, request_id: int, *, actor: str = "operator", token: int | None = None) -> dict[str, Any]:
    """The receipt of a fulfilled request: a JSON object that `cdp audit verify` checks offline.

    The read is recorded in the audit log. Faults: `unknown_request`, `request_not_fulfilled`, and `receipt_not_ready` until the log has sequenced the entry.
    """
    with context.database.transaction() as tx:
        request = read_request(tx, request_id)
        if request.status is not Status.FULFILLED or request.entry_id is None:
            raise Fault(
                "request_not_fulfilled",
                "There is no receipt",
                "A receipt is issued when the request is fulfilled.",
                status=409,
            )
        log_receipt(tx, context, request, actor=actor, token=token)
        return receipt_of_entry(tx, context, request.entry_id)


def sweep_requests(context: Context, now: datetime) -> dict[str, int]:
    """Expire unanswered requests, end legal holds, and shred the identifiers of requests closed 14 days ago.

    A request that needs no verification and was received by an earlier release is carried out. Returns the counts
    `expired`, `carried_out`, `shredded` and `holds_ended`.
    """
    counts = {"expired": 0, "carried_out": 0, "shredded": 0, "holds_ended": 0}
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        open_requests = request_store.requests(tx, Status.RECEIVED, _LISTED_MAX)
        for received in open_requests:
            expired = lifecycle.expire(received, now)
            if isinstance(expired, Request):
                ended(tx, context, expired, fact=event_fact(expired, "request.expired"), now=now)
                counts["expired"] += 1
        over = request_store.closed_with_identifiers(tx, now - timedelta(days=DOWNLOAD_DAYS), _LISTED_MAX)
        counts["shredded"] = context.vault.subject_keys.shred(tx, over)
        for request_id in over:
            request_store.delete_identifiers(tx, request_id)
        ended_holds = legal_hold_store.end_holds(tx, now.date(), _LISTED_MAX)
        counts["holds_ended"] = context.vault.subject_keys.shred(tx, ended_holds)
    for received in open_requests:
        if received.kind in WITHOUT_VERIFICATION and received.regime in context.policy.jurisdictions.regimes:
            refuse(context, received.request_id)
            counts["carried_out"] += 1
    return counts


def _denial(policy: Policy, request: Request) -> DenialNotice | None:
    """The notice of a denial for the subject (GDPR Art. 12(4)); None for a request that was not denied."""
    if request.denial_reason is None:
        return None
    regime = policy.jurisdictions.regimes.get(request.regime)
    names = [policy.purposes[key].name if key in policy.purposes else key for key in request.weighed]
    concerned = f" This concerns: {', '.join(names)}." if names else ""
    return DenialNotice(
        reason=_DENIALS[request.denial_reason] + concerned,
        authority="" if regime is None else regime.authority,
        remedy="" if regime is None else regime.remedy,
        questions_to=policy.responsible.questions_to,
    )


def _checked_details(kind: Right, given: RequestDetails) -> RequestDetails:
    """The details, none of which belongs to another kind of request. Faults: `detail_not_of_kind`, `unknown_mode`."""
    misplaced = [
        name
        for name, value, kinds in (
            ("mode", given.mode, {Right.ERASURE}),
            ("purposes", given.purposes, WITHOUT_VERIFICATION),
            ("values", given.values, {Right.RECTIFICATION}),
            ("weigh", given.is_weighed, {Right.OBJECTION}),
        )
        if value and kind not in kinds
    ]
    if misplaced:
        raise Fault(
            "detail_not_of_kind",
            "This kind of request does not have this detail",
            f"A request of kind {kind.value} does not take `{misplaced[0]}`.",
            status=422,
        )
    if given.mode is not None and given.mode not in set(ErasureMode):
        raise Fault("unknown_mode", "Unknown mode", f"Give one of {', '.join(ErasureMode)}.", status=422)
    return given


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
