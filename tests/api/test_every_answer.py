"""What holds for every answer of the service, whatever was asked: its type is not guessed, and no host of a request is repeated.

Every route is walked with every method, without a token and with each; then what is answered before any route is asked.
"""

import socket
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from cdp.web.app import describe
from cdp.web.connections.limits import ConnectionLimits
from cdp.web.connections.protocol import protocol_with
from cdp.web.connections.table import ConnectionTable
from cdp.web.ingest.paths import BATCH_PATHS, METRICS_PATH, SINGLE_PATHS
from tests.support.databases import temporary_database
from tests.support.policies import shipped
from tests.support.service import RunningService, serve_application
from tests.support.waits import PATIENCE_SECONDS

EVIL = "evil.example"
FORM = "application/x-www-form-urlencoded"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE")
ROUTES = sorted({route.path for route in iter_route_contexts(describe().routes) if route.path})
INGEST = [
    *sorted(SINGLE_PATHS),
    *sorted(BATCH_PATHS),
    METRICS_PATH,
    "/v1/unknown",
    "/v1/projects/nobody/settings",
    "/sourceConfig/",
]
LIMITS = ConnectionLimits(
    connections_max=40, connections_per_address_max=20, head_seconds=0.5, grace_seconds=0.3, body_seconds=0.6,
    sweep_seconds=0.05, body_max=100_000,
)  # fmt: skip


@pytest.fixture(scope="module")
def service(
    server: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """The service behind the bounds of connections, as `cdp serve` runs it."""
    http = protocol_with(ConnectionTable(LIMITS))
    with temporary_database(server, template) as url:
        database = Database(url)
        try:
            with serve_application(database, tmp_path_factory.mktemp("home"), shipped(), http=http) as service:
                yield service
        finally:
            database.close()


def check(answer: httpx.Response, *, what: str) -> None:
    named = answer.headers.get_list("x-content-type-options")
    assert named == ["nosniff"], f"{what}: {answer.status_code} {named}"
    assert EVIL not in str(answer.headers), what
    assert EVIL not in answer.text, what
    location = answer.headers.get("location", "/")
    assert location.startswith("/"), what
    assert not location.startswith("//"), what


def filled(path: str) -> str:
    return path.replace("{", "").replace("}", "")


@pytest.mark.parametrize("path", ["/nothing/here", *ROUTES])
def test_every_route(path: str, service: RunningService) -> None:
    for method in METHODS:
        for role in (None, "admin", "privacy", "marketer", "auditor"):
            answer = service.call(role, method, filled(path), headers={"Host": EVIL})
            check(answer, what=f"{method} {path} as {role}")
            if path.startswith(("/api/", "/console")) and not path.endswith(".css"):
                assert answer.headers["cache-control"] == "no-store", f"{method} {path} as {role}"


@pytest.mark.parametrize("path", INGEST)
def test_every_path_of_ingest(path: str, service: RunningService) -> None:
    bodies = [b"", b"{", b'{"type":"page","userId":"u"}', b"\x1f\x8bnot gzip"]
    for method in METHODS:
        for auth in (None, (service.write_key, ""), ("unknown", "")):
            for body in bodies if method == "POST" else bodies[:1]:
                answer = service.client.request(method, path, auth=auth, content=body, headers={"Host": EVIL})
                check(answer, what=f"{method} {path} {body[:10]!r}")


def test_the_settings_of_a_known_key(service: RunningService) -> None:
    for path in (f"/v1/projects/{service.write_key}/settings", f"/sourceConfig/?writeKey={service.write_key}"):
        check(service.client.get(path), what=path)
        check(service.client.get(path, headers={"Host": EVIL}), what=path)


def test_the_console_and_its_redirects(service: RunningService) -> None:
    check(service.client.get("/console/enter", headers={"Host": EVIL}), what="enter")
    check(service.client.get("/console/", headers={"Host": EVIL}), what="a slash more")
    check(service.client.post("/console/enter", data={"token": "x"}, headers={"Host": EVIL}), what="no form key")
    check(service.client.post("/console/enter", content=b"a" * 2_000_000, headers={"Host": EVIL}), what="too large")


REFUSED = [
    (400, b"nonsense\r\n\r\n"),
    (408, b"GET / HTTP/1.1\r\nhost: a"),
    (408, b"POST /v1/page HTTP/1.1\r\nhost: a\r\nx-write-key: %(key)s\r\ncontent-length: 10\r\n\r\n{"),
    (408, b"POST /console/enter HTTP/1.1\r\nhost: a\r\ncontent-type: %(form)s\r\ncontent-length: 10\r\n\r\n{"),
    (413, b"POST /v1/m HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n" + b" " * 200_000),
    (413, b"POST /api/v1/segments HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %(token)s\r\ncontent-length: 9999999\r\n\r\n"),
    (414, b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n"),
    (431, b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 200 + b"\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "request_bytes"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_the_protocol_refuses(status: int, request_bytes: bytes, service: RunningService) -> None:
    secrets = {b"%(key)s": service.write_key, b"%(token)s": service.tokens["marketer"], b"%(form)s": FORM}
    for name, secret in secrets.items():
        request_bytes = request_bytes.replace(name, secret.encode())
    with connect(service) as connection:
        with suppress(OSError):
            connection.sendall(request_bytes)
        assert_raw(received(connection), status)


def test_one_connection_too_many(service: RunningService) -> None:
    """Each of the others is in the middle of a new request, which is not closed for a newcomer yet."""
    opened = [connect(service) for _ in range(LIMITS.connections_per_address_max)]
    try:
        for connection in opened:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: a")
        with connect(service) as late:
            assert_raw(received(late), 503)
    finally:
        for connection in opened:
            connection.close()


def connect(service: RunningService) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), PATIENCE_SECONDS)


def received(connection: socket.socket) -> bytes:
    """What arrives until the server has nothing more to say."""
    content = b""
    with suppress(OSError):
        while chunk := connection.recv(65_536):
            content += chunk
            start, _, body = content.partition(b"\r\n\r\n")
            if body and b"content-length: %d\r\n" % len(body) in start + b"\r\n":
                break
    return content


def assert_raw(answer: bytes, status: int) -> None:
    start = answer.partition(b"\r\n\r\n")[0].lower()
    assert start.startswith(b"http/1.1 %d " % status), answer
    assert start.count(b"x-content-type-options: nosniff") == 1, answer
