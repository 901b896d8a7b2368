"""Subject requests through the API: an export and a provable erasure, step by step."""

import io
import json
import zipfile
from typing import Any

import pytest

from cdp.audit.checkpoint import parse_vkey
from cdp.audit.verify import Unverified, Verified, verify_receipt
from cdp.vault.sign import is_signed
from tests.support.service import RunningService

PATH = "/api/v1/subject-requests"


def opened(doors: RunningService, kind: str, email: str) -> str:
    body = {"kind": kind, "regime": "gdpr", "identifiers": [{"type": "email", "value": email}]}
    made = doors.post("privacy", PATH, body, 201)
    assert made["status"] == "received"
    assert made["due_at"] > made["received_at"]
    return str(made["id"])


def test_an_export_holds_what_is_the_persons_and_is_read_by_people_and_machines(doors: RunningService) -> None:
    doors.settle("ada@example.com", "ada", country="DE")
    doors.settle("zoe@example.com", "zoe")
    request = opened(doors, "access", "ada@example.com")
    assert doors.get("privacy", f"{PATH}/{request}/export", 409)["code"] == "request_not_verified"
    doors.post("privacy", f"{PATH}/{request}/verify", None)
    done = doors.post("privacy", f"{PATH}/{request}/run", {})
    assert done["request"]["status"] == "fulfilled"
    answer = doors.call("privacy", "GET", f"{PATH}/{request}/export")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["cache-control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        data = json.loads(archive.read("data.json"))
    assert {"data.json", "page.html"} <= set(names)
    assert {"type": "email", "value": "ada@example.com"} in data["about"]
    assert "zoe" not in json.dumps(data)


def test_an_erasure_is_rehearsed_done_and_proved(doors: RunningService) -> None:
    doors.settle("ivy@example.com", "ivy")
    ivy = {"identifier": {"type": "email", "value": "ivy@example.com"}}
    request = opened(doors, "erasure", "ivy@example.com")
    assert doors.post("privacy", f"{PATH}/{request}/run", {}, 409)["code"] == "request_not_next"
    doors.post("privacy", f"{PATH}/{request}/verify", {})
    plan = doors.post("privacy", f"{PATH}/{request}/run", {"dry_run": True})
    assert plan["request"]["status"] == "verified"
    planned = {each["table"]: each["rows"] for each in plan["steps"]}
    assert planned["behavior.event"] == 2
    assert doors.post("privacy", "/api/v1/profiles/lookup", ivy)["events"] == 2
    assert doors.get("privacy", f"{PATH}/{request}/receipt", 409)["code"] == "request_not_fulfilled"

    doors.post("privacy", f"{PATH}/{request}/run", None)
    assert doors.post("privacy", "/api/v1/profiles/lookup", ivy, 404)["code"] == "unknown_profile"
    waiting = doors.call("privacy", "GET", f"{PATH}/{request}/receipt")
    assert (waiting.status_code, waiting.headers["retry-after"]) == (409, "1")
    doors.sign()
    receipt = doors.get("privacy", f"{PATH}/{request}/receipt")
    key = parse_vkey(doors.call(None, "GET", "/audit/log/key").text)
    assert isinstance(verify_receipt(receipt, [key], is_signed), Verified)
    receipt["body"]["keys_shredded"] += 1
    assert isinstance(verify_receipt(receipt, [key], is_signed), Unverified)

    shown = doors.get("privacy", f"{PATH}/{request}")
    assert (shown["status"], shown["identifiers"]) == ("fulfilled", [])
    doors.send({"type": "identify", "userId": "ivy", "traits": {"email": "ivy@example.com"}})
    assert doors.post("privacy", "/api/v1/profiles/lookup", ivy, 404)["code"] == "unknown_profile"


def test_an_answer_does_not_tell_whether_somebody_exists(doors: RunningService) -> None:
    doors.settle("kim@example.com", "kim")
    answers = []
    for email in ("kim@example.com", "nobody@example.com"):
        request = opened(doors, "erasure", email)
        verified = doors.post("privacy", f"{PATH}/{request}/verify", {})
        done = doors.post("privacy", f"{PATH}/{request}/run", {})
        answers.append((verified.keys(), verified["status"], done.keys(), done["request"]["status"]))
    assert answers[0] == answers[1]


def test_requests_end_in_other_ways_too(doors: RunningService) -> None:
    denied = opened(doors, "access", "lea@example.com")
    shown = doors.post("privacy", f"{PATH}/{denied}/deny", {"reason": "unverified"})
    assert (shown["status"], shown["denial_reason"]) == ("denied", "unverified")
    withdrawn = opened(doors, "access", "lea@example.com")
    assert doors.post("privacy", f"{PATH}/{withdrawn}/withdraw", None)["status"] == "withdrawn"
    assert doors.post("privacy", f"{PATH}/{withdrawn}/verify", None, 409)["code"] == "request_not_next"
    extended = opened(doors, "access", "lea@example.com")
    before = doors.get("privacy", f"{PATH}/{extended}")["due_at"]
    assert doors.post("privacy", f"{PATH}/{extended}/extend", None)["due_at"] > before
    assert doors.post("privacy", f"{PATH}/{extended}/extend", None, 409)["code"] == "request_already_extended"


def test_requests_are_listed_by_urgency_and_status(doors: RunningService) -> None:
    opened(doors, "access", "moe@example.com")
    found = doors.get("privacy", PATH, limit=500)["requests"]
    assert [each["due_at"] for each in found] == sorted(each["due_at"] for each in found)
    received = doors.get("privacy", PATH, status="received")["requests"]
    assert {each["status"] for each in received} == {"received"}
    assert doors.get("privacy", PATH, 422, status="shipped")["code"] == "invalid_request"


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
    doors: RunningService, change: dict[str, Any], status: int, code: str
) -> None:
    body = {"kind": "access", "regime": "gdpr", "identifiers": [{"type": "email", "value": "ned@example.com"}]}
    assert doors.post("privacy", PATH, body | change, status)["code"] == code


@pytest.mark.parametrize("request_id", ["req_0000000000001", "req_!", "x", "prf_0000000000001"])
def test_a_request_that_is_not_there_is_unknown(doors: RunningService, request_id: str) -> None:
    assert doors.get("privacy", f"{PATH}/{request_id}", 404)["code"] == "unknown_request"
    assert doors.post("privacy", f"{PATH}/{request_id}/run", {}, 404)["code"] == "unknown_request"
