"""Limits of the door: sizes, numbers, poison, back-pressure, and how a busy or a broken store answers."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from cdp.access.credentials import hash_secret
from cdp.kit.errors import Fault
from cdp.sources.model import Source
from cdp.web.ingest.batcher import Limits
from cdp.web.ingest.write_keys import PAUSE_SECONDS, SourceDirectory
from cdp.wire.batch import MESSAGES_MAX, REQUEST_BYTES_DEFAULT, REQUEST_BYTES_RUDDERSTACK
from cdp.wire.message import Invalid, Message
from tests.support.ingest_server import Recorder, RunningIngest, directory_with, serve_ingest
from tests.support.people import new_source
from tests.support.waits import PATIENCE_SECONDS, until

GOOD = {"type": "page", "userId": "u1"}
KEY = {"x-write-key": "wk"}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def running(recorder: Recorder) -> Iterator[RunningIngest]:
    large = new_source(2, "large", bytes_max=REQUEST_BYTES_RUDDERSTACK)
    with serve_ingest(recorder, directory_with(wk=new_source(1, "web"), wk_large=large)) as running:
        yield running


@pytest.fixture
def client(running: RunningIngest) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, headers=KEY, timeout=PATIENCE_SECONDS) as client:
        yield client


def refused(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body["success"] is False
    assert body["message"]
    return answer.status_code, body["code"]


def filled(size: int) -> bytes:
    """A batch of exactly `size` bytes, its messages within their own limit."""
    message = json.dumps({**GOOD, "name": "a" * 20_000}).encode()
    messages = [message] * (size // (len(message) + 1))
    body = b'{"batch":[' + b",".join(messages) + b"]}"
    return body + b" " * (size - len(body))


def test_a_request_of_500_kib_is_taken_and_one_byte_more_is_not(client: httpx.Client, recorder: Recorder) -> None:
    assert client.post("/v1/batch", content=filled(REQUEST_BYTES_DEFAULT)).status_code == 200
    taken = len(recorder.messages)
    assert taken == 25
    assert refused(client.post("/v1/batch", content=filled(REQUEST_BYTES_DEFAULT + 1))) == (400, "request_too_large")
    packed = gzip.compress(filled(REQUEST_BYTES_DEFAULT + 1))
    answer = client.post("/v1/batch", content=packed, headers={"content-encoding": "gzip"})
    assert refused(answer) == (400, "request_too_large")
    assert len(recorder.messages) == taken


def test_a_body_without_a_length_is_limited_as_well(client: httpx.Client, recorder: Recorder) -> None:
    def pieces(size: int) -> Iterator[bytes]:
        body = filled(size)
        yield from (body[at : at + 10_000] for at in range(0, size, 10_000))

    assert client.post("/v1/batch", content=pieces(100_000)).status_code == 200
    assert refused(client.post("/v1/batch", content=pieces(REQUEST_BYTES_DEFAULT + 1))) == (400, "request_too_large")
    assert len(recorder.messages) == 4


def test_a_source_may_be_set_to_four_mebibytes(client: httpx.Client, recorder: Recorder) -> None:
    headers = {"x-write-key": "wk_large"}
    answer = client.post("/v1/batch", content=filled(REQUEST_BYTES_RUDDERSTACK), headers=headers)
    assert answer.status_code == 200
    assert len(recorder.messages) > 200
    answer = client.post("/v1/batch", content=filled(REQUEST_BYTES_RUDDERSTACK + 1), headers=headers)
    assert refused(answer) == (400, "request_too_large")


def test_a_zip_bomb_is_refused(client: httpx.Client, recorder: Recorder) -> None:
    bomb = gzip.compress(b'{"batch":[' + b" " * 50_000_000 + b"]}", 9)
    answer = client.post("/v1/batch", content=bomb, headers={"content-encoding": "gzip"})
    assert refused(answer) == (400, "request_too_large")
    assert recorder.all == []


def test_a_batch_of_2501_messages_is_refused_whole(client: httpx.Client, recorder: Recorder) -> None:
    assert client.post("/v1/batch", json={"batch": [GOOD] * MESSAGES_MAX}).status_code == 200
    assert refused(client.post("/v1/batch", json={"batch": [GOOD] * (MESSAGES_MAX + 1)})) == (400, "too_many_messages")
    assert len(recorder.messages) == MESSAGES_MAX


def test_one_bad_message_never_fails_its_batch(client: httpx.Client, recorder: Recorder) -> None:
    texts = [
        json.dumps(GOOD),
        json.dumps({**GOOD, "name": "a" * 33_000}),
        '{"type":"page","userId":"u","properties":{"revenue":oops}}',
        '{"type":"page"}',
        '{"type":"page","userId":"a\\u0000b"}',
        "[" * 5_000 + "]" * 5_000,
        json.dumps({**GOOD, "timestamp": "never"}),
        json.dumps({**GOOD, "userId": "👩🏽‍🚀", "name": "a\x00b"}),
    ]
    answer = client.post("/v1/batch", content='{"batch":[' + ",".join(texts) + "]}")
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert recorder.reasons == [
        "message_too_large",
        "malformed_json",
        "id_missing",
        "id_holds_nul",
        "nested_too_deep",
        "timestamp_malformed",
    ]
    assert [message.body["userId"] for message in recorder.messages] == ["u1", "👩🏽‍🚀"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"properties": {}}, "id_missing"),
        ({"userId": "u1", "name": "a" * 33_000}, "message_too_large"),
        ({"userId": ["u1"]}, "id_not_text"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_single_invalid_message_is_accounted_for_and_its_sender_told(
    client: httpx.Client, recorder: Recorder, body: dict[str, Any], code: str
) -> None:
    assert refused(client.post("/v1/page", json=body)) == (400, code)
    assert recorder.reasons == [code]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"a=b&c=d", "invalid_json"),
        (b"[1]", "not_an_object"),
        (b"{}", "batch_missing"),
    ],
)
def test_a_body_that_is_no_batch_is_400(client: httpx.Client, content: bytes, code: str) -> None:
    assert refused(client.post("/v1/batch", content=content)) == (400, code)


def test_gzip_that_is_none_is_400(client: httpx.Client) -> None:
    answer = client.post("/v1/batch", content=b'{"batch":[]}', headers={"content-encoding": "gzip"})
    assert refused(answer) == (400, "malformed_gzip")


def test_an_unknown_key_is_told_before_its_body_is_read(client: httpx.Client) -> None:
    answer = client.post("/v1/batch", content=b"x" * 5_000_000, headers={"x-write-key": "nobody"})
    assert refused(answer) == (401, "unknown_write_key")


class Gate:
    """Holds a transaction open until told."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, _messages: Sequence[Message | Invalid]) -> None:
        self.entered.set()
        assert self.opened.wait(PATIENCE_SECONDS)


