"""Console sessions: the API token in a cookie that scripts cannot read and other sites cannot send.

The server keeps no session state: the token is checked for every page, so a revoked one stops working at once. Each form
carries a key derived from the token, so that no other site can submit one (CSRF).
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Form, Request, Response

from cdp.access.credentials import hash_secret
from cdp.access.model import Role
from cdp.flows.context import Context
from cdp.kit.errors import Fault
from cdp.web.platform.auth import Caller
from cdp.web.platform.authentication import Authentication
from cdp.web.platform.deps import context_for

COOKIE: Final = "cdp_console"
CONSOLE_PATH: Final = "/console"
_HOURS: Final = 8


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in caller, and the key that their forms must carry."""

    caller: Caller
    role: Role
    form_key: str


class NotSignedIn(Exception):
    """A request without a valid token: the login page is shown instead."""


async def current_session(request: Request) -> Session:
    """The session of a request. Raises `NotSignedIn` without a valid token, and the fault `too_many_wrong_secrets`."""
    token = request.cookies.get(COOKIE, "")
    caller = await caller_with(request, token) if token else None
    if caller is None or caller.role is None:
        raise NotSignedIn
    session = Session(caller, caller.role, form_key(token))
    request.state.session = session  # so that a problem page keeps the menu
    return session


def context_of_session(request: Request, session: Annotated[Session, Depends(current_session)]) -> Context:
    """The context of the role that is signed in."""
    return context_for(request, session.role)


InContext = Annotated[Context, Depends(context_of_session)]


async def caller_with(request: Request, token: str) -> Caller | None:
    """Whose token it is. Raises the fault `too_many_wrong_secrets`."""
    authentication: Authentication = request.app.state.authentication
    return await authentication.caller(request.scope, f"Bearer {token}")


def for_roles(*roles: Role) -> Callable[[Session], Session]:
    """A dependency that allows only these roles; others get the fault `not_permitted` (403)."""

    def check(session: Annotated[Session, Depends(current_session)]) -> Session:
        if session.role not in roles:
            allowed = " or ".join(role.value for role in roles)
            raise Fault(
                "not_permitted",
                "Your role may not open this page",
                f"It requires the role {allowed}; you are signed in as {session.role.value}.",
                status=403,
            )
        return session

    return check


def submitted_by(*roles: Role) -> Callable[[Session, str], Session]:
    """As `for_roles`, for submitted forms: the form must carry the key of this session."""

    def check(session: Annotated[Session, Depends(for_roles(*roles))], form: Annotated[str, Form()] = "") -> Session:
        if not hmac.compare_digest(form.encode("utf-8", "replace"), session.form_key.encode()):
            raise foreign_form()
        return session

    return check


def foreign_form() -> Fault:
    """The fault of a form that was not given to this browser."""
    return Fault("foreign_form", "The form is not valid", "Reload the page and submit its form again.", status=403)


def form_key(token: str) -> str:
    """The form key that belongs to a token."""
    return hash_secret(f"console form {token}").hex()


def set_session_cookie(response: Response, request: Request, token: str) -> None:
    """Store the token in a cookie for eight hours."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=_HOURS * 3600,
        path=CONSOLE_PATH,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def clear_session_cookie(response: Response, request: Request) -> None:
    """Delete the session cookie."""
    response.delete_cookie(
        COOKIE, path=CONSOLE_PATH, secure=request.url.scheme == "https", httponly=True, samesite="strict"
    )
