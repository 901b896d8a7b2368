"""Routes of segments: definitions, previews, members by pseudonym, and why somebody is in."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, status
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from cdp.access.model import Role
from cdp.audit.fact import names_nobody
from cdp.flows import identifiers
from cdp.flows.segments import definitions as segments
from cdp.flows.segments import reading
from cdp.kit.errors import Fault
from cdp.segments.model import Draft, Segment, SegmentKey, Size
from cdp.web.api.schemas import Given, IdentifierGiven, Key
from cdp.web.platform.auth import Caller, allow
from cdp.web.platform.deps import InContext, problems

router = APIRouter(prefix="/api/v1/segments", tags=["segments"])

IsMarketer = Annotated[Caller, Depends(allow(Role.MARKETER))]


def _loggable(key: str) -> str:
    if not names_nobody(key):
        raise PydanticCustomError(
            "key", "a key has no run of six digits or sixteen hexadecimal ones: it could name somebody"
        )
    return key


NewKey = Annotated[Key, AfterValidator(_loggable)]
SegmentPath = Annotated[Key, Path(description="The segment's key.")]
Where = Annotated[str, StringConstraints(min_length=1, max_length=20_000, pattern=r"^[^\x00]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Text = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[^\x00]*$")]
Pseudonym = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class SegmentChange(Given):
    """What a segment is to be from now on."""

    name: Name = Field(examples=["Lapsing high-value customers"])
    purpose: Key = Field(examples=["email_marketing"])
    where: Where = Field(examples=['count("Order Completed", within 365 days) >= 3'])
    text: Text = ""


class SegmentGiven(SegmentChange):
    """A new segment."""

    key: NewKey = Field(examples=["lapsing_high_value"])


class SegmentShown(BaseModel):
    """A segment in force; `where` is its text in canonical form."""

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
    """Every segment by key."""

    segments: list[SegmentShown]


class PreviewGiven(Given):
    """A condition for one purpose."""

    purpose: Key = Field(examples=["email_marketing"])
    where: Where = Field(examples=['did("Order Completed", within 30 days)'])


class SizeShown(BaseModel):
    """A number of people as it may be shown: null and "fewer than n" under the minimum, else rounded."""

    size: int | None
    size_text: str


class ConditionShown(BaseModel):
    """One condition: how many satisfy it alone, and together with those before it."""

    text: str
    alone: SizeShown
    together: SizeShown


class PreviewShown(SizeShown):
    """What the condition would give."""

    permitted: SizeShown
    share: float | None
    conditions: list[ConditionShown]
    refused_by_reason: dict[str, SizeShown]
    sample: list[str]


class MemberShown(BaseModel):
    """Somebody in the segment, by the marketer's pseudonym."""

    profile: str
    since: datetime


class MemberList(SizeShown):
    """Members in order of pseudonym; `withheld` says why nobody is listed, when nobody may be."""

    members: list[MemberShown]
    next: str | None
    withheld: str | None


class ExplainGiven(Given):
    """Nobody, to explain the segment alone; a pseudonym; or an identifier (auditor, privacy)."""

    profile: Pseudonym | None = None
    identifier: IdentifierGiven | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "ExplainGiven":
        if self.profile is not None and self.identifier is not None:
            raise PydanticCustomError("one_of", "give either `identifier` or `profile`")
        return self


class FieldShown(BaseModel):
    """A field that the segment reads, with its data category."""

    name: str
    category: str


class AnswerShown(BaseModel):
    """One condition for the profile; null where a value is absent."""

    condition: str
    is_true: bool | None


class StandingShown(BaseModel):
    """Why the profile is in, or not; `records` are the consent records that decide."""

    is_in: bool
    is_permitted: bool
    reason: str | None
    records: list[str]
    conditions: list[AnswerShown]


class ExplainedShown(BaseModel):
    """What the segment asks, how it is answered, and where one profile stands."""

    key: str
    version: int
    where: str
    purpose: str
    purposes: list[str]
    fields_read: list[FieldShown]
    conditions: list[str]
    sql: str
    plan: str
    profile: StandingShown | None


@router.get("", responses=problems(), operation_id="list_segments")
def list_segments(context: InContext, _caller: IsMarketer) -> SegmentList:
    """Every segment in force."""
    return SegmentList(segments=[_shown(each) for each in segments.list_segments(context)])


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems(409), operation_id="create_segment")
def create(given: SegmentGiven, context: InContext, caller: IsMarketer) -> SegmentShown:
    """Define a segment. A rejected text is answered with 422, the position, and what would be right."""
    return _define(context, given.key, given, caller=caller, is_new=True)


