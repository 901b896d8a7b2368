"""Who is looking: the token of the API in a cookie that scripts cannot read and other sites cannot send.

Nothing is kept here: the token is asked for at every page, so a revoked one stops at once. Each form carries a key that
is made from the token, so nobody else can have a visitor's browser send one.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Form, Request, Response

from cdp.access.credentials import hash_secret
from cdp.access.model import Role
from cdp.kit.errors import Fault
from cdp.web.platform.auth import Caller, identify
from cdp.web.platform.deps import InContext

COOKIE: Final = "cdp_console"
HOME: Final = "/console"
_HOURS: Final = 8


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who showed a working token, and the key of the forms made for them."""

    caller: Caller
    role: Role
    form_key: str


class NotSignedIn(Exception):
    """Nobody is known behind a request: the entrance is shown instead of the page."""


def visit(context: InContext, request: Request) -> Visitor:
    """Who is looking; `NotSignedIn` for nobody."""
    token = request.cookies.get(COOKIE, "")
    caller = identify(context, f"Bearer {token}") if token else None
    if caller is None or caller.role is None:
        raise NotSignedIn
    visitor = Visitor(caller, caller.role, form_key(token))
    request.state.visitor = visitor  # so that a refusal keeps the menu
    return visitor


def for_roles(*roles: Role) -> Callable[[Visitor], Visitor]:
    """A dependency that lets only these roles see a page; others get the fault `not_permitted` (403)."""

    def check(visitor: Annotated[Visitor, Depends(visit)]) -> Visitor:
        if visitor.role not in roles:
            allowed = " or ".join(role.value for role in roles)
            raise Fault(
                "not_permitted",
                "This page is not for your role",
                f"It takes the role {allowed}; you came as {visitor.role.value}.",
                status=403,
            )
        return visitor

    return check


def sent_by(*roles: Role) -> Callable[[Visitor, str], Visitor]:
    """As `for_roles`, for what a form sends: it must be a form of ours, made for this visitor."""

    def check(visitor: Annotated[Visitor, Depends(for_roles(*roles))], form: Annotated[str, Form()] = "") -> Visitor:
        if not hmac.compare_digest(form.encode("utf-8", "replace"), visitor.form_key.encode()):
            raise _foreign()
        return visitor

    return check


def check_home(request: Request) -> None:
    """Refuse what a page of another site has a browser send, where there is no key of a form yet."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise _foreign()


def _foreign() -> Fault:
    return Fault("foreign_form", "That form was not made here", "Open the page anew and send its form.", status=403)


def form_key(token: str) -> str:
    """The key of the forms made for whoever holds a token."""
    return hash_secret(f"console form {token}").hex()


def enter(response: Response, request: Request, token: str) -> None:
    """Let the browser show the token to these pages for a working day."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=_HOURS * 3600,
        path=HOME,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def leave(response: Response, request: Request) -> None:
    """Let the browser forget the token."""
    response.delete_cookie(COOKIE, path=HOME, secure=request.url.scheme == "https", httponly=True, samesite="strict")
