"""Who looked at whom: each read names role, token, purpose, question and count, and is found by the person."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.people import ADA_IDENTIFIER
from tests.support.service import RunningService

pytestmark = pytest.mark.postgres

ADA_ID = {"type": "user_id", "value": "ada"}


@pytest.fixture(scope="module", autouse=True)
def ada(service: RunningService) -> None:
    service.add_person("ada@example.com", "ada")
    service.add_person("bob@example.com", "bob")


def last_read(service: RunningService) -> dict[str, Any]:
    """The body of the last read in the log."""
    with service.context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT body FROM audit.fact WHERE kind = 'data.read' ORDER BY entry_id DESC LIMIT 1")
    body: dict[str, Any] = rows[0][0]
    return body


def number_of(service: RunningService, role: str) -> int:
    """The number of the token of a role; the service names its tokens by role."""
    found = service.get("admin", "/api/v1/tokens")["tokens"]
    return next(int(token["id"]) for token in found if token["name"] == role and token["role"] == role)


def pseudonym_of(service: RunningService) -> str:
    """Ada's pseudonym for marketers."""
    with service.context.database.transaction(read_only=True) as tx:
        profile_id = service.post("privacy", "/api/v1/profiles/lookup", {"identifier": ADA_ID})["profile"]
        assert profile_id
        rows = tx.execute(
            "SELECT reader_pseudonym FROM consent.permitted JOIN identity.link USING (profile_id) "
            "JOIN identity.identifier USING (identifier_id) WHERE purpose = 'analytics' ORDER BY first_seen_at LIMIT 1"
        )
    return str(rows[0][0])


def opened_request(service: RunningService) -> str:
    """The path of a verified access request of Ada."""
    body = {"kind": "access", "regime": "gdpr", "identifiers": [ADA_IDENTIFIER]}
    made = service.post("privacy", "/api/v1/subject-requests", body, 201)
    service.post("privacy", f"/api/v1/subject-requests/{made['id']}/verify", {})
    return f"/api/v1/subject-requests/{made['id']}"


READS: dict[str, tuple[str, str, Callable[[RunningService], Any]]] = {
    "a profile": ("privacy", "profile", lambda s: s.post("privacy", "/api/v1/profiles/lookup", {"identifier": ADA_ID})),
    "a profile under its pseudonym": (
        "marketer",
        "profile",
        lambda s: s.post("marketer", "/api/v1/profiles/lookup", {"profile": pseudonym_of(s)}),
    ),
    "consents": ("auditor", "consents", lambda s: s.post("auditor", "/api/v1/consents/lookup", {"identifier": ADA_ID})),
    "links": (
        "privacy",
        "explain",
        lambda s: s.post("privacy", "/api/v1/profiles/explain", {"a": ADA_ID, "b": ADA_IDENTIFIER}),
    ),
    "a request": ("privacy", "request", lambda s: s.get("privacy", opened_request(s))),
    "an archive": (
        "privacy",
        "export",
        lambda s: s.call("privacy", "GET", f"{opened_request(s)}/export?draft=true").raise_for_status(),
    ),
    "readers": ("auditor", "readers", lambda s: s.post("auditor", "/api/v1/audit/readers", {"identifier": ADA_ID})),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_names_the_token_and_is_found_by_the_person(service: RunningService, name: str) -> None:
    role, read, call = READS[name]
    call(service)
    entry = last_read(service)
    assert (entry["actor"], entry["token"], entry["read"]) == (role, number_of(service, role), read)
    assert len(entry["question"]) == len(entry["subjects"]) == 64
    found = service.post("privacy", "/api/v1/audit/readers", {"identifier": ADA_IDENTIFIER})["reads"]
    newest = found[0]
    assert (newest["role"], newest["token"], newest["name"], newest["read"]) == (role, entry["token"], role, read)


@pytest.mark.parametrize(
    ("role", "path", "read"),
    [
        ("admin", "/api/v1/ingest/accounting", "accounting"),
        ("auditor", "/api/v1/audit/entries", "entries"),
        ("auditor", "/api/v1/audit/report", "report"),
        ("auditor", "/api/v1/audit/sessions", "sessions"),
        ("privacy", "/api/v1/identity/shared", "identifiers"),
        ("privacy", "/api/v1/identity/review", "identifiers"),
    ],
)
def test_a_read_of_figures_names_the_token_and_nobody(service: RunningService, role: str, path: str, read: str) -> None:
    service.get(role, path)
    entry = last_read(service)
    assert (entry["actor"], entry["token"], entry["read"]) == (role, number_of(service, role), read)
    assert "subjects" not in entry


def test_a_person_nobody_looked_at_has_no_readers(service: RunningService) -> None:
    service.post("privacy", "/api/v1/profiles/lookup", {"identifier": ADA_ID})
    bob = {"identifier": {"type": "user_id", "value": "bob"}}
    assert service.post("privacy", "/api/v1/audit/readers", bob)["reads"] == []
    unknown = {"identifier": {"type": "user_id", "value": "nobody"}}
    assert service.post("privacy", "/api/v1/audit/readers", unknown)["reads"] == []


@pytest.mark.parametrize("role", ["marketer", "admin"])
def test_readers_are_for_privacy_and_auditors(service: RunningService, role: str) -> None:
    assert service.call(role, "POST", "/api/v1/audit/readers", {"identifier": ADA_ID}).status_code == 403