@router.post("/preview", responses=problems(), operation_id="preview_segment")
def preview(given: PreviewGiven, context: InContext, caller: IsMarketer) -> PreviewShown:
    """What a condition would give: its size, what each part contributes, and how many are refused why."""
    told = reading.preview(context, given.where, given.purpose, actor=caller.actor)
    shown = told.preview
    return PreviewShown(
        size=shown.size.shown,
        size_text=shown.size.text,
        permitted=_size(shown.permitted),
        share=shown.share,
        conditions=[
            ConditionShown(text=each.text, alone=_size(each.alone), together=_size(each.together))
            for each in shown.conditions
        ],
        refused_by_reason={reason: _size(each) for reason, each in shown.refused_by_reason.items()},
        sample=list(told.sample),
    )


@router.get("/{key}", responses=problems(404), operation_id="show_segment")
def show(key: SegmentPath, context: InContext, _caller: IsMarketer) -> SegmentShown:
    """One segment."""
    return _shown(segments.find(context, key))


@router.put("/{key}", responses=problems(404), operation_id="change_segment")
def change(key: SegmentPath, given: SegmentChange, context: InContext, *, caller: IsMarketer) -> SegmentShown:
    """Change a segment; another meaning makes a new version."""
    return _define(context, key, given, caller=caller, is_new=False)


@router.delete("/{key}", status_code=204, responses=problems(404, 409), operation_id="delete_segment")
def delete(key: SegmentPath, context: InContext, caller: IsMarketer) -> None:
    """Delete a segment with its memberships."""
    segments.delete_segment(context, key, actor=caller.actor)


@router.get("/{key}/members", responses=problems(404), operation_id="segment_members")
def members(
    key: SegmentPath,
    context: InContext,
    caller: IsMarketer,
    *,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[Pseudonym | None, Query(description="`next` of the page before.")] = None,
) -> MemberList:
    """Who is in, by pseudonym, since when. Withheld under the minimum; every reading is logged."""
    page, size = reading.members(context, key, after=cursor, limit=limit, actor=caller.actor)
    return MemberList(
        size=size.shown,
        size_text=size.text,
        members=[MemberShown(profile=each.reader_pseudonym, since=each.since) for each in page.members],
        next=page.after,
        withheld=page.withheld,
    )


@router.post("/{key}/explain", responses=problems(404), operation_id="explain_segment")
def explain(
    key: SegmentPath,
    context: InContext,
    caller: Annotated[Caller, Depends(allow(Role.MARKETER, Role.AUDITOR, Role.PRIVACY))],
    *,
    given: ExplainGiven | None = None,
) -> ExplainedShown:
    """What a segment asks, and condition by condition why a profile is in or out."""
    given = given or ExplainGiven()
    if given.identifier is not None and caller.role is Role.MARKETER:
        raise Fault(
            "not_permitted",
            "This token may not do that",
            "Marketers ask by pseudonym: give `profile`.",
            status=403,
        )
    asked = None if given.identifier is None else identifiers.read_identifier(context.policy, *given.identifier.pair())
    told = reading.explain(context, key, identifier=asked, pseudonym=given.profile, actor=caller.actor)
    return _explained(told)


def _define(context: InContext, key: str, given: SegmentChange, *, caller: Caller, is_new: bool) -> SegmentShown:
    draft = Draft(SegmentKey(key), given.name, given.purpose, caller.actor, given.text)
    return _shown(segments.define(context, draft, given.where, is_new=is_new, actor=caller.actor))


def _explained(told: reading.Explained) -> ExplainedShown:
    stands = told.standing
    return ExplainedShown(
        key=told.segment.key,
        version=told.segment.version,
        where=told.explanation.where,
        purpose=told.explanation.purpose,
        purposes=list(told.explanation.purposes),
        fields_read=[FieldShown(name=each.name, category=each.category) for each in told.explanation.fields],
        conditions=list(told.explanation.conditions),
        sql=told.explanation.sql,
        plan=told.explanation.plan,
        profile=None
        if stands is None
        else StandingShown(
            is_in=stands.is_in,
            is_permitted=stands.is_permitted,
            reason=told.reason,
            records=list(told.records),
            conditions=[AnswerShown(condition=each.condition, is_true=each.truth) for each in stands.answers],
        ),
    )


def _shown(each: Segment) -> SegmentShown:
    return SegmentShown(
        key=each.key,
        name=each.name,
        purpose=each.purpose,
        owner=each.owner,
        text=each.text,
        where=each.where,
        version=each.version,
        created_at=each.created_at,
        changed_at=each.changed_at,
        refreshed_at=each.refreshed_at,
    )


def _size(each: Size) -> SizeShown:
    return SizeShown(size=each.shown, size_text=each.text)
