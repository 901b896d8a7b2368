"""Who may do what, for every route there is: the table of the interface, and nothing else."""

import re
from typing import Any

import pytest

from cdp.web.app import describe, openapi_of
from tests.support.people import ADA_IDENTIFIER
from tests.support.service import RunningService

ROLES = ("marketer", "privacy", "auditor", "admin")
REQUEST = "req_0000000000001"

# method, path, body, roles that may. Everything else under the gate is 403 for a working token.
TABLE: list[tuple[str, str, Any, set[str]]] = [
    ("POST", "/api/v1/profiles/lookup", {"identifier": ADA_IDENTIFIER}, {"privacy", "admin"}),
    ("POST", "/api/v1/profiles/lookup", {"profile": "0" * 32}, {"marketer", "privacy", "admin"}),
    ("POST", "/api/v1/profiles/explain", {"a": ADA_IDENTIFIER, "b": ADA_IDENTIFIER}, {"privacy"}),
    ("POST", "/api/v1/profiles/unmerge", {"keep": ADA_IDENTIFIER, "sever": ADA_IDENTIFIER, "dry_run": True}, {"privacy"}),
    ("POST", "/api/v1/identity/simulate", {"rules": {}}, {"admin"}),
    ("GET", "/api/v1/identity/shared", None, {"privacy", "admin"}),
    ("GET", "/api/v1/identity/review", None, {"privacy", "admin"}),
    ("GET", "/api/v1/identity/quarantined", None, {"privacy", "admin"}),
    ("POST", "/api/v1/consents", {"identifier": ADA_IDENTIFIER, "purpose": "analytics", "act": "refuse"}, {"privacy"}),
    ("POST", "/api/v1/consents/lookup", {"identifier": ADA_IDENTIFIER}, {"privacy", "auditor"}),
    ("POST", "/api/v1/consents/receipt", {"record": "con_0000000000001"}, {"privacy"}),
    ("GET", "/api/v1/segments", None, {"marketer"}),
    ("POST", "/api/v1/segments", {"key": "x", "name": "x", "purpose": "analytics", "where": "?"}, {"marketer"}),
    ("POST", "/api/v1/segments/preview", {"purpose": "analytics", "where": "?"}, {"marketer"}),
    ("GET", "/api/v1/segments/{key}", None, {"marketer"}),
    ("PUT", "/api/v1/segments/{key}", {"name": "x", "purpose": "analytics", "where": "?"}, {"marketer"}),
    ("DELETE", "/api/v1/segments/{key}", None, {"marketer"}),
    ("GET", "/api/v1/segments/{key}/members", None, {"marketer"}),
    ("POST", "/api/v1/segments/{key}/explain", {}, {"marketer", "auditor", "privacy"}),
    ("POST", "/api/v1/segments/{key}/explain", {"identifier": ADA_IDENTIFIER}, {"auditor", "privacy"}),
    ("POST", "/api/v1/subject-requests", {"kind": "access", "regime": "?", "identifiers": [ADA_IDENTIFIER]}, {"privacy"}),
    ("GET", "/api/v1/subject-requests", None, {"privacy"}),
    ("GET", "/api/v1/subject-requests/{request_id}", None, {"privacy"}),
    *[
        ("POST", f"/api/v1/subject-requests/{{request_id}}/{verb}", body, {"privacy"})
        for verb, body in (
            ("ask", None), ("verify", None), ("run", None), ("extend", None), ("withdraw", None), ("deny", {"reason": "exempt"}),
            ("review", {"excludes_rest": True}),
        )
    ],
    ("GET", "/api/v1/subject-requests/{request_id}/export", None, {"privacy"}),
    ("GET", "/api/v1/subject-requests/{request_id}/receipt", None, {"privacy"}),
    ("GET", "/api/v1/subject-requests/{request_id}/scrub-receipt", None, {"privacy"}),
    ("POST", "/api/v1/suppressions/lift", {"identifier": ADA_IDENTIFIER}, {"privacy"}),
    ("POST", "/api/v1/restrictions/end", {"identifier": ADA_IDENTIFIER}, {"privacy"}),
    ("GET", "/api/v1/holds", None, {"privacy", "auditor"}),
    ("POST", "/api/v1/holds/open", {"retention_class": "transaction", "reason": "tax_audit"}, {"privacy", "auditor"}),
    ("POST", "/api/v1/severed/read", {"retention_class": "behavior", "reason": "tax_audit"}, {"privacy", "auditor"}),
    ("GET", "/api/v1/ingest/accounting", None, {"admin", "auditor"}),
    ("GET", "/api/v1/audit/entries", None, {"auditor"}),
    ("GET", "/api/v1/audit/report", None, {"auditor"}),
    ("GET", "/api/v1/audit/sessions", None, {"privacy", "auditor"}),
    ("POST", "/api/v1/audit/readers", {"identifier": ADA_IDENTIFIER}, {"privacy", "auditor"}),
    ("GET", "/api/v1/sources", None, {"admin"}),
    ("GET", "/api/v1/sources/{name}/recent", None, {"admin"}),
    ("POST", "/api/v1/sources", {"name": "?"}, {"admin"}),
    ("POST", "/api/v1/sources/{name}/rotate", None, {"admin"}),
    ("POST", "/api/v1/sources/{name}/defer", {"defer": True}, {"admin"}),
    ("POST", "/api/v1/sources/{name}/disable", None, {"admin"}),
    ("GET", "/api/v1/sources/{name}/hook", None, {"admin"}),
    ("PUT", "/api/v1/sources/{name}/hook", {"signature": "shopify", "mapping": "?"}, {"admin"}),
    ("POST", "/api/v1/sources/{name}/hook/rotate", {"end_previous": True}, {"admin"}),
    ("DELETE", "/api/v1/sources/{name}/hook", None, {"admin"}),
    ("GET", "/api/v1/tokens", None, {"admin"}),
    ("POST", "/api/v1/tokens", {"name": "?"}, {"admin"}),
    ("POST", "/api/v1/tokens/{token_id}/revoke", None, {"admin"}),
    ("GET", "/metrics", None, {"admin"}),
]  # fmt: skip
PUBLIC = {
    "/healthz", "/readyz", "/.well-known/gpc.json", "/audit/log/checkpoint", "/audit/log/key", "/audit/log/tile/{path}",
}  # fmt: skip
NAMES = {"key": "no_such_segment", "request_id": REQUEST, "name": "nobody", "token_id": "2147483647"}


