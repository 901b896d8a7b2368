"""Requests run over the part of the service that serves the role of their caller, with its rights and no others."""

from collections.abc import Iterator
from typing import Final

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from psycopg import sql

from cdp.access.model import Role
from cdp.flows.operations import sources
from cdp.flows.operations.part_logins import role_name
from cdp.flows.operations.pools import PART_OF
from cdp.postgres.server import EmbeddedPostgres
from cdp.web.console import kept, log, login, messages, people, readers, requests, segments
from cdp.web.platform import deps
from tests.support.messages import track
from tests.support.people import ADA_IDENTIFIER
from tests.support.service import RunningService, served

READS: Final = {
    Role.AUDITOR: ("GET", "/api/v1/audit/entries", None, "/console/log", "audit.fact"),
    Role.PRIVACY: ("GET", "/api/v1/subject-requests", None, "/console/requests", "rights.request"),
    Role.MARKETER: ("GET", "/api/v1/segments", None, "/console/segments", "segments.segment"),
}
"""By role: a request of the API, a page of the console, and a table that both read."""


def database_name(service: RunningService) -> str:
    return str(service.context.database.engine.url.database)


def logins(service: RunningService) -> set[str]:
    """The logins of the connections that are open."""
    with service.context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT usename::text FROM pg_stat_activity WHERE datname = current_database()")
    return {login for (login,) in rows if login is not None}


@pytest.fixture
def service(server: EmbeddedPostgres, template: str) -> Iterator[RunningService]:
    """A service of which no part has opened a connection yet."""
    with served(server, template) as service:
        yield service


@pytest.fixture
def browser(service: RunningService, role: Role) -> Iterator[httpx.Client]:
    """A browser with the cookie of a session of the role."""
    with httpx.Client(base_url=service.url, cookies={"cdp_console": service.tokens[role.value]}) as client:
        yield client


@pytest.mark.parametrize("role", PART_OF)
def test_requests_and_pages_run_over_the_part_of_the_role(
    service: RunningService, browser: httpx.Client, role: Role
) -> None:
    method, path, body, page, table = READS[role]
    part = role_name(database_name(service), PART_OF[role])
    assert part not in logins(service)  # connections are opened when they are needed
    assert service.call(role.value, method, path, body).status_code == 200
    assert part in logins(service)
    assert browser.get(page).status_code == 200
    with service.context.database.transaction() as tx:
        statement = sql.SQL("REVOKE SELECT ON {} FROM {}")
        tx.execute(statement.format(sql.Identifier(*table.split(".")), sql.Identifier(part)))
    assert service.call(role.value, method, path, body).status_code == 500
    assert browser.get(page).status_code == 500


def test_an_auditor_is_told_what_the_owner_of_the_store_would_be(service: RunningService) -> None:
    """Row security hides the rows of a partition from a role without a policy, and raises no error."""
    service.add_person("ada@example.com", "ada")
    segment = {"key": "buyers", "name": "Buyers", "purpose": "analytics", "where": 'did("Order Completed")'}
    service.post("marketer", "/api/v1/segments", segment, 201)
    explained = service.post("auditor", "/api/v1/segments/buyers/explain", {"identifier": ADA_IDENTIFIER})["profile"]
    assert (explained["is_in"], explained["is_permitted"]) == (True, True)
    assert [answer["is_true"] for answer in explained["conditions"]] == [True]


def test_admins_and_public_pages_open_no_part(service: RunningService) -> None:
    assert service.call("admin", "GET", "/api/v1/sources").status_code == 200
    assert service.call("admin", "POST", "/api/v1/profiles/lookup", {"identifier": ADA_IDENTIFIER}).status_code == 404
    for path in ("/readyz", "/privacy", "/"):
        assert service.client.get(path).status_code == 200
    name = database_name(service)
    assert logins(service).isdisjoint(role_name(name, part) for part in PART_OF.values())


def test_every_page_of_the_console_takes_the_context_of_its_session() -> None:
    def calls(dependant: Dependant) -> set[object]:
        return {dependency.call for dependency in dependant.dependencies}

    pages = (kept, log, login, messages, people, readers, requests, segments)
    routes = [route for page in pages for route in page.router.routes if isinstance(route, APIRoute)]
    assert len(routes) > 20
    assert [route.path for route in routes if deps.context in calls(route.dependant)] == []


def test_an_answer_given_by_staff_ends_or_opens_what_waited_for_it(service: RunningService) -> None:
    sources.set_defer(service.context, "browser", defer=True, actor="operator")
    for device in ("yes", "no"):
        service.send(track(anonymousId=device), key=service.browser_key)
    for device, act in (("yes", "grant"), ("no", "refuse")):
        identifier = {"type": "anonymous_id", "value": device}
        answer = {"identifier": identifier, "purpose": "analytics", "act": act, "jurisdiction": "eu"}
        service.post("privacy", "/api/v1/consents", answer, 201)
    with service.context.database.transaction(read_only=True) as tx:
        states = tx.execute("SELECT state, reason, messages FROM accounting.accounting ORDER BY 1, 2, 3")
        waiting = tx.execute("SELECT granted_at IS NOT NULL FROM consent.deferred_device")
    assert ("not_permitted", "refused", 1) in states
    assert waiting == [(True,)]


def test_a_source_records_consents_over_the_part_of_privacy_staff(service: RunningService) -> None:
    part = role_name(database_name(service), PART_OF[Role.PRIVACY])
    body = {"identifier": ADA_IDENTIFIER, "purpose": "analytics", "act": "grant"}
    assert part not in logins(service)
    answer = service.client.post("/api/v1/consents", auth=(service.write_key, ""), json=body)
    assert answer.status_code == 201, answer.text
    assert part in logins(service)
