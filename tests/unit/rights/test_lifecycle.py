"""The life of a request: every path ends, deadlines follow the law's own counting."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.policy.jurisdictions import DeadlineTerm, Regime, Right
from cdp.rights import lifecycle
from cdp.rights.lifecycle import StepRefusal
from cdp.rights.model import ENDED, Denial, Request, RequestId, Status
from tests.support.policies import shipped

REGIMES = shipped().jurisdictions.regimes
GDPR, CCPA = REGIMES["gdpr"], REGIMES["ccpa"]
UTC_ZONE = ZoneInfo("UTC")


def received(at: datetime, kind: Right = Right.ERASURE, regime: Regime = GDPR, zone: str = "UTC") -> Request:
    return lifecycle.received(RequestId(1), kind, regime, received_at=at, time_zone=zone)


@pytest.mark.parametrize(
    ("at", "due"),
    [
        ("2026-01-31T10:00", "2026-02-28T10:00"),  # Regulation 1182/71: the last day of a shorter month
        ("2028-01-31T10:00", "2028-02-29T10:00"),
        ("2026-11-22T12:00", "2026-12-22T12:00"),
        ("2026-12-15T00:00", "2027-01-15T00:00"),
    ],
)
def test_gdpr_answers_within_one_month(at: str, due: str) -> None:
    request = received(datetime.fromisoformat(at).replace(tzinfo=UTC))
    assert request.due_at == datetime.fromisoformat(due).replace(tzinfo=UTC)
    assert request.confirm_by is None


def test_california_confirms_in_business_days_and_answers_in_calendar_days() -> None:
    friday = datetime(2026, 6, 5, 9, tzinfo=UTC)
    request = received(friday, regime=CCPA)
    assert request.confirm_by == datetime(2026, 6, 19, 9, tzinfo=UTC)
    assert request.due_at == datetime(2026, 7, 20, 9, tzinfo=UTC)
    assert received(friday, Right.OPT_OUT, CCPA).due_at == datetime(2026, 6, 26, 9, tzinfo=UTC)


def test_holidays_are_no_business_days() -> None:
    term = DeadlineTerm(business_days=2)
    friday = datetime(2026, 7, 3, 9, tzinfo=UTC)
    assert lifecycle.after(friday, term, UTC_ZONE, holidays={date(2026, 7, 6)}).date() == date(2026, 7, 8)


def test_days_are_those_of_the_policys_time_zone() -> None:
    late = datetime(2026, 1, 30, 23, 30, tzinfo=UTC)  # already the 31st in Berlin
    assert received(late, zone="Europe/Berlin").due_at == datetime(2026, 2, 27, 23, 30, tzinfo=UTC)


def test_an_extension_is_counted_from_receipt_and_taken_once() -> None:
    request = received(datetime(2026, 1, 31, 10, tzinfo=UTC))
    extended = lifecycle.extend(request, GDPR, datetime(2026, 2, 20, tzinfo=UTC), time_zone="UTC")
    assert isinstance(extended, Request)
    assert extended.due_at == datetime(2026, 4, 30, 10, tzinfo=UTC)
    assert (
        lifecycle.extend(extended, GDPR, datetime(2026, 2, 21, tzinfo=UTC), time_zone="UTC")
        is StepRefusal.ALREADY_EXTENDED
    )
    assert lifecycle.extend(request, GDPR, datetime(2026, 3, 1, tzinfo=UTC), time_zone="UTC") is StepRefusal.TOO_LATE
    opt_out = received(datetime(2026, 1, 31, tzinfo=UTC), Right.OPT_OUT, CCPA)
    assert (
        lifecycle.extend(opt_out, CCPA, datetime(2026, 2, 1, tzinfo=UTC), time_zone="UTC") is StepRefusal.NO_EXTENSION
    )


def test_california_extends_by_forty_five_days_to_ninety() -> None:
    request = received(datetime(2026, 1, 1, tzinfo=UTC), regime=CCPA)
    extended = lifecycle.extend(request, CCPA, datetime(2026, 1, 2, tzinfo=UTC), time_zone="UTC")
    assert isinstance(extended, Request)
    assert (extended.due_at - request.received_at).days == 90


def test_opt_outs_need_no_verification_and_erasures_do() -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    assert lifecycle.start(received(now), now) is StepRefusal.NOT_NEXT
    started = lifecycle.start(received(now, Right.OPT_OUT, CCPA), now)
    assert isinstance(started, Request)
    assert started.status is Status.IN_PROGRESS


def test_an_erasure_that_began_cannot_be_denied() -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    verified = lifecycle.verify(received(now), now)
    assert isinstance(verified, Request)
    started = lifecycle.start(verified, now)
    assert isinstance(started, Request)
    assert lifecycle.deny(started, Denial.EXEMPT, now) is StepRefusal.STARTED
    assert lifecycle.withdraw(started, now) is StepRefusal.NOT_NEXT
    assert lifecycle.start(started, now) is started


def asked(now: datetime) -> Request:
    request = lifecycle.ask(received(now), now)
    assert isinstance(request, Request)
    return request


def test_nothing_expires_before_it_is_due_or_once_it_is_verified() -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    request = asked(now)
    assert lifecycle.expire(request, request.due_at) is StepRefusal.NOT_DUE
    late = datetime(2026, 8, 1, tzinfo=UTC)
    verified = lifecycle.verify(request, now)
    assert isinstance(verified, Request)
    assert lifecycle.expire(verified, late) is StepRefusal.NOT_NEXT
    expired = lifecycle.expire(request, late)
    assert isinstance(expired, Request)
    assert expired.closed_at == late


def test_only_who_did_not_answer_a_question_runs_out_of_time() -> None:
    now, late = datetime(2026, 6, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    assert lifecycle.expire(received(now), late) is StepRefusal.NOT_ASKED
    request = asked(now)
    again = lifecycle.ask(request, request.due_at)
    assert isinstance(again, Request)
    assert lifecycle.expire(again, request.due_at + timedelta(days=14)) is StepRefusal.NOT_DUE
    assert isinstance(lifecycle.expire(again, request.due_at + timedelta(days=14, seconds=1)), Request)


@pytest.mark.parametrize("kind", sorted(lifecycle.WITHOUT_VERIFICATION))
def test_what_needs_no_verification_asks_nothing_and_never_expires(kind: Right) -> None:
    request = received(datetime(2026, 6, 1, tzinfo=UTC), kind)
    late = datetime(2030, 1, 1, tzinfo=UTC)
    assert lifecycle.ask(request, late) is StepRefusal.NOT_NEXT
    assert lifecycle.expire(replace(request, asked_at=request.received_at), late) is StepRefusal.NOT_NEXT


STEPS: dict[str, Callable[[Request, datetime], Request | StepRefusal]] = {
    "ask": lifecycle.ask,
    "verify": lifecycle.verify,
    "start": lifecycle.start,
    "fulfill": lifecycle.fulfill,
    "deny": lambda request, now: lifecycle.deny(request, Denial.UNFOUNDED, now),
    "withdraw": lifecycle.withdraw,
    "expire": lifecycle.expire,
    "extend": lambda request, now: lifecycle.extend(request, GDPR, now, time_zone="UTC"),
}


@given(st.sampled_from(list(Right)), st.lists(st.sampled_from(sorted(STEPS)), max_size=12))
def test_any_order_of_steps_keeps_a_request_whole(kind: Right, steps: list[str]) -> None:
    request = received(datetime(2026, 6, 1, tzinfo=UTC), kind)
    now = datetime(2026, 7, 15, tzinfo=UTC)
    for step in steps:
        outcome = STEPS[step](request, now)
        was_over = request.status in ENDED
        if isinstance(outcome, Request):
            assert not was_over
            request = outcome
        assert (request.closed_at is not None) == (request.status in ENDED)
        assert (request.denial_reason is not None) == (request.status is Status.DENIED)
        if request.status is Status.FULFILLED and kind not in lifecycle.WITHOUT_VERIFICATION:
            assert request.verified_at is not None


@pytest.mark.parametrize("status", [each for each in Status if each not in ENDED])
def test_every_path_ends(status: Status) -> None:
    reached, frontier = {status}, [status]
    while frontier:
        for following in lifecycle._NEXT[frontier.pop()]:
            if following not in reached:
                reached.add(following)
                frontier.append(following)
    assert reached & ENDED