def filled(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: NAMES[found[1]], path)


@pytest.mark.parametrize(
    ("method", "path", "body", "allowed"),
    TABLE,
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:60],
)
def test_each_route_opens_for_its_roles_only(
    service: RunningService, method: str, path: str, body: Any, allowed: set[str]
) -> None:
    passed = set()
    for role in ROLES:
        answer = service.call(role, method, filled(path), body)
        if answer.status_code == 403:
            assert answer.json()["code"] == "not_permitted"
        else:
            assert answer.status_code not in (401, 405, 500), answer.text
            passed.add(role)
    assert passed == allowed
    nobody = service.call(None, method, filled(path), body)
    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthorized")


def test_the_table_holds_every_route() -> None:
    document = openapi_of(describe())
    routes = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    guarded = {(method, path) for method, path in routes if path not in PUBLIC}
    assert guarded == {(method, path) for method, path, _, _ in TABLE}


def test_the_document_names_who_may_ask_and_says_what_for() -> None:
    document = openapi_of(describe())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            named = {role for each in operation.get("security", ()) for role in each.get("token", ())}
            may = {role for verb, place, _, roles in TABLE if (verb, place) == (method.upper(), path) for role in roles}
            assert named == may, (method, path)
            assert operation["description"].startswith(operation["summary"])
            assert len(operation["summary"]) > 10


@pytest.mark.parametrize(
    "shown", ["Bearer nonsense", "Bearer", "Basic bm9ib2R5Og==", "nonsense", "Bearer " + "x" * 9_000]
)
def test_what_is_no_token_is_told_nothing_but_that(service: RunningService, shown: str) -> None:
    for path in ("/api/v1/profiles/lookup", "/api/v1/no-such-path", "/metrics"):
        answer = service.client.get(path, headers={"Authorization": shown})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_write_key_is_no_token_and_a_token_no_write_key(service: RunningService) -> None:
    with_key = service.client.get("/api/v1/sources", auth=(service.write_key, ""))
    assert (with_key.status_code, with_key.json()["code"]) == (403, "not_permitted")
    as_bearer = service.client.get("/api/v1/sources", headers={"Authorization": f"Bearer {service.write_key}"})
    assert as_bearer.status_code == 401
    sent = service.client.post("/v1/track", auth=(service.tokens["admin"], ""), json={"event": "x", "userId": "u"})
    assert (sent.status_code, sent.json()["code"]) == (401, "unknown_write_key")


def test_no_role_learns_from_another_roles_route_whether_somebody_exists(service: RunningService) -> None:
    service.add_person("eve@example.com", "eve")
    known, unknown = (
        service.call("marketer", "POST", "/api/v1/profiles/lookup", {"identifier": {"type": "email", "value": value}})
        for value in ("eve@example.com", "nobody@example.com")
    )
    assert known.status_code == unknown.status_code == 403
    assert known.content == unknown.content


def test_a_revoked_token_stops_at_once(service: RunningService) -> None:
    made = service.post("admin", "/api/v1/tokens", {"name": "guest", "role": "auditor"}, 201)
    header = {"Authorization": f"Bearer {made['token']}"}
    assert service.client.get("/api/v1/audit/entries", headers=header).status_code == 200
    assert service.call("admin", "POST", f"/api/v1/tokens/{made['id']}/revoke").status_code == 204
    assert service.client.get("/api/v1/audit/entries", headers=header).status_code == 401
    assert service.call("admin", "POST", f"/api/v1/tokens/{made['id']}/revoke").status_code == 404
