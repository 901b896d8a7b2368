"""Every request that ten real clients were seen to send, replayed byte for byte where the bytes were kept."""

import base64
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from cdp.flows.identifiers import IDENTIFIER_PLACE
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.sources.model import SourceKind
from cdp.vault.vault import Item
from tests.support.ingest_endpoint import IngestEndpoint, open_ingest_endpoint
from tests.support.policies import changed, permit_all, shipped
from tests.support.waits import PATIENCE_SECONDS

pytestmark = pytest.mark.postgres

CAPTURES = sorted((Path(__file__).resolve().parents[1] / "data" / "captures").glob("*.json"))
RECORDED_AT = datetime(2026, 11, 21, 22, 30, tzinfo=UTC)
KEYS = ["WK", "WK_WEB", "WK_PY", "WK_LPY", "WK_NODE", "WK_LNODE", "WK_RNODE", "WK_RPY", "WK_RWEB"]
FOR_YEARS = {
    name: {"keep_for_days": 1500, "after": "delete", "reason": "The captures hold times of 2024."}
    for name in ("browsing", "engagement", "system")
}

Request = dict[str, Any]


def requests_of(capture: Path) -> list[Request]:
    found: list[Request] = json.loads(capture.read_text())
    return found


def body_of(request: Request) -> bytes:
    """The bytes as sent; where only the decoded body was kept, that, compressed as its headers say."""
    if "raw_body_b64" in request:
        return base64.b64decode(request["raw_body_b64"])
    if request["body_json"] is None:
        return b""
    body = json.dumps(request["body_json"], ensure_ascii=False).encode()
    is_gzip = any(name.lower() == "content-encoding" and value == "gzip" for name, value in request["headers"])
    return gzip.compress(body) if is_gzip else body


def replay(endpoint: IngestEndpoint, requests: list[Request]) -> list[httpx.Response]:
    with httpx.Client(base_url=endpoint.url, timeout=PATIENCE_SECONDS) as client:
        return [
            client.request(
                request["method"],
                request["path"],
                content=body_of(request),
                headers=[
                    (name, value)
                    for name, value in request["headers"]
                    if name.lower() not in ("host", "content-length", "connection")
                ],
            )
            for request in requests
        ]


def messages_of(requests: list[Request]) -> list[dict[str, Any]]:
    found = []
    for request in requests:
        body = request["body_json"]
        if body is not None:
            found += body.get("batch", [body])
    return found


def identifiers_of(messages: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """What the messages say about who it is, read independently of the service."""
    found = set()
    for message in messages:
        traits = {**message.get("context", {}).get("traits", {}), **(message.get("traits") or {})}
        if message.get("previousId") not in (None, message.get("userId")):
            found.add(("anonymous_id", message["previousId"]))
        places = {
            "user_id": message.get("userId"),
            "anonymous_id": message.get("anonymousId"),
            "email": traits.get("email"),
        }
        found |= {(kind, str(value)) for kind, value in places.items() if value not in (None, "")}
    return found


def known_identifiers(endpoint: IngestEndpoint) -> set[tuple[str, str]]:
    """Every identifier that the store knows, opened."""
    context = endpoint.context
    with context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT identifier_id, type, sealed FROM identity.identifier")
        keys = context.vault.subject_keys.keys_for(tx, [row[0] for row in rows])
    values = context.vault.open_many(keys, IDENTIFIER_PLACE, [Item(row[0], row[0], row[2]) for row in rows])
    return {(row[1], value.decode()) for row, value in zip(rows, values, strict=True) if value is not None}


@pytest.fixture
def endpoint(database: Database, tmp_path: Path) -> Iterator[IngestEndpoint]:
    policy = changed(permit_all(), "retention.yaml", classes=FOR_YEARS)
    keys = dict.fromkeys(KEYS, SourceKind.SERVER)
    with open_ingest_endpoint(database, policy, tmp_path, keys, clock=TestClock(RECORDED_AT)) as endpoint:
        yield endpoint


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_a_capture_is_answered_as_its_client_needs_and_lands_once(endpoint: IngestEndpoint, capture: Path) -> None:
    requests = requests_of(capture)
    answers = replay(endpoint, requests)
    assert [answer.status_code for answer in answers] == [request["answered"] for request in requests]
    for request, answer in zip(requests, answers, strict=True):
        if request["method"] == "POST":
            assert answer.json() == {"success": True}
        if any(name == "Origin" for name, _ in request["headers"]):
            assert answer.headers["access-control-allow-origin"] == "*"
    messages = messages_of(requests)
    assert len(messages) >= 3
    assert endpoint.accounted() == {"stored": len(messages)}
    assert known_identifiers(endpoint) == identifiers_of(messages)
    replay(endpoint, requests)
    assert endpoint.accounted() == {"stored": len(messages), "duplicate": len(messages)}
    assert "duplicate_other_body" not in endpoint.notices()


def test_under_the_shipped_policies_captures_are_not_permitted(database: Database, tmp_path: Path) -> None:
    keys = dict.fromkeys(KEYS, SourceKind.BROWSER)
    with open_ingest_endpoint(database, shipped(), tmp_path, keys, clock=TestClock(RECORDED_AT)) as endpoint:
        every = [request for capture in CAPTURES for request in requests_of(capture) if not says_yes(request)]
        answers = replay(endpoint, every)
        assert [answer.status_code for answer in answers] == [request["answered"] for request in every]
        states = states_of(endpoint)
        assert set(states) == {"not_permitted", "invalid"}
        assert states["invalid"] == endpoint.accounted()["invalid expired"], "only times of 2024 are invalid"
        assert sum(states.values()) == len(messages_of(every))
        with database.transaction(read_only=True) as tx:
            assert tx.execute("SELECT count(*) FROM behavior.event") == [(0,)]
            assert tx.execute("SELECT count(*) FROM identity.identifier WHERE type <> 'anonymous_id'") == [(0,)]


def test_under_the_shipped_policies_a_captured_consent_permits_what_comes_with_it(
    database: Database, tmp_path: Path
) -> None:
    """The page of the capture sends `categoryPreferences` with Analytics true once; what came before stays refused."""
    [capture] = [capture for capture in CAPTURES if capture.stem == "segment-web-1.84.3-crossorigin"]
    assert sum(map(says_yes, requests_of(capture))) == 1
    with open_ingest_endpoint(
        database, shipped(), tmp_path, {"WK": SourceKind.BROWSER}, clock=TestClock(RECORDED_AT)
    ) as endpoint:
        replay(endpoint, requests_of(capture))
        states = states_of(endpoint)
        assert states["stored"] == 1
        assert states["not_permitted"] == len(messages_of(requests_of(capture))) - 1


def says_yes(request: Request) -> bool:
    return '"Analytics": true' in json.dumps(request["body_json"])


def states_of(endpoint: IngestEndpoint) -> Counter[str]:
    states: Counter[str] = Counter()
    for name, count in endpoint.accounted().items():
        states[name.partition(" ")[0]] += count
    return states
