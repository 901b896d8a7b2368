"""Routes for auditors: log entries and a report."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, StringConstraints

from cdp.access.model import Role
from cdp.flows.audit import report as auditing
from cdp.flows.audit.readers import readers_of
from cdp.flows.audit.sessions import SessionQuery
from cdp.flows.audit.sessions import list_sessions as recorded_sessions
from cdp.web.api.schemas import IdentifierInput, Instant, RequestBody
from cdp.web.platform.auth import Caller, allow
from cdp.web.platform.deps import InContext, Now, problems

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])

IsAuditor = Annotated[Caller, Depends(allow(Role.AUDITOR))]
EntryKind = Annotated[str, StringConstraints(pattern=r"^[a-z_]+\.[a-z_]+$", max_length=60)]


class EntryShown(BaseModel):
    """One entry; `index` is its index in the log, null until it is signed."""

    entry: int
    index: int | None
    kind: str
    recorded_at: datetime
    body: dict[str, Any]


class EntryList(BaseModel):
    """Entries, newest first; pass `next` as `before` for the next page."""

    entries: list[EntryShown]
    next: int | None


class ReadersInput(RequestBody):
    """The person who was looked at."""

    identifier: IdentifierInput


class ReadShown(BaseModel):
    """One read that showed the person. `token` and `name` are null for a command on the server itself."""

    entry: int
    at: datetime
    role: str
    token: int | None
    name: str | None
    read: str
    purpose: str | None
    segment: str | None
    count: int


class ReadList(BaseModel):
    """The reads that showed the person, newest first."""

    reads: list[ReadShown]


class AccessShown(BaseModel):
    """A table that a login could read; `role` and `purpose` are null for one with the people of several."""

    table: str
    role: str | None
    purpose: str | None


class SessionShown(BaseModel):
    """A session of a SQL login that reads projections.

    It existed from `started_at` until after `seen_at` and had ended by `gone_at`, which is null while it was not found ended.
    """

    login: str
    started_at: datetime
    seen_at: datetime
    gone_at: datetime | None
    could_read: list[AccessShown]


class SessionList(BaseModel):
    """Sessions, those that began last first."""

    sessions: list[SessionShown]


class RequestFiguresShown(BaseModel):
    """Subject requests received in the period."""

    received: dict[str, int]
    by_status: dict[str, int]
    in_time: int
    late: int
    open_overdue: int
    median_days: float | None


class ReportShown(BaseModel):
    """Figures of a period. `altered` lists entries whose stored fact does not match the log, `differing` requests whose
    stored state does not match the log; both must be empty."""

    since: datetime | None
    until: datetime | None
    entries: dict[str, int]
    facts_checked: int
    altered: list[int]
    requests: RequestFiguresShown
    differing: list[str]
    policies: list[dict[str, str]]
    tree_size: int
    waiting: int
    checkpoint: str | None
    vkey: str | None


@router.get("/entries", responses=problems(), operation_id="list_entries")
def entries(
    context: InContext,
    now: Now,
    caller: IsAuditor,
    *,
    kind: Annotated[list[EntryKind] | None, Query(max_length=50)] = None,
    from_: Annotated[Instant | None, Query(alias="from")] = None,
    to: Annotated[Instant | None, Query()] = None,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> EntryList:
    """List log entries: consent acts, requests, policies, reads, sweeps. Entries contain no personal data."""
    found = auditing.read_entries(
        context,
        now,
        auditing.EntryQuery(kind or (), from_, to, before, limit),
        actor=caller.actor,
        token=caller.token,
    )
    shown = [
        EntryShown(
            entry=entry.entry_id,
            index=entry.index,
            kind=entry.kind,
            recorded_at=entry.recorded_at,
            body=dict(entry.body),
        )
        for entry in found
    ]
    return EntryList(entries=shown, next=found[-1].entry_id if len(found) == limit else None)


@router.post("/readers", responses=problems(), operation_id="list_readers")
def list_readers(
    body: ReadersInput,
    context: InContext,
    now: Now,
    *,
    caller: Annotated[Caller, Depends(allow(Role.PRIVACY, Role.AUDITOR))],
) -> ReadList:
    """List who looked at a person: the reads that showed them, as long as their keys exist. The listing is logged."""
    found = readers_of(context, body.identifier.pair(), now, actor=caller.actor, token=caller.token)
    return ReadList(reads=[ReadShown(**asdict(read)) for read in found])


@router.get("/sessions", responses=problems(), operation_id="list_reader_sessions")
def list_sessions(
    context: InContext,
    now: Now,
    *,
    caller: Annotated[Caller, Depends(allow(Role.PRIVACY, Role.AUDITOR))],
    from_: Annotated[Instant | None, Query(alias="from")] = None,
    to: Annotated[Instant | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> SessionList:
    """List sessions of SQL logins that could read people, those that existed in the period. The listing is logged."""
    query = SessionQuery(from_, to, limit)
    found = recorded_sessions(context, query, now, actor=caller.actor, token=caller.token)
    return SessionList(sessions=[SessionShown.model_validate(asdict(session)) for session in found])


@router.get("/report", responses=problems(), operation_id="audit_report")
def report(
    context: InContext,
    now: Now,
    caller: IsAuditor,
    *,
    from_: Annotated[Instant | None, Query(alias="from")] = None,
    to: Annotated[Instant | None, Query()] = None,
) -> ReportShown:
    """Report figures recomputed from facts that were checked against the log, with the checkpoint that covers them."""
    result = auditing.report(context, now, since=from_, until=to, actor=caller.actor, token=caller.token)
    figures = result.requests
    return ReportShown(
        since=result.since,
        until=result.until,
        entries=dict(result.entries),
        facts_checked=result.facts_checked,
        altered=list(result.altered),
        requests=RequestFiguresShown(
            received=dict(figures.received),
            by_status=dict(figures.by_status),
            in_time=figures.in_time,
            late=figures.late,
            open_overdue=figures.open_overdue,
            median_days=figures.median_days,
        ),
        differing=list(result.differing),
        policies=[dict(policy) for policy in result.policies],
        tree_size=result.tree_size,
        waiting=result.waiting,
        checkpoint=result.checkpoint,
        vkey=result.vkey,
    )
