"""Signing in with a token, the start page, and signing out."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form, Request, Response

from cdp.access.model import Role
from cdp.web.console.page import STYLE, login_page, page
from cdp.web.console.session import (
    CONSOLE_PATH,
    Session,
    caller_with,
    clear_session_cookie,
    current_session,
    set_session_cookie,
    submitted_by,
)
from cdp.web.console.sign_in_form import SignInForm, check_same_site

router = APIRouter(prefix=CONSOLE_PATH, include_in_schema=False)

_TOKEN_MAX: Final = 200


@router.get("")
def index(session: Annotated[Session, Depends(current_session)]) -> Response:
    """The pages that this role may open."""
    return page("index", session)


@router.post("/enter")
async def sign_in(request: Request, token: Annotated[str, Form()] = "", form: Annotated[str, Form()] = "") -> Response:
    """Sign in with a token; an invalid one is refused without a reason. No other site can sign a browser in."""
    check_same_site(request)
    SignInForm(request).check(form)
    token = token.strip()
    caller = await caller_with(request, token) if 0 < len(token) <= _TOKEN_MAX else None
    if caller is None or caller.role is None:
        return login_page(request, "This token is not valid. It may have been revoked.")
    answer = Response(status_code=303, headers={"Location": CONSOLE_PATH})
    set_session_cookie(answer, request, token)
    return answer


@router.post("/leave")
def sign_out(request: Request, _session: Annotated[Session, Depends(submitted_by(*Role))]) -> Response:
    """Delete the session cookie."""
    answer = login_page(request, status=200)
    clear_session_cookie(answer, request)
    return answer


@router.get("/console.css")
def style() -> Response:
    """The style sheet of the console."""
    return Response(STYLE, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})
