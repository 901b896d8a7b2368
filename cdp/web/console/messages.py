"""The messages page: the outcome of every message per source, state, reason and hour, with totals that add up."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query, Response

from cdp.access.model import Role
from cdp.accounting.model import State
from cdp.flows.operations import accounting, sources
from cdp.flows.operations.accounting import Accounting
from cdp.flows.operations.meanings import NOTICES, PROPERTY_NOTICES, STATES, meaning_of
from cdp.kit.errors import Fault
from cdp.web.console.page import page
from cdp.web.console.session import CONSOLE_PATH, InContext, Session, for_roles
from cdp.web.platform.deps import Now

_FIRST: Final = date(1970, 1, 8)
_LAST: Final = date(2199, 12, 31)

router = APIRouter(prefix=CONSOLE_PATH, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table: what it counts, how many were received, and how many ended in each state."""

    name: str
    received: int
    by_state: Counter[str]


@router.get("/messages")
def messages(
    context: InContext,
    now: Now,
    session: Annotated[Session, Depends(for_roles(Role.ADMIN, Role.AUDITOR))],
    *,
    source: Annotated[str, Query(max_length=100)] = "",
    from_: Annotated[date | Literal[""], Query(alias="from")] = "",
    to: Annotated[date | Literal[""], Query()] = "",
) -> Response:
    """Message accounting for whole days, both ends included; by default for the last seven."""
    last = _day(to, now.date())
    first = _day(from_, last - timedelta(days=6))
    since, until = (datetime.combine(day, time(), now.tzinfo) for day in (first, last + timedelta(days=1)))
    caller = session.caller
    found = accounting.count_messages(
        context, since, until, source=source or None, actor=caller.actor, token=caller.token
    )
    states = [state.value for state in State if found.by_state.get(state.value)]
    return page(
        "messages",
        session,
        first=first,
        last=last,
        source=source,
        names=[entry.source.name for entry in sources.list_sources(context)],
        received=found.received,
        states=states,
        by_state=found.by_state,
        meanings=STATES,
        by_source=_lines(found, "source"),
        by_hour=_lines(found, "hour"),
        reasons=_reasons(found),
        notices=_notices(found),
        properties=_properties(found),
    )


def _day(day: date | str, otherwise: date) -> date:
    if not isinstance(day, date):
        return otherwise
    if not _FIRST <= day <= _LAST:
        raise Fault("day_range", "The day is out of range", "Give a day between 1970 and 2199.", status=422)
    return day


def _lines(found: Accounting, by: str) -> list[Line]:
    lines: dict[object, Counter[str]] = {}
    for count in found.counts:
        lines.setdefault(getattr(count, by), Counter())[count.state] += count.messages
    return [Line(_name(key), by_state.total(), by_state) for key, by_state in sorted(lines.items(), key=str)]


def _name(key: object) -> str:
    return f"{key:%Y-%m-%d %H:00}" if isinstance(key, datetime) else str(key)


def _reasons(found: Accounting) -> list[tuple[str, str, str, int]]:
    counts: Counter[tuple[str, str]] = Counter()
    for line in found.counts:
        counts[line.state, line.reason] += line.messages
    return [(state, reason, meaning_of(state, reason), count) for (state, reason), count in counts.most_common()]


def _notices(found: Accounting) -> list[tuple[str, str, str, int]]:
    counts: Counter[tuple[str, str]] = Counter()
    for notice in found.notices:
        counts[notice.kind, notice.subject] += notice.messages
    return [(kind, subject, NOTICES.get(kind, ""), count) for (kind, subject), count in counts.most_common()]


def _properties(found: Accounting) -> list[tuple[str, str, str, str, str, int]]:
    """Source, event, property, expected type, problem and number of messages, the most frequent first."""
    counts: Counter[tuple[str, str, str, str, str]] = Counter()
    for fault in found.properties:
        counts[fault.source, fault.event, fault.property, fault.expected, PROPERTY_NOTICES[fault.kind]] += (
            fault.messages
        )
    return [(*names, count) for names, count in counts.most_common()]
