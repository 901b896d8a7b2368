"""Use case of message accounting: the outcome of every message."""

from dataclasses import dataclass
from datetime import datetime

from cdp.accounting.model import RecentMessage
from cdp.accounting.store.messages import accounting
from cdp.accounting.store.notices import notices, property_notices
from cdp.accounting.store.recent import recent_of
from cdp.flows.context import Context
from cdp.flows.operations.maintenance import RECENT_KEPT
from cdp.flows.operations.sources import unknown_source
from cdp.flows.reads import Reading, log_read
from cdp.kit.canonical import instant_text
from cdp.sources.store import sources as source_store


@dataclass(frozen=True, slots=True)
class MessageCount:
    """How many messages of a source ended in a state, for a reason, in an hour."""

    source: str
    hour: datetime
    state: str
    reason: str
    messages: int


@dataclass(frozen=True, slots=True)
class NoticeCount:
    """How many messages of a source had a notice in an hour; `subject` is a name from the policy or `other`."""

    source: str
    hour: datetime
    kind: str
    subject: str
    messages: int


@dataclass(frozen=True, slots=True)
class PropertyCount:
    """How many messages of a source had a planned property of another type, or missed one, in an hour.

    `event` is the planned event, or `other` for events that the plan does not name; `property` is named as in the plan.
    """

    source: str
    hour: datetime
    kind: str
    event: str
    property: str
    expected: str
    messages: int


@dataclass(frozen=True, slots=True)
class Accounting:
    """The outcome of every message of a period; `received` is the sum of all states."""

    received: int
    by_state: dict[str, int]
    counts: tuple[MessageCount, ...]
    notices: tuple[NoticeCount, ...]
    properties: tuple[PropertyCount, ...]


def count_messages(
    context: Context,
    since: datetime,
    until: datetime,
    *,
    source: str | None = None,
    actor: str,
    token: int | None = None,
) -> Accounting:
    """The outcome of the messages received in the hours that begin in [since, until). The read is logged.

    Raises the fault `unknown_source` (404).
    """
    with context.database.transaction() as tx:
        names = {entry.source.source_id: entry.source.name for entry in source_store.sources(tx)}
        wanted = None if source is None else [source_id for source_id, name in names.items() if name == source]
        if wanted == []:
            raise unknown_source()
        found = accounting(tx, since, until, source_ids=wanted)
        noticed = notices(tx, since, until, source_ids=wanted)
        faulty = property_notices(tx, since, until, source_ids=wanted)
        question = {"since": instant_text(since), "until": instant_text(until), "source": source}
        reading = Reading(actor, token, "accounting", question=question)
        log_read(tx, context, reading, count=len(found), now=context.clock.now())
    by_state: dict[str, int] = {}
    for count in found:
        by_state[count.state.value] = by_state.get(count.state.value, 0) + count.messages
    return Accounting(
        received=sum(by_state.values()),
        by_state=by_state,
        counts=tuple(
            MessageCount(names.get(count.source_id, "?"), count.hour, count.state.value, count.reason, count.messages)
            for count in found
        ),
        notices=tuple(
            NoticeCount(
                names.get(notice.source_id, "?"), notice.hour, notice.kind.value, notice.subject, notice.messages
            )
            for notice in noticed
        ),
        properties=tuple(
            PropertyCount(
                source=names.get(entry.source_id, "?"),
                hour=entry.hour,
                kind=entry.notice.kind.value,
                event=entry.notice.event,
                property=entry.notice.property,
                expected=entry.notice.expected,
                messages=entry.messages,
            )
            for entry in faulty
        ),
    )


def recent_messages(
    context: Context, source: str, *, actor: str, token: int | None = None
) -> tuple[RecentMessage, ...]:
    """What became of the latest messages of a source, newest first, without ids and values. The read is logged.

    Raises the fault `unknown_source` (404).
    """
    with context.database.transaction() as tx:
        wanted = [entry.source.source_id for entry in source_store.sources(tx) if entry.source.name == source]
        if not wanted:
            raise unknown_source()
        found = recent_of(tx, wanted[0], RECENT_KEPT)
        reading = Reading(actor, token, "accounting", question={"source": source, "recent": True})
        log_read(tx, context, reading, count=len(found), now=context.clock.now())
    return tuple(found)
