"""While something long holds what everybody needs, clients are told to come again; nobody is told that we broke."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cdp.identity.store.generation import lock_exclusive
from cdp.kit.db import Database
from tests.support.messages import batch, order
from tests.support.people import ADA_IDENTIFIER
from tests.support.policies import shipped
from tests.support.service import RunningService, serve_application


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[RunningService]:
    """Doors that wait for a lock for a moment only."""
    database = Database(database_url, lock_seconds=0.2)
    try:
        with serve_application(database, tmp_path, shipped(), lock_seconds=0.2) as service:
            yield service
    finally:
        database.close()


@contextmanager
def import_of_hours(database_url: str) -> Iterator[None]:
    """Another process that holds the lock of identity and consent until the block ends."""
    other = Database(database_url)
    try:
        with other.transaction() as tx:
            lock_exclusive(tx)
            yield
    finally:
        other.close()


@pytest.mark.parametrize(
    ("role", "path", "body"),
    [
        ("privacy", "/api/v1/consents", {"identifier": ADA_IDENTIFIER, "purpose": "analytics", "act": "refuse"}),
        ("privacy", "/api/v1/profiles/unmerge", {"keep": ADA_IDENTIFIER, "sever": {"type": "user_id", "value": "ada"}}),
        ("privacy", "/api/v1/subject-requests/{request}/verify", None),
        (
            "marketer",
            "/api/v1/segments",
            {"key": "k", "name": "K", "purpose": "analytics", "where": 'did("Order Completed")'},
        ),
    ],
)
def test_staff_are_told_to_try_again(
    service: RunningService, database_url: str, role: str, path: str, body: object
) -> None:
    service.add_person("ada@example.com", "ada")
    asked = {"kind": "access", "regime": "gdpr", "identifiers": [ADA_IDENTIFIER]}
    request = service.post("privacy", "/api/v1/subject-requests", asked, 201)["id"]
    path = path.replace("{request}", request)
    with import_of_hours(database_url):
        answer = service.call(role, "POST", path, body)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_busy"), answer.text
        assert int(answer.headers["retry-after"]) > 0
        shown = service.post("privacy", "/api/v1/profiles/lookup", {"identifier": ADA_IDENTIFIER})
        assert shown["identifiers"]
    assert service.call(role, "POST", path, body).status_code in (200, 201, 204)


def test_clients_are_told_to_send_again_after_one_wait(service: RunningService, database_url: str) -> None:
    message = order(userId="ada", messageId="m")
    with import_of_hours(database_url):
        answer = service.client.post("/v1/batch", auth=(service.write_key, ""), json=batch(message))
        assert (answer.status_code, answer.json()["code"]) == (503, "database_busy")
        assert int(answer.headers["retry-after"]) > 0
    service.send(message)
    told = service.get("auditor", "/api/v1/ingest/accounting")
    assert told["received"] == 1
