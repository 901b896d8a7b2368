"""Routes of segments: definitions, previews, members by pseudonym, and explanations."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, status
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from cdp.access.model import Role
from cdp.audit.fact import is_impersonal_name
from cdp.flows import identifiers
from cdp.flows.segments import definitions as segments
from cdp.flows.segments import reading
from cdp.kit.errors import Fault
from cdp.segments.model import Draft, Segment, SegmentKey
from cdp.web.api.schemas import IdentifierInput, Key, RequestBody
from cdp.web.platform.auth import Caller, allow
from cdp.web.platform.deps import InContext, problems

router = APIRouter(prefix="/api/v1/segments", tags=["segments"])

IsMarketer = Annotated[Caller, Depends(allow(Role.MARKETER))]


def _loggable(key: str) -> str:
    if not is_impersonal_name(key):
        raise PydanticCustomError(
            "key",
            "a key must not contain six digits or sixteen hexadecimal digits in a row, because it could identify a person",
        )
    return key


NewKey = Annotated[Key, AfterValidator(_loggable)]
SegmentPath = Annotated[Key, Path(description="The segment's key.")]
Where = Annotated[str, StringConstraints(min_length=1, max_length=20_000, pattern=r"^[^\x00]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Text = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[^\x00]*$")]
Pseudonym = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class SegmentChange(RequestBody):
    """The new definition of a segment."""

    name: Name = Field(examples=["Lapsing high-value customers"])
    purpose: Key = Field(examples=["email_marketing"])
    where: Where = Field(examples=['count("Order Completed", within 365 days) >= 3'])
    text: Text = ""


class SegmentInput(SegmentChange):
    """A new segment."""

    key: NewKey = Field(examples=["lapsing_high_value"])


class SegmentShown(BaseModel):
    """An active segment; `where` is its condition in canonical form."""

    key: str
    name: str
    purpose: str
    owner: str
    text: str
    where: str
    version: int
    created_at: datetime
    changed_at: datetime
    refreshed_at: datetime | None


class SegmentList(BaseModel):
    """All segments, by key."""

    segments: list[SegmentShown]


class PreviewInput(RequestBody):
    """A condition for one purpose."""

    purpose: Key = Field(examples=["email_marketing"])
    where: Where = Field(examples=['did("Order Completed", within 30 days)'])


class ConditionShown(BaseModel):
    """One condition: how many people meet it alone, and together with those before it."""

    text: str
    alone: int
    together: int


class PreviewShown(BaseModel):
    """The result of a condition: how many of the permitted people meet it, and pseudonyms of some."""

    size: int
    permitted: int
    share: float | None
    conditions: list[ConditionShown]
    refused_by_reason: dict[str, int]
    sample: list[str]


class MemberShown(BaseModel):
    """A member of the segment, by the marketer's pseudonym, and the day (UTC) on which the membership began."""

    profile: str
    since: date


class MemberList(BaseModel):
    """Members in order of pseudonym; `size` counts all."""

    size: int
    members: list[MemberShown]
    next: str | None


class ExplainInput(RequestBody):
    """Empty to explain the segment alone; a pseudonym; or an identifier (auditor, privacy)."""

    profile: Pseudonym | None = None
    identifier: IdentifierInput | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "ExplainInput":
        if self.profile is not None and self.identifier is not None:
            raise PydanticCustomError("one_of", "give either `identifier` or `profile`")
        return self


class FieldShown(BaseModel):
    """A field that the segment uses, with its data category."""

    name: str
    category: str


class AnswerShown(BaseModel):
    """Whether the profile meets one condition; null where a value is missing."""

    condition: str
    is_true: bool | None


class MembershipShown(BaseModel):
    """Whether and why the profile is a member; `records` are the consent records that determine it."""

    is_in: bool
    is_permitted: bool
    reason: str | None
    records: list[str]
    conditions: list[AnswerShown]


class ExplainedShown(BaseModel):
    """The condition of the segment, its query, and the membership of one profile."""

    key: str
    version: int
    where: str
    purpose: str
    purposes: list[str]
    fields_read: list[FieldShown]
    conditions: list[str]
    sql: str
    plan: str
    profile: MembershipShown | None


@router.get("", responses=problems(), operation_id="list_segments")
def list_segments(context: InContext, caller: IsMarketer) -> SegmentList:
    """List the active segments of the purposes that the role reads."""
    found = segments.list_segments(context, actor=caller.actor)
    return SegmentList(segments=[_shown(segment) for segment in found])


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems(409), operation_id="create_segment")
def create(body: SegmentInput, context: InContext, caller: IsMarketer) -> SegmentShown:
    """Create a segment. An invalid condition is answered with 422, its position, and a hint."""
    return _define(context, body.key, body, caller=caller, is_new=True)


