"""What unmodified clients need of the door: paths, encodings, write keys, answers, CORS, settings."""

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from cdp.consent.signals.model import NO_REQUEST_SIGNALS
from cdp.kit.clock import TestClock
from cdp.web.connections.hosts import TrustedHosts
from cdp.wire.message import Message
from tests.support.ingest_server import Recorder, RunningIngest, directory_with, serve_ingest
from tests.support.people import new_source
from tests.support.waits import PATIENCE_SECONDS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUCCESS = {"success": True}
GOOD = {"userId": "u1", "event": "e", "groupId": "g", "previousId": "p", "messageId": "m"}
GPC = Path(__file__).parents[1] / "data" / "scenarios" / "gpc.json"


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def running(recorder: Recorder) -> Iterator[RunningIngest]:
    only_consent = replace(new_source(3, "consent"), scopes=frozenset({"consent"}))
    directory = directory_with(wk_web=new_source(1, "web"), wk_app=new_source(2, "app"), wk_consent=only_consent)
    with serve_ingest(recorder, directory, clock=TestClock(NOW)) as running:
        yield running


@pytest.fixture
def client(running: RunningIngest, recorder: Recorder) -> Iterator[httpx.Client]:
    recorder.batches.clear()
    with httpx.Client(base_url=running.url, timeout=PATIENCE_SECONDS) as client:
        yield client


def basic(key: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code)
    assert body["message"]
    assert body["success"] is False
    assert (body["status"], body["detail"], bool(body["title"])) == (status, body["message"], True)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == "*"


SINGLES = [("identify", "i"), ("track", "t"), ("page", "p"), ("screen", "s"), ("group", "g"), ("alias", "a")]


@pytest.mark.parametrize(("path", "kind"), [(path, pair[0]) for pair in SINGLES for path in pair])
def test_a_single_message_is_stored_under_the_type_of_its_path(
    client: httpx.Client, recorder: Recorder, path: str, kind: str
) -> None:
    answer = client.post(f"/v1/{path}", json=GOOD, headers=basic("wk_web"))
    assert answer.status_code == 200
    assert answer.content == b'{"success": true}'
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    [message] = recorder.messages
    assert (message.kind, message.source.name, message.received_at) == (kind, "web", NOW)


@pytest.mark.parametrize(
    "path", ["/v1/batch", "/v1/b", "/v1/batch/b", "/batch", "/b", "/v1/batch/", "/beacon/v1/batch"]
)
def test_a_batch_is_stored(client: httpx.Client, recorder: Recorder, path: str) -> None:
    batch = {"batch": [{**GOOD, "type": "track"}, {**GOOD, "type": "page"}]}
    assert client.post(path, json=batch, headers=basic("wk_web")).json() == SUCCESS
    assert [message.kind for message in recorder.messages] == ["track", "page"]


def test_an_empty_batch_is_a_success(client: httpx.Client, recorder: Recorder) -> None:
    assert client.post("/v1/batch", json={"batch": []}, headers=basic("wk_web")).json() == SUCCESS
    assert recorder.all == []


def test_metrics_of_clients_are_accepted_and_dropped(client: httpx.Client, recorder: Recorder) -> None:
    answer = client.post("/v1/m", content='{"series": []}', headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()) == (200, SUCCESS)
    assert recorder.all == []


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json;charset=UTF-8",
        "text/plain",
        "application/x-www-form-urlencoded",
        "image/png",
        None,
    ],
)
@pytest.mark.parametrize("encoding", [None, "gzip", "GZIP", "identity"])
def test_the_body_is_json_whatever_its_content_type(
    client: httpx.Client, recorder: Recorder, content_type: str | None, encoding: str | None
) -> None:
    content = json.dumps(GOOD).encode()
    headers = basic("wk_web")
    if content_type is not None:
        headers["content-type"] = content_type
    if encoding is not None:
        headers["content-encoding"] = encoding
    if encoding in ("gzip", "GZIP"):
        content = gzip.compress(content)
    assert client.post("/v1/track", content=content, headers=headers).json() == SUCCESS
    assert len(recorder.messages) == 1


def test_another_encoding_is_refused(client: httpx.Client) -> None:
    once = gzip.compress(b'{"type":"track","event":"a","userId":"u"}')
    for encodings in (["br"], ["gzip, gzip"], ["gzip, br"], ["gzip", "gzip"], ["x-gzip,identity,gzip"]):
        headers = [*basic("wk_web").items(), *(("content-encoding", encoding) for encoding in encodings)]
        answer = client.post("/v1/track", content=gzip.compress(once), headers=headers)
        assert_refused(answer, 400, "unsupported_encoding")
    headers = [*basic("wk_web").items(), ("content-encoding", "gzip")]
    answer = client.post("/v1/track", content=gzip.compress(once), headers=headers)
    assert_refused(answer, 400, "invalid_json")


