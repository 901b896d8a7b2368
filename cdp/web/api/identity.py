"""Routes of identity review: shared identifiers, claims and values to decide about, and profiles in quarantine."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from cdp.access.model import Role
from cdp.flows.identity import listings
from cdp.flows.identity import review as reviews
from cdp.web.api.schemas import RequestBody
from cdp.web.platform.auth import Caller, allow
from cdp.web.platform.deps import InContext, problems

router = APIRouter(prefix="/api/v1/identity", tags=["identity"])

IsStaff = Annotated[Caller, Depends(allow(Role.PRIVACY, Role.ADMIN))]


class ListingQuery(RequestBody):
    """How many to list."""

    limit: int = Field(default=100, ge=1, le=1000)


Listing = Annotated[ListingQuery, Query()]


class SharedShown(BaseModel):
    """A shared identifier, and the number of people seen with it. `value` is null once its key is shredded."""

    type: str
    value: str | None
    people: int
    since: datetime | None


class SharedListShown(BaseModel):
    """Shared identifiers, those with the most people first, and their number by type."""

    total: int
    by_type: dict[str, int]
    identifiers: list[SharedShown]


class LeftOutShown(BaseModel):
    """An identifier that messages or rows claimed and that was left out, by `authority` or because it is `stale`; `case` names it
    in `cdp identity reject`.
    """

    case: str
    type: str
    value: str | None
    rule: str
    words: int
    people: int
    since: datetime


class RereadShown(BaseModel):
    """A stored identifier that would be read differently today: as `reads_as`, or as no identifier for the `reason`."""

    identifier: str
    type: str
    value: str
    reads_as: str | None
    reason: str | None
    profile: str | None
    identifiers: int
    other_profile: str | None


class ReviewListShown(BaseModel):
    """Claims that were left out, those of the most people first, and stored identifiers that would be read differently today,
    those of the largest profiles first; each with their number.
    """

    left_out_total: int
    left_out: list[LeftOutShown]
    reread_total: int
    reread: list[RereadShown]


class BoundShown(BaseModel):
    """A bound of the policy that a profile reached, and the number of links refused because of it."""

    bound: str
    refusals: int
    since: datetime


class QuarantinedShown(BaseModel):
    """A profile that reached a bound: it is not processed for any purpose until a reviewer decides."""

    profile: str
    identifiers: int
    merges: int
    bounds: list[BoundShown]


class QuarantineListShown(BaseModel):
    """Profiles in quarantine, the largest first, and their number."""

    total: int
    profiles: list[QuarantinedShown]


@router.get("/shared", responses=problems(), operation_id="list_shared_identifiers")
def shared(context: InContext, caller: IsStaff, requested: Listing) -> SharedListShown:
    """List identifiers that are used by several people and therefore create no links. Every listing is logged."""
    result = listings.list_shared(context, limit=requested.limit, actor=caller.actor, token=caller.token)
    return SharedListShown.model_validate(result, from_attributes=True)


@router.get("/review", responses=problems(), operation_id="list_identity_review")
def review(context: InContext, caller: IsStaff, requested: Listing) -> ReviewListShown:
    """List claims that were left out because a higher or newer word has the identifier, and stored identifiers that the present
    rules read differently. Every listing is logged.
    """
    result = reviews.list_review(context, limit=requested.limit, actor=caller.actor, token=caller.token)
    return ReviewListShown.model_validate(result, from_attributes=True)


@router.get("/quarantined", responses=problems(), operation_id="list_quarantined_profiles")
def quarantined(context: InContext, caller: IsStaff, requested: Listing) -> QuarantineListShown:
    """List profiles that reached a bound of the identifier policy. Every listing is logged."""
    result = listings.list_quarantined(context, limit=requested.limit, actor=caller.actor, token=caller.token)
    return QuarantineListShown.model_validate(result, from_attributes=True)