@router.post("/preview", responses=problems(), operation_id="preview_segment")
def preview(body: PreviewInput, context: InContext, caller: IsMarketer) -> PreviewShown:
    """Preview a condition: its size, the effect of each part, and the number of people refused by reason."""
    result = reading.preview(context, body.where, body.purpose, actor=caller.actor, token=caller.token)
    shown = result.preview
    return PreviewShown(
        size=shown.size,
        permitted=shown.permitted,
        share=shown.share,
        conditions=[
            ConditionShown(text=condition.text, alone=condition.alone, together=condition.together)
            for condition in shown.conditions
        ],
        refused_by_reason=dict(shown.refused_by_reason),
        sample=list(result.sample),
    )


@router.get("/{key}", responses=problems(404), operation_id="show_segment")
def show(key: SegmentPath, context: InContext, caller: IsMarketer) -> SegmentShown:
    """Show one segment."""
    return _shown(segments.find(context, key, actor=caller.actor))


@router.put("/{key}", responses=problems(404), operation_id="change_segment")
def change(key: SegmentPath, body: SegmentChange, context: InContext, *, caller: IsMarketer) -> SegmentShown:
    """Change a segment. A changed condition creates a new version."""
    return _define(context, key, body, caller=caller, is_new=False)


@router.delete("/{key}", status_code=204, responses=problems(404, 409), operation_id="delete_segment")
def delete(key: SegmentPath, context: InContext, caller: IsMarketer) -> None:
    """Delete a segment and its memberships."""
    segments.delete_segment(context, key, actor=caller.actor)


@router.get("/{key}/members", responses=problems(404), operation_id="segment_members")
def members(
    key: SegmentPath,
    context: InContext,
    caller: IsMarketer,
    *,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[Pseudonym | None, Query(description="`next` of the previous page.")] = None,
) -> MemberList:
    """List members by pseudonym. Every read is logged."""
    page, size = reading.members(context, key, after=cursor, limit=limit, actor=caller.actor, token=caller.token)
    return MemberList(
        size=size,
        members=[MemberShown(profile=member.reader_pseudonym, since=member.since) for member in page.members],
        next=page.after,
    )


@router.post("/{key}/explain", responses=problems(404, 429), operation_id="explain_segment")
def explain(
    key: SegmentPath,
    context: InContext,
    caller: Annotated[Caller, Depends(allow(Role.MARKETER, Role.AUDITOR, Role.PRIVACY))],
    *,
    body: ExplainInput | None = None,
) -> ExplainedShown:
    """Explain a segment, and condition by condition why a profile is a member or not."""
    body = body or ExplainInput()
    if body.identifier is not None and caller.role is Role.MARKETER:
        raise Fault(
            "not_permitted",
            "This token may not do that",
            "Marketers use pseudonyms: give `profile`.",
            status=403,
        )
    requested = (
        None if body.identifier is None else identifiers.read_identifier(context.policy, *body.identifier.pair())
    )
    result = reading.explain(
        context, key, identifier=requested, pseudonym=body.profile, actor=caller.actor, token=caller.token
    )
    return _explained(result)


def _define(context: InContext, key: str, body: SegmentChange, *, caller: Caller, is_new: bool) -> SegmentShown:
    draft = Draft(SegmentKey(key), body.name, body.purpose, caller.actor, body.text)
    return _shown(segments.define(context, draft, body.where, is_new=is_new, actor=caller.actor))


def _explained(result: reading.Explained) -> ExplainedShown:
    membership = result.standing
    return ExplainedShown(
        key=result.segment.key,
        version=result.segment.version,
        where=result.explanation.where,
        purpose=result.explanation.purpose,
        purposes=list(result.explanation.purposes),
        fields_read=[FieldShown(name=field.name, category=field.category) for field in result.explanation.fields],
        conditions=list(result.explanation.conditions),
        sql=result.explanation.sql,
        plan=result.explanation.plan,
        profile=None
        if membership is None
        else MembershipShown(
            is_in=membership.is_in,
            is_permitted=membership.is_permitted,
            reason=result.reason,
            records=list(result.records),
            conditions=[AnswerShown(condition=answer.condition, is_true=answer.truth) for answer in membership.answers],
        ),
    )


def _shown(segment: Segment) -> SegmentShown:
    return SegmentShown(
        key=segment.key,
        name=segment.name,
        purpose=segment.purpose,
        owner=segment.owner,
        text=segment.text,
        where=segment.where,
        version=segment.version,
        created_at=segment.created_at,
        changed_at=segment.changed_at,
        refreshed_at=segment.refreshed_at,
    )