@pytest.mark.parametrize(
    ("headers", "query", "body_key"),
    [
        (basic("wk_web"), "", None),
        ({"authorization": "basic " + base64.b64encode(b"wk_web").decode()}, "", None),
        ({"authorization": "Basic " + base64.b64encode(b"wk_web:password").decode()}, "", None),
        ({"authorization": "Bearer something"}, "", "wk_web"),
        ({"x-write-key": "wk_web"}, "", None),
        ({}, "?writeKey=wk_web", None),
        ({}, "?writeKey=wk%5Fweb&v=1", None),
        ({}, "", "wk_web"),
        (basic("wk_web") | {"x-write-key": "wk_web"}, "?writeKey=wk_web", "wk_web"),
        (basic("wk_web"), "?writeKey=", ""),
    ],
)
@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
def test_the_write_key_may_stand_in_four_places(
    client: httpx.Client, recorder: Recorder, headers: dict[str, str], query: str, body_key: str | None, path: str
) -> None:
    body: dict[str, Any] = GOOD if path == "/v1/track" else {"batch": [{**GOOD, "type": "page"}]}
    body = body if body_key is None else {**body, "writeKey": body_key}
    assert client.post(path + query, json=body, headers=headers).json() == SUCCESS
    [message] = recorder.messages
    assert message.source.name == "web"
    assert "writeKey" not in message.body


@pytest.mark.parametrize(
    ("headers", "query", "body_key"),
    [
        (basic("wk_web") | {"x-write-key": "wk_app"}, "", None),
        (basic("wk_web"), "?writeKey=wk_app", None),
        (basic("wk_web"), "", "wk_app"),
        ({"x-write-key": "wk_web"}, "?writeKey=wk_app", None),
        ({}, "?writeKey=wk_web&writeKey=wk_app", None),
        ({}, "?writeKey=wk_web", "wk_app"),
    ],
)
def test_write_keys_that_disagree_are_an_error(
    client: httpx.Client, recorder: Recorder, headers: dict[str, str], query: str, body_key: str | None
) -> None:
    body = GOOD if body_key is None else {**GOOD, "writeKey": body_key}
    assert_refused(client.post("/v1/track" + query, json=body, headers=headers), 400, "write_keys_disagree")
    assert recorder.all == []


@pytest.mark.parametrize(
    ("headers", "body_key", "code"),
    [
        (basic("unknown"), None, "unknown_write_key"),
        ({}, "unknown", "unknown_write_key"),
        ({}, None, "write_key_missing"),
        ({}, "", "write_key_missing"),
        (basic(""), None, "write_key_missing"),
        ({"authorization": "Basic !!!"}, None, "authorization_malformed"),
        ({"authorization": "Basic " + base64.b64encode(b"\xff\xff").decode()}, None, "authorization_malformed"),
    ],
)
def test_without_a_known_write_key_the_answer_is_401(
    client: httpx.Client, recorder: Recorder, headers: dict[str, str], body_key: str | None, code: str
) -> None:
    body = GOOD if body_key is None else {**GOOD, "writeKey": body_key}
    answer = client.post("/v1/track", json=body, headers=headers)
    assert_refused(answer, 401, code)
    assert "www-authenticate" in answer.headers
    assert recorder.all == []


@pytest.mark.parametrize("is_in_body", [False, True])
def test_a_source_without_the_scope_may_not_ingest(client: httpx.Client, recorder: Recorder, is_in_body: bool) -> None:
    body = {**GOOD, "writeKey": "wk_consent"} if is_in_body else GOOD
    headers = {} if is_in_body else basic("wk_consent")
    assert_refused(client.post("/v1/track", json=body, headers=headers), 403, "scope_missing")
    assert recorder.all == []


def test_a_browser_of_any_origin_may_send(client: httpx.Client) -> None:
    asked = "anonymousid,authorization,content-type,sentat,x-retry-count"
    for path in ("/v1/track", "/v1/b", "/v1/m", "/v1/projects/wk_web/settings", "/sourceConfig/"):
        answer = client.options(
            path,
            headers={
                "origin": "https://shop.example",
                "access-control-request-method": "POST",
                "access-control-request-headers": asked,
            },
        )
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "*"
        allowed = {each.strip() for each in answer.headers["access-control-allow-headers"].split(",")}
        assert set(asked.split(",")) <= allowed
        assert "POST" in answer.headers["access-control-allow-methods"]


def test_settings_of_the_segment_snippet_point_back_here(client: httpx.Client, running: RunningIngest) -> None:
    answer = client.get("/v1/projects/wk_web/settings")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    segment = answer.json()["integrations"]["Segment.io"]
    assert segment["apiKey"] == "wk_web"
    assert f"{segment['protocol']}://{segment['apiHost']}" == f"{running.url}/v1"


@pytest.mark.parametrize("host", ["evil.example", 'x"><script>', "localhost.evil.example", "", "localhost:x"])
def test_settings_name_no_host_that_is_not_trusted(host: str, client: httpx.Client) -> None:
    """Without a host, the SDKs would send to their vendors."""
    for path in ("/v1/projects/wk_web/settings", "/sourceConfig/?writeKey=wk_web"):
        assert_refused(client.get(path, headers={"host": host}), 421, "host_not_trusted")


