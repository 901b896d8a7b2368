"""Pages of subject requests: what is due, and each step from opening to the receipt. Irreversible steps require confirmation."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Depends, Form, Query, Response

from cdp.access.model import Role
from cdp.kit.errors import Fault
from cdp.policy.model import Keep
from cdp.rights.model import Denial, ErasureMode
from cdp.rights.refusable import weighable_purposes
from cdp.web.api import requests as routes
from cdp.web.api import standing
from cdp.web.api.schemas import IdentifierInput
from cdp.web.console.page import page
from cdp.web.console.session import CONSOLE_PATH, InContext, Session, for_roles, submitted_by
from cdp.web.platform.deps import Now

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
        modes=[mode.value for mode in ErasureMode],
        purposes=[rule for rule in context.policy.purposes.values() if not rule.needs_unique_identifier],
        weighable=[context.policy.purposes[key].name for key in weighable_purposes(context.policy)],
        traits=[name for name, plan in context.policy.events.traits.items() if plan.keep is not Keep.DROP],
    )


@dataclass(frozen=True, slots=True)
class OpenForm:
    """The fields of the form that opens a request; those of another kind of request stay empty."""

    right: Annotated[str, Form(max_length=100)]
    type: Annotated[list[str], Form(max_length=_IDENTIFIERS_MAX)]
    value: Annotated[list[str], Form(max_length=_IDENTIFIERS_MAX)]
    mode: Annotated[Literal["", "erase_and_suppress", "erase", "suppress"], Form()] = ""
    purpose: Annotated[list[str] | None, Form(max_length=30)] = None
    weigh: Annotated[str, Form()] = ""
    trait: Annotated[list[str] | None, Form(max_length=_IDENTIFIERS_MAX)] = None
    right_value: Annotated[list[str] | None, Form(max_length=_IDENTIFIERS_MAX)] = None


@dataclass(frozen=True, slots=True)
class PersonForm:
    """The identifiers of a person, and the confirmation that staff must give."""

    type: Annotated[list[str], Form(max_length=_IDENTIFIERS_MAX)]
    value: Annotated[list[str], Form(max_length=_IDENTIFIERS_MAX)]
    sure: Annotated[str, Form()] = ""


@router.post("")
def open_request(
    context: InContext, now: Now, session: Sender, *, form: Annotated[OpenForm, Depends(OpenForm)]
) -> Response:
    """Open a request and show it."""
    regime, _, kind = form.right.partition(":")
    stated = {name: text for name, text in zip(form.trait or (), form.right_value or (), strict=False) if text.strip()}
    body = routes.SubjectRequestInput(
        kind=kind,
        regime=regime,
        identifiers=_identifiers(form.type, form.value),
        mode=form.mode or None,
        purposes=form.purpose or [],
        weigh=form.weigh == "yes",
        values={name: _json_or_text(text) for name, text in stated.items()},
    )
    return _redirect_to(routes.open_request(body, context, now, _caller=session.caller).id)


@router.post("/suppressions/lift")
def lift(
    context: InContext,
    now: Now,
    session: Sender,
    *,
    form: Annotated[PersonForm, Depends(PersonForm)],
) -> Response:
    """Lift the suppression of a verified person."""
    body = standing.LiftInput(identifiers=_identifiers(form.type, form.value), is_verified=form.sure == "yes")
    count = standing.lift(body, context, now, _caller=session.caller).lifted
    return page("standing", session, title="Suppression lifted", count=count)


@router.post("/restrictions/end")
def end_restriction(
    context: InContext,
    now: Now,
    session: Sender,
    *,
    form: Annotated[PersonForm, Depends(PersonForm)],
) -> Response:
    """End the restriction of a person who was informed."""
    body = standing.EndInput(identifiers=_identifiers(form.type, form.value), is_informed=form.sure == "yes")
    count = standing.end(body, context, now, _caller=session.caller).released
    return page("standing", session, title="Restriction ended", count=count)


@router.get("/{request_id}")
def show(context: InContext, now: Now, session: Reader, *, request_id: routes.RequestKey) -> Response:
    """One request, and the actions that its status allows."""
    found = routes.show(request_id, context, session.caller)
    return page("request", session, request=found, now=now, plan=None, reasons=_denials(found))


@router.post("/{request_id}/plan")
def plan(context: InContext, now: Now, session: Sender, *, request_id: routes.RequestKey) -> Response:
    """Preview what executing the request would do."""
    result = routes.run(request_id, context, now, caller=session.caller, body=routes.RunInput(dry_run=True))
    found = routes.show(request_id, context, session.caller)
    return page("request", session, request=found, now=now, plan=result, reasons=_denials(found))


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
    routes.run(request_id, context, now, caller=session.caller)
    return _redirect_to(request_id)


@router.post("/{request_id}/review")
def review(
    context: InContext,
    now: Now,
    session: Sender,
    *,
    request_id: routes.RequestKey,
    type: Annotated[str, Form(max_length=100)],  # noqa: A002 - the name of a field
    value: Annotated[str, Form(max_length=512)],
    decision: Annotated[Literal["include", "exclude"], Form()],
) -> Response:
    """Decide whether a waiting identifier belongs to the person."""
    decided = {decision: [IdentifierInput(type=type, value=value)]}
    routes.review(request_id, routes.ReviewInput(**decided), context, now=now, _caller=session.caller)
    return _redirect_to(request_id)


@router.post("/{request_id}/deny")
def deny(
    context: InContext,
    now: Now,
    session: Sender,
    *,
    request_id: routes.RequestKey,
    reason: Annotated[Denial, Form()],
    informed: Annotated[str, Form()] = "",
) -> Response:
    """Deny the request for a reason."""
    body = routes.DenyInput(reason=reason.value, is_informed=informed == "yes")
    routes.deny(request_id, body, context, now=now, caller=session.caller)
    return _redirect_to(request_id)


@router.post("/{request_id}/{step}")
def step(
    context: InContext,
    now: Now,
    session: Sender,
    *,
    request_id: routes.RequestKey,
    step: Literal["ask", "verify", "extend", "withdraw"],
) -> Response:
    """Perform a step that needs no further input."""
    steps = {"ask": routes.ask, "verify": routes.verify, "extend": routes.extend, "withdraw": routes.withdraw}
    perform = steps[step]
    perform(request_id, context, now, _caller=session.caller)
    return _redirect_to(request_id)


@router.get("/{request_id}/export")
def export(
    context: InContext, now: Now, session: Reader, *, request_id: routes.RequestKey, draft: bool = False
) -> Response:
    """The archive, or a draft of it, as a download."""
    return routes.export(request_id, context, now, caller=session.caller, draft=draft)


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


def _denials(found: routes.RequestDetail) -> list[str]:
    """The reasons for which a request can be denied."""
    only_weighed = Denial.OVERRIDING_INTERESTS
    return [denial.value for denial in Denial if found.weighed or denial is not only_weighed]


def _identifiers(types: list[str], values: list[str]) -> list[IdentifierInput]:
    """The identifiers of a form; fields without a value are left out. Raises the fault `no_identifier`."""
    named = [(type_, text) for type_, text in zip(types, values, strict=False) if text.strip()]
    if not named or any("\x00" in text or len(text) > 512 for _, text in named):
        raise Fault("no_identifier", "No identifier was given", "Give at least one identifier.", status=422)
    return [IdentifierInput(type=type_, value=text) for type_, text in named]


def _json_or_text(text: str) -> Any:
    """The value of a field: a number or a boolean where it is one, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _redirect_to(request_id: str) -> Response:
    return Response(status_code=303, headers={"Location": f"{CONSOLE_PATH}/requests/{request_id}"})
