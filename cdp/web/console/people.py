"""Pages about one person. Identifiers are sent in form bodies, never in URLs; every lookup is logged."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Response

from cdp.access.model import Role
from cdp.flows.operations.meanings import LINK_REFUSALS
from cdp.kit.clock import parse_instant
from cdp.kit.errors import Fault
from cdp.web.api import consents, profiles
from cdp.web.api.schemas import IdentifierInput, Line
from cdp.web.console.page import page
from cdp.web.console.session import CONSOLE_PATH, InContext, Session, for_roles, submitted_by
from cdp.web.platform.deps import Now

router = APIRouter(prefix=f"{CONSOLE_PATH}/people", include_in_schema=False)

_MAY_LOOK_UP = (Role.PRIVACY, Role.ADMIN, Role.MARKETER)
Text = Annotated[Line, Form()]


@router.get("")
def search(context: InContext, session: Annotated[Session, Depends(for_roles(*_MAY_LOOK_UP))]) -> Response:
    """The lookup form."""
    return page("people", session, types=list(context.policy.identifiers.types))


@router.post("")
def show(
    context: InContext,
    now: Now,
    session: Annotated[Session, Depends(submitted_by(*_MAY_LOOK_UP))],
    *,
    type: Annotated[str, Form(max_length=512)] = "",  # noqa: A002 - the name of a field
    value: Annotated[str, Form(max_length=512)] = "",
    profile: Annotated[str, Form(max_length=512)] = "",
    as_of: Annotated[str, Form(max_length=40)] = "",
    basis: Annotated[Literal["recorded", "occurred"], Form()] = "recorded",
) -> Response:
    """The data held about one person; privacy staff also see the consent records, now or as of an earlier instant."""
    instant = _instant(as_of)
    requested = None if profile else _identifier(type, value)
    body = profiles.LookupInput(identifier=requested, profile=profile.strip() or None)
    found = profiles.look_up(body, context, session.caller)
    shown = None
    if session.role is Role.PRIVACY and requested is not None:
        asked = consents.ConsentLookupInput(identifier=requested, as_of=instant, basis=basis)
        shown = consents.look_up(asked, context, now, caller=session.caller)
    purposes = {key: purpose.name for key, purpose in context.policy.purposes.items()}
    return page(
        "person",
        session,
        found=found,
        consents=shown,
        instant=instant,
        basis=basis,
        requested=requested,
        purposes=purposes,
    )


@router.post("/explain")
def explain(
    context: InContext,
    session: Annotated[Session, Depends(submitted_by(Role.PRIVACY))],
    a_type: Text,
    *,
    a_value: Text,
    b_type: Text,
    b_value: Text,
) -> Response:
    """Why two identifiers belong to one person, or what keeps them apart."""
    body = profiles.PairInput(a=_identifier(a_type, a_value), b=_identifier(b_type, b_value))
    result = profiles.explain(body, context, session.caller)
    return page("links", session, body=body, result=result, meanings=LINK_REFUSALS)


def _instant(text: str) -> datetime | None:
    """The instant of the field of the form, in UTC; None where it was left empty."""
    if not text.strip():
        return None
    try:
        return parse_instant(text.strip())
    except (ValueError, OverflowError):
        raise Fault(
            "invalid_instant", "The instant is invalid", "Give one such as 2026-01-31T12:00, in UTC.", status=422
        ) from None


def _identifier(type_: str, value: str) -> IdentifierInput:
    if not type_ or not value.strip() or "\x00" in value:
        raise Fault("no_identifier", "No identifier was given", "Choose a type and give a value.", status=422)
    return IdentifierInput(type=type_, value=value)
