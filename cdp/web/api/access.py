"""Routes of access: sources, tokens, and what became of every message."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, status
from pydantic import BaseModel, Field, StrictInt, StringConstraints

from cdp.access.model import Role, Token
from cdp.flows.operations import accounting as accounting_flow
from cdp.flows.operations import sources as sources_flow
from cdp.flows.operations import tokens as tokens_flow
from cdp.sources.model import SourceEntry, SourceKind
from cdp.web.api.schemas import Given, Instant
from cdp.web.platform.auth import Caller, allow
from cdp.web.platform.deps import InContext, Now, problems

router = APIRouter(prefix="/api/v1", tags=["access"])

IsAdmin = Annotated[Caller, Depends(allow(Role.ADMIN))]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]*$")]
Jurisdiction = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
_TOKEN_MAX = 2**31 - 1


class SourceGiven(Given):
    """A sender of messages. A browser's write key is public, so it can vouch for a device only."""

    name: Name = Field(examples=["web-shop"])
    kind: Literal["browser", "server"] = "browser"
    jurisdiction: Jurisdiction = "unknown"
    scopes: list[Literal["ingest", "consent"]] = Field(default=["ingest"], min_length=1, max_length=2)
    request_bytes_max: StrictInt = Field(
        default=sources_flow.REQUEST_BYTES_DEFAULT, ge=32 * 1024, le=sources_flow.REQUEST_BYTES_MAX
    )


class SourceShown(BaseModel):
    """A source without its write key."""

    id: int
    name: str
    kind: str
    jurisdiction: str
    scopes: list[str]
    request_bytes_max: int
    created_at: datetime
    disabled_at: datetime | None


class NewSourceShown(SourceShown):
    """A new source with its write key, shown this once."""

    write_key: str


class SourceList(BaseModel):
    """Every source by name."""

    sources: list[SourceShown]


class WriteKeyShown(BaseModel):
    """The new write key of a source."""

    name: str
    write_key: str


class TokenGiven(Given):
    """Whose token, and what it allows."""

    name: Name = Field(examples=["ada"])
    role: Literal["marketer", "privacy", "auditor", "admin"]


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
    """Every token, oldest first."""

    tokens: list[TokenShown]


class CountShown(BaseModel):
    """Messages of a source that ended in a state, for a reason, in an hour."""

    source: str
    hour: datetime
    state: str
    reason: str
    messages: int


class OddityShown(BaseModel):
    """Oddities seen in messages of a source in an hour."""

    source: str
    hour: datetime
    kind: str
    subject: str
    messages: int


class AccountingShown(BaseModel):
    """`received` is the sum of `by_state`, which is the sum of `counts`."""

    received: int
    by_state: dict[str, int]
    counts: list[CountShown]
    oddities: list[OddityShown]


@router.get("/sources", responses=problems(), operation_id="list_sources")
def list_sources(context: InContext, _caller: IsAdmin) -> SourceList:
    """Every source, disabled ones included."""
    return SourceList(sources=[SourceShown(**_source(each)) for each in sources_flow.list_sources(context)])


@router.post("/sources", status_code=status.HTTP_201_CREATED, responses=problems(409), operation_id="create_source")
def create_source(given: SourceGiven, context: InContext, caller: IsAdmin) -> NewSourceShown:
    """Create a source; its write key is in this answer and nowhere else."""
    made = sources_flow.create_source(
        context,
        given.name,
        kind=SourceKind(given.kind),
        jurisdiction=given.jurisdiction,
        scopes=given.scopes,
        request_bytes_max=given.request_bytes_max,
        actor=caller.actor,
    )
    return NewSourceShown(**_source(made.entry), write_key=made.write_key)


@router.post("/sources/{name}/rotate", responses=problems(404), operation_id="rotate_write_key")
def rotate_write_key(name: Annotated[Name, Path()], context: InContext, caller: IsAdmin) -> WriteKeyShown:
    """Give a source another write key, which is in this answer and nowhere else; the old one stops within seconds."""
    return WriteKeyShown(name=name, write_key=sources_flow.replace_write_key(context, name, actor=caller.actor))


@router.post("/sources/{name}/disable", responses=problems(404), operation_id="disable_source", status_code=204)
def disable_source(name: Annotated[Name, Path()], context: InContext, caller: IsAdmin) -> None:
    """Stop the write key of a source, for good."""
    sources_flow.disable_source(context, name, actor=caller.actor)


@router.get("/tokens", responses=problems(), operation_id="list_tokens")
def list_tokens(context: InContext, _caller: IsAdmin) -> TokenList:
    """Every token, revoked ones included."""
    return TokenList(tokens=[TokenShown(**_token(each)) for each in tokens_flow.list_tokens(context)])


@router.post("/tokens", status_code=status.HTTP_201_CREATED, responses=problems(), operation_id="create_token")
def create_token(given: TokenGiven, context: InContext, caller: IsAdmin) -> NewTokenShown:
    """Create a token; its secret is in this answer and nowhere else."""
    made = tokens_flow.create_token(context, given.name, Role(given.role), actor=caller.actor)
    return NewTokenShown(**_token(made.token), token=made.secret)


@router.post("/tokens/{token_id}/revoke", responses=problems(404), operation_id="revoke_token", status_code=204)
def revoke_token(token_id: Annotated[int, Path(ge=1, le=_TOKEN_MAX)], context: InContext, caller: IsAdmin) -> None:
    """Stop a token, for good."""
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
    """What became of every message in the hours that begin in [from, to)."""
    until = now + timedelta(hours=1) if to is None else to
    since = until - timedelta(days=1) if from_ is None else from_
    found = accounting_flow.count_messages(context, since, until, source=source, actor=caller.actor)
    return AccountingShown(
        received=found.received,
        by_state=found.by_state,
        counts=[
            CountShown(source=each.source, hour=each.hour, state=each.state, reason=each.reason, messages=each.messages)
            for each in found.counts
        ],
        oddities=[
            OddityShown(
                source=each.source, hour=each.hour, kind=each.kind, subject=each.subject, messages=each.messages
            )
            for each in found.notices
        ],
    )


def _source(each: SourceEntry) -> dict[str, object]:
    return {
        "id": int(each.source.source_id),
        "name": each.source.name,
        "kind": each.source.kind.value,
        "jurisdiction": each.source.jurisdiction,
        "scopes": sorted(each.source.scopes),
        "request_bytes_max": each.source.request_bytes_max,
        "created_at": each.created_at,
        "disabled_at": each.disabled_at,
    }


def _token(each: Token) -> dict[str, object]:
    return {
        "id": int(each.token_id),
        "name": each.name,
        "role": each.role.value,
        "created_at": each.created_at,
        "revoked_at": each.revoked_at,
    }
