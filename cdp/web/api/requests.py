"""Routes of subject requests: open, verify, execute, close, and download the result."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response, status
from pydantic import BaseModel, Field, StrictBool, StringConstraints

from cdp.access.model import Role
from cdp.flows.rights import requests as subject_request
from cdp.flows.rights import scrub as scrubs
from cdp.flows.rights.person import unknown_request
from cdp.flows.rights.review import review as request_review
from cdp.kit.ids import decode_id
from cdp.rights.model import Request, StepCount
from cdp.web.api.schemas import IdentifierInput, RequestBody
from cdp.web.platform.auth import Caller, allow
from cdp.web.platform.deps import InContext, Now, problems

router = APIRouter(prefix="/api/v1/subject-requests", tags=["subject requests"])

IsPrivacy = Annotated[Caller, Depends(allow(Role.PRIVACY))]
Name = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[A-Za-z][A-Za-z_-]*$")]
Status = Literal["received", "verified", "in_progress", "fulfilled", "denied", "withdrawn", "expired"]
RequestKey = Annotated[
    str, Path(description="The `id` of the request: `req_` and 13 letters or digits.", max_length=100)
]


class SubjectRequestInput(RequestBody):
    """A right exercised by a person, who is named by one to twenty identifiers.

    `mode` is what an erasure includes; `purposes` are those that an objection, an opt-out or a request to limit is about,
    all that it concerns if there is none; `values` are the right values of a rectification, by trait. With `weigh`, an objection
    to legitimate interests is weighed against compelling grounds; meanwhile its purposes are restricted.
    """

    kind: Name = Field(examples=["erasure"])
    regime: Name = Field(examples=["gdpr"])
    identifiers: list[IdentifierInput] = Field(min_length=1, max_length=20)
    mode: Literal["erase_and_suppress", "erase", "suppress"] | None = None
    purposes: list[Annotated[str, StringConstraints(max_length=100)]] = Field(default_factory=list, max_length=30)
    values: dict[Annotated[str, StringConstraints(max_length=200)], Any] = Field(default_factory=dict, max_length=50)
    weigh: StrictBool = False


class RequestShown(BaseModel):
    """The status of a request and its deadlines."""

    id: str
    kind: str
    regime: str
    status: Status
    received_at: datetime
    confirm_by: datetime | None
    due_at: datetime
    mode: str | None
    weighed: list[str]
    extended_at: datetime | None
    asked_at: datetime | None
    verified_at: datetime | None
    started_at: datetime | None
    closed_at: datetime | None
    denial_reason: str | None
    waiting: int
    is_scrubbed: bool


class StepShown(BaseModel):
    """One step of the plan: the action, the table, the reason, and the number of rows."""

    table: str
    verb: str
    rows: int
    reason: str
    is_done: bool


class RequestedIdentifier(BaseModel):
    """An identifier, normalized."""

    type: str
    value: str


class TraitShown(BaseModel):
    """A trait with the value that the person says is right."""

    name: str
    value: Any


class DenialShown(BaseModel):
    """The notice of a denial for the person: why, where they may complain, what else they can do, and whom they ask.

    `questions_to` is the controller with all ways to reach it; null if the policy does not name one yet.
    """

    reason: str
    authority: str
    remedy: str
    questions_to: str | None


class OpenedRequest(RequestShown):
    """A request, and whom the person asks about it: the controller, null if the policy does not name one yet."""

    questions_to: str | None


class RequestDetail(OpenedRequest):
    """A request with what it names (until it is closed), its steps, the identifiers that wait for a review, its denial,
    and whom the person asks about it.
    """

    identifiers: list[RequestedIdentifier]
    steps: list[StepShown]
    waiting_identifiers: list[RequestedIdentifier]
    values: list[TraitShown]
    denial: DenialShown | None


class RequestList(BaseModel):
    """Requests, those due first at the top."""

    requests: list[RequestShown]


class RunInput(RequestBody):
    """Whether to only preview the request."""

    dry_run: StrictBool = False


class RunShown(BaseModel):
    """The request with the steps of its plan as they were, or would be, executed."""

    request: RequestShown
    steps: list[StepShown]
    waiting: int
    is_nothing_held: bool | None


class DenyInput(RequestBody):
    """Why the request is denied.

    `is_informed` confirms, for an objection that was weighed, that the person was informed that the restriction ends.
    """

    reason: Literal["unverified", "unfounded", "excessive", "exempt", "others_rights", "overriding_interests"]
    is_informed: StrictBool = False


class ReviewInput(RequestBody):
    """Waiting identifiers that belong to the person, and to others; with `excludes_rest`, all others belong to others."""

    include: list[IdentifierInput] = Field(default_factory=list, max_length=500)
    exclude: list[IdentifierInput] = Field(default_factory=list, max_length=500)
    excludes_rest: StrictBool = False


class ReviewShown(BaseModel):
    """How many identifiers still wait."""

    waiting: int


class EmptyInput(RequestBody):
    """No fields."""


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems(), operation_id="open_request")
def open_request(body: SubjectRequestInput, context: InContext, now: Now, *, _caller: IsPrivacy) -> OpenedRequest:
    """Open a subject request and set its deadlines. The response does not reveal whether a profile exists.

    An objection, an opt-out and a request to limit need no verification and are in force when the response is sent.
    """
    pairs = [identifier.pair() for identifier in body.identifiers]
    details = subject_request.RequestDetails(body.mode, body.purposes, body.values, body.weigh)
    request = subject_request.open_request(
        context, kind=body.kind, regime=body.regime, identifiers=pairs, now=now, details=details
    )
    return OpenedRequest(**request_shown(request).model_dump(), questions_to=context.policy.responsible.questions_to)


@router.get("", responses=problems(), operation_id="list_requests")
def listing(
    context: InContext,
    caller: IsPrivacy,
    status: Annotated[Status | None, Query()] = None,
    *,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> RequestList:
    """List requests, all or by status, the most urgent first. Every listing is logged."""
    found = subject_request.listing(context, status, limit, actor=caller.actor, token=caller.token)
    return RequestList(requests=[request_shown(request) for request in found])


@router.get("/{request_id}", responses=problems(404), operation_id="show_request")
def show(request_id: RequestKey, context: InContext, caller: IsPrivacy) -> RequestDetail:
    """Show one request in full."""
    return _detail(subject_request.show(context, _number(request_id), actor=caller.actor, token=caller.token))


def _detail(found: subject_request.RequestView) -> RequestDetail:
    return RequestDetail(
        **request_shown(found.request).model_dump(),
        questions_to=found.questions_to,
        identifiers=[
            RequestedIdentifier(type=identifier.type, value=identifier.value) for identifier in found.identifiers
        ],
        steps=[_step(step) for step in found.steps],
        waiting_identifiers=[
            RequestedIdentifier(type=identifier.type, value=identifier.value) for identifier in found.waiting
        ],
        values=[TraitShown(name=trait.name, value=trait.value) for trait in found.values],
        denial=None if found.denial is None else DenialShown(**asdict(found.denial)),
    )


@router.post("/{request_id}/ask", responses=problems(404, 409), operation_id="ask_requester")
def ask(
    request_id: RequestKey, context: InContext, now: Now, *, _caller: IsPrivacy, _body: EmptyInput | None = None
) -> RequestShown:
    """Record that the requester was asked who they are. Without an answer, the request expires after its deadline."""
    return request_shown(subject_request.ask(context, _number(request_id), now))


@router.post("/{request_id}/verify", responses=problems(404, 409), operation_id="verify_request")
def verify(
    request_id: RequestKey, context: InContext, now: Now, *, _caller: IsPrivacy, _body: EmptyInput | None = None
) -> RequestShown:
    """Record that the identity of the requester is verified. For an erasure, no data about the identifiers is stored from then on."""
    return request_shown(subject_request.verify(context, _number(request_id), now))


@router.post("/{request_id}/review", responses=problems(404, 409), operation_id="review_request")
def review(
    request_id: RequestKey, body: ReviewInput, context: InContext, *, now: Now, _caller: IsPrivacy
) -> ReviewShown:
    """Decide which waiting identifiers belong to the person. A request is not carried out while identifiers wait."""
    waiting = request_review(
        context,
        _number(request_id),
        include=[identifier.pair() for identifier in body.include],
        exclude=[identifier.pair() for identifier in body.exclude],
        excludes_rest=body.excludes_rest,
        now=now,
    )
    return ReviewShown(waiting=waiting)


@router.post("/{request_id}/run", responses=problems(404, 409), operation_id="run_request")
def run(
    request_id: RequestKey, context: InContext, now: Now, *, caller: IsPrivacy, body: RunInput | None = None
) -> RunShown:
    """Execute a verified request; with `dry_run`, only preview the steps. A preview is logged as a read."""
    done = subject_request.run(
        context,
        _number(request_id),
        now,
        dry_run=body is not None and body.dry_run,
        actor=caller.actor,
        token=caller.token,
    )
    return RunShown(
        request=request_shown(done.request),
        steps=[_step(step) for step in done.steps],
        waiting=done.waiting,
        is_nothing_held=done.is_nothing_held,
    )


@router.post("/{request_id}/extend", responses=problems(404, 409), operation_id="extend_request")
def extend(
    request_id: RequestKey, context: InContext, now: Now, *, _caller: IsPrivacy, _body: EmptyInput | None = None
) -> RequestShown:
    """Extend the deadline. Each regulation allows one extension at most."""
    return request_shown(subject_request.extend(context, _number(request_id), now))


@router.post("/{request_id}/deny", responses=problems(404, 409), operation_id="deny_request")
def deny(request_id: RequestKey, body: DenyInput, context: InContext, *, now: Now, caller: IsPrivacy) -> RequestDetail:
    """Deny a request for a reason. `denial` is the notice for the person."""
    subject_request.deny(context, _number(request_id), body.reason, now=now, is_informed=body.is_informed)
    return _detail(subject_request.show(context, _number(request_id), actor=caller.actor, token=caller.token))


@router.post("/{request_id}/withdraw", responses=problems(404, 409), operation_id="withdraw_request")
def withdraw(
    request_id: RequestKey, context: InContext, now: Now, *, _caller: IsPrivacy, _body: EmptyInput | None = None
) -> RequestShown:
    """Record that the subject withdrew the request."""
    return request_shown(subject_request.withdraw(context, _number(request_id), now))


@router.get(
    "/{request_id}/export",
    responses={
        200: {"description": "A ZIP with data.json and a readable page", "content": {"application/zip": {}}},
        **problems(404, 409, 410),
    },
    response_class=Response,
    operation_id="export_request",
)
def export(
    request_id: RequestKey,
    context: InContext,
    now: Now,
    *,
    caller: IsPrivacy,
    draft: Annotated[bool, Query(description="A draft for staff, before the request is answered.")] = False,
) -> Response:
    """Download the archive of an answered access or portability request. Every download is logged."""
    archive = subject_request.export(
        context, _number(request_id), now, is_draft=draft, actor=caller.actor, token=caller.token
    )
    return Response(
        archive.content,
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{archive.name}"'},
    )


@router.get("/{request_id}/receipt", responses=problems(404, 409), operation_id="receipt_of_request")
def receipt(request_id: RequestKey, context: InContext, caller: IsPrivacy) -> dict[str, Any]:
    """Return the receipt of a fulfilled request. `cdp audit verify` verifies it offline."""
    return subject_request.receipt(context, _number(request_id), actor=caller.actor, token=caller.token)


@router.get("/{request_id}/scrub-receipt", responses=problems(404, 409), operation_id="scrub_receipt_of_request")
def scrub_receipt(request_id: RequestKey, context: InContext, caller: IsPrivacy) -> dict[str, Any]:
    """Return the second receipt of an erasure, issued by the first scrub after it. It names the leaf of the first receipt."""
    return scrubs.receipt(context, _number(request_id), actor=caller.actor, token=caller.token)


def request_shown(request: Request) -> RequestShown:
    """A request as responses show it."""
    return RequestShown(
        id=request.outward_id,
        kind=request.kind.value,
        regime=request.regime,
        status=request.status.value,
        received_at=request.received_at,
        confirm_by=request.confirm_by,
        due_at=request.due_at,
        mode=None if request.mode is None else request.mode.value,
        weighed=list(request.weighed),
        extended_at=request.extended_at,
        asked_at=request.asked_at,
        verified_at=request.verified_at,
        started_at=request.started_at,
        closed_at=request.closed_at,
        denial_reason=None if request.denial_reason is None else request.denial_reason.value,
        waiting=request.waiting,
        is_scrubbed=request.is_scrubbed,
    )


def _step(step: StepCount) -> StepShown:
    return StepShown(table=step.table, verb=step.verb.value, rows=step.rows, reason=step.reason, is_done=step.is_done)


def _number(text: str) -> int:
    number = decode_id("req", text)
    if number is None:
        raise unknown_request()
    return number
