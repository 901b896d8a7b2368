"""Use case that lists the sessions of SQL logins that could read people. The listing is logged."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cdp.consent.store import session_records as record_store
from cdp.consent.store.session_records import ReaderSession
from cdp.flows.context import Context
from cdp.flows.reads import Reading, log_read
from cdp.kit.canonical import instant_text


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """Which sessions: those that existed from `since` on and before `until`, at most `limit` of them."""

    since: datetime | None = None
    until: datetime | None = None
    limit: int = 100


def list_sessions(
    context: Context, query: SessionQuery, now: datetime, *, actor: str, token: int | None = None
) -> Sequence[ReaderSession]:
    """The recorded sessions, those that began last first."""
    with context.database.transaction() as tx:
        found = record_store.sessions(tx, since=query.since, until=query.until, limit=query.limit)
        bounds = {"since": query.since, "until": query.until}
        question = {name: None if bound is None else instant_text(bound) for name, bound in bounds.items()}
        reading = Reading(actor, token, "sessions", question={**question, "limit": query.limit})
        log_read(tx, context, reading, count=len(found), now=now)
    return found
