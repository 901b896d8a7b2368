"""Pages about one person. Identifiers travel in the bodies of forms, never in addresses; every look is logged."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Response

from cdp.access.model import Role
from cdp.kit.errors import Fault
from cdp.web.api import consents, profiles
from cdp.web.api.schemas import IdentifierGiven, Line
from cdp.web.console.page import page
from cdp.web.console.session import HOME, Visitor, for_roles, sent_by
from cdp.web.platform.deps import InContext, Now

router = APIRouter(prefix=f"{HOME}/people", include_in_schema=False)

_MAY_LOOK = (Role.PRIVACY, Role.ADMIN, Role.MARKETER)
Text = Annotated[Line, Form()]


@router.get("")
def ask(context: InContext, visitor: Annotated[Visitor, Depends(for_roles(*_MAY_LOOK))]) -> Response:
    """Whom to look up."""
    return page("people", visitor, types=list(context.policy.identifiers.types))


@router.post("")
def show(
    context: InContext,
    now: Now,
    visitor: Annotated[Visitor, Depends(sent_by(*_MAY_LOOK))],
    *,
    type: Annotated[str, Form(max_length=512)] = "",  # noqa: A002 - the name of a field
    value: Annotated[str, Form(max_length=512)] = "",
    profile: Annotated[str, Form(max_length=512)] = "",
) -> Response:
    """What is held about one person; privacy staff see her consents, too."""
    asked = None if profile else _identifier(type, value)
    given = profiles.LookupGiven(identifier=asked, profile=profile.strip() or None)
    found = profiles.look_up(given, context, visitor.caller)
    records = []
    if visitor.role is Role.PRIVACY and asked is not None:
        looked = consents.look_up(consents.ConsentLookupGiven(identifier=asked), context, now, caller=visitor.caller)
        records = looked.records
    purposes = {key: each.name for key, each in context.policy.purposes.items()}
    return page("person", visitor, found=found, records=records, asked=asked, purposes=purposes)


@router.post("/explain")
def explain(
    context: InContext,
    visitor: Annotated[Visitor, Depends(sent_by(Role.PRIVACY))],
    a_type: Text,
    *,
    a_value: Text,
    b_type: Text,
    b_value: Text,
) -> Response:
    """Why two identifiers are one person, or what keeps them apart."""
    given = profiles.PairGiven(a=_identifier(a_type, a_value), b=_identifier(b_type, b_value))
    return page("links", visitor, given=given, told=profiles.explain(given, context, visitor.caller))


def _identifier(type_: str, value: str) -> IdentifierGiven:
    if not type_ or not value.strip() or "\x00" in value:
        raise Fault("no_identifier", "Nobody is named", "Choose a type and give a value.", status=422)
    return IdentifierGiven(type=type_, value=value)