def test_settings_name_the_hosts_that_are_configured() -> None:
    hosts = TrustedHosts(["cdp.example.com", "cdp.example.com:8443"])
    for host in ("CDP.example.com", "cdp.example.com:8443", "localhost:9000", "127.0.0.1", "[::1]:8000"):
        assert hosts.named({"headers": [(b"host", host.encode())]}) == host.lower()
    for host in ("cdp.example.com:1", "example.com", "a.cdp.example.com", "[::2]", "127.0.0.1.example.com"):
        assert hosts.named({"headers": [(b"host", host.encode())]}) is None
    assert hosts.named({"headers": []}) is None
    assert hosts.named({"headers": [(b"host", b"localhost"), (b"host", b"cdp.example.com")]}) is None


def test_the_source_config_of_rudderstack_names_the_source(client: httpx.Client) -> None:
    for path in ("/sourceConfig/?p=npm&v=3", "/sourceConfig?writeKey=wk_app&build=modern"):
        headers = basic("wk_app") if "writeKey" not in path else {}
        source = client.get(path, headers=headers).json()["source"]
        assert (source["name"], source["writeKey"], source["enabled"], source["destinations"]) == (
            "app",
            "wk_app",
            True,
            [],
        )


def test_settings_of_an_unknown_write_key_are_401(client: httpx.Client) -> None:
    assert_refused(client.get("/v1/projects/nobody/settings"), 401, "unknown_write_key")
    assert_refused(client.get("/sourceConfig/"), 401, "write_key_missing")


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/batch"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_another_method_is_refused_with_a_code(client: httpx.Client, path: str, method: str) -> None:
    answer = client.request(method, path)
    assert_refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(
    "path", ["/v1/", "/v1/nothing", "/v1/track/more", "/v1/projects//settings", "/v1/projects/a/b/settings"]
)
def test_every_error_under_v1_has_a_code(client: httpx.Client, path: str) -> None:
    assert_refused(client.post(path, json=GOOD, headers=basic("wk_web")), 404, "unknown_path")


def test_everything_else_goes_to_the_framework(client: httpx.Client) -> None:
    assert client.get("/api/v1/segments").text == "not an ingest path"
    assert client.get("/").text == "not an ingest path"


@pytest.mark.parametrize(
    "case",
    [case for case in json.loads(GPC.read_text()) if isinstance(case["headers"], list)],
    ids=lambda case: case["id"],
)
def test_sec_gpc_is_a_signal_only_when_it_is_exactly_1(
    client: httpx.Client, recorder: Recorder, case: dict[str, Any]
) -> None:
    headers = [*basic("wk_web").items(), *((name, value.strip()) for name, value in case["headers"])]
    assert client.post("/v1/page", json=GOOD, headers=headers).json() == SUCCESS
    [message] = recorder.messages
    assert message.has_gpc == any(value == "1" for _, value in case["headers"])


def test_sec_gpc_joined_by_a_proxy_counts_like_several_headers(client: httpx.Client, recorder: Recorder) -> None:
    client.post("/v1/page", json=GOOD, headers=basic("wk_web") | {"sec-gpc": "0, 1"})
    [message] = recorder.messages
    assert message.has_gpc


def test_cookies_and_the_parameters_of_pixels_come_with_every_message_of_a_request(
    client: httpx.Client, recorder: Recorder
) -> None:
    url = "/v1/batch?gdpr=1&gdpr_consent=CO&us_privacy=1YYN&gpp=DBA&gpp_sid=7&utm_source=mail"
    bodies = [{**GOOD, "type": "page", "messageId": f"m{number}"} for number in range(2)]
    headers = [*basic("wk_web").items(), ("cookie", "a=1; klaro=x"), ("cookie", "b=2")]
    assert client.post(url, json={"batch": bodies}, headers=headers).json() == SUCCESS
    first, second = recorder.messages
    assert first.signals is second.signals
    assert first.signals.cookies == "a=1; klaro=x; b=2"
    stated = {("gdpr", "1"), ("gdpr_consent", "CO"), ("us_privacy", "1YYN"), ("gpp", "DBA")}
    assert set(first.signals.query) == stated
    assert "klaro=x" not in repr(first)


def test_a_request_without_cookies_and_parameters_states_nothing_beside_its_messages(
    client: httpx.Client, recorder: Recorder
) -> None:
    client.post("/v1/page?utm_source=mail", json=GOOD, headers=basic("wk_web"))
    [message] = recorder.messages
    assert message.signals is NO_REQUEST_SIGNALS


def test_the_address_of_the_sender_is_in_no_message(client: httpx.Client, recorder: Recorder) -> None:
    client.post("/v1/page", json=GOOD, headers=basic("wk_web") | {"x-forwarded-for": "203.0.113.9"})
    [message] = recorder.messages
    assert isinstance(message, Message)
    assert "203.0.113.9" not in repr(message)
    assert "127.0.0.1" not in repr(message)
