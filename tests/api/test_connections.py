"""Bounds of connections: sizes of heads and bodies, deadlines, slow readers, and who makes room for whom."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import httpx
import pytest

from cdp.web.connections.limits import ConnectionLimits, Refusal
from cdp.web.connections.protocol import protocol_with
from cdp.web.connections.table import ConnectionTable
from tests.support.ingest_server import Recorder, RunningIngest, directory_with, serve_ingest
from tests.support.open_files import allow_open_files
from tests.support.people import new_source
from tests.support.waits import PATIENCE_SECONDS, until

PAGE = b'{"type":"page","userId":"u1"}'
SHORT = ConnectionLimits(head_seconds=0.6, body_seconds=1.2, grace_seconds=0.4, sweep_seconds=0.05, linger_seconds=0.3)
ANY = "127.0.0.%d"


@dataclass(frozen=True, slots=True)
class Door:
    """A running ingest endpoint behind the bounds of connections."""

    running: RunningIngest
    table: ConnectionTable
    recorder: Recorder

    def connect(self, address: str = "127.0.0.1") -> socket.socket:
        port = int(self.running.url.rpartition(":")[2])
        return socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS, (address, 0))

    def exchange(self, *parts: bytes, address: str = "127.0.0.1") -> tuple[int, str]:
        """Send, and read until the server closes or answers."""
        with self.connect(address) as connection:
            with suppress(OSError):
                for part in parts:
                    connection.sendall(part)
            return answer_of(connection)


def head(path: str = "/v1/page", *headers: str, length: int | None = None) -> bytes:
    more = [] if length is None else [f"content-length: {length}"]
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: test", "x-write-key: wk", *headers, *more, "", ""]).encode()


def answer_of(connection: socket.socket) -> tuple[int, str]:
    """Status and code of one answer; (0, "") where the connection ends without one."""
    received = b""
    with suppress(OSError):
        while chunk := connection.recv(65_536):
            received += chunk
            start, _, body = received.partition(b"\r\n\r\n")
            with suppress(ValueError):
                return int(start.split()[1]), json.loads(body).get("code", "")
    return 0, ""


@contextmanager
def door(limits: ConnectionLimits = SHORT) -> Iterator[Door]:
    recorder, table = Recorder(), ConnectionTable(limits)
    with serve_ingest(recorder, directory_with(wk=new_source(1, "web")), http=protocol_with(table)) as running:
        yield Door(running, table, recorder)


@pytest.fixture
def opened() -> Iterator[Door]:
    with door() as opened:
        yield opened


def send_page(opened: Door, address: str = "127.0.0.1") -> int:
    return opened.exchange(head(length=len(PAGE)) + PAGE, address=address)[0]


@pytest.mark.parametrize(
    ("request_head", "expected"),
    [
        (head("/v1/page", "x-long: " + "a" * 5_000_000), (431, "headers_too_large")),
        (head("/v1/page", *[f"x-{number}: {number}" for number in range(200)]), (431, "headers_too_large")),
        (head("/v1/page", *[f"x-{number}: {'a' * 1000}" for number in range(90)]), (431, "headers_too_large")),
        (head("/v1/page?writeKey=" + "a" * 9_000), (414, "url_too_long")),
        (b"A" * 100_000, (400, "malformed_request")),
        (b"POST /v1/page HTTP/1.1\r\n\x00: a\r\n\r\n", (400, "malformed_request")),
    ],
    ids=["one header of 5 MB", "200 headers", "90 KB of headers", "a URL of 9 KB", "no HTTP", "a NUL in a name"],
)
def test_a_head_is_bounded(opened: Door, request_head: bytes, expected: tuple[int, str]) -> None:
    assert opened.exchange(request_head, PAGE) == expected
    assert opened.table.refused.total() == 1
    assert send_page(opened) == 200


def test_a_head_within_the_bounds_is_served(opened: Door) -> None:
    headers = [f"x-{number}: {'a' * 300}" for number in range(90)]
    assert opened.exchange(head("/v1/page?a=" + "b" * 8_000, *headers, length=len(PAGE)) + PAGE)[0] == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9"])
def test_a_half_sent_head_ends_with_408_however_it_drips(opened: Door, address: str) -> None:
    with opened.connect(address) as dripping, opened.connect(address) as still:
        still.sendall(b"POST /v1/page HTTP/1.1\r\nhost: te")
        dripping.sendall(b"POST /v1/page HTTP/1.1\r\n")
        with suppress(OSError):
            for _ in range(100):
                dripping.sendall(b"x-a: b\r\n")
                time.sleep(0.02)
                if opened.table.refused:
                    break
        assert answer_of(still) == (408, "request_timeout")
        assert answer_of(dripping) == (408, "request_timeout")


def test_a_connection_without_a_request_is_closed(opened: Door) -> None:
    with opened.connect() as silent:
        assert silent.recv(1) == b""
    assert opened.table.refused == {Refusal.NO_REQUEST: 1}


def test_600_half_sent_requests_are_closed(opened: Door) -> None:
    allow_open_files(2_000)  # both ends are in this process
    connections = []
    try:
        for number in range(600):
            connections.append(opened.connect())
            connections[-1].sendall(head(length=len(PAGE))[: 10 + number % 40])
        assert [answer_of(connection)[0] for connection in connections] == [408] * 600
    finally:
        for connection in connections:
            connection.close()
    until(lambda: len(opened.table) == 0)


def test_a_body_that_stops_or_drips_ends_with_408(opened: Door) -> None:
    with opened.connect() as stopped, opened.connect() as dripping:
        stopped.sendall(head(length=1000) + b"{")
        dripping.sendall(head(length=1000))
        with suppress(OSError):
            for _ in range(100):
                dripping.sendall(b" ")
                time.sleep(0.02)
                if len(opened.table) == 1 and opened.table.refused.total() == 2:
                    break
        assert answer_of(stopped) == (408, "request_timeout")
        assert answer_of(dripping) == (408, "request_timeout")
    until(lambda: opened.running.batcher.waiting_bytes == 0)
    assert opened.recorder.all == []


def test_a_body_that_arrives_at_a_fair_rate_is_served_after_the_grace(opened: Door) -> None:
    body = PAGE + b" " * 4_000
    with opened.connect() as connection:
        connection.sendall(head(length=len(body)))
        for at in range(0, len(body), 400):
            connection.sendall(body[at : at + 400])
            time.sleep(0.07)
        assert answer_of(connection)[0] == 200


def test_a_body_in_endless_chunks_is_bounded(opened: Door) -> None:
    chunks = b"1\r\n \r\n" * 100_000
    start = head("/v1/page", "transfer-encoding: chunked")
    assert opened.exchange(start, *[chunks] * 20)[0] in (400, 413)
    extension = b"1;" + b"a" * 20_000_000
    assert opened.exchange(start, extension)[0] in (400, 408, 413)
    assert send_page(opened) == 200


def test_headers_after_the_body_are_bounded_and_change_nothing(opened: Door) -> None:
    start = b"POST /v1/page HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b"%x\r\n%s\r\n0\r\n" % (len(PAGE), PAGE)
    assert opened.exchange(start + body + b"x-write-key: wk\r\n\r\n") == (401, "write_key_missing")
    trailers = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 1000) for number in range(100_000 // 1000))
    status, _ = opened.exchange(start + body + trailers + b"\r\n")
    assert status in (0, 431)
    assert opened.recorder.all == []


def test_what_is_sent_after_a_refusal_is_bounded(opened: Door) -> None:
    start = head("/v1/page", length=50_000_000).replace(b": wk", b": nobody")
    with opened.connect() as connection:
        connection.sendall(start)
        assert answer_of(connection) == (401, "unknown_write_key")
        with suppress(OSError):
            for _ in range(500):
                connection.sendall(b" " * 100_000)
            pytest.fail("all of it was read")


def test_requests_sent_ahead_are_answered_in_order_and_bounded(opened: Door) -> None:
    one = head(length=len(PAGE)) + PAGE
    with opened.connect() as connection:
        connection.sendall(one * 10)
        received = b""
        while received.count(b'"success": true') < 10:
            received += connection.recv(65_536)
    with opened.connect() as connection, suppress(OSError):
        connection.sendall(one * 5_000)
        while connection.recv(65_536):
            pass
    assert opened.table.refused[Refusal.TOO_MANY_PIPELINED] == 1
    assert send_page(opened) == 200


def test_an_answer_that_is_not_read_ends_the_connection() -> None:
    with door(replace(SHORT, rate_min=100_000)) as opened, opened.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = b"GET /v1/projects/wk/settings HTTP/1.1\r\nhost: test\r\n\r\n"
        with suppress(OSError):
            connection.settimeout(0.2)
            for _ in range(200_000):
                connection.sendall(request * 10)
        until(lambda: opened.table.refused[Refusal.ANSWER_NOT_READ] + opened.table.refused[Refusal.TOO_MANY_PIPELINED])
        until(lambda: len(opened.table) == 0)


def test_an_idle_connection_makes_room_for_another_of_its_address() -> None:
    with door(replace(SHORT, head_seconds=60, connections_per_address_max=20)) as opened:
        silent = [opened.connect() for _ in range(20)]
        until(lambda: len(opened.table) == 20)
        for _ in range(30):
            assert send_page(opened) == 200
        assert len(opened.table) <= 20
        closed = [connection for connection in silent if is_closed(connection)]
        assert closed == silent[: len(closed)], "the oldest first"
        for connection in silent:
            connection.close()


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    with suppress(TimeoutError):
        return connection.recv(1) == b""
    return False


def test_the_address_with_most_connections_makes_room_for_others() -> None:
    limits = replace(SHORT, head_seconds=60, body_seconds=60, grace_seconds=60)
    with door(replace(limits, connections_max=30, connections_per_address_max=30)) as opened:
        slow = [opened.connect("127.0.0.5") for _ in range(30)]
        for connection in slow:
            connection.sendall(head(length=1000) + b"{")
        until(lambda: len(opened.table) == 30)
        time.sleep(1.2)  # a transfer that has just begun is left alone
        for number in range(20):
            assert send_page(opened, ANY % (100 + number)) == 200
        assert len(opened.table) <= 30
        for connection in slow:
            connection.close()


def test_a_request_that_is_being_handled_makes_room_for_nobody() -> None:
    gate = threading.Event()
    with door(replace(SHORT, connections_max=3)) as opened:
        opened.recorder.before = lambda _messages: None if gate.wait(PATIENCE_SECONDS) else pytest.fail("not opened")
        waiting = [opened.connect() for _ in range(3)]
        for connection in waiting:
            connection.sendall(head(length=len(PAGE)) + PAGE)
        until(lambda: opened.running.batcher.waiting_messages == 3)
        assert opened.exchange(head(length=len(PAGE)) + PAGE) == (503, "too_many_connections")
        gate.set()
        assert [answer_of(connection)[0] for connection in waiting] == [200] * 3
        for connection in waiting:
            connection.close()


def test_a_client_that_asks_for_another_protocol_is_answered(opened: Door) -> None:
    with httpx.Client(base_url=opened.running.url, timeout=PATIENCE_SECONDS) as client:
        headers = {"x-write-key": "wk", "connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c"}
        for _ in range(3):
            assert client.post("/v1/page", content=PAGE, headers=headers).status_code == 200
            assert client.get("/v1/projects/wk/settings", headers=headers).status_code == 200
