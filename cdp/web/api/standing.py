"""Routes that end what stands in the way of processing: suppressions and restrictions."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, StrictBool

from cdp.access.model import Role
from cdp.flows.rights.restrict import release
from cdp.flows.rights.suppression import lift_suppression
from cdp.web.api.schemas import IdentifierInput, RequestBody
from cdp.web.platform.auth import Caller, allow
from cdp.web.platform.deps import InContext, Now, problems

router = APIRouter(prefix="/api/v1", tags=["subject requests"])

IsPrivacy = Annotated[Caller, Depends(allow(Role.PRIVACY))]


class LiftInput(RequestBody):
    """The identifiers of a verified person; `is_verified` confirms that you verified who they are."""

    identifiers: list[IdentifierInput] = Field(min_length=1, max_length=20)
    is_verified: StrictBool


class LiftShown(BaseModel):
    """For how many identifiers the suppression was lifted."""

    lifted: int


class EndInput(RequestBody):
    """The identifiers of a person; `is_informed` confirms that the person was informed (GDPR Art. 18(3))."""

    identifiers: list[IdentifierInput] = Field(min_length=1, max_length=20)
    is_informed: StrictBool


class EndShown(BaseModel):
    """For how many identifiers the restriction ended."""

    released: int


@router.post("/suppressions/lift", responses=problems(409), operation_id="lift_suppression")
def lift(body: LiftInput, context: InContext, now: Now, *, _caller: IsPrivacy) -> LiftShown:
    """Lift the suppression of a verified person's identifiers. Only messages that occur afterwards are stored."""
    pairs = [identifier.pair() for identifier in body.identifiers]
    return LiftShown(lifted=lift_suppression(context, pairs, is_verified=body.is_verified, now=now))


@router.post("/restrictions/end", responses=problems(409), operation_id="end_restriction")
def end(body: EndInput, context: InContext, now: Now, *, _caller: IsPrivacy) -> EndShown:
    """End the restriction of a person's data. The person must be informed before."""
    pairs = [identifier.pair() for identifier in body.identifiers]
    return EndShown(released=release(context, pairs, is_informed=body.is_informed, now=now))
