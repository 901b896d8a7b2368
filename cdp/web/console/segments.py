"""Pages of segments: which there are, what one asks and gives, and a place to try a text before it is kept."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Response

from cdp.access.model import Role
from cdp.kit.errors import Fault
from cdp.web.api import segments as routes
from cdp.web.api.schemas import Key
from cdp.web.console.page import page
from cdp.web.console.session import HOME, Visitor, for_roles, sent_by
from cdp.web.platform.deps import InContext

router = APIRouter(prefix=f"{HOME}/segments", include_in_schema=False)

Marketer = Annotated[Visitor, Depends(for_roles(Role.MARKETER))]
Sender = Annotated[Visitor, Depends(sent_by(Role.MARKETER))]
_SHOWN = 50


@router.get("")
def every(context: InContext, visitor: Marketer) -> Response:
    """Every segment in force, and a place to try a text."""
    return _listing(context, visitor, where="", purpose="")


@router.post("/try")
def attempt(
    context: InContext, visitor: Sender, purpose: Annotated[Key, Form()], *, where: Annotated[routes.Where, Form()]
) -> Response:
    """What a text would give, or where it is wrong."""
    try:
        given = routes.PreviewGiven(purpose=purpose, where=_unix(where))
        told = routes.preview(given, context, visitor.caller)
    except Fault as fault:
        return _listing(context, visitor, where=where, purpose=purpose, fault=fault)
    return _listing(context, visitor, where=where, purpose=purpose, told=told)


@router.post("/keep")
def keep(
    context: InContext,
    visitor: Sender,
    key: Annotated[routes.NewKey, Form()],
    *,
    name: Annotated[routes.Name, Form()],
    purpose: Annotated[Key, Form()],
    where: Annotated[routes.Where, Form()],
) -> Response:
    """Put a new segment in force and show it."""
    given = routes.SegmentGiven(key=key, name=name, purpose=purpose, where=_unix(where))
    made = routes.create(given, context, visitor.caller)
    return Response(status_code=303, headers={"Location": f"{HOME}/segments/{made.key}"})


@router.get("/{key}")
def one(context: InContext, visitor: Marketer, key: routes.SegmentPath) -> Response:
    """One segment: what it asks, how many each condition leaves, and what it reads."""
    shown = routes.show(key, context, visitor.caller)
    return page(
        "segment",
        visitor,
        segment=shown,
        purpose=context.policy.purposes[shown.purpose],
        told=routes.preview(routes.PreviewGiven(purpose=shown.purpose, where=shown.where), context, visitor.caller),
        explained=routes.explain(key, context, visitor.caller),
    )


@router.get("/{key}/members")
def members(
    context: InContext,
    visitor: Marketer,
    key: routes.SegmentPath,
    *,
    cursor: Annotated[routes.Pseudonym | None, Query()] = None,
) -> Response:
    """Who is in, by pseudonym."""
    shown = routes.show(key, context, visitor.caller)
    found = routes.members(key, context, visitor.caller, limit=_SHOWN, cursor=cursor)
    return page("members", visitor, segment=shown, found=found, is_first=cursor is None)


@router.post("/{key}/explain")
def explain(
    context: InContext, visitor: Sender, key: routes.SegmentPath, *, profile: Annotated[routes.Pseudonym, Form()]
) -> Response:
    """Why one profile is in, or not, condition by condition."""
    told = routes.explain(key, context, visitor.caller, given=routes.ExplainGiven(profile=profile))
    return page("standing", visitor, told=told, profile=profile)


def _listing(
    context: InContext,
    visitor: Visitor,
    *,
    where: str,
    purpose: str,
    told: routes.PreviewShown | None = None,
    fault: Fault | None = None,
) -> Response:
    values: dict[str, Any] = {
        "segments": routes.list_segments(context, visitor.caller).segments,
        "purposes": context.policy.purposes,
        "events": sorted(context.policy.events.events),
    }
    status = 200 if fault is None else fault.status
    return page("segments", visitor, status=status, where=where, purpose=purpose, told=told, fault=fault, **values)


def _unix(text: str) -> str:
    """Browsers send a new line as two characters; positions are counted with one."""
    return text.replace("\r\n", "\n")
