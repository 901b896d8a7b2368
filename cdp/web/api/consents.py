"""Routes of consent: record an act, look a person's records and verdicts up."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, status
from pydantic import BaseModel, Field, StrictBool, StringConstraints

from cdp.access.model import Role
from cdp.flows.consent import acts, lookup
from cdp.flows.consent.acts import ConsentStatement
from cdp.web.api.schemas import Given, IdentifierGiven, Instant, Key, StanceShown, stances
from cdp.web.platform.auth import Caller, allow, allow_consent
from cdp.web.platform.deps import InContext, Now, problems

router = APIRouter(prefix="/api/v1", tags=["consents"])

Jurisdiction = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Version = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00]*$")]
Notice = Annotated[str, StringConstraints(max_length=100_000, pattern=r"^[^\x00]*$")]


class ConsentGiven(Given):
    """One act. A source's kind caps the authority; of the notice's text only a hash is kept."""

    identifier: IdentifierGiven
    purpose: Key = Field(examples=["email_marketing"])
    act: Literal["grant", "refuse", "withdraw", "object"]
    authority: Literal["authenticated", "operator", "imported", "device", "signal"] | None = None
    jurisdiction: Jurisdiction | None = Field(default=None, examples=["eu"])
    notice_version: Version | None = Field(default=None, examples=["2026-01"])
    notice_text: Notice | None = None
    occurred_at: Instant | None = None
    is_two_step: StrictBool = False


class RecordedShown(BaseModel):
    """The record's id, the authority it was taken with, and the signed receipt for the person."""

    record: str
    authority: str
    receipt: dict[str, Any]


class ConsentLookupGiven(Given):
    """Whose consents, and at which instant if not now."""

    identifier: IdentifierGiven
    as_of: Instant | None = None


class ConsentsShown(BaseModel):
    """The records that decide, oldest first, and the verdict for each purpose."""

    records: list[dict[str, Any]]
    verdicts: dict[str, StanceShown]
    may_ask_from: dict[str, datetime]


@router.post("/consents", status_code=status.HTTP_201_CREATED, responses=problems(409), operation_id="record_consent")
def record(
    given: ConsentGiven, context: InContext, now: Now, *, caller: Annotated[Caller, Depends(allow_consent)]
) -> RecordedShown:
    """Record one act; what follows from it is in force when this answers. The answer is the same for the unknown."""
    told = ConsentStatement(
        identifier=given.identifier.pair(),
        purpose=given.purpose,
        act=given.act,
        authority=given.authority,
        jurisdiction=given.jurisdiction,
        notice_version=given.notice_version,
        notice_text=given.notice_text,
        occurred_at=given.occurred_at,
        is_two_step=given.is_two_step,
        source=caller.source,
    )
    done = acts.record(context, told, now)
    return RecordedShown(record=done.record, authority=done.authority, receipt=dict(done.receipt))


@router.post("/consents/lookup", responses=problems(), operation_id="lookup_consents")
def look_up(
    given: ConsentLookupGiven,
    context: InContext,
    now: Now,
    *,
    caller: Annotated[Caller, Depends(allow(Role.PRIVACY, Role.AUDITOR))],
) -> ConsentsShown:
    """Every act that decides about a person, and what is allowed, now or as it was at an earlier instant."""
    found = lookup.look_up(context, given.identifier.pair(), now, actor=caller.actor, as_of=given.as_of)
    return ConsentsShown(
        records=[dict(each) for each in found.records],
        verdicts=stances(found.verdicts),
        may_ask_from=dict(found.may_ask_from),
    )
