"""Use case of message accounting: what became of every message."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cdp.accounting.store.messages import accounting
from cdp.accounting.store.notices import notices
from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.operations.sources import unknown_source
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
    """How often something odd was seen in messages of a source in an hour; `subject` is a name from policy or `other`."""

    source: str
    hour: datetime
    kind: str
    subject: str
    messages: int


@dataclass(frozen=True, slots=True)
class Accounting:
    """What became of every message of a period: `received` is the sum of all states."""

    received: int
    by_state: dict[str, int]
    counts: tuple[MessageCount, ...]
    notices: tuple[NoticeCount, ...]


def count_messages(
    context: Context, since: datetime, until: datetime, *, source: str | None = None, actor: str
) -> Accounting:
    """What became of the messages received in the hours that begin in [since, until). Raises `unknown_source` (404)."""
    with context.database.transaction() as tx:
        names = {each.source.source_id: each.source.name for each in source_store.sources(tx)}
        wanted = None if source is None else [each for each, name in names.items() if name == source]
        if wanted == []:
            raise unknown_source()
        found = accounting(tx, since, until, source_ids=wanted)
        odd = notices(tx, since, until, source_ids=wanted)
        read: dict[str, Any] = {"kind": "data.read", "actor": actor, "read": "accounting", "count": len(found)}
        fact_store.append(tx, read, context.clock.now())
    by_state: dict[str, int] = {}
    for each in found:
        by_state[each.state.value] = by_state.get(each.state.value, 0) + each.messages
    return Accounting(
        received=sum(by_state.values()),
        by_state=by_state,
        counts=tuple(
            MessageCount(names.get(each.source_id, "?"), each.hour, each.state.value, each.reason, each.messages)
            for each in found
        ),
        notices=tuple(
            NoticeCount(names.get(each.source_id, "?"), each.hour, each.kind.value, each.subject, each.messages)
            for each in odd
        ),
    )
