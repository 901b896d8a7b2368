"""Consent through the API: recorded, looked up, capped by who says so, in force when the answer leaves."""

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from cdp.consent.receipt import is_genuine
from cdp.vault.sign import is_signed
from tests.support.messages import consent_context, track
from tests.support.service import RunningService

CARA = {"type": "email", "value": "cara@example.com"}


def act(of: dict[str, str] = CARA, **more: Any) -> dict[str, Any]:
    return {"identifier": of, "purpose": "email_marketing", "act": "grant", "jurisdiction": "eu", **more}


def by_key(service: RunningService, key: str, body: dict[str, Any]) -> httpx.Response:
    return service.client.post("/api/v1/consents", auth=(key, ""), json=body)


def verdict(service: RunningService, of: dict[str, str], purpose: str = "email_marketing") -> dict[str, Any]:
    found: dict[str, Any] = service.post("privacy", "/api/v1/consents/lookup", {"identifier": of})["verdicts"][purpose]
    return found


def test_an_act_gives_a_record_and_a_receipt_that_anybody_verifies(service: RunningService) -> None:
    made = service.post(
        "privacy", "/api/v1/consents", act(notice_version="2026-01", notice_text="We write to you."), 201
    )
    key = service.context.vault.root_keys.signer().public_key
    assert is_genuine(made["receipt"], key, is_signed)
    assert not is_genuine({**made["receipt"], "record_id": "con_0"}, key, is_signed)
    assert made["receipt"]["record_id"] == made["record"]
    assert made["authority"] == "operator"
    assert "cara" not in str(made)
    found = service.post("auditor", "/api/v1/consents/lookup", {"identifier": CARA})
    assert [each["record"] for each in found["records"]] == [made["record"]]
    assert verdict(service, CARA)["allowed"] is True


def test_a_withdrawal_is_in_force_when_it_is_answered(service: RunningService) -> None:
    service.add_person("dan@example.com", "dan")
    dan = {"type": "email", "value": "dan@example.com"}
    assert verdict(service, dan)["allowed"] is True
    service.post("privacy", "/api/v1/consents", act(dan, act="withdraw", authority="authenticated"), 201)
    assert verdict(service, dan) | {"since": None} == {
        "allowed": False,
        "reason": "withdrawn",
        "since": None,
        "until": None,
    }
    with service.context.database.transaction(read_only=True) as tx:
        ((left,),) = tx.execute(
            "SELECT count(*) FROM consent.permitted p JOIN identity.link l USING (profile_id) "
            "JOIN identity.identifier i USING (identifier_id) WHERE p.purpose = 'email_marketing' AND i.type = 'user_id'"
        )
    assert left == 0


def test_what_was_in_force_at_an_earlier_instant_is_told(service: RunningService) -> None:
    eli = {"type": "email", "value": "eli@example.com"}
    long_ago = service.context.clock.now() - timedelta(days=100)
    service.post("privacy", "/api/v1/consents", act(eli, occurred_at=long_ago.isoformat()), 201)
    between = service.context.clock.now().isoformat()
    service.post("privacy", "/api/v1/consents", act(eli, act="withdraw"), 201)
    then = service.post("auditor", "/api/v1/consents/lookup", {"identifier": eli, "as_of": between})
    assert then["verdicts"]["email_marketing"]["allowed"] is True
    assert len(then["records"]) == 1
    assert verdict(service, eli)["allowed"] is False
    earlier = (service.context.clock.now() - timedelta(days=50)).isoformat()
    for basis, is_allowed in (("recorded", False), ("occurred", True)):
        asked = {"identifier": eli, "as_of": earlier, "basis": basis}
        answer = service.post("auditor", "/api/v1/consents/lookup", asked)
        assert answer["verdicts"]["email_marketing"]["allowed"] is is_allowed
        assert answer["incomplete"] == []


def test_a_server_source_speaks_for_the_person(service: RunningService) -> None:
    fay = {"type": "email", "value": "fay@example.com"}
    server = by_key(service, service.write_key, act(fay, authority="authenticated"))
    assert (server.status_code, server.json()["authority"]) == (201, "authenticated")


