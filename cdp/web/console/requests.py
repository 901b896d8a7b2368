"""Pages of subject requests: what is due, and each step from opening to the receipt. What cannot be undone asks twice."""

import json
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Depends, Form, Query, Response

from cdp.access.model import Role
from cdp.kit.errors import Fault
from cdp.rights.model import Denial
from cdp.web.api import requests as routes
from cdp.web.api.schemas import IdentifierGiven
from cdp.web.console.page import page
from cdp.web.console.session import HOME, Visitor, for_roles, sent_by
from cdp.web.platform.deps import InContext, Now

router = APIRouter(prefix=f"{HOME}/requests", include_in_schema=False)

Reader = Annotated[Visitor, Depends(for_roles(Role.PRIVACY))]
Sender = Annotated[Visitor, Depends(sent_by(Role.PRIVACY))]
_IDENTIFIERS_MAX = 3
_SHOWN = 200


@router.get("")
def listing(
    context: InContext, now: Now, visitor: Reader, *, status: Annotated[routes.Status | Literal[""], Query()] = ""
) -> Response:
    """Every request, the most urgent first, and a form to open one."""
    regimes = context.policy.jurisdictions.regimes
    return page(
        "requests",
        visitor,
        requests=routes.listing(context, visitor.caller, status=status or None, limit=_SHOWN).requests,
        now=now,
        wanted=status,
        statuses=get_args(routes.Status),
        regimes={key: [each.value for each in regime.rights] for key, regime in regimes.items()},
        types=list(context.policy.identifiers.types),
        fields=range(_IDENTIFIERS_MAX),
    )


@router.post("")
def take_in(
    context: InContext,
    now: Now,
    visitor: Sender,
    *,
    right: Annotated[str, Form(max_length=100)],
    type: Annotated[list[str], Form(max_length=_IDENTIFIERS_MAX)],  # noqa: A002 - the name of a field
    value: Annotated[list[str], Form(max_length=_IDENTIFIERS_MAX)],
) -> Response:
    """Open a request and show it."""
    regime, _, kind = right.partition(":")
    named = [(each, text) for each, text in zip(type, value, strict=False) if text.strip()]
    if not named or any("\x00" in text or len(text) > 512 for _, text in named):
        raise Fault("no_identifier", "Nobody is named", "Give at least one identifier.", status=422)
    given = routes.RequestGiven(
        kind=kind,
        regime=regime,
        identifiers=[IdentifierGiven(type=each, value=text) for each, text in named],
    )
    return _to(routes.open_request(given, context, now, _caller=visitor.caller).id)


@router.get("/{request_id}")
def one(context: InContext, now: Now, visitor: Reader, *, request_id: routes.RequestKey) -> Response:
    """One request, and what can follow."""
    found = routes.show(request_id, context, visitor.caller)
    return page("request", visitor, request=found, now=now, plan=None, reasons=[each.value for each in Denial])


@router.post("/{request_id}/plan")
def plan(context: InContext, now: Now, visitor: Sender, *, request_id: routes.RequestKey) -> Response:
    """What carrying it out would do."""
    told = routes.run(request_id, context, now, _caller=visitor.caller, given=routes.RunGiven(dry_run=True))
    found = routes.show(request_id, context, visitor.caller)
    return page("request", visitor, request=found, now=now, plan=told.steps, reasons=[each.value for each in Denial])


@router.post("/{request_id}/run")
def carry_out(
    context: InContext, now: Now, visitor: Sender, *, request_id: routes.RequestKey, sure: Annotated[str, Form()] = ""
) -> Response:
    """Carry it out; an erasure only when the box is ticked."""
    found = routes.show(request_id, context, visitor.caller)
    if found.kind == "erasure" and sure != "yes":
        raise Fault("not_sure", "Nothing was erased", "An erasure cannot be undone: tick the box first.", status=422)
    routes.run(request_id, context, now, _caller=visitor.caller)
    return _to(request_id)


@router.post("/{request_id}/deny")
def deny(
    context: InContext, now: Now, visitor: Sender, *, request_id: routes.RequestKey, reason: Annotated[Denial, Form()]
) -> Response:
    """Refuse it for a reason."""
    routes.deny(request_id, routes.DenyGiven(reason=reason.value), context, now=now, _caller=visitor.caller)
    return _to(request_id)


@router.post("/{request_id}/{step}")
def step(
    context: InContext,
    now: Now,
    visitor: Sender,
    *,
    request_id: routes.RequestKey,
    step: Literal["verify", "extend", "withdraw"],
) -> Response:
    """Take one of the steps that need nothing more than to be taken."""
    take = {"verify": routes.verify, "extend": routes.extend, "withdraw": routes.withdraw}[step]
    take(request_id, context, now, _caller=visitor.caller)
    return _to(request_id)


@router.get("/{request_id}/export")
def export(context: InContext, now: Now, visitor: Reader, *, request_id: routes.RequestKey) -> Response:
    """The archive, as a download."""
    return routes.export(request_id, context, now, _caller=visitor.caller)


@router.get("/{request_id}/receipt")
def receipt(context: InContext, visitor: Reader, request_id: routes.RequestKey) -> Response:
    """The receipt, as a download."""
    found: dict[str, Any] = routes.receipt(request_id, context, visitor.caller)
    headers = {"Content-Disposition": f'attachment; filename="{request_id}-receipt.json"'}
    content = json.dumps(found, indent=2, ensure_ascii=False)
    return Response(content, media_type="application/json", headers=headers)


def _to(request_id: str) -> Response:
    return Response(status_code=303, headers={"Location": f"{HOME}/requests/{request_id}"})
