"""Routes of access: sources, tokens, and message accounting."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, status
from pydantic import BaseModel, Field, StrictBool, StrictInt, StringConstraints

from cdp.access.model import Role, Token
from cdp.flows.operations import accounting as accounting_flow
from cdp.flows.operations import sources as sources_flow
from cdp.flows.operations import tokens as tokens_flow
from cdp.sources.model import SourceEntry, SourceKind
from cdp.web.api.schemas import Instant, RequestBody
from cdp.web.platform.auth import Caller, allow
from cdp.web.platform.deps import InContext, Now, problems

router = APIRouter(prefix="/api/v1", tags=["access"])

IsAdmin = Annotated[Caller, Depends(allow(Role.ADMIN))]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]*$")]
Jurisdiction = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
RoleName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,15}$")]
_TOKEN_MAX = 2**31 - 1
_DEFER = (
    "Whether messages of devices that have not answered wait for their answer, sealed, within the term and the bounds of "
    "purposes.yaml. Shown in the record of processing."
)


class SourceInput(RequestBody):
    """A source of messages. The write key of a browser source is public, so it identifies a device only."""

    name: Name = Field(examples=["web-shop"])
    kind: Literal["browser", "server"] = "browser"
    jurisdiction: Jurisdiction = "unknown"
    scopes: list[Literal["ingest", "consent"]] = Field(default=["ingest"], min_length=1, max_length=2)
    request_bytes_max: StrictInt = Field(
        default=sources_flow.REQUEST_BYTES_DEFAULT, ge=32 * 1024, le=sources_flow.REQUEST_BYTES_MAX
    )
    defer: StrictBool = Field(default=False, description=_DEFER)


class DeferInput(RequestBody):
    """Whether messages of a source wait for an answer."""

    defer: StrictBool = Field(description=_DEFER)


class SourceShown(BaseModel):
    """A source without its write key."""

    id: int
    name: str
    kind: str
    jurisdiction: str
    scopes: list[str]
    request_bytes_max: int
    defer: bool
    created_at: datetime
    disabled_at: datetime | None


class NewSourceShown(SourceShown):
    """A new source with its write key, shown this once."""

    write_key: str


class SourceList(BaseModel):
    """All sources, by name."""

    sources: list[SourceShown]


class WriteKeyShown(BaseModel):
    """The new write key of a source."""

    name: str
    write_key: str


class TokenInput(RequestBody):
    """The name of a token and its role."""

    name: Name = Field(examples=["ada"])
    role: RoleName = Field(
        description="`privacy`, `auditor`, `admin`, or a reader role of readers.yaml such as `marketer`."
    )


class TokenShown(BaseModel):
    """A token without its secret."""

    id: int
    name: str
    role: str
    created_at: datetime
    revoked_at: datetime | None


class NewTokenShown(TokenShown):
    """A new token with its secret, shown this once."""

    token: str


class TokenList(BaseModel):
    """All tokens, oldest first."""

    tokens: list[TokenShown]


class CountShown(BaseModel):
    """How many messages of a source ended in a state, for a reason, in an hour."""

    source: str
    hour: datetime
    state: str
    reason: str
    messages: int


class NoticeShown(BaseModel):
    """How many notices of a kind the messages of a source caused in an hour."""

    source: str
    hour: datetime
    kind: str
    subject: str
    messages: int


class PropertyCountShown(BaseModel):
    """How many messages of a source had a planned property of another type (`mistyped`) or missed one (`missing`) in an hour.

    Every name is one of the policy; `event` is `other` for events that it does not name.
    """

    source: str
    hour: datetime
    kind: str
    event: str
    property: str
    expected: str
    messages: int


class RecentMessageShown(BaseModel):
    """What became of one message. Its ids and values are withheld; `event` is a name of the policy, or `other`.

    `notices` say what was odd about it, such as `mistyped revenue (number)` or `unknown_event`. `delivery` is what a platform
    called the delivery of its webhook that brought the message; empty for any other message.
    """

    received_at: datetime
    type: str
    event: str
    state: str
    reason: str
    notices: list[str]
    delivery: str


class RecentMessagesShown(BaseModel):
    """The latest messages of a source, newest first: at most a hundred, of the last day."""

    messages: list[RecentMessageShown]


class AccountingShown(BaseModel):
    """`received` is the sum of `by_state`, which is the sum of `counts`."""

    received: int
    by_state: dict[str, int]
    counts: list[CountShown]
    oddities: list[NoticeShown]
    properties: list[PropertyCountShown]


@router.get("/sources", responses=problems(), operation_id="list_sources")
def list_sources(context: InContext, _caller: IsAdmin) -> SourceList:
    """List all sources, disabled ones included."""
    return SourceList(sources=[SourceShown(**_source(entry)) for entry in sources_flow.list_sources(context)])


@router.post("/sources", status_code=status.HTTP_201_CREATED, responses=problems(409), operation_id="create_source")
def create_source(body: SourceInput, context: InContext, caller: IsAdmin) -> NewSourceShown:
    """Create a source. Its write key is only shown in this response."""
    made = sources_flow.create_source(
        context,
        body.name,
        kind=SourceKind(body.kind),
        jurisdiction=body.jurisdiction,
        scopes=body.scopes,
        request_bytes_max=body.request_bytes_max,
        defer=body.defer,
        actor=caller.actor,
    )
    return NewSourceShown(**_source(made.entry), write_key=made.write_key)


@router.post("/sources/{name}/defer", responses=problems(404), operation_id="set_source_defer")
def set_source_defer(
    name: Annotated[Name, Path()], body: DeferInput, *, context: InContext, caller: IsAdmin
) -> SourceShown:
    """Let messages of a source wait for an answer, or no longer. What waits already waits on until its answer or term."""
    return SourceShown(**_source(sources_flow.set_defer(context, name, defer=body.defer, actor=caller.actor)))


@router.post("/sources/{name}/rotate", responses=problems(404), operation_id="rotate_write_key")
def rotate_write_key(name: Annotated[Name, Path()], context: InContext, caller: IsAdmin) -> WriteKeyShown:
    """Replace the write key of a source. The new key is only shown in this response; the old one stops working within seconds."""
    return WriteKeyShown(name=name, write_key=sources_flow.replace_write_key(context, name, actor=caller.actor))


@router.get("/sources/{name}/recent", responses=problems(404), operation_id="recent_messages")
def recent_messages(name: Annotated[Name, Path()], context: InContext, caller: IsAdmin) -> RecentMessagesShown:
    """Get what became of the latest messages of a source. Of several in one transaction, only the last twenty are kept."""
    found = accounting_flow.recent_messages(context, name, actor=caller.actor, token=caller.token)
    return RecentMessagesShown(
        messages=[RecentMessageShown.model_validate(message, from_attributes=True) for message in found]
    )


@router.post("/sources/{name}/disable", responses=problems(404), operation_id="disable_source", status_code=204)
def disable_source(name: Annotated[Name, Path()], context: InContext, caller: IsAdmin) -> None:
    """Disable a source permanently: its write key stops working."""
    sources_flow.disable_source(context, name, actor=caller.actor)


@router.get("/tokens", responses=problems(), operation_id="list_tokens")
def list_tokens(context: InContext, _caller: IsAdmin) -> TokenList:
    """List all tokens, revoked ones included."""
    return TokenList(tokens=[TokenShown(**_token(token)) for token in tokens_flow.list_tokens(context)])


@router.post("/tokens", status_code=status.HTTP_201_CREATED, responses=problems(), operation_id="create_token")
def create_token(body: TokenInput, context: InContext, caller: IsAdmin) -> NewTokenShown:
    """Create a token. Its secret is only shown in this response."""
    made = tokens_flow.create_token(context, body.name, body.role, actor=caller.actor)
    return NewTokenShown(**_token(made.token), token=made.secret)


@router.post("/tokens/{token_id}/revoke", responses=problems(404), operation_id="revoke_token", status_code=204)
def revoke_token(token_id: Annotated[int, Path(ge=1, le=_TOKEN_MAX)], context: InContext, caller: IsAdmin) -> None:
    """Revoke a token permanently."""
    tokens_flow.revoke_token(context, token_id, actor=caller.actor)


@router.get("/ingest/accounting", responses=problems(404), operation_id="ingest_accounting")
def accounting(
    context: InContext,
    now: Now,
    caller: Annotated[Caller, Depends(allow(Role.ADMIN, Role.AUDITOR))],
    *,
    source: Annotated[Name | None, Query()] = None,
    from_: Annotated[Instant | None, Query(alias="from", description="Default: a day before `to`.")] = None,
    to: Annotated[Instant | None, Query(description="Default: now.")] = None,
) -> AccountingShown:
    """Count messages by outcome in the hours that start in [from, to)."""
    until = now + timedelta(hours=1) if to is None else to
    since = until - timedelta(days=1) if from_ is None else from_
    found = accounting_flow.count_messages(context, since, until, source=source, actor=caller.actor, token=caller.token)
    return AccountingShown(
        received=found.received,
        by_state=found.by_state,
        counts=[
            CountShown(
                source=count.source, hour=count.hour, state=count.state, reason=count.reason, messages=count.messages
            )
            for count in found.counts
        ],
        oddities=[
            NoticeShown(
                source=notice.source,
                hour=notice.hour,
                kind=notice.kind,
                subject=notice.subject,
                messages=notice.messages,
            )
            for notice in found.notices
        ],
        properties=[PropertyCountShown.model_validate(count, from_attributes=True) for count in found.properties],
    )


def _source(entry: SourceEntry) -> dict[str, object]:
    return {
        "id": int(entry.source.source_id),
        "name": entry.source.name,
        "kind": entry.source.kind.value,
        "jurisdiction": entry.source.jurisdiction,
        "scopes": sorted(entry.source.scopes),
        "request_bytes_max": entry.source.request_bytes_max,
        "defer": entry.source.defer,
        "created_at": entry.created_at,
        "disabled_at": entry.disabled_at,
    }


def _token(token: Token) -> dict[str, object]:
    return {
        "id": int(token.token_id),
        "name": token.name,
        "role": token.role_name,
        "created_at": token.created_at,
        "revoked_at": token.revoked_at,
    }