def test_requests_that_arrive_during_a_transaction_share_the_next(
    running: RunningIngest, client: httpx.Client, recorder: Recorder
) -> None:
    gate = Gate()
    recorder.before = gate
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(client.post, "/v1/page", json={"userId": "first"})
        assert gate.entered.wait(PATIENCE_SECONDS)
        others = [pool.submit(client.post, "/v1/page", json={"userId": f"u{number}"}) for number in range(15)]
        until(lambda: running.batcher.waiting_messages == 16)
        assert not any(each.done() for each in [first, *others]), "no answer leaves before its transaction is over"
        gate.opened.set()
        assert {answer.result().status_code for answer in [first, *others]} == {200}
    assert [len(batch) for batch in recorder.batches] == [1, 15]


def test_over_its_bounds_the_door_says_429_and_then_works_on(recorder: Recorder) -> None:
    gate = Gate()
    recorder.before = gate
    limits = Limits(waiting_messages_max=10, retry_after_seconds=3)
    with (
        serve_ingest(recorder, directory_with(wk=new_source(1, "web")), limits=limits) as running,
        httpx.Client(base_url=running.url, headers=KEY, timeout=PATIENCE_SECONDS) as client,
        ThreadPoolExecutor(20) as pool,
    ):
        waiting = [pool.submit(client.post, "/v1/batch", json={"batch": [GOOD] * 5}) for _ in range(2)]
        assert gate.entered.wait(PATIENCE_SECONDS)
        until(lambda: running.batcher.waiting_messages == 10)
        answer = client.post("/v1/page", json=GOOD)
        assert refused(answer) == (429, "overloaded")
        assert answer.headers["retry-after"] == "3"
        gate.opened.set()
        assert [each.result().status_code for each in waiting] == [200, 200]
        assert client.post("/v1/page", json=GOOD).status_code == 200
        until(lambda: running.endpoint.answers.total() == 4)  # counted once the answer has left
        assert running.endpoint.answers == {200: 3, 429: 1}
    assert len(recorder.messages) == 11


