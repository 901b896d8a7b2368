"""A webhook of a running service: set over the API, received with the login of its part, looked up, rotated and deleted."""

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from tests.support.service import RunningService
from tests.support.waits import until

pytestmark = pytest.mark.postgres

HOOK = "/api/v1/sources/server/hook"
MAPPING = "event: Order Completed\nidentifiers: {user_id: user}\nproperties: {revenue: {column: total, type: number}}\n"
OLD, NEW = "shpss_0123456789abcdef", "shpss_fedcba9876543210"
SET = {"signature": "shopify", "mapping": MAPPING, "secrets": [OLD]}


def deliver(service: RunningService, document: Any, secret: str = OLD, delivery: str = "b54557e4") -> httpx.Response:
    body = json.dumps(document).encode()
    signature = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    headers = {"x-shopify-hmac-sha256": signature, "x-shopify-webhook-id": delivery}
    return service.client.post("/v1/hook/server", content=body, headers=headers)


def test_it_is_set_receives_and_is_looked_up(service: RunningService) -> None:
    assert deliver(service, {"user": "ada"}).status_code == 401
    shown = service.call("admin", "PUT", HOOK, SET)
    assert shown.status_code == 200, shown.text
    assert shown.json().items() >= {
        "source": "server", "path": "/v1/hook/server", "signature": "shopify", "secrets": 1, "window_seconds": 300, "mapping": MAPPING,
    }.items()  # fmt: skip
    answer = deliver(service, [{"user": "ada", "total": "25.50"}, {"user": ""}])
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert deliver(service, {"user": "ada"}, NEW).status_code == 401
    listed = service.get("admin", "/api/v1/sources/server/recent")["messages"]
    assert {(one["delivery"], one["state"], one["reason"]) for one in listed} == {
        ("b54557e4", "stored", ""),
        ("b54557e4", "invalid", "id_missing"),
    }
    assert OLD not in service.call("admin", "GET", HOOK).text
    assert service.call("marketer", "GET", HOOK).status_code == 403


def test_its_secret_is_replaced_and_it_is_deleted(service: RunningService) -> None:
    assert service.call("admin", "PUT", HOOK, SET).status_code == 200
    assert deliver(service, {"user": "ada"}).status_code == 200
    assert service.call("admin", "POST", f"{HOOK}/rotate", {"secret": NEW}).json()["secrets"] == 2
    until(lambda: deliver(service, {"user": "ada"}, NEW).status_code == 200, "the new secret")
    assert deliver(service, {"user": "ada"}).status_code == 200
    assert service.call("admin", "POST", f"{HOOK}/rotate", {"end_previous": True}).json()["secrets"] == 1
    until(lambda: deliver(service, {"user": "ada"}).status_code == 401, "the end of the old secret")
    assert (
        service.call("admin", "POST", f"{HOOK}/rotate", {"end_previous": True}).json()["code"] == "no_previous_secret"
    )
    assert service.call("admin", "DELETE", HOOK).status_code == 204
    until(lambda: deliver(service, {"user": "ada"}, NEW).status_code == 401, "the end of the webhook")
    assert service.call("admin", "DELETE", HOOK).json()["code"] == "unknown_hook"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"secrets": ["short"]}, "unusable_secret"),
        ({"secrets": []}, "secret_missing"),
        ({"mapping": "event: A\nidentifers: {user_id: user}\n"}, "invalid_mapping"),
        ({"mapping": "type: identify\nidentifiers: {nobody: user}\n"}, "unknown_identifier_type"),
        ({"signature": "md5"}, "invalid_request"),
        ({"window_seconds": 5}, "invalid_request"),
    ],
)
def test_what_cannot_be_set_says_why(service: RunningService, changes: dict[str, Any], code: str) -> None:
    answer = service.call("admin", "PUT", HOOK, {**SET, **changes})
    assert answer.status_code in (400, 422)
    assert answer.json()["code"] == code
    assert OLD not in answer.text
    browser = service.call("admin", "PUT", HOOK.replace("server", "browser"), SET)
    assert (browser.status_code, browser.json()["code"]) == (422, "hook_needs_server")
