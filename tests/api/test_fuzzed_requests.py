"""Whatever is sent to any door, the answer is no failure of the service and says what is wrong.

Hypothesis writes the requests: from the OpenAPI document with values of other types, and as bytes that are almost HTTP.
"""

import json
import socket
from contextlib import suppress
from functools import cache
from typing import Any

import httpx
from fastapi.routing import iter_route_contexts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from cdp.web.app import describe
from cdp.web.ingest.paths import BATCH_PATHS, METRICS_PATH, SINGLE_PATHS
from tests.support.budget import examples
from tests.support.messages import consent_context, identify, order, track
from tests.support.service import RunningService
from tests.support.waits import PATIENCE_SECONDS

BUDGET = settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
TRACES = ("Traceback", 'File "', "psycopg", "sqlalchemy", "site-packages")
ROLES = ("admin", "privacy", "marketer", "auditor", None)
PAGES = sorted(
    {
        route.path
        for route in iter_route_contexts(describe().routes)
        if route.path and route.path.startswith(("/console", "/privacy", "/audit"))
    }
)
COLLECT = [*sorted(SINGLE_PATHS), *sorted(BATCH_PATHS), METRICS_PATH, "/sourceConfig/", "/v1/projects/x/settings"]

odd = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.just("\x00"), st.just("\ud800"),
    st.just(10**400), st.just([[[[[{}]]]]]), st.just(""), st.just("x" * 9_000), st.just("9999-12-31T23:59:59Z"), st.just("2026-13-01"),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)  # fmt: skip
