"""The page for the people themselves says what the policy says, and whether their opt-out signal was heard."""

import html
from typing import Any

import pytest

from cdp.operations.store.policies import latest_policy
from cdp.policy.jurisdictions import DeadlineTerm
from cdp.policy.model import Policy
from cdp.policy.purposes import UnknownAge
from cdp.web.center.notice import notice_text, span, term
from tests.support.controllers import RESPONSIBLE, with_controller
from tests.support.policies import changed, combining, documents_of, shipped
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
    ("days", "told"),
    [(1, "1 day"), (100, "100 days"), (760, "25 months"), (900, "900 days"), (1000, "1,000 days"), (1643, "54 months")],
)
def test_no_time_is_rounded_to_another(days: int, told: str) -> None:
    assert span(days) == told


def test_every_time_told_is_within_three_days_of_the_policy() -> None:
    unit_days = {"day": 1.0, "month": 365.25 / 12, "year": 365.25}
    for days in range(1, 36526):
        amount, unit = span(days).replace(",", "").split()
        assert abs(float(amount) * unit_days[unit.removesuffix("s")] - days) <= 3


def told_by(policy: Policy, *, has_signal: bool = True) -> str:
    """The notice under another policy, without layout."""
    return " ".join(notice_text(policy, is_gpc_honored=has_signal).split())


def with_purpose(key: str, **fields: Any) -> Policy:
    """The shipped policy with other fields in one purpose."""
    policy = shipped()
    purpose = policy.purposes[key].model_copy(update=fields)
    return policy.model_copy(update={"purposes": {**policy.purposes, key: purpose}})


def test_it_says_what_is_not_known_about_ages() -> None:
    told = told_by(with_purpose("personalization", minimum_age=16, unknown_age=UnknownAge.ALLOW))
    assert "Not used for anyone whom we know to be younger than 16." in told
    assert "Not used for anyone younger" not in told
    told = told_by(with_purpose("personalization", minimum_age=17, unknown_age=UnknownAge.REFUSE))
    assert "Only used if we know that you are at least 17." in told


def test_it_says_which_purposes_are_combined() -> None:
    other = shipped().purposes["analytics"].name
    combined = f"If you are included in both, combined with: {other}."
    assert combined in told_by(combining(shipped(), "email_marketing", "analytics"))
    assert "combined with" not in told_by(shipped())


def test_it_says_when_it_was_last_updated(service: RunningService) -> None:
    """Section 7011 (e)(4) of the regulations of California."""
    with service.context.database.transaction(read_only=True) as tx:
        applied = latest_policy(tx)
    assert applied is not None
    day = f"{applied.applied_at.day} {applied.applied_at:%B %Y}"
    assert f"Last updated on {day}, when the policy" in service.client.get("/privacy").text


def test_it_promises_no_opt_out_where_nothing_is_sold() -> None:
    told = told_by(with_purpose("advertising", sale_or_sharing=False))
    assert "We neither sell nor share data" in told
    assert "opt-out from" not in told
    assert "Opt-out signal honored" not in told
    assert "treat it" not in told_by(with_purpose("advertising", sale_or_sharing=False), has_signal=False)


def test_it_says_that_an_archive_is_not_everything(service: RunningService) -> None:
    """As docs/reference/export.md does: some values are named and not shown."""
    told = " ".join(service.client.get("/privacy").text.split())
    assert "all data held about you" not in told
    assert "It states what we hold but may not show" in told


def test_it_lists_how_long_identifiers_requests_and_segments_are_kept(service: RunningService) -> None:
    retention = service.context.policy.retention
    told = " ".join(service.client.get("/privacy").text.split())
    for rule in (retention.identifiers, retention.requests, retention.memberships):
        assert rule.reason in told


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


def test_it_names_the_controller_and_where_to_turn_to() -> None:
    told = html.unescape(told_by(with_controller(shipped())))
    for party in (RESPONSIBLE["controller"], *RESPONSIBLE["joint_controllers"], RESPONSIBLE["representative"]):
        assert party["name"] in told
        assert party["address"] in told
        assert f'<a href="mailto:{party["email"]}">{party["email"]}</a>' in told
    assert "Data protection officer" in told
    assert "Dr. Kim Doe" in told
    assert 'To exercise your rights, or with questions, write to <a href="mailto:privacy@nordlicht.example">' in told
    assert 'or use <a href="https://nordlicht.example/privacy-request">' in told
    assert "not named" not in told


def test_what_the_controller_is_called_is_no_markup() -> None:
    content = {
        "controller": {"name": 'Bolt & Nut "Ltd"', "address": "1 Street, Town", "email": "o'hara&co@nut.example"}
    }
    told = told_by(with_controller(shipped(), content))
    assert "Bolt &amp; Nut &#34;Ltd&#34;" in told
    assert 'href="mailto:o%27hara%26co@nut.example"' in told


def test_it_says_that_the_controller_is_not_named_yet(service: RunningService) -> None:
    told = " ".join(service.client.get("/privacy").text.split())
    assert "The operator of this site has not named the organization that is responsible for your data yet." in told
    assert "<code>controller.yaml</code>" in told
    assert "&lt;" not in told
    assert "mailto:" not in told
