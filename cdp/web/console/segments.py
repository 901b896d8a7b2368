"""Pages of segments: the list, one segment in detail, and a form to try a condition before saving it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Response

from cdp.access.model import Role
from cdp.kit.errors import Fault
from cdp.web.api import segments as routes
from cdp.web.api.schemas import Key
from cdp.web.console.page import page
from cdp.web.console.session import CONSOLE_PATH, InContext, Session, for_roles, submitted_by

router = APIRouter(prefix=f"{CONSOLE_PATH}/segments", include_in_schema=False)

Marketer = Annotated[Session, Depends(for_roles(Role.MARKETER))]
Sender = Annotated[Session, Depends(submitted_by(Role.MARKETER))]
_SHOWN = 50


@router.get("")
def listing(context: InContext, session: Marketer) -> Response:
    """Every active segment, and a form to try a condition."""
    return _listing(context, session, where="", purpose="")


@router.post("/try")
def preview(
    context: InContext, session: Sender, purpose: Annotated[Key, Form()], *, where: Annotated[routes.Where, Form()]
) -> Response:
    """Preview the result of a condition, or show where it is invalid."""
    try:
        body = routes.PreviewInput(purpose=purpose, where=_unix(where))
        result = routes.preview(body, context, session.caller)
    except Fault as fault:
        return _listing(context, session, where=where, purpose=purpose, fault=fault)
    return _listing(context, session, where=where, purpose=purpose, result=result)


@router.post("/keep")
def create(
    context: InContext,
    session: Sender,
    key: Annotated[routes.NewKey, Form()],
    *,
    name: Annotated[routes.Name, Form()],
    purpose: Annotated[Key, Form()],
    where: Annotated[routes.Where, Form()],
) -> Response:
    """Save a new segment and show it."""
    body = routes.SegmentInput(key=key, name=name, purpose=purpose, where=_unix(where))
    made = routes.create(body, context, session.caller)
    return Response(status_code=303, headers={"Location": f"{CONSOLE_PATH}/segments/{made.key}"})


@router.get("/{key}")
def show(context: InContext, session: Marketer, key: routes.SegmentPath) -> Response:
    """One segment: its condition, its size after each part, and the fields it uses."""
    shown = routes.show(key, context, session.caller)
    return page(
        "segment",
        session,
        segment=shown,
        purpose=context.policy.purposes[shown.purpose],
        result=routes.preview(routes.PreviewInput(purpose=shown.purpose, where=shown.where), context, session.caller),
        explained=routes.explain(key, context, session.caller),
    )


@router.get("/{key}/members")
def members(
    context: InContext,
    session: Marketer,
    key: routes.SegmentPath,
    *,
    cursor: Annotated[routes.Pseudonym | None, Query()] = None,
) -> Response:
    """Members by pseudonym."""
    shown = routes.show(key, context, session.caller)
    found = routes.members(key, context, session.caller, limit=_SHOWN, cursor=cursor)
    return page("members", session, segment=shown, found=found, is_first=cursor is None)


@router.post("/{key}/explain")
def explain(
    context: InContext, session: Sender, key: routes.SegmentPath, *, profile: Annotated[routes.Pseudonym, Form()]
) -> Response:
    """Why one profile is a member or not, condition by condition."""
    result = routes.explain(key, context, session.caller, body=routes.ExplainInput(profile=profile))
    return page("membership", session, result=result, profile=profile)


def _listing(
    context: InContext,
    session: Session,
    *,
    where: str,
    purpose: str,
    result: routes.PreviewShown | None = None,
    fault: Fault | None = None,
) -> Response:
    readable = context.policy.purposes_read_by(session.caller.actor)
    values: dict[str, Any] = {
        "segments": routes.list_segments(context, session.caller).segments,
        "purposes": {key: purpose for key, purpose in context.policy.purposes.items() if key in readable},
        "events": sorted(context.policy.events.events),
    }
    status = 200 if fault is None else fault.status
    return page("segments", session, status=status, where=where, purpose=purpose, result=result, fault=fault, **values)


def _unix(text: str) -> str:
    """Normalize line breaks: browsers send two characters, positions count one."""
    return text.replace("\r\n", "\n")
