"""The page for the people themselves says what the policy says, and whether their opt-out signal was heard."""

import pytest

from cdp.policy.jurisdictions import DeadlineTerm
from cdp.web.center.notice import notice_text, span, term
from tests.support.policies import changed, documents_of, shipped
from tests.support.service import RunningService


def test_it_says_what_for_how_long_and_what_can_be_asked(service: RunningService) -> None:
    policy = service.context.policy
    answer = service.client.get("/privacy")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for purpose in policy.purposes.values():
        assert purpose.name in answer.text
        assert purpose.text in answer.text
    for each in policy.retention.classes.values():
        assert each.reason in answer.text
    for regime in policy.jurisdictions.regimes.values():
        assert regime.authority in answer.text
    assert "California: used unless you opt out" in answer.text
    assert "We respond within 1 month, or tell you by then that we need another 2 months" in answer.text


def test_it_keeps_nothing_and_runs_nothing(service: RunningService) -> None:
    answer = service.client.get("/privacy")
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert "<form" not in answer.text


@pytest.mark.parametrize(("value", "is_heard"), [("1", True), ("0", False), ("yes", False), (None, False)])
def test_it_shows_whether_the_opt_out_signal_was_heard(
    service: RunningService, value: str | None, *, is_heard: bool
) -> None:
    answer = service.client.get("/privacy", headers={} if value is None else {"Sec-GPC": value})
    assert ("Opt-out signal honored" in answer.text) == is_heard
    assert ("does not send Global Privacy Control" in answer.text) != is_heard
    assert "Advertising on other sites" in answer.text


@pytest.mark.parametrize("is_heard", [True, False])
def test_it_states_whether_an_opt_in_stands_against_the_signal(*, is_heard: bool) -> None:
    purpose = documents_of(shipped())["purposes.yaml"]["purposes"]["advertising"]
    policy = changed(shipped(), "purposes.yaml", purposes={"advertising": {**purpose, "opt_in_overrides_gpc": True}})
    sentence = "your opt-in stands against the signal of this site for: Advertising on other sites."
    assert sentence in notice_text(policy, is_gpc_honored=is_heard)
    assert sentence not in notice_text(shipped(), is_gpc_honored=is_heard)


@pytest.mark.parametrize(
    ("days", "told"),
    [(30, "30 days"), (90, "3 months"), (365, "12 months"), (395, "13 months"), (731, "2 years"), (2922, "8 years")],
)
def test_times_are_told_as_people_say_them(days: int, told: str) -> None:
    assert span(days) == told


@pytest.mark.parametrize(
    ("within", "told"),
    [
        (DeadlineTerm(months=1), "1 month"),
        (DeadlineTerm(calendar_days=45), "45 days"),
        (DeadlineTerm(business_days=15), "15 working days"),
    ],
)
def test_deadlines_are_told_as_people_say_them(within: DeadlineTerm, told: str) -> None:
    assert term(within) == told
