"""Tokens of several reader roles: each reads its purposes under its own ids, and the log names the role."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.operations.policy import apply_policy
from cdp.flows.segments import definitions, reading
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.postgres.server import EmbeddedPostgres
from tests.support.browser import Browser
from tests.support.databases import temporary_database
from tests.support.folders import FOLDERS, PREFIX
from tests.support.policies import shipped, with_readers
from tests.support.service import RunningService, serve_application

pytestmark = pytest.mark.postgres

POLICY = with_readers(shipped(), agency=("email_marketing",), analyst=("analytics",))
BOUGHT = 'did("Order Completed")'


@pytest.fixture(scope="module")
def service(server: EmbeddedPostgres, template: str) -> Iterator[RunningService]:
    """A service with two further reader roles, two buyers, and a token for each role."""
    with temporary_database(server, template) as url, tempfile.TemporaryDirectory(prefix=PREFIX, dir=FOLDERS) as home:
        database = Database(url)
        try:
            with serve_application(database, Path(home), POLICY) as service:
                tokens = dict(service.tokens)
                for role in ("agency", "analyst"):
                    made = service.post("admin", "/api/v1/tokens", {"name": f"of {role}", "role": role}, 201)
                    assert made["role"] == role
                    tokens[role] = made["token"]
                running = RunningService(
                    service.url, service.client, service.context, tokens, service.write_key, service.browser_key
                )
                for name in ("ada", "bob"):
                    running.add_person(f"{name}@example.com", name)
                for purpose in ("email_marketing", "analytics"):
                    body = {"key": f"of_{purpose}", "name": "B", "purpose": purpose, "where": BOUGHT}
                    running.post("marketer", "/api/v1/segments", body, 201)
                yield running
        finally:
            database.close()


def members(service: RunningService, role: str, purpose: str) -> set[str]:
    found = service.get(role, f"/api/v1/segments/of_{purpose}/members")
    assert found["size"] == len(found["members"]) == 2
    return {member["profile"] for member in found["members"]}


def test_each_role_has_ids_of_its_own(service: RunningService) -> None:
    listed = {
        pair: members(service, *pair)
        for pair in (
            ("marketer", "email_marketing"),
            ("marketer", "analytics"),
            ("agency", "email_marketing"),
            ("analyst", "analytics"),
        )
    }
    assert len(set.union(*listed.values())) == 8
    for (role, purpose), ids in listed.items():
        shown = service.post(role, "/api/v1/segments/preview", {"purpose": purpose, "where": BOUGHT})
        assert set(shown["sample"]) == ids
        for profile in ids:
            found = service.post(role, "/api/v1/profiles/lookup", {"profile": profile})
            assert found["profile"] == profile
            assert set(found["consents"]) == {purpose}
            answer = service.post(role, f"/api/v1/segments/of_{purpose}/explain", {"profile": profile})
            assert answer["profile"]["is_in"] is True
    for role, purpose in (("agency", "email_marketing"), ("analyst", "analytics")):
        for other in set.union(*listed.values()) - listed[role, purpose]:
            assert service.call(role, "POST", "/api/v1/profiles/lookup", {"profile": other}).status_code == 404
            body = {"profile": other}
            assert service.call(role, "POST", f"/api/v1/segments/of_{purpose}/explain", body).status_code == 404


def test_a_role_reads_no_purpose_of_another(service: RunningService) -> None:
    for role, own, other in (("agency", "email_marketing", "analytics"), ("analyst", "analytics", "email_marketing")):
        assert {each["purpose"] for each in service.get(role, "/api/v1/segments")["segments"]} == {own}
        refused: list[tuple[str, str, Any]] = [
            ("GET", f"/api/v1/segments/of_{other}", None),
            ("GET", f"/api/v1/segments/of_{other}/members", None),
            ("POST", "/api/v1/segments/preview", {"purpose": other, "where": BOUGHT}),
            ("PUT", f"/api/v1/segments/of_{other}", {"name": "x", "purpose": other, "where": BOUGHT}),
            ("DELETE", f"/api/v1/segments/of_{other}", None),
        ]
        for method, path, body in refused:
            answer = service.call(role, method, path, body)
            assert (answer.status_code, answer.json()["code"]) == (403, "purpose_not_readable"), path
        for path in ("/api/v1/subject-requests", "/api/v1/audit/entries", "/api/v1/tokens"):
            assert service.call(role, "GET", path).status_code == 403


def test_the_log_names_the_role_that_read(service: RunningService) -> None:
    members(service, "agency", "email_marketing")
    body = {"identifier": {"type": "email", "value": "ada@example.com"}}
    reads = service.post("auditor", "/api/v1/audit/readers", body)["reads"]
    assert ("agency", "members", "email_marketing") in {(read["role"], read["read"], read["purpose"]) for read in reads}


def test_the_console_is_open_to_them(service: RunningService) -> None:
    browser = Browser(service)
    browser.open("/console", 401)
    browser.send("/console/enter", token=service.tokens["agency"])
    page = browser.open("/console/segments")
    assert "agency" in page.words
    assert "of_email_marketing" in browser.answer.text
    assert "of_analytics" not in browser.answer.text
    browser.open("/console/requests", 403)
    browser.client.close()


def test_a_role_that_the_policy_does_not_name_gets_no_token(service: RunningService) -> None:
    assert service.post("admin", "/api/v1/tokens", {"name": "x", "role": "guest"}, 422)["code"] == "unknown_role"


def test_a_token_of_a_role_that_ended_reads_nobody(service: RunningService) -> None:
    """Last, because it changes the policy of the service."""
    without = with_readers(shipped(), analyst=("analytics",))
    ended = apply_policy(service.context, without).context
    with pytest.raises(Fault, match="purpose_not_readable"):
        reading.members(ended, "of_email_marketing", after=None, limit=10, actor="agency", token=5)
    assert definitions.list_segments(ended, actor="agency") == []
    with ended.database.transaction(read_only=True) as tx:
        assert tx.execute("SELECT DISTINCT role FROM consent.projection") == [("analyst",)]
