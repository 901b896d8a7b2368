"""Subject requests through the API: an export and a provable erasure, step by step."""

import io
import json
import zipfile
from typing import Any

import pytest

from cdp.audit.checkpoint import parse_vkey
from cdp.audit.verify import Unverified, Verified, verify_receipt
from cdp.rights.model import ENDED
from cdp.vault.sign import is_signed
from tests.support.messages import identify
from tests.support.service import RunningService

PATH = "/api/v1/subject-requests"


def opened(service: RunningService, kind: str, email: str) -> str:
    body = {"kind": kind, "regime": "gdpr", "identifiers": [{"type": "email", "value": email}]}
    made = service.post("privacy", PATH, body, 201)
    assert made["status"] == "received"
    assert made["due_at"] > made["received_at"]
    return str(made["id"])


def test_an_export_holds_what_is_the_persons_and_is_read_by_people_and_machines(service: RunningService) -> None:
    service.add_person("ada@example.com", "ada", country="DE")
    service.add_person("zoe@example.com", "zoe")
    request = opened(service, "access", "ada@example.com")
    assert service.get("privacy", f"{PATH}/{request}/export", 409)["code"] == "request_not_verified"
    service.post("privacy", f"{PATH}/{request}/verify", None)
    done = service.post("privacy", f"{PATH}/{request}/run", {})
    assert done["request"]["status"] == "fulfilled"
    answer = service.call("privacy", "GET", f"{PATH}/{request}/export")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["cache-control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        data = json.loads(archive.read("data.json"))
    assert {"data.json", "page.html"} <= set(names)
    assert {"type": "email", "value": "ada@example.com"} in data["about"]
    assert "zoe" not in json.dumps(data)


def test_an_erasure_is_rehearsed_done_and_proved(service: RunningService) -> None:
    service.add_person("ivy@example.com", "ivy")
    ivy = {"identifier": {"type": "email", "value": "ivy@example.com"}}
    request = opened(service, "erasure", "ivy@example.com")
    assert service.post("privacy", f"{PATH}/{request}/run", {}, 409)["code"] == "request_not_next"
    service.post("privacy", f"{PATH}/{request}/verify", {})
    plan = service.post("privacy", f"{PATH}/{request}/run", {"dry_run": True})
    assert plan["request"]["status"] == "verified"
    planned = {each["table"]: each["rows"] for each in plan["steps"]}
    assert planned["behavior.event"] == 2
    assert service.post("privacy", "/api/v1/profiles/lookup", ivy)["events"] == 2
    assert service.get("privacy", f"{PATH}/{request}/receipt", 409)["code"] == "request_not_fulfilled"

    service.post("privacy", f"{PATH}/{request}/run", None)
    assert service.post("privacy", "/api/v1/profiles/lookup", ivy, 404)["code"] == "unknown_profile"
    waiting = service.call("privacy", "GET", f"{PATH}/{request}/receipt")
    assert (waiting.status_code, waiting.headers["retry-after"]) == (409, "1")
    service.sign()
    receipt = service.get("privacy", f"{PATH}/{request}/receipt")
    key = parse_vkey(service.call(None, "GET", "/audit/log/key").text)
    assert isinstance(verify_receipt(receipt, [key], is_signed), Verified)
    receipt["body"]["keys_shredded"] += 1
    assert isinstance(verify_receipt(receipt, [key], is_signed), Unverified)

    shown = service.get("privacy", f"{PATH}/{request}")
    assert (shown["status"], shown["identifiers"]) == ("fulfilled", [])
    service.send(identify(userId="ivy", traits={"email": "ivy@example.com"}))
    assert service.post("privacy", "/api/v1/profiles/lookup", ivy, 404)["code"] == "unknown_profile"


def test_an_answer_does_not_tell_whether_somebody_exists(service: RunningService) -> None:
    service.add_person("kim@example.com", "kim")
    answers = []
    for email in ("kim@example.com", "nobody@example.com"):
        request = opened(service, "erasure", email)
        shown = service.get("privacy", f"{PATH}/{request}")
        denied = service.post("privacy", f"{PATH}/{request}/deny", {"reason": "unverified"})
        answers.append((shown.keys(), shown["waiting_identifiers"], denied.keys(), denied["status"]))
    assert answers[0] == answers[1]


def test_requests_end_in_other_ways_too(service: RunningService) -> None:
    denied = opened(service, "access", "lea@example.com")
    shown = service.post("privacy", f"{PATH}/{denied}/deny", {"reason": "unverified"})
    assert (shown["status"], shown["denial_reason"]) == ("denied", "unverified")
    assert "supervisory authority" in shown["denial"]["authority"]
    assert shown["denial"]["remedy"]
    assert (shown["denial"]["questions_to"], shown["questions_to"]) == (None, None)
    asked = opened(service, "access", "lea@example.com")
    assert service.post("privacy", f"{PATH}/{asked}/ask", None)["asked_at"] is not None
    withdrawn = opened(service, "access", "lea@example.com")
    assert service.post("privacy", f"{PATH}/{withdrawn}/withdraw", None)["status"] == "withdrawn"
    assert service.post("privacy", f"{PATH}/{withdrawn}/verify", None, 409)["code"] == "request_not_next"
    extended = opened(service, "access", "lea@example.com")
    before = service.get("privacy", f"{PATH}/{extended}")["due_at"]
    assert service.post("privacy", f"{PATH}/{extended}/extend", None)["due_at"] > before
    assert service.post("privacy", f"{PATH}/{extended}/extend", None, 409)["code"] == "request_already_extended"


def test_an_objection_is_in_force_when_it_is_answered(service: RunningService) -> None:
    service.add_person("pia@example.com", "pia")
    pia = {"type": "email", "value": "pia@example.com"}
    body = {"kind": "objection", "regime": "gdpr", "identifiers": [pia], "purposes": ["email_marketing"]}
    made = service.post("privacy", PATH, body, 201)
    assert (made["status"], made["verified_at"]) == ("fulfilled", None)
    shown = service.post("privacy", "/api/v1/consents/lookup", {"identifier": pia})
    assert shown["verdicts"]["email_marketing"]["reason"] == "objected"
    assert service.post("privacy", PATH, body | {"kind": "access"}, 422)["code"] == "detail_not_of_kind"


def test_a_restriction_and_a_suppression_end_by_an_act_of_their_own(service: RunningService) -> None:
    service.add_person("rea@example.com", "rea")
    rea = {"identifiers": [{"type": "email", "value": "rea@example.com"}]}
    end, lift = "/api/v1/restrictions/end", "/api/v1/suppressions/lift"
    assert service.post("privacy", end, rea | {"is_informed": True}, 409)["code"] == "not_restricted"
    assert service.post("privacy", lift, rea | {"is_verified": True}, 409)["code"] == "not_suppressed"
    for kind, detail in (("restriction", {}), ("rectification", {"values": {"country": "FR"}}), ("erasure", {})):
        request = service.post("privacy", PATH, {"kind": kind, "regime": "gdpr"} | rea | detail, 201)["id"]
        service.post("privacy", f"{PATH}/{request}/verify", None)
        assert service.post("privacy", f"{PATH}/{request}/run", {})["request"]["status"] == "fulfilled"
        if kind == "restriction":
            assert service.post("privacy", end, rea | {"is_informed": False}, 422)["code"] == "not_informed"
            assert service.post("privacy", end, rea | {"is_informed": True})["released"] >= 1
    assert service.post("privacy", lift, rea | {"is_verified": False}, 422)["code"] == "person_not_verified"
    assert service.post("privacy", lift, rea | {"is_verified": True})["lifted"] == 1
    assert service.post("auditor", lift, rea | {"is_verified": True}, 403)


def test_requests_are_listed_by_urgency_and_status(service: RunningService) -> None:
    objection = {"kind": "objection", "regime": "gdpr", "identifiers": [{"type": "email", "value": "max@example.com"}]}
    assert service.post("privacy", PATH, objection, 201)["status"] == "fulfilled"
    opened(service, "access", "moe@example.com")
    found = service.get("privacy", PATH, limit=500)["requests"]
    urgency = [(each["status"] in ENDED, each["due_at"]) for each in found]
    assert urgency == sorted(urgency), "what is still to do comes first"
    assert {is_ended for is_ended, _ in urgency} == {True, False}
    received = service.get("privacy", PATH, status="received")["requests"]
    assert {each["status"] for each in received} == {"received"}
    assert service.get("privacy", PATH, 422, status="shipped")["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"kind": "teleportation"}, 400, "unknown_right"),
        ({"regime": "mars"}, 400, "unknown_regime"),
        ({"identifiers": []}, 422, "invalid_request"),
        ({"identifiers": [{"type": "email", "value": "x"}]}, 422, "invalid_identifier"),
        ({"identifiers": [{"type": "user_id", "value": f"u{n}"} for n in range(21)]}, 422, "invalid_request"),
    ],
)
def test_a_request_that_is_none_is_refused(
    service: RunningService, change: dict[str, Any], status: int, code: str
) -> None:
    body = {"kind": "access", "regime": "gdpr", "identifiers": [{"type": "email", "value": "ned@example.com"}]}
    assert service.post("privacy", PATH, body | change, status)["code"] == code


@pytest.mark.parametrize("request_id", ["req_0000000000001", "req_!", "x", "prf_0000000000001"])
def test_a_request_that_is_not_there_is_unknown(service: RunningService, request_id: str) -> None:
    assert service.get("privacy", f"{PATH}/{request_id}", 404)["code"] == "unknown_request"
    assert service.post("privacy", f"{PATH}/{request_id}/run", {}, 404)["code"] == "unknown_request"