def test_a_browser_source_records_no_act_about_anybody_and_learns_nothing(service: RunningService) -> None:
    """Its key is public. Of an erased, a known and an unknown person it gets the same answer, whatever it states."""
    service.add_person("ivo@example.com", "ivo")
    service.add_person("jon@example.com", "jon")
    erase(service, "jon@example.com")
    answers = {
        by_key(service, service.browser_key, act({"type": type_, "value": value}, act=stated)).text
        for type_, value in (
            ("email", "ivo@example.com"),
            ("user_id", "ivo"),
            ("email", "jon@example.com"),
            ("user_id", "jon"),
            ("email", "nobody@example.com"),
            ("anonymous_id", "device"),
        )
        for stated in ("grant", "refuse", "withdraw", "object")
    }
    assert len(answers) == 1
    problem = json.loads(answers.pop())
    assert (problem["status"], problem["code"]) == (403, "browser_cannot_record_consent")
    assert "server" in problem["detail"]
    for value in ("ivo@example.com", "jon@example.com", "nobody@example.com"):  # `send` compares the whole answer
        refusal = {"traits": {"email": value}, **consent_context(email_marketing=False)}
        service.send(track("Preferences Saved", context=refusal), key=service.browser_key)
    assert verdict(service, {"type": "user_id", "value": "ivo"})["allowed"] is True


def test_a_browser_source_cannot_have_the_scope(service: RunningService) -> None:
    for scopes in (["consent"], ["ingest", "consent"]):
        body = {"name": "public", "kind": "browser", "scopes": scopes}
        problem = service.post("admin", "/api/v1/sources", body, 422)
        assert problem["code"] == "scope_needs_server"
    service.post("admin", "/api/v1/sources", {"name": "public", "kind": "browser"}, 201)


def erase(service: RunningService, email: str) -> None:
    body = {"kind": "erasure", "regime": "gdpr", "identifiers": [{"type": "email", "value": email}]}
    made = service.post("privacy", "/api/v1/subject-requests", body, 201)
    for step in ("verify", "run"):
        done = service.call("privacy", "POST", f"/api/v1/subject-requests/{made['id']}/{step}")
        assert done.status_code == 200, done.text


def test_a_source_without_the_scope_may_not(service: RunningService) -> None:
    made = service.post("admin", "/api/v1/sources", {"name": "only-ingest", "kind": "server"}, 201)
    answer = by_key(service, made["write_key"], act())
    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (act(purpose="world_domination"), "unknown_purpose"),
        (act(act="shrug"), "invalid_request"),
        (act(authority="the_king"), "invalid_request"),
        (act(purpose="service"), "not_refusable"),
        (act(occurred_at="1969-01-01T00:00:00Z"), "invalid_request"),
        (act(occurred_at="2026-01-01T00:00:00"), "invalid_request"),
        (act(occurred_at="9999-12-31T23:59:59Z"), "invalid_request"),
        (act(suppress=True), "invalid_request"),
        (act(notice_version="x" * 101), "invalid_request"),
        ({"purpose": "analytics", "act": "grant"}, "invalid_request"),
    ],
)
def test_an_act_that_is_none_is_refused_and_nothing_recorded(
    service: RunningService, body: dict[str, Any], code: str
) -> None:
    nobody = {"type": "email", "value": "gil@example.com"}
    problem = service.post(
        "privacy", "/api/v1/consents", {**body, **({"identifier": nobody} if "identifier" in body else {})}, 422
    )
    assert problem["code"] == code
    assert service.post("privacy", "/api/v1/consents/lookup", {"identifier": nobody})["records"] == []


def test_the_unknown_and_the_known_are_answered_alike(service: RunningService) -> None:
    known = service.post("privacy", "/api/v1/consents", act({"type": "email", "value": "dan@example.com"}), 201)
    unknown = service.post("privacy", "/api/v1/consents", act({"type": "email", "value": "hal@example.com"}), 201)
    assert known.keys() == unknown.keys()
    assert known["receipt"].keys() == unknown["receipt"].keys()