segment = st.one_of(
    st.integers().map(str), st.sampled_from(["req_0000000000000", "con_x", "%00", "%ff", "..", "%2e%2e%2f", "a" * 300, "é", "nobody"]),
    st.text(min_size=1, max_size=10).map(lambda text: "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "replace"))),
)  # fmt: skip


@cache
def document() -> dict[str, Any]:
    return describe().openapi()


def valued(schema: dict[str, Any]) -> SearchStrategy[Any]:
    """Values of a schema, most of them of its types, some of others."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return st.deferred(lambda: valued(document()["components"]["schemas"][name]))
    if options := schema.get("anyOf", schema.get("oneOf")):
        return st.one_of(*map(valued, options))
    if "enum" in schema:
        return sometimes_odd(st.sampled_from(schema["enum"]))
    if "const" in schema:
        return sometimes_odd(st.just(schema["const"]))
    match schema.get("type"):
        case "object" if "properties" in schema:
            fields = {name: valued(inner) for name, inner in schema["properties"].items()}
            wanted = set(schema.get("required", ()))
            named = st.fixed_dictionaries(
                {name: value for name, value in fields.items() if name in wanted},
                optional={name: value for name, value in fields.items() if name not in wanted},
            )
            return sometimes_odd(named)
        case "object":
            return sometimes_odd(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3))
        case "array":
            return sometimes_odd(st.lists(valued(schema.get("items", {})), max_size=3))
        case "integer":
            return sometimes_odd(st.integers(-1, 100))
        case "boolean":
            return sometimes_odd(st.booleans())
        case "string":
            plain = [
                "user_id",
                "email",
                "a@example.com",
                "ada",
                "email_marketing",
                "2026-01-01T00:00:00Z",
                "gdpr",
                "count() > 1",
            ]
            return sometimes_odd(st.one_of(st.sampled_from(plain), st.text(max_size=20)))
        case _:
            return odd


def sometimes_odd(plain: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda number: odd if number == 0 else plain)


@st.composite
def calls(draw: DrawFn) -> tuple[str, str, bytes | None, dict[str, str]]:
    """A call of the API: method, path with its query, body, and the headers about it."""
    operations = [
        (method.upper(), path, operation)
        for path, methods in sorted(document()["paths"].items())
        for method, operation in sorted(methods.items())
    ]
    method, path, operation = draw(st.sampled_from(operations))
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", draw(segment))
    named = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
    query = draw(st.dictionaries(st.sampled_from([*named, "unknown"]), segment, max_size=3))
    path += "?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    body = None
    if content is not None:
        body = draw(st.one_of(valued(content["schema"]).map(dumped), st.binary(max_size=50)))
    kind = draw(st.sampled_from(["application/json", "application/json; charset=utf-16", "text/plain", "x" * 100]))
    return draw(st.sampled_from([method] * 9 + ["PUT"])), path, body, {} if body is None else {"content-type": kind}


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


@st.composite
def messages(draw: DrawFn) -> bytes:
    """A message or a batch, with values of other types at some places; or bytes."""
    makers = [track, order, identify]
    made = [draw(st.sampled_from(makers))() for _ in range(draw(st.integers(1, 3)))]
    for message in made:
        if draw(st.booleans()):
            message["context"] = consent_context(email_marketing=draw(st.booleans()))
        for name in draw(
            st.lists(st.sampled_from([*sorted(message), "timestamp", "sentAt", "context", "batch"]), max_size=3)
        ):
            message[name] = draw(odd)
    whole = dumped({"batch": made} if draw(st.booleans()) else made[0])
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(whole) - 1))
        return whole[:at] + draw(st.binary(max_size=3)) + whole[at + 1 :]
    return whole


def check(answer: httpx.Response, sent: object) -> None:
    """No failure, no trace of the code, a type that is not guessed, and a reason in every refusal."""
    assert answer.status_code < 500, f"{answer.status_code} {answer.text[:500]} to {sent!r}"
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"], sent
    assert not [trace for trace in TRACES if trace in answer.text], f"{answer.text[:500]} to {sent!r}"
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        kind = answer.headers["content-type"]
        if kind.startswith("text/html"):
            assert "</html>" in answer.text
            return
        assert kind.startswith("application/problem+json"), f"{kind} to {sent!r}"
        named = answer.json()
        assert named["code"], sent
        assert named["detail"], sent
        assert named["status"] == answer.status_code, sent


@BUDGET
@given(call=calls(), role=st.sampled_from(ROLES))
def test_the_api(
    bounded_service: RunningService, call: tuple[str, str, bytes | None, dict[str, str]], role: str | None
) -> None:
    method, path, body, headers = call
    check(bounded_service.call(role, method, path, content=body, headers=headers), call)


@BUDGET
@given(
    path=st.sampled_from(COLLECT),
    body=messages(),
    method=st.sampled_from(["POST"] * 9 + ["GET"]),
    browser=st.booleans(),
)
def test_the_collect_endpoints(
    bounded_service: RunningService, path: str, body: bytes, method: str, browser: bool
) -> None:
    key = bounded_service.browser_key if browser else bounded_service.write_key
    answer = bounded_service.client.request(method, path, auth=(key, ""), content=body)
    check(answer, (method, path, body))


@BUDGET
@given(
    path=st.sampled_from(PAGES),
    role=st.sampled_from(ROLES),
    form=st.dictionaries(
        st.sampled_from(["token", "form_key", "identifier", "type", "value", "kind", "x"]), st.text(max_size=9)
    ),
    names=st.lists(segment, min_size=3, max_size=3),
    method=st.sampled_from(["GET", "POST", "HEAD"]),
    cookie=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
)
def test_the_pages(
    bounded_service: RunningService, path: str, role: str | None, form: dict[str, str], names: list[str], method: str, cookie: str
) -> None:  # fmt: skip
    for name in names:
        start, found, rest = path.partition("{")
        path = start + name + rest.partition("}")[2] if found else path
    form = {name: value.encode("utf-8", "replace").decode() for name, value in form.items()}
    headers = {"cookie": f"cdp_session={cookie}", "sec-fetch-site": "same-origin"}
    answer = bounded_service.call(role, method, path, data=form if method == "POST" else None, headers=headers)
    check(answer, (method, path, form))


@st.composite
def almost_http(draw: DrawFn) -> bytes:
    """A request with damage: bytes replaced, removed, doubled or put in; or any bytes."""
    body = b'{"type":"page","userId":"ada"}'
    head = b"POST /v1/page HTTP/1.1\r\nhost: test\r\nx-write-key: %%KEY%%\r\ncontent-length: %d\r\n\r\n" % len(body)
    whole = bytearray(
        draw(
            st.sampled_from(
                [head + body, b"GET /api/v1/sources HTTP/1.1\r\nhost: a\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"]
            )
        )
    )
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(whole)))
        put = draw(st.one_of(st.binary(max_size=4), st.sampled_from([
            b"\r\n", b"\n", b"\x00", b":", b"transfer-encoding: chunked\r\n", b"content-length: 5\r\n", b"content-length: -1\r\n",
            b"expect: 100-continue\r\n", b"upgrade: websocket\r\nconnection: upgrade\r\n", b"HTTP/9.9", b"x: " + b"y" * 40_000, b" " * 50,
        ])))  # fmt: skip
        whole[at : at + draw(st.integers(0, 10))] = put
    return bytes(whole) if draw(st.integers(0, 9)) else draw(st.binary(min_size=1, max_size=200))


@BUDGET
@given(sent=almost_http())
def test_bytes_that_are_almost_http(bounded_service: RunningService, sent: bytes) -> None:
    """What is no request is refused or closed, and the service goes on."""
    sent = sent.replace(b"%KEY%", bounded_service.write_key.encode())
    port = int(bounded_service.url.rpartition(":")[2])
    received = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection, suppress(ConnectionError):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(65_536):
            received += chunk
    for answer in received.split(b"HTTP/1.1 ")[1:]:
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head[:3])
        assert status < 500, f"{answer[:500]!r} to {sent!r}"
        assert status < 200 or head.lower().count(b"x-content-type-options: nosniff") == 1, (
            f"{answer[:500]!r} to {sent!r}"
        )
        assert not [trace for trace in TRACES if trace.encode() in body], f"{answer[:500]!r} to {sent!r}"
    assert received == b"" or received.startswith(b"HTTP/1.1 "), received[:100]
    assert bounded_service.client.get("/healthz").status_code == 200
