"""The lifecycle of a request: which status may follow which, and the deadlines. Pure.

    received -> verified -> in_progress -> fulfilled | denied
    received, verified -> denied | withdrawn; received -> expired, once the requester did not answer a question

Opt-outs, objections and requests to limit need no verification (California section 7026 (d)): they are carried out when
they are received, and never expire. An objection that is weighed (GDPR Art. 21(1)) is in progress from its receipt on, until it
is upheld, denied or withdrawn.
"""

import calendar
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from cdp.policy.jurisdictions import DeadlineTerm, Regime, Right
from cdp.rights.model import Denial, ErasureMode, Request, RequestId, Status

_SATURDAY = 5
ANSWER_DAYS = 14
"""How long a requester has at least to answer the question who they are before the request can expire."""

WITHOUT_VERIFICATION = frozenset({Right.OPT_OUT, Right.LIMIT, Right.OBJECTION})

_NEXT: dict[Status, frozenset[Status]] = {
    Status.RECEIVED: frozenset({Status.VERIFIED, Status.DENIED, Status.WITHDRAWN, Status.EXPIRED}),
    Status.VERIFIED: frozenset({Status.IN_PROGRESS, Status.DENIED, Status.WITHDRAWN}),
    Status.IN_PROGRESS: frozenset({Status.FULFILLED, Status.DENIED}),
    Status.FULFILLED: frozenset(),
    Status.DENIED: frozenset(),
    Status.WITHDRAWN: frozenset(),
    Status.EXPIRED: frozenset(),
}


class StepRefusal(StrEnum):
    """Why a request cannot move to a status."""

    NOT_NEXT = "not_next"
    NOT_DUE = "not_due"
    NOT_ASKED = "not_asked"
    ALREADY_EXTENDED = "already_extended"
    TOO_LATE = "too_late"
    NO_EXTENSION = "no_extension"
    STARTED = "started"
    NOT_WEIGHED = "not_weighed"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """When receipt must be confirmed, if the regime requires it, and when the answer is due."""

    confirm_by: datetime | None
    due_at: datetime


def deadlines(
    regime: Regime, kind: Right, received_at: datetime, *, time_zone: str, is_weighed: bool = False
) -> Deadlines:
    """The deadlines of a request, counted from receipt; verification does not suspend them.

    A deadline has the local time of day of the receipt, so that it is never later than the end of the statutory day.
    """
    term = regime.opt_out if kind in WITHOUT_VERIFICATION and not is_weighed else regime.answer
    zone, holidays = ZoneInfo(time_zone), frozenset(regime.holidays)
    confirm_by = None if regime.confirm is None else after(received_at, regime.confirm, zone, holidays=holidays)
    return Deadlines(confirm_by, after(received_at, term, zone, holidays=holidays))


def received(
    request_id: RequestId,
    kind: Right,
    regime: Regime,
    *,
    received_at: datetime,
    time_zone: str,
    mode: ErasureMode | None = None,
    weighed: tuple[str, ...] = (),
) -> Request:
    """A new request with its deadlines; `mode` is that of an erasure, which erases and suppresses unless it says otherwise.

    `weighed` are the purposes of an objection that is weighed.
    """
    limits = deadlines(regime, kind, received_at, time_zone=time_zone, is_weighed=bool(weighed))
    if kind is Right.ERASURE:
        mode = mode or ErasureMode.ERASE_AND_SUPPRESS
    return Request(
        request_id,
        kind,
        regime.key,
        Status.RECEIVED,
        received_at,
        limits.confirm_by,
        limits.due_at,
        mode=mode,
        weighed=weighed,
    )


def ask(request: Request, now: datetime) -> Request | StepRefusal:
    """Mark that the requester was asked to prove who they are; asking again starts the time to answer again."""
    if request.status is not Status.RECEIVED or request.kind in WITHOUT_VERIFICATION:
        return StepRefusal.NOT_NEXT
    return replace(request, asked_at=now)


def verify(request: Request, now: datetime) -> Request | StepRefusal:
    """Mark that the requester is verified as the person whom the identifiers name."""
    return _advanced(request, Status.VERIFIED, verified_at=now)


def start(request: Request, now: datetime) -> Request | StepRefusal:
    """Start carrying it out; a request in progress is returned unchanged."""
    if request.status is Status.IN_PROGRESS:
        return request
    if request.status is Status.RECEIVED and request.kind in WITHOUT_VERIFICATION:
        return replace(request, status=Status.IN_PROGRESS, started_at=now)
    return _advanced(request, Status.IN_PROGRESS, started_at=now)


