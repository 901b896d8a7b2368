"""Routes of consent: record an act, look up the records and verdicts of a person."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, status
from pydantic import BaseModel, Field, StrictBool, StringConstraints

from cdp.access.model import Role
from cdp.flows.consent import acts, lookup, receipts
from cdp.flows.consent.acts import ConsentStatement
from cdp.flows.consent.as_of import AsOf, AsOfBasis
from cdp.web.api.schemas import IdentifierInput, Instant, Key, RequestBody, VerdictShown, verdicts_shown
from cdp.web.platform.auth import Caller, allow, allow_consent
from cdp.web.platform.deps import InContext, Now, problems

router = APIRouter(prefix="/api/v1", tags=["consents"])

Jurisdiction = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Version = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00]*$")]
Notice = Annotated[str, StringConstraints(max_length=100_000, pattern=r"^[^\x00]*$")]


class ConsentInput(RequestBody):
    """A consent act. The kind of the source limits the authority; only a hash of the notice text is stored."""

    identifier: IdentifierInput
    purpose: Key = Field(examples=["email_marketing"])
    act: Literal["grant", "refuse", "withdraw", "object"]
    authority: Literal["authenticated", "operator", "imported", "device", "signal"] | None = None
    jurisdiction: Jurisdiction | None = Field(default=None, examples=["eu"])
    notice_version: Version | None = Field(default=None, examples=["2026-01"])
    notice_text: Notice | None = None
    occurred_at: Instant | None = None
    is_two_step: StrictBool = False
    is_subject_initiated: StrictBool = False


class RecordedShown(BaseModel):
    """The id of the record, its authority, and the signed receipt for the person."""

    record: str
    authority: str
    receipt: dict[str, Any]


class ConsentLookupInput(RequestBody):
    """The person, and the instant if not now.

    `basis` selects one of two questions about an earlier instant: `recorded` asks what the store knew then, `occurred` what
    had happened by then, by everything that is known now. Both use the policy of then.
    """

    identifier: IdentifierInput
    as_of: Instant | None = None
    basis: Literal["recorded", "occurred"] = "recorded"


class ConsentsShown(BaseModel):
    """Every consent record of the person, oldest first, and the verdict for each purpose.

    `incomplete` lists the purposes whose verdict as of an earlier instant depends on an age that was deleted since.
    `mapping_on_record_since` is set if the identity map of the instant asked about is not on record before it: then that of
    this instant was used.
    """

    records: list[dict[str, Any]]
    verdicts: dict[str, VerdictShown]
    may_ask_from: dict[str, datetime]
    opt_in_over_gpc: dict[str, str]
    incomplete: list[str]
    mapping_on_record_since: datetime | None


@router.post("/consents", status_code=status.HTTP_201_CREATED, responses=problems(409), operation_id="record_consent")
def record(
    body: ConsentInput, context: InContext, *, caller: Annotated[Caller, Depends(allow_consent)]
) -> RecordedShown:
    """Record a consent act. It is in force when the response is sent. The response does not reveal whether a profile exists."""
    result = ConsentStatement(
        identifier=body.identifier.pair(),
        purpose=body.purpose,
        act=body.act,
        authority=body.authority,
        jurisdiction=body.jurisdiction,
        notice_version=body.notice_version,
        notice_text=body.notice_text,
        occurred_at=body.occurred_at,
        is_two_step=body.is_two_step,
        is_subject_initiated=body.is_subject_initiated,
        source=caller.source,
    )
    done = acts.record(context, result)
    return RecordedShown(record=done.record, authority=done.authority, receipt=dict(done.receipt))


class ReceiptInput(RequestBody):
    """The record of an act, whichever way it came in."""

    record: Annotated[str, StringConstraints(max_length=40)] = Field(examples=["con_0004zc8e6w1rk"])


@router.post("/consents/receipt", responses=problems(404, 409), operation_id="consent_receipt")
def receipt(
    body: ReceiptInput, context: InContext, *, caller: Annotated[Caller, Depends(allow(Role.PRIVACY))]
) -> dict[str, Any]:
    """Get the signed receipt of a recorded act, to hand to the person. That of a grant withdraws it: keep it from others."""
    return receipts.receipt(context, body.record, actor=caller.actor, token=caller.token)


@router.post("/consents/lookup", responses=problems(409), operation_id="lookup_consents")
def look_up(
    body: ConsentLookupInput,
    context: InContext,
    now: Now,
    *,
    caller: Annotated[Caller, Depends(allow(Role.PRIVACY, Role.AUDITOR))],
) -> ConsentsShown:
    """Look up the consent records of a person and the verdicts, now or at an earlier instant."""
    as_of = None if body.as_of is None else AsOf(body.as_of, AsOfBasis(body.basis))
    found = lookup.look_up(context, body.identifier.pair(), now, actor=caller.actor, token=caller.token, as_of=as_of)
    return ConsentsShown(
        records=[dict(record) for record in found.records],
        verdicts=verdicts_shown(found.verdicts),
        may_ask_from=dict(found.may_ask_from),
        opt_in_over_gpc=dict(found.opt_in_over_gpc),
        incomplete=list(found.incomplete),
        mapping_on_record_since=found.mapping_on_record_since,
    )
