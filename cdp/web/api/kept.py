"""Routes that read what is kept although nobody uses it: legal holds and severed events. Each read states its reason."""

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, StrictInt

from cdp.access.model import Role
from cdp.flows.operations import kept
from cdp.web.api.schemas import Key, RequestBody
from cdp.web.platform.auth import Caller, allow
from cdp.web.platform.deps import InContext, Now, problems

router = APIRouter(prefix="/api/v1", tags=["retention"])

MayRead = Annotated[Caller, Depends(allow(Role.PRIVACY, Role.AUDITOR))]
Reason = Literal["tax_audit", "authority_order", "legal_claim", "subject_inquiry", "internal_control"]


class KeptInput(RequestBody):
    """The retention class, why it is read, and how many rows at most."""

    retention_class: Key = Field(examples=["transaction"])
    reason: Reason
    limit: Annotated[StrictInt, Field(ge=1, le=kept.ROWS_MAX)] = 100


class HoldCountShown(BaseModel):
    """How many legal holds of a class a law requires, and when the first and the last of them end."""

    retention_class: str
    law: str
    holds: int
    first_end: date
    last_end: date


class HoldCounts(BaseModel):
    """Legal holds by class and law."""

    holds: list[HoldCountShown]


class HoldShown(BaseModel):
    """What a law requires to keep of one event."""

    retention_class: str
    law: str
    keep_until: date
    columns: dict[str, Any]


class HoldsShown(BaseModel):
    """Opened legal holds."""

    holds: list[HoldShown]


class SeveredShown(BaseModel):
    """How many expired events of one name and month had these values."""

    event: str | None
    month: date
    values: dict[str, Any]
    events: int


class SeveredList(BaseModel):
    """What remains of severed events, the latest months first."""

    severed: list[SeveredShown]


@router.get("/holds", responses=problems(), operation_id="count_holds")
def holds(context: InContext, _caller: MayRead) -> HoldCounts:
    """Count the legal holds by class and law. No hold is opened."""
    return HoldCounts(
        holds=[
            HoldCountShown(
                retention_class=count.retention_class,
                law=count.law,
                holds=count.holds,
                first_end=count.first_end,
                last_end=count.last_end,
            )
            for count in kept.hold_counts(context)
        ]
    )


@router.post("/holds/open", responses=problems(), operation_id="open_holds")
def open_holds(body: KeptInput, context: InContext, now: Now, *, caller: MayRead) -> HoldsShown:
    """Open the legal holds of a class. The read and its reason are recorded in the audit log."""
    found = kept.open_holds(
        context,
        body.retention_class,
        reason=body.reason,
        now=now,
        limit=body.limit,
        actor=caller.actor,
        token=caller.token,
    )
    return HoldsShown(
        holds=[
            HoldShown(
                retention_class=hold.retention_class, law=hold.law, keep_until=hold.keep_until, columns=hold.columns
            )
            for hold in found
        ]
    )


@router.post("/severed/read", responses=problems(), operation_id="read_severed")
def severed(body: KeptInput, context: InContext, now: Now, *, caller: MayRead) -> SeveredList:
    """What remains of severed events of a class. The read and its reason are recorded in the audit log."""
    found = kept.read_severed(
        context,
        body.retention_class,
        reason=body.reason,
        now=now,
        limit=body.limit,
        actor=caller.actor,
        token=caller.token,
    )
    return SeveredList(
        severed=[SeveredShown(event=row.event, month=row.month, values=row.values, events=row.events) for row in found]
    )
