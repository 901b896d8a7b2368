"""Coming in with a token, the page that says what there is, and going out."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form, Request, Response

from cdp.access.model import Role
from cdp.web.console.page import STYLE, entrance, page
from cdp.web.console.session import HOME, Visitor, check_home, enter, leave, sent_by, visit
from cdp.web.platform.auth import identify
from cdp.web.platform.deps import InContext

router = APIRouter(prefix=HOME, include_in_schema=False)

_TOKEN_MAX: Final = 200


@router.get("")
def index(visitor: Annotated[Visitor, Depends(visit)]) -> Response:
    """What there is for this role."""
    return page("index", visitor)


@router.post("/enter")
def come_in(request: Request, context: InContext, token: Annotated[str, Form()] = "") -> Response:
    """Take a token; one that does not work is refused without saying why. No other site can sign a browser in."""
    check_home(request)
    token = token.strip()
    caller = identify(context, f"Bearer {token}") if 0 < len(token) <= _TOKEN_MAX else None
    if caller is None or caller.role is None:
        return entrance("This token does not work. It may have been revoked.")
    answer = Response(status_code=303, headers={"Location": HOME})
    enter(answer, request, token)
    return answer


@router.post("/leave")
def go_out(request: Request, _visitor: Annotated[Visitor, Depends(sent_by(*Role))]) -> Response:
    """Forget the token."""
    answer = entrance(status=200)
    leave(answer, request)
    return answer


@router.get("/console.css")
def style() -> Response:
    """How the pages look."""
    return Response(STYLE, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})
