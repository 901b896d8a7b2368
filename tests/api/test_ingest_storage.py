"""The door with a whole house behind it: times, duplicates, accounting, poison, and a database in trouble."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from cdp.behavior.store.batch import EVENT
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.sources.model import SourceKind
from cdp.vault.vault import Item
from tests.support import messages
from tests.support.ingest_endpoint import IngestEndpoint, open_ingest_endpoint
from tests.support.messages import batch, identify
from tests.support.people import NOON
from tests.support.policies import permit_all, shipped
from tests.support.waits import PATIENCE_SECONDS

pytestmark = pytest.mark.postgres

KEYS = {"wk": SourceKind.SERVER, "wk_other": SourceKind.SERVER}


@pytest.fixture
def endpoint(database: Database, tmp_path: Path) -> Iterator[IngestEndpoint]:
    with open_ingest_endpoint(database, permit_all(), tmp_path, KEYS, clock=TestClock(NOON)) as endpoint:
        yield endpoint


@pytest.fixture
def client(endpoint: IngestEndpoint) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=endpoint.url, headers={"x-write-key": "wk"}, timeout=PATIENCE_SECONDS) as client:
        yield client


def track(**more: Any) -> dict[str, Any]:
    return {**messages.track(userId="u1"), **more}


def send(client: httpx.Client, *bodies: dict[str, Any], **more: Any) -> None:
    answer = client.post("/v1/batch", json=batch(*bodies, **more))
    assert (answer.status_code, answer.json()) == (200, {"success": True})


def instants(endpoint: IngestEndpoint) -> list[datetime]:
    with endpoint.context.database.transaction(read_only=True) as tx:
        return [row[0] for row in tx.execute("SELECT occurred_at FROM behavior.event ORDER BY occurred_at")]


def sealed(endpoint: IngestEndpoint) -> list[dict[str, Any]]:
    """The sealed part of every event, opened."""
    vault = endpoint.context.vault
    with endpoint.context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT anchor_id, event_id, sealed FROM behavior.event")
        keys = vault.subject_keys.keys_for(tx, [row[0] for row in rows])
    items = [Item(row[0], UUID(str(row[1])).bytes, row[2]) for row in rows]
    return [msgspec.json.decode(value) for value in vault.open_many(keys, EVENT, items) if value is not None]


def test_the_sender_s_wrong_clock_is_taken_out(endpoint: IngestEndpoint, client: httpx.Client) -> None:
    slow = NOON - timedelta(days=400)
    send(client, track(timestamp=(slow - timedelta(hours=1)).isoformat()), sentAt=slow.isoformat())
    assert instants(endpoint) == [NOON - timedelta(hours=1)]


def test_the_future_becomes_now_and_the_far_past_is_expired(endpoint: IngestEndpoint, client: httpx.Client) -> None:
    times = ["2270-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
    send(client, *(track(timestamp=time) for time in times))
    send(client, track(timestamp="0001-01-01T00:00:00Z"), sentAt="9999-12-31T23:59:59Z")
    assert instants(endpoint) == [NOON, NOON]
    assert endpoint.accounted() == {"stored": 2, "invalid expired": 3}


def test_all_given_times_are_kept(endpoint: IngestEndpoint, client: httpx.Client) -> None:
    send(client, track(timestamp="2026-06-01T10:00:00"), sentAt="2026-06-01T11:00:00Z")
    [content] = sealed(endpoint)
    assert (content["timestamp"], content["sentAt"]) == ("2026-06-01T10:00:00", "2026-06-01T11:00:00Z")
    assert instants(endpoint) == [NOON - timedelta(hours=1)]


def test_copies_that_arrive_at_once_count_once(endpoint: IngestEndpoint) -> None:
    def post(_number: int) -> int:
        with httpx.Client(base_url=endpoint.url, headers={"x-write-key": "wk"}, timeout=PATIENCE_SECONDS) as client:
            return client.post("/v1/track", json=track(messageId="m")).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(post, range(16))) == {200}
    assert endpoint.accounted() == {"stored": 1, "duplicate": 15}


def test_another_body_under_the_same_id_is_reported_and_the_first_stays(
    endpoint: IngestEndpoint, client: httpx.Client
) -> None:
    send(client, track(messageId="m", properties={"price": 1}))
    send(client, track(messageId="m", properties={"price": 2}))
    send(client, track(messageId="m", properties={"price": 1}), sentAt=NOON.isoformat())
    assert endpoint.accounted() == {"stored": 1, "duplicate": 2}
    assert endpoint.notices()["duplicate_other_body"] == 1


def test_ids_of_different_sources_are_different_messages(endpoint: IngestEndpoint, client: httpx.Client) -> None:
    send(client, track(messageId="m"))
    answer = client.post("/v1/batch", json=batch(track(messageId="m")), headers={"x-write-key": "wk_other"})
    assert answer.status_code == 200
    assert endpoint.accounted() == {"stored": 2}


def test_duplicates_are_known_after_a_restart(database: Database, tmp_path: Path) -> None:
    clock = TestClock(NOON)
    endpoints: list[IngestEndpoint] = []
    for keys in (KEYS, {"wk3": SourceKind.SERVER}):
        with (
            open_ingest_endpoint(database, permit_all(), tmp_path, keys, clock=clock) as endpoint,
            httpx.Client(base_url=endpoint.url, headers={"x-write-key": "wk"}, timeout=PATIENCE_SECONDS) as client,
        ):
            send(client, track(messageId="m"))
            endpoints.append(endpoint)
    assert endpoints[-1].accounted() == {"stored": 1, "duplicate": 1}


def texts(value: Any) -> Iterator[str]:
    """Every string of a JSON value, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from texts(each)