def fulfill(request: Request, now: datetime) -> Request | StepRefusal:
    """Mark it as carried out."""
    return _advanced(request, Status.FULFILLED, closed_at=now)


def deny(request: Request, reason: Denial, now: datetime) -> Request | StepRefusal:
    """Deny it for a reason. An erasure that is in progress cannot be denied, because it has deleted data already.

    Interests override only an objection that is weighed.
    """
    if reason is Denial.OVERRIDING_INTERESTS and not request.weighed:
        return StepRefusal.NOT_WEIGHED
    if request.status is Status.IN_PROGRESS and request.kind is Right.ERASURE:
        return StepRefusal.STARTED
    return _advanced(request, Status.DENIED, denial_reason=reason, closed_at=now)


def withdraw(request: Request, now: datetime) -> Request | StepRefusal:
    """Withdraw it at the requester's wish, before it is in progress; an objection that is weighed also meanwhile."""
    if request.status is Status.IN_PROGRESS and request.weighed:
        return replace(request, status=Status.WITHDRAWN, closed_at=now)
    return _advanced(request, Status.WITHDRAWN, closed_at=now)


def expire(request: Request, now: datetime) -> Request | StepRefusal:
    """Expire a request whose requester was asked who they are and answered neither before the deadline nor in time."""
    if request.status is not Status.RECEIVED or request.kind in WITHOUT_VERIFICATION:
        return StepRefusal.NOT_NEXT
    if request.asked_at is None:
        return StepRefusal.NOT_ASKED
    if now <= max(request.due_at, request.asked_at + timedelta(days=ANSWER_DAYS)):
        return StepRefusal.NOT_DUE
    return _advanced(request, Status.EXPIRED, closed_at=now)


def extend(request: Request, regime: Regime, now: datetime, *, time_zone: str) -> Request | StepRefusal:
    """Apply the regime's extension: once, and only before the first deadline has passed."""
    if not _NEXT[request.status]:
        return StepRefusal.NOT_NEXT
    if regime.extension is None or (request.kind in WITHOUT_VERIFICATION and not request.weighed):
        return StepRefusal.NO_EXTENSION
    if request.extended_at is not None:
        return StepRefusal.ALREADY_EXTENDED
    if now > request.due_at:
        return StepRefusal.TOO_LATE
    zone, holidays = ZoneInfo(time_zone), frozenset(regime.holidays)
    total = _sum(regime.answer, regime.extension)
    if total is not None:
        due_at = after(request.received_at, total, zone, holidays=holidays)
    else:
        due_at = after(request.due_at, regime.extension, zone, holidays=holidays)
    return replace(request, due_at=due_at, extended_at=now)


def after(instant: datetime, term: DeadlineTerm, zone: ZoneInfo, *, holidays: Collection[date]) -> datetime:
    """The instant a term later, at the same local time of day.

    A term in months ends on the last day of a shorter month (GDPR Art. 12(3), Regulation 1182/71). Business days exclude
    Saturdays, Sundays and holidays; the day of receipt is not counted.
    """
    local = instant.astimezone(zone)
    day = local.date()
    if term.months is not None:
        end = _months_later(day, term.months)
    elif term.calendar_days is not None:
        end = day + timedelta(days=term.calendar_days)
    else:
        end = _business_days_later(day, term.business_days or 0, holidays)
    return datetime.combine(end, local.timetz()).astimezone(instant.tzinfo)


def _months_later(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(day.day, last))


def _business_days_later(day: date, count: int, holidays: Collection[date]) -> date:
    while count:
        day += timedelta(days=1)
        count -= day.weekday() < _SATURDAY and day not in holidays
    return day


def _sum(one: DeadlineTerm, other: DeadlineTerm) -> DeadlineTerm | None:
    """Both terms as one if they have the same unit, so that the end of a month is applied once; None otherwise."""
    if one.months is not None and other.months is not None:
        return DeadlineTerm(months=one.months + other.months)
    if one.calendar_days is not None and other.calendar_days is not None:
        return DeadlineTerm(calendar_days=one.calendar_days + other.calendar_days)
    return None


def _advanced(
    request: Request,
    status: Status,
    *,
    verified_at: datetime | None = None,
    started_at: datetime | None = None,
    closed_at: datetime | None = None,
    denial_reason: Denial | None = None,
) -> Request | StepRefusal:
    if status not in _NEXT[request.status]:
        return StepRefusal.NOT_NEXT
    return replace(
        request,
        status=status,
        verified_at=verified_at or request.verified_at,
        started_at=started_at or request.started_at,
        closed_at=closed_at,
        denial_reason=denial_reason,
    )
