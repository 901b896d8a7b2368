"""Pages of subject requests: what is due, and each step from opening to the receipt. Irreversible steps require confirmation."""

import json
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Depends, Form, Query, Response

from cdp.access.model import Role
from cdp.kit.errors import Fault
from cdp.rights.model import Denial
from cdp.web.api import requests as routes
from cdp.web.api.schemas import IdentifierInput
from cdp.web.console.page import page
from cdp.web.console.session import CONSOLE_PATH, Session, for_roles, submitted_by
from cdp.web.platform.deps import InContext, Now

router = APIRouter(prefix=f"{CONSOLE_PATH}/requests", include_in_schema=False)

Reader = Annotated[Session, Depends(for_roles(Role.PRIVACY))]
Sender = Annotated[Session, Depends(submitted_by(Role.PRIVACY))]
_IDENTIFIERS_MAX = 3
_SHOWN = 200


@router.get("")
def listing(
    context: InContext, now: Now, session: Reader, *, status: Annotated[routes.Status | Literal[""], Query()] = ""
) -> Response:
    """Requests, the most urgent first, and a form to open one."""
    regimes = context.policy.jurisdictions.regimes
    return page(
        "requests",
        session,
        requests=routes.listing(context, session.caller, status=status or None, limit=_SHOWN).requests,
        now=now,
        wanted=status,
        statuses=get_args(routes.Status),
        regimes={key: [right.value for right in regime.rights] for key, regime in regimes.items()},
        types=list(context.policy.identifiers.types),
        fields=range(_IDENTIFIERS_MAX),
    )


@router.post("")
def open_request(
    context: InContext,
    now: Now,
    session: Sender,
    *,
    right: Annotated[str, Form(max_length=100)],
    type: Annotated[list[str], Form(max_length=_IDENTIFIERS_MAX)],  # noqa: A002 - the name of a field
    value: Annotated[list[str], Form(max_length=_IDENTIFIERS_MAX)],
) -> Response:
    """Open a request and show it."""
    regime, _, kind = right.partition(":")
    named = [(type_, text) for type_, text in zip(type, value, strict=False) if text.strip()]
    if not named or any("\x00" in text or len(text) > 512 for _, text in named):
        raise Fault("no_identifier", "No identifier was given", "Give at least one identifier.", status=422)
    body = routes.SubjectRequestInput(
        kind=kind,
        regime=regime,
        identifiers=[IdentifierInput(type=type_, value=text) for type_, text in named],
    )
    return _redirect_to(routes.open_request(body, context, now, _caller=session.caller).id)


@router.get("/{request_id}")
def show(context: InContext, now: Now, session: Reader, *, request_id: routes.RequestKey) -> Response:
    """One request, and the actions that its status allows."""
    found = routes.show(request_id, context, session.caller)
    return page("request", session, request=found, now=now, plan=None, reasons=[denial.value for denial in Denial])


@router.post("/{request_id}/plan")
def plan(context: InContext, now: Now, session: Sender, *, request_id: routes.RequestKey) -> Response:
    """Preview what executing the request would do."""
    result = routes.run(request_id, context, now, _caller=session.caller, body=routes.RunInput(dry_run=True))
    found = routes.show(request_id, context, session.caller)
    return page(
        "request", session, request=found, now=now, plan=result.steps, reasons=[denial.value for denial in Denial]
    )


@router.post("/{request_id}/run")
def run(
    context: InContext, now: Now, session: Sender, *, request_id: routes.RequestKey, sure: Annotated[str, Form()] = ""
) -> Response:
    """Execute the request; an erasure only when the box is ticked."""
    found = routes.show(request_id, context, session.caller)
    if found.kind == "erasure" and sure != "yes":
        raise Fault(
            "not_sure", "Nothing was erased", "An erasure cannot be undone. Tick the box to confirm it.", status=422
        )
    routes.run(request_id, context, now, _caller=session.caller)
    return _redirect_to(request_id)


@router.post("/{request_id}/deny")
def deny(
    context: InContext, now: Now, session: Sender, *, request_id: routes.RequestKey, reason: Annotated[Denial, Form()]
) -> Response:
    """Deny the request for a reason."""
    routes.deny(request_id, routes.DenyInput(reason=reason.value), context, now=now, _caller=session.caller)
    return _redirect_to(request_id)


@router.post("/{request_id}/{step}")
def step(
    context: InContext,
    now: Now,
    session: Sender,
    *,
    request_id: routes.RequestKey,
    step: Literal["verify", "extend", "withdraw"],
) -> Response:
    """Perform a step that needs no further input."""
    perform = {"verify": routes.verify, "extend": routes.extend, "withdraw": routes.withdraw}[step]
    perform(request_id, context, now, _caller=session.caller)
    return _redirect_to(request_id)


@router.get("/{request_id}/export")
def export(context: InContext, now: Now, session: Reader, *, request_id: routes.RequestKey) -> Response:
    """The archive, as a download."""
    return routes.export(request_id, context, now, caller=session.caller)


@router.get("/{request_id}/receipt")
def receipt(context: InContext, session: Reader, request_id: routes.RequestKey) -> Response:
    """The receipt, as a download."""
    return _download(f"{request_id}-receipt.json", routes.receipt(request_id, context, session.caller))


@router.get("/{request_id}/scrub-receipt")
def scrub_receipt(context: InContext, session: Reader, request_id: routes.RequestKey) -> Response:
    """The receipt of the scrub, as a download."""
    return _download(f"{request_id}-scrub-receipt.json", routes.scrub_receipt(request_id, context, session.caller))


def _download(name: str, document: dict[str, Any]) -> Response:
    content = json.dumps(document, indent=2, ensure_ascii=False)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/json", headers=headers)


def _redirect_to(request_id: str) -> Response:
    return Response(status_code=303, headers={"Location": f"{CONSOLE_PATH}/requests/{request_id}"})