def test_one_address_or_key_cannot_take_all_of_what_may_wait(recorder: Recorder) -> None:
    """One address with one key fills its share with single messages; the same key from elsewhere has little left, another
    key from elsewhere a share of its own."""
    gate = Gate()
    recorder.before = gate
    directory = directory_with(wk=new_source(1, "web"), other=new_source(2, "other"))
    with (
        serve_ingest(recorder, directory, limits=Limits(waiting_messages_max=100)) as running,
        ThreadPoolExecutor(110) as pool,
    ):

        def send(key: str, address: str) -> httpx.Response:
            transport = httpx.HTTPTransport(local_address=address)
            with httpx.Client(transport=transport, timeout=PATIENCE_SECONDS) as client:
                return client.post(f"{running.url}/v1/page", json=GOOD, headers={"x-write-key": key})

        flood = [pool.submit(send, "wk", "127.0.0.1") for _ in range(100)]
        assert gate.entered.wait(PATIENCE_SECONDS)
        until(lambda: running.batcher.waiting_messages + running.endpoint.answers[429] == 100)
        assert 74 <= running.batcher.waiting_messages <= 77
        others = [pool.submit(send, "other", "127.0.0.2") for _ in range(10)]
        until(lambda: running.batcher.waiting_messages >= 84)
        assert refused(send("other", "127.0.0.1")) == (429, "overloaded"), "the address has no more with another key"
        gate.opened.set()
        assert [answer.result().status_code for answer in others] == [200] * 10
        assert {answer.result().status_code for answer in flood} == {200, 429}
        until(lambda: running.batcher.waiting_messages == 0)
        assert send("wk", "127.0.0.1").status_code == 200


