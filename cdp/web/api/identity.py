"""Routes of staff who look after the map: shared identifiers, and profiles in quarantine."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from cdp.access.model import Role
from cdp.flows.identity import listings
from cdp.web.api.schemas import Given
from cdp.web.platform.auth import Caller, allow
from cdp.web.platform.deps import InContext, problems

router = APIRouter(prefix="/api/v1/identity", tags=["identity"])

IsStaff = Annotated[Caller, Depends(allow(Role.PRIVACY, Role.ADMIN))]


class ListingQuery(Given):
    """How many to list."""

    limit: int = Field(default=100, ge=1, le=1000)


Listing = Annotated[ListingQuery, Query()]


class SharedShown(BaseModel):
    """A shared identifier: how many people were seen with it; the value is null once its key is shredded."""

    type: str
    value: str | None
    people: int
    since: datetime | None


class SharedListShown(BaseModel):
    """Shared identifiers, those of most people first, with how many there are of each type."""

    total: int
    by_type: dict[str, int]
    identifiers: list[SharedShown]


class BoundShown(BaseModel):
    """A bound of the policy that a profile reached, and how many links it refused."""

    bound: str
    refusals: int
    since: datetime


class QuarantinedShown(BaseModel):
    """A profile beyond a bound: it is processed for no purpose until a reviewer decides."""

    profile: str
    identifiers: int
    merges: int
    bounds: list[BoundShown]


class QuarantineListShown(BaseModel):
    """Profiles in quarantine, the largest first, with how many there are."""

    total: int
    profiles: list[QuarantinedShown]


@router.get("/shared", responses=problems(), operation_id="list_shared_identifiers")
def shared(context: InContext, caller: IsStaff, asked: Listing) -> SharedListShown:
    """Identifiers that link nobody because several people use them. Every listing is logged."""
    told = listings.list_shared(context, limit=asked.limit, actor=caller.actor)
    return SharedListShown.model_validate(told, from_attributes=True)


@router.get("/quarantined", responses=problems(), operation_id="list_quarantined_profiles")
def quarantined(context: InContext, _caller: IsStaff, asked: Listing) -> QuarantineListShown:
    """Profiles that went beyond a bound of the identifier policy."""
    return QuarantineListShown.model_validate(
        listings.list_quarantined(context, limit=asked.limit), from_attributes=True
    )