def test_nul_and_emoji_survive_sealed(endpoint: IngestEndpoint, client: httpx.Client) -> None:
    note = "a\x00b 👩🏽‍🚀 Ünïcödé"
    send(
        client,
        track(messageId="1", properties={"note": note, note: {note: [note]}}),
        track(messageId="2", event=note),
        track(messageId="3", context={"page": {"title": note}}, userId="👩🏽‍🚀"),
    )
    assert endpoint.accounted() == {"stored": 3}
    found = {content["message_id"]: list(texts(content)).count(note) for content in sealed(endpoint)}
    assert found == {"1": 4, "2": 1, "3": 1}


def test_no_message_is_lost_between_states(endpoint: IngestEndpoint, client: httpx.Client) -> None:
    send(
        client,
        track(messageId="m"),
        track(messageId="m"),
        {"type": "track"},
        track(userId="null"),
        track(),
        track(userId="a\x00"),
    )
    assert client.post("/v1/identify", json={"userId": ["u1"]}).status_code == 400
    assert endpoint.accounted() == {
        "stored": 2,
        "duplicate": 1,
        "blocked blocked_value": 1,
        "invalid id_missing": 1,
        "invalid id_holds_nul": 1,
        "invalid id_not_text": 1,
    }


def test_a_client_cannot_grant_itself_anything(database: Database, tmp_path: Path) -> None:
    claims = {"consent": {"analytics": True}, "permitted": True, "bits": 63, "suppressed": False, "jurisdiction": "us"}
    with (
        open_ingest_endpoint(database, shipped(), tmp_path, {"wk": SourceKind.BROWSER}) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"x-write-key": "wk"}, timeout=PATIENCE_SECONDS) as client,
    ):
        send(
            client,
            track(properties=claims, traits=claims, **claims),
            identify(userId="u1", traits=claims),
        )
        assert {name.partition(" ")[0] for name in endpoint.accounted()} == {"not_permitted"}


def odd_values(chance: random.Random) -> Any:
    """Something that a client might send where it should not."""
    return chance.choice(
        [
            None, True, False, 0, -1, 2**63 - 1, -(2**63) + 1, 2**53 + 1, 1e308, 5e-324, -0.0, "", " ", "\x00", "x" * 3000, "NaN",
            "2026-05-01", "1970-01-01T00:00:00Z", "2270-01-01", "🤷", "\u202e\ufeff\ufffd", "a@b", "ada@example.com", "+4930123456",
            "[object Object]", [], {}, [None], [[[]]], {"": ""}, {"a": {"b": [1, "x", None]}}, {"\x00": "\x00"}, list(range(50)),
            {"type": "email", "id": "x@example.com", "collection": "users", "encoding": "none"},
        ]
    )  # fmt: skip


def odd_message(chance: random.Random) -> dict[str, Any]:
    kind = chance.choice(["track", "identify", "page", "screen", "group", "alias"])
    body: dict[str, Any] = {
        "type": kind, "userId": f"u{chance.randrange(30)}", "anonymousId": f"a{chance.randrange(30)}", "groupId": "g",
        "previousId": f"a{chance.randrange(30)}", "messageId": f"m{chance.randrange(400)}",
        "event": chance.choice(["Order Completed", "Product Viewed", "Email Opened", "Nothing Known", "Segment Consent Preference Updated"]),
    }  # fmt: skip
    for _ in range(chance.randrange(4)):
        place = chance.choice(["properties", "traits", "context", "integrations"])
        names = [
            "email",
            "phone",
            "revenue",
            "total",
            "price",
            "quantity",
            "products",
            "order_id",
            "currency",
            "category",
            "age",
        ]
        names += [
            "consent",
            "page",
            "traits",
            "device",
            "externalIds",
            "ip",
            "campaign",
            "consentManagement",
            "\x00",
            "",
            "birthday",
        ]
        body[place] = {chance.choice(names): odd_values(chance) for _ in range(4)}
    for _ in range(chance.randrange(3)):
        body[chance.choice([*body, "timestamp", "sentAt", "originalTimestamp", "name", "category"])] = odd_values(
            chance
        )
    return body


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("policy", [permit_all, shipped], ids=["permit all", "shipped"])
def test_nothing_a_client_sends_is_poison(database: Database, tmp_path: Path, seed: int, policy: Any) -> None:
    """Every message is understood by the whole journey: the last resort of the door, splitting batches, is not needed."""
    chance = random.Random(seed)
    with (
        open_ingest_endpoint(database, policy(), tmp_path, KEYS, clock=TestClock(NOON)) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"x-write-key": "wk"}, timeout=PATIENCE_SECONDS) as client,
    ):
        sent = 0
        for _ in range(6):
            batch = [odd_message(chance) for _ in range(50)]
            sent += len(batch)
            send(client, *batch)
        accounted = endpoint.accounted()
        assert sum(accounted.values()) == sent
        assert "invalid unprocessable" not in accounted


def test_a_full_disk_is_503_and_then_work_goes_on(endpoint: IngestEndpoint, client: httpx.Client) -> None:
    database = endpoint.context.database
    with database.transaction() as tx:
        tx.execute(
            """
            CREATE FUNCTION access.full_disk() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$
            """
        )
        tx.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON accounting.accounting EXECUTE FUNCTION access.full_disk()"
        )
    answer = client.post("/v1/batch", json=batch(track(messageId="m")))
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    with database.transaction() as tx:
        tx.execute("DROP TRIGGER full_disk ON accounting.accounting")
    send(client, track(messageId="m"))
    assert endpoint.accounted() == {"stored": 1}