def test_bytes_that_wait_are_bounded_too(recorder: Recorder) -> None:
    gate = Gate()
    recorder.before = gate
    limits = Limits(waiting_bytes_max=60_000)
    big = {"userId": "u", "name": "a" * 30_000}
    with (
        serve_ingest(recorder, directory_with(wk=new_source(1, "web")), limits=limits) as running,
        httpx.Client(base_url=running.url, headers=KEY, timeout=PATIENCE_SECONDS) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        waiting = pool.submit(client.post, "/v1/page", json=big)
        assert gate.entered.wait(PATIENCE_SECONDS)
        assert refused(client.post("/v1/page", json=big)) == (429, "overloaded")
        packed = gzip.compress(json.dumps(big).encode())
        more = pool.submit(client.post, "/v1/page", json=GOOD)
        gate.opened.set()
        assert waiting.result().status_code == more.result().status_code == 200
        answer = client.post("/v1/page", content=packed, headers={"content-encoding": "gzip"})
        assert answer.status_code == 200
        until(lambda: running.batcher.waiting_bytes == 0, "room given back once the answers have left")


def test_a_store_that_is_away_is_503_with_the_time_to_wait(client: httpx.Client, recorder: Recorder) -> None:
    def away(_messages: object) -> None:
        raise Fault("database_unavailable", "The database is unavailable", status=503, retry_after_seconds=2)

    recorder.before = away
    answer = client.post("/v1/batch", json={"batch": [GOOD, GOOD]})
    assert refused(answer) == (503, "database_unavailable")
    assert answer.headers["retry-after"] == "2"
    recorder.before = lambda _messages: None
    assert client.post("/v1/batch", json={"batch": [GOOD, GOOD]}).status_code == 200
    assert len(recorder.messages) == 2


def poisoned_by(*names: str) -> Callable[[Sequence[Message | Invalid]], None]:
    def check(messages: Sequence[Message | Invalid]) -> None:
        if any(isinstance(each, Message) and each.body.get("name") in names for each in messages):
            raise ValueError("a value that must not be logged: ada@example.com")

    return check


def test_poison_in_the_flow_is_invalid_and_its_neighbors_land(
    client: httpx.Client, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.before = poisoned_by("bad", "worse")
    batch = [{**GOOD, "name": name} for name in ["a", "bad", *"bcdefgh", "worse", "i"]]
    assert client.post("/v1/batch", json={"batch": batch}).json() == {"success": True}
    assert [message.body["name"] for message in recorder.messages] == list("abcdefghi")
    assert recorder.reasons == ["unprocessable"] * 2
    assert "ada@example.com" not in "".join(record.getMessage() for record in caplog.records)


def test_a_single_poison_message_is_400_and_accounted_for(client: httpx.Client, recorder: Recorder) -> None:
    recorder.before = poisoned_by("bad")
    assert refused(client.post("/v1/page", json={**GOOD, "name": "bad"})) == (400, "unprocessable")
    assert recorder.reasons == ["unprocessable"]


def test_a_flow_that_always_fails_is_asked_a_few_times_only(client: httpx.Client, recorder: Recorder) -> None:
    calls = []

    def broken(messages: Sequence[Message | Invalid]) -> None:
        calls.append(len(messages))
        raise KeyError("broken")

    recorder.before = broken
    answer = client.post("/v1/batch", json={"batch": [GOOD] * 1024})
    assert refused(answer) == (503, "ingest_failed")
    assert int(answer.headers["retry-after"]) > 0
    assert len(calls) == 13  # the whole, its first halves down to one message, and an ordinary one in its place


def test_closing_lands_what_waits(recorder: Recorder) -> None:
    gate = Gate()
    recorder.before = gate
    with ThreadPoolExecutor(8) as pool:
        with serve_ingest(recorder, directory_with(wk=new_source(1, "web"))) as running:
            client = httpx.Client(base_url=running.url, headers=KEY, timeout=PATIENCE_SECONDS)
            answers = [pool.submit(client.post, "/v1/page", json=GOOD) for _ in range(6)]
            until(lambda: running.batcher.waiting_messages == 6)

            def open_when_closing() -> None:
                until(running.is_closing)
                gate.opened.set()

            opening = pool.submit(open_when_closing)
        opening.result()
        assert {answer.result().status_code for answer in answers} == {200}
        client.close()
    assert len(recorder.messages) == 6


def test_a_new_source_works_at_once_and_wrong_keys_cost_few_readings(recorder: Recorder) -> None:
    known: dict[bytes, Source] = {}
    readings = []

    def load() -> dict[bytes, Source]:
        readings.append(1)
        return dict(known)

    with (
        serve_ingest(recorder, SourceDirectory(load, fresh_seconds=PATIENCE_SECONDS)) as running,
        httpx.Client(base_url=running.url, timeout=PATIENCE_SECONDS) as client,
        ThreadPoolExecutor(64) as pool,
    ):
        begun = time.monotonic()
        keys = [{"x-write-key": f"guess-{number}"} for number in range(64)]
        answers = list(pool.map(lambda key: client.post("/v1/page", json=GOOD, headers=key), keys))
        assert {answer.status_code for answer in answers} == {401, 429}
        assert len(readings) <= 2 + (time.monotonic() - begun) / PAUSE_SECONDS, "at most one in each pause"
        known[hash_secret("wk")] = new_source(1, "web")
        assert client.post("/v1/page", json=GOOD, headers=KEY).status_code == 200
        before = len(readings)
        for _ in range(20):
            assert client.post("/v1/page", json=GOOD, headers=KEY).status_code == 200
        assert len(readings) == before


def test_a_disabled_source_stops_within_the_fresh_time(recorder: Recorder) -> None:
    known = {hash_secret("wk"): new_source(1, "web")}
    directory = SourceDirectory(lambda: dict(known), fresh_seconds=0.2, pause_seconds=0.01)
    with (
        serve_ingest(recorder, directory) as running,
        httpx.Client(base_url=running.url, headers=KEY, timeout=PATIENCE_SECONDS) as client,
    ):
        assert client.post("/v1/page", json=GOOD).status_code == 200
        known.clear()
        threading.Event().wait(0.25)
        assert refused(client.post("/v1/page", json=GOOD)) == (401, "unknown_write_key")


def test_no_key_is_accepted_for_longer_than_the_fresh_time_while_sources_cannot_be_read(recorder: Recorder) -> None:
    """Any of them may have been disabled meanwhile."""
    is_away = threading.Event()

    def load() -> dict[bytes, Source]:
        if is_away.is_set():
            raise Fault("database_unavailable", "The database is unavailable", status=503, retry_after_seconds=2)
        return {hash_secret("wk"): new_source(1, "web")}

    directory = SourceDirectory(load, fresh_seconds=0.05, pause_seconds=0.01)
    with (
        serve_ingest(recorder, directory) as running,
        httpx.Client(base_url=running.url, timeout=PATIENCE_SECONDS) as client,
    ):
        assert client.post("/v1/page", json=GOOD, headers=KEY).status_code == 200
        is_away.set()
        threading.Event().wait(0.1)
        for key in ("wk", "new"):
            answer = client.post("/v1/page", json=GOOD, headers={"x-write-key": key})
            assert refused(answer) == (503, "database_unavailable")
            assert answer.headers["retry-after"] == "2"
        is_away.clear()
        assert client.post("/v1/page", json=GOOD, headers=KEY).status_code == 200


def test_a_key_that_ends_while_the_body_arrives_is_refused(recorder: Recorder) -> None:
    known = {hash_secret("wk"): new_source(1, "web")}
    directory = SourceDirectory(lambda: dict(known), fresh_seconds=0.0, pause_seconds=0.0)
    with serve_ingest(recorder, directory) as running, half_sent_page(running) as (connection, rest):
        until(lambda: running.batcher.waiting_bytes > 0, "the first part of the body")
        known.clear()
        connection.sendall(rest)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401 ")
    assert recorder.all == []


@contextmanager
def half_sent_page(running: RunningIngest) -> Iterator[tuple[socket.socket, bytes]]:
    """A connection with a message of which the last half is missing, and that half."""
    body = json.dumps(GOOD).encode()
    head = f"POST /v1/page HTTP/1.1\r\nhost: test\r\nx-write-key: wk\r\ncontent-length: {len(body)}\r\n\r\n"
    address = ("127.0.0.1", int(running.url.rpartition(":")[2]))
    with socket.create_connection(address, PATIENCE_SECONDS) as connection:
        connection.sendall(head.encode() + body[:10])
        yield connection, body[10:]
