"""The page of messages: what became of every one, per source, state, reason and hour, and that it adds up."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query, Response

from cdp.access.model import Role
from cdp.accounting.model import State
from cdp.flows.operations import accounting, sources
from cdp.flows.operations.accounting import Accounting
from cdp.flows.operations.meanings import NOTICES, STATES, meaning_of
from cdp.kit.errors import Fault
from cdp.web.console.page import page
from cdp.web.console.session import HOME, Visitor, for_roles
from cdp.web.platform.deps import InContext, Now

_FIRST: Final = date(1970, 1, 8)
_LAST: Final = date(2199, 12, 31)

router = APIRouter(prefix=HOME, include_in_schema=False)


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
    visitor: Annotated[Visitor, Depends(for_roles(Role.ADMIN, Role.AUDITOR))],
    *,
    source: Annotated[str, Query(max_length=100)] = "",
    from_: Annotated[date | Literal[""], Query(alias="from")] = "",
    to: Annotated[date | Literal[""], Query()] = "",
) -> Response:
    """The accounting of whole days, both ends included; the last seven if none are named."""
    last = _day(to, now.date())
    first = _day(from_, last - timedelta(days=6))
    since, until = (datetime.combine(day, time(), now.tzinfo) for day in (first, last + timedelta(days=1)))
    found = accounting.count_messages(context, since, until, source=source or None, actor=visitor.caller.actor)
    states = [state.value for state in State if found.by_state.get(state.value)]
    return page(
        "messages",
        visitor,
        first=first,
        last=last,
        source=source,
        names=[each.source.name for each in sources.list_sources(context)],
        received=found.received,
        states=states,
        by_state=found.by_state,
        meanings=STATES,
        by_source=_lines(found, "source"),
        by_hour=_lines(found, "hour"),
        reasons=_reasons(found),
        oddities=_oddities(found),
    )


def _day(given: date | str, otherwise: date) -> date:
    if not isinstance(given, date):
        return otherwise
    if not _FIRST <= given <= _LAST:
        raise Fault("day_range", "That day is too far away", "Give a day between 1970 and 2199.", status=422)
    return given


def _lines(found: Accounting, by: str) -> list[Line]:
    lines: dict[object, Counter[str]] = {}
    for each in found.counts:
        lines.setdefault(getattr(each, by), Counter())[each.state] += each.messages
    return [Line(_name(key), by_state.total(), by_state) for key, by_state in sorted(lines.items(), key=str)]


def _name(key: object) -> str:
    return f"{key:%Y-%m-%d %H:00}" if isinstance(key, datetime) else str(key)


def _reasons(found: Accounting) -> list[tuple[str, str, str, int]]:
    counts: Counter[tuple[str, str]] = Counter()
    for each in found.counts:
        counts[each.state, each.reason] += each.messages
    return [(state, reason, meaning_of(state, reason), count) for (state, reason), count in counts.most_common()]


def _oddities(found: Accounting) -> list[tuple[str, str, str, int]]:
    counts: Counter[tuple[str, str]] = Counter()
    for each in found.notices:
        counts[each.kind, each.subject] += each.messages
    return [(kind, subject, NOTICES.get(kind, ""), count) for (kind, subject), count in counts.most_common()]
