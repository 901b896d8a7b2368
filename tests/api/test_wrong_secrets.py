"""Wrong keys and tokens by address, keys before bytes, and capacity that no client takes whole."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from cdp.kit.errors import Fault
from cdp.web.connections.attempts import WrongSecrets
from cdp.web.ingest.batcher import Limits
from cdp.web.ingest.capacity import Capacity
from tests.support.ingest_server import Recorder, RunningIngest, directory_with, serve_ingest
from tests.support.people import new_source
from tests.support.service import RunningService
from tests.support.waits import PATIENCE_SECONDS, until

PAGE = {"type": "page", "userId": "u1"}
KEY = {"x-write-key": "wk"}


@pytest.fixture
def running() -> Iterator[RunningIngest]:
    limits = Limits(waiting_bytes_max=2_000_000, keyless_bytes_max=2_000_000)
    with serve_ingest(Recorder(), directory_with(wk=new_source(1, "web")), limits=limits) as running:
        yield running


def half_sent(running: RunningIngest, *headers: str, sent: int = 1, address: str = "127.0.0.1") -> socket.socket:
    """A connection that announces 500,000 bytes and sends some of them."""
    port = int(running.url.rpartition(":")[2])
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS, (address, 0))
    lines = ["POST /v1/page HTTP/1.1", "host: test", "content-length: 500000", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode() + b" " * sent)
    return connection


@pytest.mark.parametrize("headers", [[], ["x-write-key: wk"]], ids=["without a key", "with a key"])
def test_announced_bytes_take_no_capacity(running: RunningIngest, headers: list[str]) -> None:
    idle = [half_sent(running, *headers) for _ in range(100)]
    until(lambda: running.batcher.waiting_bytes == 100)
    with httpx.Client(base_url=running.url, timeout=PATIENCE_SECONDS) as client:
        for _ in range(20):
            assert client.post("/v1/page", json=PAGE, headers=KEY).status_code == 200
            assert client.post("/v1/page", json={**PAGE, "writeKey": "wk"}).status_code == 200
    for connection in idle:
        connection.close()
    until(lambda: running.batcher.waiting_bytes == 0)


def test_bodies_without_a_key_in_the_head_leave_the_others_their_capacity(running: RunningIngest) -> None:
    idle = [half_sent(running, sent=90_000) for _ in range(30)]
    until(lambda: running.batcher.keyless.used > 300_000)
    with httpx.Client(base_url=running.url, timeout=PATIENCE_SECONDS) as client:
        assert client.post("/v1/page", json=PAGE, headers=KEY).status_code == 200
    local = httpx.HTTPTransport(local_address="127.0.0.7")
    with httpx.Client(base_url=running.url, timeout=PATIENCE_SECONDS, transport=local) as other:
        assert other.post("/v1/page", json={**PAGE, "writeKey": "wk"}).status_code == 200
    for connection in idle:
        connection.close()


def test_no_address_takes_the_capacity_of_a_source_for_the_others(running: RunningIngest) -> None:
    idle = [half_sent(running, "x-write-key: wk", sent=90_000, address="127.0.0.8") for _ in range(30)]
    until(lambda: running.batcher.capacity.used > 1_000_000)
    assert running.batcher.capacity.used <= 1_700_000
    for connection in idle:
        connection.close()


def test_one_holder_has_at_most_three_quarters_and_two_share() -> None:
    capacity = Capacity(1000)
    while capacity.reserve(10, ["a"]):
        pass
    assert 740 <= capacity.used <= 770
    held = capacity.used
    while capacity.reserve(10, ["b"]):
        pass
    assert capacity.used - held >= 180
    capacity.release(held, ["a"])
    capacity.release(capacity.used, ["b"])
    assert capacity.used == 0


def test_a_bucket_of_wrong_secrets_refills() -> None:
    now = [0.0]
    wrong = WrongSecrets(burst=3, per_second=1, clock=lambda: now[0])
    for _ in range(3):
        wrong.note("a")
    with pytest.raises(Fault, match="Too many wrong"):
        wrong.note("a")
    wrong.note("b")
    now[0] = 1.5
    assert not wrong.is_exhausted("a")
    wrong.note("a")
    assert wrong.is_exhausted("a")


def test_clients_are_forgotten_before_they_take_memory() -> None:
    wrong = WrongSecrets()
    for number in range(12_000):
        wrong.note(str(number))
    assert len(wrong._clients) == 10_000


def test_wrong_write_keys_become_429_and_the_right_one_behind_the_same_address_is_served(
    running: RunningIngest,
) -> None:
    with httpx.Client(base_url=running.url, timeout=PATIENCE_SECONDS) as client, ThreadPoolExecutor(30) as pool:
        assert client.post("/v1/page", json=PAGE, headers=KEY).status_code == 200
        begun = time.monotonic()
        guesses = [{"x-write-key": f"guess-{number}"} for number in range(200)]
        answers = list(pool.map(lambda key: client.post("/v1/page", json=PAGE, headers=key), guesses))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {401, 429}
        assert statuses.count(401) <= 31 + (time.monotonic() - begun)
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["code"] == "too_many_wrong_secrets"
        assert int(refused.headers["retry-after"]) > 0
        assert client.post("/v1/page", json=PAGE, headers=KEY).status_code == 200
        assert client.post("/v1/page", json={**PAGE, "writeKey": "wk"}).status_code == 200
        assert client.get("/v1/projects/wk/settings").status_code == 200


def test_wrong_tokens_become_429_and_the_right_one_behind_the_same_address_is_served(service: RunningService) -> None:
    wrong = [{"Authorization": f"Bearer guess-{number}"} for number in range(60)]
    statuses = [service.client.get("/api/v1/segments", headers=header).status_code for header in wrong]
    assert statuses[:30] == [401] * 30
    assert statuses[-1] == 429
    assert service.call("marketer", "GET", "/api/v1/segments").status_code == 200
    assert service.client.get("/api/v1/segments").status_code == 401, "no token is no guess"
    metrics = service.call("admin", "GET", "/metrics").text
    assert 'cdp_refused_total{reason="too_many_wrong_secrets"}' in metrics
