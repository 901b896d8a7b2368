"""The pages of who looked at a person, and of the sessions of SQL logins: for privacy staff and auditors.

The identifier is sent in a form body.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Response

from cdp.access.model import Role
from cdp.web.api import audit
from cdp.web.api.schemas import IdentifierInput, Line
from cdp.web.console.page import page
from cdp.web.console.session import CONSOLE_PATH, InContext, Session, for_roles, submitted_by
from cdp.web.platform.deps import Now

router = APIRouter(prefix=f"{CONSOLE_PATH}/readers", include_in_schema=False)

_MAY_ASK = (Role.PRIVACY, Role.AUDITOR)


@router.get("")
def ask(context: InContext, session: Annotated[Session, Depends(for_roles(*_MAY_ASK))]) -> Response:
    """The form that asks for a person."""
    return page("readers", session, types=list(context.policy.identifiers.types), asked=None, reads=None)


@router.post("")
def show(
    context: InContext,
    now: Now,
    session: Annotated[Session, Depends(submitted_by(*_MAY_ASK))],
    *,
    type: Annotated[Line, Form()],  # noqa: A002 - the name of a field
    value: Annotated[Line, Form()],
) -> Response:
    """Every read that showed the person, newest first."""
    asked = IdentifierInput(type=type, value=value)
    found = audit.list_readers(audit.ReadersInput(identifier=asked), context, now, caller=session.caller)
    return page("readers", session, types=list(context.policy.identifiers.types), asked=asked, reads=found.reads)


@router.get("/sessions")
def sessions(context: InContext, now: Now, session: Annotated[Session, Depends(for_roles(*_MAY_ASK))]) -> Response:
    """The sessions of SQL logins that began last."""
    found = audit.list_sessions(context, now, caller=session.caller)
    return page("reader_sessions", session, sessions=found.sessions)
