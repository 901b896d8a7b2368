"""JSON that is nested without limit: refused as a request that cannot be read, never an error of the service."""

import json
from typing import Any

import pytest

from tests.api.test_roles import NAMES, TABLE
from tests.support.service import RunningService

DEEP = [
    "[" * 200_000,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 100_000 + "1" + "}" * 100_000,
    "[" * 990 + "]" * 990,
    '{"a":' * 900 + "1" + "}" * 900,
]


def posts() -> list[tuple[str, str, str]]:
    """Each route that takes a body, with a role that may call it."""
    return [
        (method, path, sorted(roles)[0])
        for method, path, body, roles in TABLE
        if method in ("POST", "PUT") and body is not None
    ]


@pytest.mark.parametrize(("method", "path", "role"), posts())
def test_every_route_refuses_deep_json(method: str, path: str, role: str, service: RunningService) -> None:
    headers = {"Content-Type": "application/json"}
    for number, text in enumerate(DEEP):
        answer = service.call(role, method, path.format(**NAMES), content=text, headers=headers)
        assert answer.status_code in ((400,) if number < 3 else (400, 404, 409, 422)), f"{number}: {answer.text[:200]}"


def test_deep_json_within_a_valid_document(service: RunningService) -> None:
    nested: Any = {"op": "did", "event": "Order Completed"}
    text = json.dumps({"key": "deep", "name": "Deep", "purpose": "analytics", "where": "WHERE"})
    for depth in (50, 500, 5_000, 100_000):
        for left, right in (('{"not":', "}"), ("[", "]"), ('{"all":[', "]}")):
            body = text.replace('"WHERE"', left * depth + json.dumps(nested) + right * depth)
            answer = service.call(
                "marketer", "POST", "/api/v1/segments", content=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code in (400, 413, 422), f"{depth} {left}: {answer.status_code} {answer.text[:200]}"


def test_deep_conditions_in_text(service: RunningService) -> None:
    for where in (
        "not " * 100_000 + 'did("a")',
        "(" * 100_000 + 'did("a")' + ")" * 100_000,
        "(" * 400 + 'did("a")' + ")" * 400,
    ):
        body = {"purpose": "analytics", "where": where}
        answer = service.call("marketer", "POST", "/api/v1/segments/preview", body)
        assert answer.status_code in (400, 422), answer.text[:200]


def test_deep_messages(service: RunningService) -> None:
    for text in DEEP:
        for path in ("/v1/batch", "/v1/track"):
            answer = service.client.post(path, content=text, auth=(service.write_key, ""))
            assert answer.status_code == 400, answer.text[:200]
    inside = '{"batch":[{"type":"track","event":"a","userId":"u","properties":%s}]}' % ("[" * 5_000 + "]" * 5_000)
    assert service.client.post("/v1/batch", content=inside, auth=(service.write_key, "")).status_code in (200, 400)
