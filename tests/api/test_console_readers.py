"""The page of who looked at a person: for auditors and privacy staff, by identifier, itself recorded."""

import pytest

from cdp.access.model import Role
from tests.support.browser import Browser
from tests.support.people import ADA_IDENTIFIER
from tests.support.service import RunningService

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module", autouse=True)
def _looked_at(service: RunningService) -> None:
    service.add_person("ada@example.com", "ada")
    service.post("privacy", "/api/v1/profiles/lookup", {"identifier": ADA_IDENTIFIER})


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.PRIVACY])
def test_the_page_says_who_looked_at_whom_and_when(
    browsers: dict[Role, Browser], service: RunningService, role: Role
) -> None:
    browser = browsers[role]
    page = browser.open("/console/readers")
    assert "Who looked at a person" in page.words
    assert "reads showed" not in page.words
    page = browser.send("/console/readers", type="email", value="ada@example.com")
    assert "privacy (token" in page.words
    assert "profile" in page.words
    assert browser.answer.headers["cache-control"] == "no-store"
    policy = browser.answer.headers["content-security-policy"]
    assert "script" not in policy.replace("script-src 'none'", "")
    assert "<script" not in browser.answer.text
    assert "ada%40" not in str(browser.answer.url)
    page = browser.send("/console/readers", type="email", value="ada@example.com")
    assert "auditor (token" in page.words or role is Role.PRIVACY, "the look-up before is a read as well"


def test_of_somebody_unknown_the_page_says_no_more(browsers: dict[Role, Browser]) -> None:
    browser = browsers[Role.AUDITOR]
    browser.open("/console/readers")
    page = browser.send("/console/readers", type="email", value="nobody@example.com")
    assert "No read showed this person" in page.words
    page = browser.send("/console/readers", 422, type="email", value="not an address")
    assert "not an address" not in page.words


@pytest.mark.parametrize("role", [Role.MARKETER, Role.ADMIN])
def test_other_roles_do_not_open_it(browsers: dict[Role, Browser], role: Role) -> None:
    browser = browsers[role]
    page = browser.open("/console/readers", 403)
    assert "auditor" in page.words or "privacy" in page.words
    assert all(form.action != "/console/readers" for form in browser.open("/console").forms)


def test_a_form_of_another_session_is_refused(browsers: dict[Role, Browser]) -> None:
    browser = browsers[Role.AUDITOR]
    browser.open("/console/readers")
    browser.send("/console/readers", 403, type="email", value="ada@example.com", form="0" * 64)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.PRIVACY])
def test_the_sessions_of_sql_logins_are_shown(
    browsers: dict[Role, Browser], service: RunningService, role: Role
) -> None:
    browser = browsers[role]
    with service.context.database.transaction() as tx:
        tx.execute("DELETE FROM consent.reader_session")
    assert "No session of a SQL login" in browser.open("/console/readers/sessions").words
    with service.context.database.transaction() as tx:
        tx.execute(
            "INSERT INTO consent.reader_session (started_at, pid, login, tables, seen_at) "
            "VALUES (now() - interval '1 hour', 7, 'bi_tool', '{permitted_analytics}', now())"
        )
    page = browser.open("/console/readers/sessions")
    assert "bi_tool" in page.words
    assert "analytics (marketer)" in page.words
    (shown,) = service.get(role.value, "/api/v1/audit/sessions")["sessions"]
    assert (shown["login"], shown["gone_at"]) == ("bi_tool", None)
    assert shown["could_read"] == [{"table": "permitted_analytics", "role": "marketer", "purpose": "analytics"}]


@pytest.mark.parametrize("role", [Role.MARKETER, Role.ADMIN])
def test_other_roles_do_not_see_sessions(browsers: dict[Role, Browser], role: Role) -> None:
    browsers[role].open("/console/readers/sessions", 403)
